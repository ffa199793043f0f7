//! The integration tests of btc-features.

mod golden;
mod registry;
mod support;
