//! A convolution per step, pooled, and an LSTM over the whole.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, size};
use crate::nn::layers::{Activation, Linear, Mode, Output, Recurrent};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;

/// Convolution per step, maximum over pairs of steps, LSTM over the whole, dense layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CnnLstmConfig {
    /// The number of filters.
    pub filters: usize,
    /// The width of the LSTM.
    pub units: usize,
    /// The function after the convolution and inside the LSTM.
    pub activation: Activation,
}

settings!(CnnLstmConfig {
    with_filters(filters: usize),
    with_units(units: usize),
    with_activation(activation: Activation),
});

impl From<&Hyperparameters> for CnnLstmConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            filters: hyperparameters.filters,
            units: hyperparameters.units,
            activation: hyperparameters.activation,
        }
    }
}

impl NetworkSpec for CnnLstmConfig {
    fn validate(&self) -> crate::Result<()> {
        size("filters", self.filters)?;
        size("units", self.units)
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let &Self {
            filters,
            units,
            activation,
        } = self;
        let pooled = (input.timesteps / 2).max(1) * filters;
        Ok(Box::new(CnnLstm {
            convolution: Linear::new(parameters, "conv", input.features, filters)?,
            lstm: Recurrent::lstm(parameters, "lstm", pooled, units, activation)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            activation,
        }))
    }
}

#[derive(Debug)]
struct CnnLstm {
    convolution: Linear,
    lstm: Recurrent,
    head: Linear,
    activation: Activation,
}

impl Network for CnnLstm {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let y = self.activation.apply(&self.convolution.forward(x)?)?;
        let (batch, steps, filters) = y.dims3()?;
        let pooled = if steps < 2 {
            y
        } else {
            let pairs = y.narrow(1, 0, steps / 2 * 2)?.contiguous()?;
            let pairs = pairs.reshape((batch, steps / 2, 2, filters))?;
            let (first, second) = (pairs.narrow(2, 0, 1)?, pairs.narrow(2, 1, 1)?);
            first.maximum(&second)?
        };
        let whole = pooled.contiguous()?.reshape((batch, 1, ()))?;
        self.head.forward(&self.lstm.forward(&whole, Output::Last)?)
    }
}
