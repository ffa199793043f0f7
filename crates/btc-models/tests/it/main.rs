//! The integration tests of btc-models.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on fails, and one that is skipped says so"
)]

mod bundle_fixtures;
mod bundles;
mod comparison;
mod golden;
mod networks;
mod own_network;
mod pinned_networks;
mod properties;
mod python;
mod support;
mod training;
mod vectors;
