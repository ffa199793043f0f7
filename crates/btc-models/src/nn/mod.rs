//! What networks are made of: weights, layers, losses and optimisers.

pub(crate) mod kernels;
pub mod layers;
pub(crate) mod loss;
mod loss_tensor;
pub(crate) mod network;
pub(crate) mod optimizer;
pub(crate) mod parameters;
pub(crate) mod random;

pub use crate::registry::{Custom, Named};
pub use loss::{LossSpec, register_loss};
pub use network::{InputShape, Network};
pub use optimizer::{OptimizerSpec, OptimizerStep, register_optimizer};
pub use parameters::{Array, Init, Parameters, Part};
pub use random::Stream;
