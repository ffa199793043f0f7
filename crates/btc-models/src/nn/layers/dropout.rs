//! Dropout, and whether a network is trained or applied.

use candle_core::{Result, Tensor};

use crate::nn::kernels::{Dropped, fused};
use crate::nn::random::Stream;

/// Whether a network is applied or trained; in training, dropout draws from the stream.
#[derive(Debug)]
pub enum Mode<'a> {
    /// Applied: dropout does nothing.
    Evaluate,
    /// Trained: dropout draws from the stream.
    Train(&'a mut Stream),
}

/// Sets a fraction `rate` of the numbers to zero in training, and scales up the others.
///
/// # Errors
///
/// A failure of the device.
pub fn dropout(x: &Tensor, rate: f32, mode: &mut Mode<'_>) -> Result<Tensor> {
    match mode {
        Mode::Train(stream) if 0.0 < rate => {
            let keep = 1.0 / (1.0 - rate);
            // A product, not a branch, which would be taken at random.
            let draw = |_| keep * f32::from(u8::from(stream.uniform() >= rate));
            let mask: Vec<f32> = (0..x.elem_count()).map(draw).collect();
            if fused(x) {
                x.contiguous()?.apply_op1(Dropped(mask))
            } else {
                x.mul(&Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?)
            }
        }
        _ => Ok(x.clone()),
    }
}
