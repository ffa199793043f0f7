//! Functions of each number on its own.

use std::fmt;
use std::str::FromStr;

use candle_core::{Result, Tensor};
use candle_nn::ops;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::nn::kernels::{Map, Mapped, fused};

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

impl Activation {
    /// Applies the function to each number.
    ///
    /// # Errors
    ///
    /// A failure of the device.
    pub fn apply(self, x: &Tensor) -> Result<Tensor> {
        map(x, self.into())
    }
}

impl From<Activation> for Map {
    fn from(activation: Activation) -> Self {
        match activation {
            Activation::Tanh => Self::Tanh,
            Activation::Relu => Self::Relu,
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

    fn from_str(name: &str) -> crate::Result<Self> {
        Self::ALL
            .into_iter()
            .find(|activation| activation.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| Error::unknown("activation", name, &Self::ALL.map(Self::name)))
    }
}

/// Applies a function to each number.
///
/// # Errors
///
/// A failure of the device.
pub fn map(x: &Tensor, map: Map) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(Mapped(map));
    }
    match map {
        Map::Relu => x.relu(),
        Map::LeakyRelu(slope) => ops::leaky_relu(x, f64::from(slope)),
        Map::Sigmoid => ops::sigmoid(x),
        Map::Tanh => x.tanh(),
    }
}
