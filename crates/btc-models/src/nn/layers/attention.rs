//! Scaled dot-product attention.

use candle_core::{D, Result, Tensor};
use candle_nn::ops;

/// Scaled dot-product attention of (.., steps, width) onto itself or others (Vaswani et al. 2017).
///
/// # Errors
///
/// The shapes do not fit each other.
pub fn attention(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    let width = query.dim(D::Minus1)? as f64;
    let transposed = key.transpose(D::Minus2, D::Minus1)?.contiguous()?;
    let scores = (query.contiguous()?.matmul(&transposed)? / width.sqrt())?;
    ops::softmax(&scores, D::Minus1)?.matmul(&value.contiguous()?)
}
