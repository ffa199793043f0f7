//! Networks that map a window of features to the targets: the crate's own and those that are
//! registered.
//!
//! Each of the crate's own is one file with its settings, their validation, its default loss and
//! how it is built. A network of the caller's own is the same in the caller's program: settings
//! that implement [`Named`] and [`NetworkSpec`], and a [`Network`].

/// Gives the settings of a network defaults, which follow from those of [`Hyperparameters`], and a
/// `with_` for each of them.
macro_rules! settings {
    ($type:ident { $($setter:ident($field:ident: $kind:ty)),* $(,)? }) => {
        impl Default for $type {
            fn default() -> Self {
                (&$crate::Hyperparameters::default()).into()
            }
        }

        impl $type {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](Self::", stringify!($field), ").")]
                #[must_use]
                pub fn $setter(mut self, $field: $kind) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

mod attention;
mod cnn;
mod cnn_lstm;
mod conv_lstm;
mod d_linear;
mod encoder_decoder;
mod gru;
mod hyperparameters;
mod lstm;
mod model_type;
mod n_linear;
mod patch_tst;
mod recurrent_head;
mod tcn;

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

pub use attention::AttentionConfig;
pub use cnn::CnnConfig;
pub use cnn_lstm::CnnLstmConfig;
pub use conv_lstm::ConvLstmConfig;
pub use d_linear::DLinearConfig;
pub use encoder_decoder::EncoderDecoderConfig;
pub use gru::GruConfig;
pub use hyperparameters::Hyperparameters;
pub use lstm::LstmConfig;
pub use model_type::ModelType;
pub use n_linear::NLinearConfig;
pub use patch_tst::PatchTstConfig;
pub use tcn::TcnConfig;

use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
use crate::registry::{Custom, Named, open_enum, registry, restored};
use crate::{Error, Loss, Result};

/// The settings of a network: what it takes to build it.
pub trait NetworkSpec: Debug + Send + Sync {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    ///
    /// Sizes that no network can have.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// The loss that the network is trained with unless told otherwise.
    fn default_loss(&self) -> Loss {
        Loss::Mse
    }

    /// Builds the network, taking each of its weights from `parameters`.
    ///
    /// # Errors
    ///
    /// Two weights of one name; stored weights that are not the network's.
    fn build(
        &self,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> candle_core::Result<Box<dyn Network>>;
}

registry! {
    /// Makes bundles of the network `C` loadable in this process.
    pub register_network, NETWORKS: dyn NetworkSpec, "network", ModelType::NAMES
}

/// A network and its sizes.
///
/// In JSON it is an object of the settings beside `"type"`, the network's name.
///
/// ```
/// use btc_models::{Hyperparameters, ModelType, NetworkConfig};
///
/// let hyperparameters = Hyperparameters::default().with_units(16);
/// let network = NetworkConfig::new(ModelType::Gru, &hyperparameters);
/// assert_eq!(network.name(), "GRU");
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", remote = "Self")]
#[non_exhaustive]
pub enum NetworkConfig {
    /// See [`ModelType::Lstm`].
    #[serde(rename = "LSTM")]
    Lstm(LstmConfig),
    /// See [`ModelType::Gru`].
    #[serde(rename = "GRU")]
    Gru(GruConfig),
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
    /// One that is registered under its name; see [`NetworkConfig::custom`].
    #[serde(skip)]
    Custom(Custom<dyn NetworkSpec>),
}

open_enum!(NetworkConfig, ModelType::NAMES);

impl NetworkConfig {
    /// The network of `model_type` with the sizes that `hyperparameters` gives.
    pub fn new(model_type: ModelType, hyperparameters: &Hyperparameters) -> Self {
        match model_type {
            ModelType::Lstm => Self::Lstm(hyperparameters.into()),
            ModelType::Gru => Self::Gru(hyperparameters.into()),
            ModelType::Cnn => Self::Cnn(hyperparameters.into()),
            ModelType::CnnLstm => Self::CnnLstm(hyperparameters.into()),
            ModelType::Attention => Self::Attention(hyperparameters.into()),
            ModelType::LstmEncoderDecoder => Self::LstmEncoderDecoder(hyperparameters.into()),
            ModelType::Tcn => Self::Tcn(hyperparameters.into()),
            ModelType::ConvLstm2d => Self::ConvLstm2d(hyperparameters.into()),
            ModelType::NLinear => Self::NLinear(hyperparameters.into()),
            ModelType::DLinear => Self::DLinear(hyperparameters.into()),
            ModelType::PatchTst => Self::PatchTst(hyperparameters.into()),
        }
    }

    /// A network of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + NetworkSpec>(spec: &C) -> Result<Self> {
        Custom::register(&NETWORKS, restored!(C, NetworkSpec), spec).map(Self::Custom)
    }

    /// The name under which users know the network.
    pub fn name(&self) -> &str {
        match self {
            Self::Custom(custom) => custom.name(),
            own => own.model_type().map_or("", ModelType::name),
        }
    }

    /// Which of the crate's own networks it is; `None` if it is none of them.
    pub fn model_type(&self) -> Option<ModelType> {
        Some(self.own()?.0)
    }

    /// The loss that the network is trained with unless told otherwise.
    ///
    /// # Errors
    ///
    /// The network is not registered.
    pub fn default_loss(&self) -> Result<Loss> {
        self.with_spec(|spec| Ok(spec.default_loss()))
    }

    /// Checks sizes that no network can have.
    pub(crate) fn validate(&self) -> Result<()> {
        self.with_spec(|spec| spec.validate())
    }

    /// Builds the network, taking its weights from `parameters`.
    pub(crate) fn build(
        &self,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn Network>> {
        self.with_spec(|spec| Ok(spec.build(input, parameters)?))
    }

    fn with_spec<T>(&self, f: impl FnOnce(&dyn NetworkSpec) -> Result<T>) -> Result<T> {
        match self {
            Self::Custom(custom) => f(custom.get(&NETWORKS)?),
            own => match own.own() {
                Some((_, spec)) => f(spec),
                None => Err(Error::unknown("network", own.name(), &ModelType::NAMES)),
            },
        }
    }

    /// One of the crate's own, with its settings.
    fn own(&self) -> Option<(ModelType, &dyn NetworkSpec)> {
        Some(match self {
            Self::Lstm(spec) => (ModelType::Lstm, spec),
            Self::Gru(spec) => (ModelType::Gru, spec),
            Self::Cnn(spec) => (ModelType::Cnn, spec),
            Self::CnnLstm(spec) => (ModelType::CnnLstm, spec),
            Self::Attention(spec) => (ModelType::Attention, spec),
            Self::LstmEncoderDecoder(spec) => (ModelType::LstmEncoderDecoder, spec),
            Self::Tcn(spec) => (ModelType::Tcn, spec),
            Self::ConvLstm2d(spec) => (ModelType::ConvLstm2d, spec),
            Self::NLinear(spec) => (ModelType::NLinear, spec),
            Self::DLinear(spec) => (ModelType::DLinear, spec),
            Self::PatchTst(spec) => (ModelType::PatchTst, spec),
            Self::Custom(_) => return None,
        })
    }
}

/// Checks a size: at least 1, and no more than what fits into memory.
fn size(name: &'static str, value: usize) -> Result<()> {
    if value == 0 || 4096 < value {
        return Err(Error::invalid(name, value, "between 1 and 4096"));
    }
    Ok(())
}

fn odd_size(name: &'static str, value: usize) -> Result<()> {
    size(name, value)?;
    if value.is_multiple_of(2) {
        return Err(Error::invalid(name, value, "odd"));
    }
    Ok(())
}

fn dropout_rate(value: f32) -> Result<()> {
    if !(0.0..1.0).contains(&value) {
        return Err(Error::invalid("dropout", value, "at least 0 and below 1"));
    }
    Ok(())
}
