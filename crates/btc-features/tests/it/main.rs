//! The integration tests of btc-features.

mod brute_force;
mod golden;
mod registry;
mod retrieval;
mod support;
