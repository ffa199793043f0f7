//! The integration tests of btc-tune.

mod study;
