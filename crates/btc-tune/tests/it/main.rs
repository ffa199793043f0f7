//! The integration tests of btc-tune.

mod optuna;
#[cfg(all(unix, feature = "sqlite"))]
mod processes;
mod storage;
mod study;
