//! The integration tests of btc-features.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod brute_force;
mod crash;
mod dataset;
#[cfg(feature = "sqlite")]
mod feast;
mod golden;
#[cfg(feature = "sqlite")]
mod kinds;
#[cfg(feature = "sqlite")]
mod on_demand;
#[cfg(feature = "sqlite")]
mod online;
mod quality;
mod registry;
mod retrieval;
mod support;
