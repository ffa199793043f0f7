//! A linear map of the window relative to its last step (after Zeng et al. 2023).

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec};
use crate::nn::layers::{Linear, Mode};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A linear map of the window relative to its last step, and one of that step (after Zeng
/// et al. 2023).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NLinearConfig {}

settings!(NLinearConfig {});

impl From<&Hyperparameters> for NLinearConfig {
    fn from(_: &Hyperparameters) -> Self {
        Self {}
    }
}

impl NetworkSpec for NLinearConfig {
    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let InputShape {
            timesteps,
            features,
            outputs,
        } = input;
        Ok(Box::new(NLinear {
            window: Linear::new(parameters, "window", timesteps * features, outputs)?,
            last: Linear::new(parameters, "last", features, outputs)?,
        }))
    }
}

#[derive(Debug)]
struct NLinear {
    window: Linear,
    last: Linear,
}

impl Network for NLinear {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let last = x.narrow(1, x.dim(1)? - 1, 1)?;
        let window = self
            .window
            .forward(&x.broadcast_sub(&last)?.flatten_from(1)?)?;
        window + self.last.forward(&last.squeeze(1)?.contiguous()?)?
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let steps = x.dims().first().copied().unwrap_or(1);
        let last = graph.narrow(x, 0, steps - 1, 1)?;
        let window = graph.sub(x, &last);
        let (window, last) = (graph.flatten(&window)?, graph.flatten(&last)?);
        let window = self.window.export(graph, &window)?;
        let last = self.last.export(graph, &last)?;
        Ok(graph.add(&window, &last))
    }
}
