//! Layer normalisation.

use candle_core::{D, Result, Tensor};

use crate::nn::parameters::{Init, Parameters};

/// Layer normalisation over the last dimension (Ba, Kiros and Hinton 2016).
#[derive(Debug)]
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    /// Weights called `{name}.weight` and `{name}.bias` over a last dimension of `width`.
    ///
    /// # Errors
    ///
    /// Another weight has the name, or the one that was stored another shape.
    pub fn new(parameters: &mut Parameters, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            weight: parameters.weight(&format!("{name}.weight"), &[width], Init::Constant(1.0))?,
            bias: parameters.weight(&format!("{name}.bias"), &[width], Init::Constant(0.0))?,
        })
    }

    /// Weight and bias.
    #[cfg(feature = "onnx")]
    pub(crate) fn weights(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }

    /// The same shape, with mean 0 and variance 1 before the weights.
    ///
    /// # Errors
    ///
    /// The last dimension is not the layer's width.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
        normal
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)
    }
}
