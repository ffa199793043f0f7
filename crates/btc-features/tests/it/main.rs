//! The integration tests of btc-features.

mod brute_force;
mod feast;
mod golden;
#[cfg(feature = "sqlite")]
mod online;
mod registry;
mod retrieval;
mod support;
