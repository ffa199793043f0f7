//! A convolution over time.

use candle_core::{Result, Tensor};

use super::activation::{Activation, map};
use super::linear::Linear;
use crate::nn::kernels::{FusedConvolution, Map, Unfold, fused};
use crate::nn::parameters::Parameters;

/// A convolution over the steps of (batch, steps, channels).
///
/// Its weight is stored as (outputs, 1, kernel, channels), as PyTorch's two-dimensional
/// convolution over an image of steps and channels has it.
#[derive(Debug)]
pub struct Convolution {
    pub(super) unfold: Unfold,
    pub(super) linear: Linear,
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
        let shape = [outputs, 1, unfold.kernel, channels];
        Ok(Self {
            unfold,
            linear: Linear::shaped(parameters, name, &shape)?,
        })
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
        self.apply(x, None)
    }

    /// [`forward`](Self::forward) with a function of each output, in one.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn activated(&self, x: &Tensor, activation: Activation) -> Result<Tensor> {
        self.apply(x, Some(activation.into()))
    }

    fn apply(&self, x: &Tensor, function: Option<Map>) -> Result<Tensor> {
        let Self { unfold, linear } = self;
        if fused(x) {
            let layer = FusedConvolution {
                unfold: *unfold,
                map: function,
            };
            let x = x.contiguous()?;
            return x.apply_op3(&linear.weight, &linear.bias, layer);
        }
        let y = linear.forward(&self::unfold(x, *unfold)?)?;
        match function {
            Some(function) => map(&y, function),
            None => Ok(y),
        }
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
