//! An LSTM that encodes the window and one that decodes it.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, size};
use crate::nn::layers::{Activation, Linear, Mode, Output, Recurrent};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// LSTM, its last state repeated for each step, LSTM, dense layer over all states.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EncoderDecoderConfig {
    /// The width of both LSTMs.
    pub units: usize,
    /// The function inside the LSTMs.
    pub activation: Activation,
}

settings!(EncoderDecoderConfig {
    with_units(units: usize),
    with_activation(activation: Activation),
});

impl From<&Hyperparameters> for EncoderDecoderConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            units: hyperparameters.units,
            activation: hyperparameters.activation,
        }
    }
}

impl NetworkSpec for EncoderDecoderConfig {
    fn validate(&self) -> crate::Result<()> {
        size("units", self.units)
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let &Self { units, activation } = self;
        let timesteps = input.timesteps;
        Ok(Box::new(EncoderDecoder {
            encoder: Recurrent::lstm(parameters, "encoder", input.features, units, activation)?,
            decoder: Recurrent::lstm(parameters, "decoder", units, units, activation)?,
            head: Linear::new(parameters, "head", timesteps * units, input.outputs)?,
            timesteps,
        }))
    }
}

#[derive(Debug)]
struct EncoderDecoder {
    encoder: Recurrent,
    decoder: Recurrent,
    head: Linear,
    timesteps: usize,
}

impl Network for EncoderDecoder {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let code = self.encoder.forward(x, Output::Last)?.unsqueeze(1)?;
        let (batch, _, units) = code.dims3()?;
        let repeated = code
            .broadcast_as((batch, self.timesteps, units))?
            .contiguous()?;
        let states = self.decoder.forward(&repeated, Output::Sequence)?;
        self.head.forward_flat(&states)
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let code = self.encoder.export(graph, x, Output::Last)?;
        let units = code.dims().iter().product();
        let code = graph.reshape(&code, &[1, units])?;
        let repeated = vec![code; self.timesteps];
        let repeated = graph.concat(&repeated, 0)?;
        let states = self.decoder.export(graph, &repeated, Output::Sequence)?;
        let states = graph.flatten(&states)?;
        self.head.export(graph, &states)
    }
}
