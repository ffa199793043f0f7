//! Layers, each fused on the CPU and made of candle's operations elsewhere.

mod activation;
mod attention;
mod convolution;
mod dropout;
mod linear;
mod norm;
mod recurrent;
#[cfg(test)]
pub(crate) mod tests;

pub use activation::{Activation, map};
pub use attention::attention;
pub use convolution::{Convolution, unfold};
pub use dropout::{Mode, dropout};
pub use linear::Linear;
pub use norm::LayerNorm;
pub use recurrent::Recurrent;

pub use crate::nn::kernels::{Map, Output, Unfold};
