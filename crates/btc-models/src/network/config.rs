use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::nn::optimizer::Optimizer;
use crate::{Error, Loss, Result};

/// The networks there are, by the names under which users know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ModelType {
    /// Long short-term memory.
    #[serde(rename = "LSTM")]
    Lstm,
    /// Gated recurrent unit.
    #[serde(rename = "GRU")]
    Gru,
    /// A convolution over time and all features.
    #[serde(rename = "CNN")]
    Cnn,
    /// A convolution per step, pooled and followed by an LSTM.
    #[serde(rename = "CNNLSTM")]
    CnnLstm,
    /// An LSTM whose states attend to each other.
    Attention,
    /// An LSTM that encodes the window and one that decodes it.
    #[serde(rename = "LSTMEncoderDecoder")]
    LstmEncoderDecoder,
    /// Dilated causal convolutions.
    #[serde(rename = "TCN")]
    Tcn,
    /// A convolutional LSTM as encoder and an LSTM as decoder.
    #[serde(rename = "ConvLSTM2D")]
    ConvLstm2d,
    /// A linear map of the window relative to its last step.
    NLinear,
    /// Two linear maps: of the window's trend and of the rest.
    DLinear,
    /// A transformer over patches of the window.
    #[serde(rename = "PatchTST")]
    PatchTst,
}

impl ModelType {
    /// Every network, those of the first release first.
    pub const ALL: [Self; 11] = [
        Self::Lstm,
        Self::Gru,
        Self::Cnn,
        Self::CnnLstm,
        Self::Attention,
        Self::LstmEncoderDecoder,
        Self::Tcn,
        Self::ConvLstm2d,
        Self::NLinear,
        Self::DLinear,
        Self::PatchTst,
    ];

    /// The name, as [`FromStr`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lstm => "LSTM",
            Self::Gru => "GRU",
            Self::Cnn => "CNN",
            Self::CnnLstm => "CNNLSTM",
            Self::Attention => "Attention",
            Self::LstmEncoderDecoder => "LSTMEncoderDecoder",
            Self::Tcn => "TCN",
            Self::ConvLstm2d => "ConvLSTM2D",
            Self::NLinear => "NLinear",
            Self::DLinear => "DLinear",
            Self::PatchTst => "PatchTST",
        }
    }
}

impl fmt::Display for ModelType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for ModelType {
    type Err = Error;

    /// Takes the name in upper, lower or mixed case.
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|model| model.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| Error::unknown("model type", name, &Self::ALL.map(Self::name)))
    }
}

/// The function between the layers of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// The hyperbolic tangent.
    #[default]
    Tanh,
    /// The rectifier: negative numbers become zero.
    Relu,
}

impl Activation {
    /// Every activation.
    pub const ALL: [Self; 2] = [Self::Tanh, Self::Relu];

    /// The name, as [`FromStr`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Relu => "relu",
        }
    }
}

impl fmt::Display for Activation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Activation {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|activation| activation.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| Error::unknown("activation", name, &Self::ALL.map(Self::name)))
    }
}

/// What a study varies, whatever the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hyperparameters {
    /// Rows in a window.
    pub timesteps: usize,
    /// Windows in a batch.
    pub batch_size: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// The function between layers.
    pub activation: Activation,
    /// How steps are taken.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub lr: f64,
    /// The width of recurrent layers.
    pub units: usize,
    /// The number of filters of CNNLSTM and TCN; CNN has 32 and ConvLSTM2D 64.
    pub filters: usize,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            timesteps: 10,
            batch_size: 32,
            epochs: 50,
            activation: Activation::Tanh,
            optimizer: Optimizer::Adam,
            lr: 1e-3,
            units: 32,
            filters: 40,
        }
    }
}

/// A network and its sizes.
///
/// ```
/// use btc_models::{Hyperparameters, ModelType, NetworkConfig};
///
/// let hyperparameters = Hyperparameters { units: 16, ..Default::default() };
/// let network = NetworkConfig::new(ModelType::Gru, &hyperparameters);
/// assert_eq!(network.model_type(), ModelType::Gru);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
#[non_exhaustive]
pub enum NetworkConfig {
    /// See [`ModelType::Lstm`].
    #[serde(rename = "LSTM")]
    Lstm(RecurrentConfig),
    /// See [`ModelType::Gru`].
    #[serde(rename = "GRU")]
    Gru(RecurrentConfig),
    /// See [`ModelType::Cnn`].
    #[serde(rename = "CNN")]
    Cnn(CnnConfig),
    /// See [`ModelType::CnnLstm`].
    #[serde(rename = "CNNLSTM")]
    CnnLstm(CnnLstmConfig),
    /// See [`ModelType::Attention`].
    Attention(AttentionConfig),
    /// See [`ModelType::LstmEncoderDecoder`].
    #[serde(rename = "LSTMEncoderDecoder")]
    LstmEncoderDecoder(EncoderDecoderConfig),
    /// See [`ModelType::Tcn`].
    #[serde(rename = "TCN")]
    Tcn(TcnConfig),
    /// See [`ModelType::ConvLstm2d`].
    #[serde(rename = "ConvLSTM2D")]
    ConvLstm2d(ConvLstmConfig),
    /// See [`ModelType::NLinear`].
    NLinear(NLinearConfig),
    /// See [`ModelType::DLinear`].
    DLinear(DLinearConfig),
    /// See [`ModelType::PatchTst`].
    #[serde(rename = "PatchTST")]
    PatchTst(PatchTstConfig),
}

macro_rules! config {
    ($(#[$docs:meta])* $name:ident { $($(#[$field_docs:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$docs])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub struct $name { $($(#[$field_docs])* pub $field: $type,)* }
    };
}

config! {
    /// Recurrent layer, leaky rectifier, dropout, dense layer.
    RecurrentConfig {
        /// The width of the recurrent layer.
        units: usize,
        /// The function inside the recurrent layer.
        activation: Activation,
        /// The slope of the leaky rectifier where its argument is negative.
        negative_slope: f32,
        /// The share of the states that is dropped in training.
        dropout: f32,
    }
}
config! {
    /// One convolution over `kernel` steps and all features, activation, dense layer.
    CnnConfig {
        /// The number of filters.
        filters: usize,
        /// Steps that a filter sees; a shorter window is seen whole.
        kernel: usize,
        /// The function after the convolution.
        activation: Activation,
    }
}
config! {
    /// Convolution per step, maximum over pairs of steps, LSTM over the whole, dense layer.
    CnnLstmConfig {
        /// The number of filters.
        filters: usize,
        /// The width of the LSTM.
        units: usize,
        /// The function after the convolution and inside the LSTM.
        activation: Activation,
    }
}
config! {
    /// LSTM, leaky rectifier, dropout, attention of the states to each other, mean, dense layer.
    AttentionConfig {
        /// The width of the LSTM.
        units: usize,
        /// The function inside the LSTM.
        activation: Activation,
        /// The slope of the leaky rectifier where its argument is negative.
        negative_slope: f32,
        /// The share of the states that is dropped in training.
        dropout: f32,
    }
}
config! {
    /// LSTM, its last state repeated for each step, LSTM, dense layer over all states.
    EncoderDecoderConfig {
        /// The width of both LSTMs.
        units: usize,
        /// The function inside the LSTMs.
        activation: Activation,
    }
}
config! {
    /// Residual blocks of two causal convolutions with doubling dilation, dense layer.
    TcnConfig {
        /// The number of filters of each convolution.
        filters: usize,
        /// Steps that a filter sees.
        kernel: usize,
        /// The function after each convolution.
        activation: Activation,
        /// The share of values that is dropped in training.
        dropout: f32,
    }
}
config! {
    /// Convolutional LSTM over neighbouring features, LSTM over the whole, two dense layers.
    ConvLstmConfig {
        /// The number of filters of the convolutional LSTM.
        filters: usize,
        /// The number of neighbouring features that a filter sees, an odd number.
        kernel: usize,
        /// The width of the LSTM and of the first dense layer.
        units: usize,
        /// The function inside both recurrent layers.
        activation: Activation,
    }
}
config! {
    /// A linear map of the window relative to its last step, and one of that step (after Zeng
    /// et al. 2023).
    NLinearConfig {}
}
config! {
    /// A linear map of the window's moving average, and one of the rest (after Zeng et al. 2023).
    DLinearConfig {
        /// Steps of the moving average, an odd number.
        moving_average: usize,
    }
}
config! {
    /// A transformer encoder over patches of the window (after Nie et al. 2023).
    PatchTstConfig {
        /// Steps in a patch; a shorter window is one patch.
        patch: usize,
        /// Steps between the starts of patches.
        stride: usize,
        /// The width of the encoder, a multiple of `heads`.
        width: usize,
        /// Heads of attention.
        heads: usize,
        /// Layers of the encoder.
        layers: usize,
        /// The share of values that is dropped in training.
        dropout: f32,
    }
}

impl NetworkConfig {
    /// The network of `model_type` with the sizes that `hyperparameters` gives.
    pub fn new(model_type: ModelType, hyperparameters: &Hyperparameters) -> Self {
        let &Hyperparameters {
            activation,
            units,
            filters,
            ..
        } = hyperparameters;
        let recurrent = RecurrentConfig {
            units,
            activation,
            negative_slope: 0.5,
            dropout: 0.2,
        };
        match model_type {
            ModelType::Lstm => Self::Lstm(recurrent),
            ModelType::Gru => Self::Gru(recurrent),
            ModelType::Cnn => Self::Cnn(CnnConfig {
                filters: 32,
                kernel: 3,
                activation,
            }),
            ModelType::CnnLstm => Self::CnnLstm(CnnLstmConfig {
                filters,
                units,
                activation,
            }),
            ModelType::Attention => Self::Attention(AttentionConfig {
                units,
                activation,
                negative_slope: 0.5,
                dropout: 0.2,
            }),
            ModelType::LstmEncoderDecoder => {
                Self::LstmEncoderDecoder(EncoderDecoderConfig { units, activation })
            }
            ModelType::Tcn => Self::Tcn(TcnConfig {
                filters,
                kernel: 3,
                activation,
                dropout: 0.05,
            }),
            ModelType::ConvLstm2d => Self::ConvLstm2d(ConvLstmConfig {
                filters: 64,
                kernel: 3,
                units,
                activation,
            }),
            ModelType::NLinear => Self::NLinear(NLinearConfig {}),
            ModelType::DLinear => Self::DLinear(DLinearConfig { moving_average: 5 }),
            ModelType::PatchTst => Self::PatchTst(PatchTstConfig {
                patch: 4,
                stride: 2,
                width: units,
                heads: 4,
                layers: 2,
                dropout: 0.1,
            }),
        }
    }

    /// Which network it is.
    pub fn model_type(&self) -> ModelType {
        match self {
            Self::Lstm(_) => ModelType::Lstm,
            Self::Gru(_) => ModelType::Gru,
            Self::Cnn(_) => ModelType::Cnn,
            Self::CnnLstm(_) => ModelType::CnnLstm,
            Self::Attention(_) => ModelType::Attention,
            Self::LstmEncoderDecoder(_) => ModelType::LstmEncoderDecoder,
            Self::Tcn(_) => ModelType::Tcn,
            Self::ConvLstm2d(_) => ModelType::ConvLstm2d,
            Self::NLinear(_) => ModelType::NLinear,
            Self::DLinear(_) => ModelType::DLinear,
            Self::PatchTst(_) => ModelType::PatchTst,
        }
    }

    /// The name under which users know the network.
    pub fn name(&self) -> &str {
        self.model_type().name()
    }

    /// The loss that the network is trained with unless told otherwise.
    pub fn default_loss(&self) -> Loss {
        match self {
            Self::Lstm(_) | Self::Cnn(_) => Loss::LogCosh,
            _ => Loss::Mse,
        }
    }

    /// Checks sizes that no network can have.
    pub(crate) fn validate(&self) -> Result<()> {
        let positive = |name, value: usize| {
            if value == 0 || 4096 < value {
                return Err(Error::invalid(name, value, "between 1 and 4096"));
            }
            Ok(())
        };
        let odd = |name, value: usize| {
            positive(name, value)?;
            if value.is_multiple_of(2) {
                return Err(Error::invalid(name, value, "odd"));
            }
            Ok(())
        };
        let share = |value: f32| {
            if !(0.0..1.0).contains(&value) {
                return Err(Error::invalid("dropout", value, "at least 0 and below 1"));
            }
            Ok(())
        };
        match self {
            Self::Lstm(config) | Self::Gru(config) => {
                positive("units", config.units)?;
                share(config.dropout)
            }
            Self::Cnn(config) => {
                positive("filters", config.filters)?;
                positive("kernel", config.kernel)
            }
            Self::CnnLstm(config) => {
                positive("filters", config.filters)?;
                positive("units", config.units)
            }
            Self::Attention(config) => {
                positive("units", config.units)?;
                share(config.dropout)
            }
            Self::LstmEncoderDecoder(config) => positive("units", config.units),
            Self::Tcn(config) => {
                positive("filters", config.filters)?;
                positive("kernel", config.kernel)?;
                share(config.dropout)
            }
            Self::ConvLstm2d(config) => {
                positive("filters", config.filters)?;
                positive("units", config.units)?;
                odd("kernel", config.kernel)
            }
            Self::NLinear(_) => Ok(()),
            Self::DLinear(config) => odd("moving_average", config.moving_average),
            Self::PatchTst(config) => {
                positive("patch", config.patch)?;
                positive("stride", config.stride)?;
                positive("heads", config.heads)?;
                positive("layers", config.layers)?;
                positive("width", config.width)?;
                share(config.dropout)?;
                if !config.width.is_multiple_of(config.heads) {
                    return Err(Error::invalid("width", config.width, "a multiple of heads"));
                }
                Ok(())
            }
        }
    }
}
