//! Fused operations for the CPU, as custom operations of candle.
//!
//! They take f32 tensors on the CPU. Elsewhere the layers fall back to candle's own operations;
//! see [`fused`].

mod activation;
mod adam;
mod conv_lstm;
mod convolution;
mod gru;
mod linear;
mod lstm;
mod math;
mod product;
mod sequence;
mod simd;
mod slope;
mod unfold;
mod units;

use candle_core::{CpuStorage, DType, Layout, Result, Tensor};

pub use activation::Map;
pub(crate) use activation::{Dropped, Mapped};
pub(crate) use adam::{AdamRule, AdamStep};
pub(crate) use conv_lstm::{Buffers as ConvLstmBuffers, ConvShape, FusedConvLstm};
pub(crate) use convolution::FusedConvolution;
pub(crate) use gru::{Buffers as GruBuffers, FusedGru};
pub(crate) use linear::{Before, FusedLinear};
pub(crate) use lstm::{Buffers as LstmBuffers, FusedLstm};
pub use sequence::Output;
pub(crate) use sequence::{Pool, SequenceShape, transpose};
pub(crate) use slope::{numbers, with_slope};
pub use unfold::Unfold;

/// Whether the operations of this module can work on `tensor`.
pub(crate) fn fused(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// The values behind a storage, which must be f32 and without gaps.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => Err(candle_core::Error::RequiresContiguous {
            op: "fused operation",
        }
        .bt()),
    }
}

/// Calls `f` with the values of a tensor on the CPU.
fn with_values<T>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<T>) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        candle_core::Storage::Cpu(storage) => f(values(storage, layout)?),
        _ => candle_core::bail!("a fused operation needs tensors on the CPU"),
    }
}

/// The gradients of a layer's inputs, if wanted, and of its packed weights, from those of its
/// outputs; `backward` computes them from the values of all three.
fn gradients(
    x: &Tensor,
    weights: &Tensor,
    d_out: &Tensor,
    backward: impl FnOnce(&[f32], &[f32], &[f32]) -> (Vec<f32>, Option<Vec<f32>>),
) -> Result<(Option<Tensor>, Option<Tensor>)> {
    let (d_weights, dx) = with_values(x, |x| {
        with_values(weights, |weights| {
            with_values(d_out, |d_out| Ok(backward(x, weights, d_out)))
        })
    })?;
    let dx = dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device()));
    let d_weights = Tensor::from_vec(d_weights, weights.shape(), weights.device())?;
    Ok((dx.transpose()?, Some(d_weights)))
}
