//! A dense layer.

use candle_core::{Result, Shape, Tensor};

use super::activation::map;
use super::dropout::{Mode, dropout, mask};
use crate::nn::kernels::{Before, FusedLinear, Map, fused};
use crate::nn::parameters::{Init, Parameters, Part};

/// x wᵀ + b over the last dimension.
#[derive(Debug)]
pub struct Linear {
    /// (outputs, inputs), flat.
    pub(super) weight: Tensor,
    pub(super) bias: Tensor,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
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
        Self::shaped(parameters, name, &[outputs, inputs])
    }

    /// One whose weight is stored in this shape: outputs, then what together are the inputs.
    pub(super) fn shaped(parameters: &mut Parameters, name: &str, shape: &[usize]) -> Result<Self> {
        let (outputs, inputs) = (shape[0], shape[1..].iter().product());
        let init = Init::fan_in(inputs);
        let mut flat = |name: String, shape: &[usize]| {
            parameters.packed(&name, &[Part::new(name.clone(), shape, init)])
        };
        Ok(Self {
            weight: flat(format!("{name}.weight"), shape)?,
            bias: flat(format!("{name}.bias"), &[outputs])?,
            inputs,
            outputs,
        })
    }

    /// Weight (outputs, inputs) and bias.
    #[cfg(feature = "onnx")]
    pub(crate) fn weights(&self) -> Result<(Tensor, &Tensor)> {
        let weight = self.weight.reshape((self.outputs, self.inputs))?;
        Ok((weight, &self.bias))
    }

    /// (.., inputs) into (.., outputs).
    ///
    /// # Errors
    ///
    /// The last dimension is not the number of inputs.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        match shape.last_mut() {
            Some(last) if *last == self.inputs => *last = self.outputs,
            _ => candle_core::bail!(
                "a linear layer of {} inputs was given {shape:?}",
                self.inputs
            ),
        }
        self.apply(x, Before::default(), shape.into())
    }

    /// (batch, ..) into (batch, outputs): all dimensions but the first are the inputs.
    ///
    /// # Errors
    ///
    /// They are not as many as the layer's.
    pub fn forward_flat(&self, x: &Tensor) -> Result<Tensor> {
        let rows = x.dims().first().copied().unwrap_or(1);
        self.apply(x, Before::default(), (rows, self.outputs).into())
    }

    /// [`forward_flat`](Self::forward_flat) of what [`map`] and then [`dropout`] make of `x`, in
    /// one.
    ///
    /// # Errors
    ///
    /// The inputs are not as many as the layer's.
    pub fn forward_dropped(
        &self,
        x: &Tensor,
        function: Map,
        rate: f32,
        mode: &mut Mode<'_>,
    ) -> Result<Tensor> {
        if !fused(x) {
            return self.forward_flat(&dropout(&map(x, function)?, rate, mode)?);
        }
        let rows = x.dims().first().copied().unwrap_or(1);
        let before = Before {
            map: Some(function),
            mask: mask(x.elem_count(), rate, mode),
        };
        self.apply(x, before, (rows, self.outputs).into())
    }

    fn apply(&self, x: &Tensor, before: Before, out: Shape) -> Result<Tensor> {
        if fused(x) {
            let inputs = self.inputs;
            let layer = FusedLinear {
                inputs,
                out,
                before,
            };
            return x.contiguous()?.apply_op3(&self.weight, &self.bias, layer);
        }
        let weight = self.weight.reshape((self.outputs, self.inputs))?;
        let flat = x.reshape(((), self.inputs))?;
        flat.matmul(&weight.t()?)?
            .broadcast_add(&self.bias)?
            .reshape(out)
    }
}
