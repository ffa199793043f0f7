//! GRU: one recurrent layer and a dense one.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, dropout_rate, size};
use crate::nn::layers::{Activation, Linear, Map, Mode, Output, Recurrent, dropout, map};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// GRU, leaky rectifier, dropout, dense layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GruConfig {
    /// The width of the recurrent layer.
    pub units: usize,
    /// The function inside the recurrent layer.
    pub activation: Activation,
    /// The slope of the leaky rectifier where its argument is negative.
    pub negative_slope: f32,
    /// The fraction of the states that is dropped in training.
    pub dropout: f32,
}

impl From<&Hyperparameters> for GruConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            units: hyperparameters.units,
            activation: hyperparameters.activation,
            negative_slope: 0.5,
            dropout: 0.2,
        }
    }
}

impl NetworkSpec for GruConfig {
    fn validate(&self) -> crate::Result<()> {
        size("units", self.units)?;
        dropout_rate(self.dropout)
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let &Self {
            units,
            activation,
            negative_slope,
            dropout,
        } = self;
        Ok(Box::new(Gru {
            recurrent: Recurrent::gru(parameters, "gru", input.features, units, activation)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            negative_slope,
            dropout,
        }))
    }
}

#[derive(Debug)]
struct Gru {
    recurrent: Recurrent,
    head: Linear,
    negative_slope: f32,
    dropout: f32,
}

impl Network for Gru {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let h = self.recurrent.forward(x, Output::Last)?;
        let h = map(&h, Map::LeakyRelu(self.negative_slope))?;
        self.head.forward(&dropout(&h, self.dropout, mode)?)
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let h = self.recurrent.export(graph, x, Output::Last)?;
        let h = graph.map(&h, Map::LeakyRelu(self.negative_slope));
        self.head.export(graph, &h)
    }
}
