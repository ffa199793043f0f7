use candle_core::{Result, Tensor};

use super::{AttentionConfig, InputShape, Network};
use crate::nn::kernels::{Map, Output};
use crate::nn::layers::{Linear, Mode, Recurrent, attention, dropout, map};
use crate::nn::parameters::Parameters;

/// An LSTM whose states attend to each other.
#[derive(Debug)]
pub(super) struct Attention {
    lstm: Recurrent,
    head: Linear,
    negative_slope: f32,
    dropout: f32,
}

impl Attention {
    pub(super) fn new(
        config: &AttentionConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let &AttentionConfig {
            units,
            activation,
            negative_slope,
            dropout,
        } = config;
        Ok(Self {
            lstm: Recurrent::lstm(parameters, "lstm", input.features, units, activation)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            negative_slope,
            dropout,
        })
    }
}

impl Network for Attention {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let states = self.lstm.forward(x, Output::Sequence)?;
        let states = map(&states, Map::LeakyRelu(self.negative_slope))?;
        let states = dropout(&states, self.dropout, mode)?;
        let attended = attention(&states, &states, &states)?;
        self.head.forward(&attended.mean(1)?)
    }
}
