//! The integration tests of btc-models.

mod bundles;
mod comparison;
mod networks;
mod support;
mod training;
