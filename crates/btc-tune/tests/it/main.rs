//! The integration tests of btc-tune.

mod optuna;
#[cfg(all(unix, feature = "sqlite"))]
mod processes;
mod quality;
mod samplers;
mod storage;
mod study;
