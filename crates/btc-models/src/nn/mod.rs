//! What networks are made of: weights, layers, losses and optimisers.

pub(crate) mod kernels;
pub(crate) mod layers;
pub(crate) mod loss;
pub(crate) mod optimizer;
pub(crate) mod parameters;
pub(crate) mod random;
