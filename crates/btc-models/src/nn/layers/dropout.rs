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
    let Some(mask) = mask(x.elem_count(), rate, mode) else {
        return Ok(x.clone());
    };
    if fused(x) {
        x.contiguous()?.apply_op1(Dropped(mask))
    } else {
        x.mul(&Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?)
    }
}

/// What each of `length` numbers is multiplied by; `None` if nothing is dropped.
pub(super) fn mask(length: usize, rate: f32, mode: &mut Mode<'_>) -> Option<Vec<f32>> {
    match mode {
        Mode::Train(stream) if 0.0 < rate => {
            let keep = 1.0 / (1.0 - rate);
            // A product, not a branch, which would be taken at random.
            let draw = |_| keep * f32::from(u8::from(stream.uniform() >= rate));
            Some((0..length).map(draw).collect())
        }
        _ => None,
    }
}
