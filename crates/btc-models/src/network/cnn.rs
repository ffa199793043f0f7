//! A convolution over time and all features.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, size};
use crate::Loss;
use crate::nn::layers::{Activation, Convolution, Linear, Mode, Unfold};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// One convolution over `kernel` steps and all features, activation, dense layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CnnConfig {
    /// The number of filters.
    pub filters: usize,
    /// Steps that a filter sees; a shorter window is seen whole.
    pub kernel: usize,
    /// The function after the convolution.
    pub activation: Activation,
}

settings!(CnnConfig {
    with_filters(filters: usize),
    with_kernel(kernel: usize),
    with_activation(activation: Activation),
});

impl From<&Hyperparameters> for CnnConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            filters: 32,
            kernel: 3,
            activation: hyperparameters.activation,
        }
    }
}

impl NetworkSpec for CnnConfig {
    fn validate(&self) -> crate::Result<()> {
        size("filters", self.filters)?;
        size("kernel", self.kernel)
    }

    fn default_loss(&self) -> Loss {
        Loss::LogCosh
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let unfold = Unfold::within(self.kernel.min(input.timesteps));
        let filters = self.filters;
        let width = unfold.outputs(input.timesteps) * filters;
        Ok(Box::new(Cnn {
            convolution: Convolution::new(parameters, "conv", input.features, filters, unfold)?,
            head: Linear::new(parameters, "head", width, input.outputs)?,
            activation: self.activation,
        }))
    }
}

#[derive(Debug)]
struct Cnn {
    convolution: Convolution,
    head: Linear,
    activation: Activation,
}

impl Network for Cnn {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let y = self.convolution.activated(x, self.activation)?;
        self.head.forward_flat(&y)
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let y = self.convolution.export(graph, x)?;
        let y = self.activation.export(graph, &y);
        let y = graph.flatten(&y)?;
        self.head.export(graph, &y)
    }
}
