//! The integration tests of btc-tune.

mod optuna;
mod storage;
mod study;
