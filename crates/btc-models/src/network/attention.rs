//! An LSTM whose states attend to each other.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, dropout_rate, size};
use crate::nn::layers::{
    Activation, Linear, Map, Mode, Output, Recurrent, attention, dropout, map,
};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
#[cfg(feature = "onnx")]
use crate::onnx::{self, Graph, Value};

/// LSTM, leaky rectifier, dropout, attention of the states to each other, mean, dense layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AttentionConfig {
    /// The width of the LSTM.
    pub units: usize,
    /// The function inside the LSTM.
    pub activation: Activation,
    /// The slope of the leaky rectifier where its argument is negative.
    pub negative_slope: f32,
    /// The fraction of the states that is dropped in training.
    pub dropout: f32,
}

settings!(AttentionConfig {
    with_units(units: usize),
    with_activation(activation: Activation),
    with_negative_slope(negative_slope: f32),
    with_dropout(dropout: f32),
});

impl From<&Hyperparameters> for AttentionConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            units: hyperparameters.units,
            activation: hyperparameters.activation,
            negative_slope: 0.5,
            dropout: 0.2,
        }
    }
}

impl NetworkSpec for AttentionConfig {
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
        Ok(Box::new(Attention {
            lstm: Recurrent::lstm(parameters, "lstm", input.features, units, activation)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            negative_slope,
            dropout,
        }))
    }
}

#[derive(Debug)]
struct Attention {
    lstm: Recurrent,
    head: Linear,
    negative_slope: f32,
    dropout: f32,
}

impl Network for Attention {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let states = self.lstm.forward(x, Output::Sequence)?;
        let states = map(&states, Map::LeakyRelu(self.negative_slope))?;
        let states = dropout(&states, self.dropout, mode)?;
        let attended = attention(&states, &states, &states)?;
        self.head.forward(&attended.mean(1)?)
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let states = self.lstm.export(graph, x, Output::Sequence)?;
        let states = graph.map(&states, Map::LeakyRelu(self.negative_slope));
        let attended = onnx::attention(graph, &states, &states, &states)?;
        let mean = graph.mean(&attended, 0)?;
        self.head.export(graph, &mean)
    }
}
