//! What networks are made of: weights, layers, losses and optimisers.

pub(crate) mod kernels;
pub mod layers;
pub(crate) mod loss;
pub(crate) mod network;
pub(crate) mod optimizer;
pub(crate) mod parameters;
pub(crate) mod random;
pub(crate) mod registry;

pub use network::{InputShape, Network};
pub use parameters::{Array, Init, Parameters, Part};
pub use random::Stream;
pub use registry::{Custom, Named};
