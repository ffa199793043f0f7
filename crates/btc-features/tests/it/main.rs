//! The integration tests of btc-features.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[cfg(feature = "sqlite")]
mod aggregates;
mod brute_force;
mod bytes;
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
#[cfg(feature = "sqlite")]
mod push;
mod quality;
mod registry;
mod retrieval;
mod support;
