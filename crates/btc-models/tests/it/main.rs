//! The integration tests of btc-models.

mod bundles;
mod networks;
mod support;
mod training;
