//! The names of the crate's own networks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

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

    /// The names, in the same order, as [`FromStr`] takes them.
    pub(crate) const NAMES: [&str; 11] = [
        "LSTM",
        "GRU",
        "CNN",
        "CNNLSTM",
        "Attention",
        "LSTMEncoderDecoder",
        "TCN",
        "ConvLSTM2D",
        "NLinear",
        "DLinear",
        "PatchTST",
    ];

    /// The name, as [`FromStr`] takes it.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize]
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
            .ok_or_else(|| Error::unknown("model type", name, &Self::NAMES))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_the_order_of_the_networks() {
        for (at, model) in ModelType::ALL.into_iter().enumerate() {
            assert_eq!(model as usize, at);
            assert_eq!(model.name().parse::<ModelType>().unwrap(), model);
            assert_eq!(serde_json::to_value(model).unwrap(), model.name());
        }
    }
}
