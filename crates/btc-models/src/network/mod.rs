//! Networks that map a window of features to the next target.

mod attention;
mod config;
mod conv_lstm;
mod convolution;
mod linear;
mod recurrent;
mod transformer;

use candle_core::{Result, Tensor};

pub use config::{
    Activation, AttentionConfig, CnnConfig, CnnLstmConfig, ConvLstmConfig, DLinearConfig,
    EncoderDecoderConfig, Hyperparameters, ModelType, NLinearConfig, NetworkConfig, PatchTstConfig,
    RecurrentConfig, TcnConfig,
};

use crate::nn::layers::Mode;
use crate::nn::parameters::Parameters;

/// The sizes that a network is built for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct InputShape {
    pub(crate) timesteps: usize,
    pub(crate) features: usize,
    /// Numbers the network returns for each window.
    pub(crate) outputs: usize,
}

/// A network over windows (batch, timesteps, features), returning (batch, outputs).
pub(crate) trait Network: std::fmt::Debug + Send + Sync {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor>;
}

impl NetworkConfig {
    /// Builds the network, taking its weights from `parameters`.
    pub(crate) fn build(
        &self,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn Network>> {
        Ok(match self {
            Self::Lstm(config) => Box::new(recurrent::Plain::lstm(config, input, parameters)?),
            Self::Gru(config) => Box::new(recurrent::Plain::gru(config, input, parameters)?),
            Self::Cnn(config) => Box::new(convolution::Cnn::new(config, input, parameters)?),
            Self::CnnLstm(config) => {
                Box::new(convolution::CnnLstm::new(config, input, parameters)?)
            }
            Self::Attention(config) => {
                Box::new(attention::Attention::new(config, input, parameters)?)
            }
            Self::LstmEncoderDecoder(config) => {
                Box::new(recurrent::EncoderDecoder::new(config, input, parameters)?)
            }
            Self::Tcn(config) => Box::new(convolution::Tcn::new(config, input, parameters)?),
            Self::ConvLstm2d(config) => {
                Box::new(conv_lstm::ConvLstm::new(config, input, parameters)?)
            }
            Self::NLinear(_) => Box::new(linear::NLinear::new(input, parameters)?),
            Self::DLinear(config) => Box::new(linear::DLinear::new(config, input, parameters)?),
            Self::PatchTst(config) => {
                Box::new(transformer::PatchTst::new(config, input, parameters)?)
            }
        })
    }
}
