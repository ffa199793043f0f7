//! A dense layer.

use candle_core::{Result, Tensor};

use crate::nn::kernels::{FusedLinear, fused};
use crate::nn::parameters::{Init, Parameters};

/// x wᵀ + b over the last dimension.
#[derive(Debug)]
pub struct Linear {
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
}

impl Linear {
    /// Weights called `{name}.weight` (outputs, inputs) and `{name}.bias` (outputs), which start
    /// within plus and minus 1/sqrt(inputs), as PyTorch's do.
    ///
    /// # Errors
    ///
    /// Another weight has the name, or the one that was stored another shape.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self> {
        let init = Init::fan_in(inputs);
        Ok(Self {
            weight: parameters.weight(&format!("{name}.weight"), &[outputs, inputs], init)?,
            bias: parameters.weight(&format!("{name}.bias"), &[outputs], init)?,
        })
    }

    /// Weight and bias.
    #[cfg(feature = "onnx")]
    pub(crate) fn weights(&self) -> (&Tensor, &Tensor) {
        (&self.weight, &self.bias)
    }

    /// (.., inputs) into (.., outputs).
    ///
    /// # Errors
    ///
    /// The last dimension is not the number of inputs.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let inputs = shape.pop().unwrap_or(1);
        let rows = x.elem_count() / inputs.max(1);
        let flat = x.reshape((rows, inputs))?;
        let y = linear(&flat, &self.weight, &self.bias)?;
        shape.push(y.dim(1)?);
        y.reshape(shape)
    }
}

pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if fused(x) {
        x.contiguous()?.apply_op3(weight, bias, FusedLinear)
    } else {
        x.matmul(&weight.t()?)?.broadcast_add(bias)
    }
}
