//! The integration tests of btc-models.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and one that is skipped says so"
)]

#[cfg(feature = "nn")]
mod bundle_fixtures;
#[cfg(feature = "nn")]
mod bundles;
#[cfg(feature = "nn")]
mod comparison;
#[cfg(feature = "nn")]
mod covariates;
#[cfg(feature = "nn")]
mod device;
#[cfg(feature = "nn")]
mod golden;
#[cfg(feature = "nn")]
mod holes;
mod judging;
#[cfg(feature = "nn")]
mod networks;
#[cfg(feature = "nn")]
mod onnx;
mod own_network;
#[cfg(feature = "nn")]
mod own_parts;
#[cfg(feature = "nn")]
mod panel;
#[cfg(feature = "nn")]
mod pinned_networks;
#[cfg(feature = "nn")]
mod properties;
#[cfg(feature = "nn")]
mod python;
#[cfg(feature = "nn")]
mod quantile_heads;
#[cfg(feature = "nn")]
mod steps;
#[cfg(feature = "nn")]
mod support;
#[cfg(feature = "nn")]
mod training;
#[cfg(feature = "nn")]
mod vectors;
