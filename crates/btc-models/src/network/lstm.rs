//! LSTM: one recurrent layer and a dense one.

use candle_core::Result;
use serde::{Deserialize, Serialize};

use super::recurrent_head::RecurrentHead;
use super::{Hyperparameters, NetworkSpec, dropout_rate, size};
use crate::Loss;
use crate::nn::layers::{Activation, Linear, Recurrent};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;

/// LSTM, leaky rectifier, dropout, dense layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LstmConfig {
    /// The width of the recurrent layer.
    pub units: usize,
    /// The function inside the recurrent layer.
    pub activation: Activation,
    /// The slope of the leaky rectifier where its argument is negative.
    pub negative_slope: f32,
    /// The fraction of the states that is dropped in training.
    pub dropout: f32,
}

settings!(LstmConfig {
    with_units(units: usize),
    with_activation(activation: Activation),
    with_negative_slope(negative_slope: f32),
    with_dropout(dropout: f32),
});

impl From<&Hyperparameters> for LstmConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            units: hyperparameters.units,
            activation: hyperparameters.activation,
            negative_slope: 0.5,
            dropout: 0.2,
        }
    }
}

impl NetworkSpec for LstmConfig {
    fn validate(&self) -> crate::Result<()> {
        size("units", self.units)?;
        dropout_rate(self.dropout)
    }

    fn default_loss(&self) -> Loss {
        Loss::LogCosh
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let &Self {
            units,
            activation,
            negative_slope,
            dropout,
        } = self;
        Ok(Box::new(RecurrentHead {
            recurrent: Recurrent::lstm(parameters, "lstm", input.features, units, activation)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            negative_slope,
            dropout,
        }))
    }
}
