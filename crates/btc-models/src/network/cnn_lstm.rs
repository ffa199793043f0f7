//! A convolution per step, pooled, and an LSTM over the whole.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, size};
use crate::nn::layers::{Activation, Linear, Mode, Output, Recurrent};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

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

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let y = self.convolution.export(graph, x)?;
        let y = self.activation.export(graph, &y);
        let &[steps, filters] = y.dims() else {
            return Err(crate::Error::NotExportable {
                reason: "a window has two axes".to_owned(),
            });
        };
        let pooled = if steps < 2 {
            y
        } else {
            let pairs = graph.narrow(&y, 0, 0, steps / 2 * 2)?;
            let pairs = graph.reshape(&pairs, &[steps / 2, 2, filters])?;
            let first = graph.narrow(&pairs, 1, 0, 1)?;
            let second = graph.narrow(&pairs, 1, 1, 1)?;
            let dims = first.dims().to_vec();
            graph.apply("Max", &[&first, &second], &[], vec![], &dims)
        };
        let numbers = pooled.dims().iter().product();
        let whole = graph.reshape(&pooled, &[1, numbers])?;
        let code = self.lstm.export(graph, &whole, Output::Last)?;
        self.head.export(graph, &code)
    }
}
