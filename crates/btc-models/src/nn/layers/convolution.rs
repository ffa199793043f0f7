//! A convolution over time.

use candle_core::{Result, Tensor};

use super::linear::Linear;
use crate::nn::kernels::{Unfold, fused};
use crate::nn::parameters::{Init, Parameters};

/// A convolution over the steps of (batch, steps, channels).
///
/// Its weight is stored as (outputs, 1, kernel, channels), as PyTorch's two-dimensional
/// convolution over an image of steps and channels has it.
#[derive(Debug)]
pub struct Convolution {
    unfold: Unfold,
    linear: Linear,
}

impl Convolution {
    /// Weights called `{name}.weight` and `{name}.bias` for filters over `unfold.kernel` steps.
    ///
    /// # Errors
    ///
    /// Another weight has the name, or the one that was stored another shape.
    pub fn new(
        parameters: &mut Parameters,
        name: &str,
        channels: usize,
        outputs: usize,
        unfold: Unfold,
    ) -> Result<Self> {
        let inputs = unfold.kernel * channels;
        let init = Init::fan_in(inputs);
        let shape = [outputs, 1, unfold.kernel, channels];
        let weight = parameters.weight(&format!("{name}.weight"), &shape, init)?;
        let bias = parameters.weight(&format!("{name}.bias"), &[outputs], init)?;
        let linear = Linear {
            weight: weight.reshape((outputs, inputs))?,
            bias,
        };
        Ok(Self { unfold, linear })
    }

    /// The windows that it looks at, and the map of each.
    #[cfg(feature = "onnx")]
    pub(crate) fn parts(&self) -> (Unfold, &Linear) {
        (self.unfold, &self.linear)
    }

    /// (batch, steps, channels) into (batch, outputs of the unfolding, filters).
    ///
    /// # Errors
    ///
    /// The number of channels is another than the layer's.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.linear.forward(&unfold(x, self.unfold)?)
    }
}

/// The windows of a convolution, side by side: (batch, steps, channels) into (batch, outputs,
/// kernel * channels).
///
/// # Errors
///
/// The kernel is longer than the series.
pub fn unfold(x: &Tensor, unfold: Unfold) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(unfold);
    }
    let padded = x.pad_with_zeros(1, unfold.before, unfold.after)?;
    let outputs = unfold.outputs(x.dim(1)?);
    let windows: Vec<Tensor> = (0..unfold.kernel)
        .map(|k| padded.narrow(1, k * unfold.dilation, outputs))
        .collect::<Result<_>>()?;
    Tensor::cat(&windows, 2)
}
