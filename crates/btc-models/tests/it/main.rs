//! The integration tests of btc-models.

mod bundles;
mod comparison;
mod golden;
mod networks;
mod properties;
mod python;
mod support;
mod training;
mod vectors;
