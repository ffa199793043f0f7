use candle_core::{Result, Tensor};

use super::{EncoderDecoderConfig, InputShape, Network, RecurrentConfig};
use crate::nn::kernels::{Map, Output};
use crate::nn::layers::{Linear, Mode, Recurrent, dropout, map};
use crate::nn::parameters::Parameters;

/// One recurrent layer and a dense one.
#[derive(Debug)]
pub(super) struct Plain {
    recurrent: Recurrent,
    head: Linear,
    negative_slope: f32,
    dropout: f32,
}

impl Plain {
    pub(super) fn lstm(
        config: &RecurrentConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let &RecurrentConfig {
            units,
            activation,
            negative_slope,
            dropout,
        } = config;
        Ok(Self {
            recurrent: Recurrent::lstm(parameters, "lstm", input.features, units, activation)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            negative_slope,
            dropout,
        })
    }

    pub(super) fn gru(
        config: &RecurrentConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let &RecurrentConfig {
            units,
            activation,
            negative_slope,
            dropout,
        } = config;
        Ok(Self {
            recurrent: Recurrent::gru(parameters, "gru", input.features, units, activation)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            negative_slope,
            dropout,
        })
    }
}

impl Network for Plain {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let h = self.recurrent.forward(x, Output::Last)?;
        let h = map(&h, Map::LeakyRelu(self.negative_slope))?;
        self.head.forward(&dropout(&h, self.dropout, mode)?)
    }
}

/// An LSTM that encodes the window and one that decodes it.
#[derive(Debug)]
pub(super) struct EncoderDecoder {
    encoder: Recurrent,
    decoder: Recurrent,
    head: Linear,
    timesteps: usize,
}

impl EncoderDecoder {
    pub(super) fn new(
        config: &EncoderDecoderConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let &EncoderDecoderConfig { units, activation } = config;
        let timesteps = input.timesteps;
        Ok(Self {
            encoder: Recurrent::lstm(parameters, "encoder", input.features, units, activation)?,
            decoder: Recurrent::lstm(parameters, "decoder", units, units, activation)?,
            head: Linear::new(parameters, "head", timesteps * units, input.outputs)?,
            timesteps,
        })
    }
}

impl Network for EncoderDecoder {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let code = self.encoder.forward(x, Output::Last)?.unsqueeze(1)?;
        let (batch, _, units) = code.dims3()?;
        let repeated = code
            .broadcast_as((batch, self.timesteps, units))?
            .contiguous()?;
        let states = self.decoder.forward(&repeated, Output::Sequence)?;
        self.head.forward(&states.flatten_from(1)?)
    }
}
