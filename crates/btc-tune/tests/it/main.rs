//! The integration tests of btc-tune.

mod optuna;
mod plots;
#[cfg(all(unix, feature = "sqlite"))]
mod processes;
mod quality;
mod samplers;
mod storage;
mod study;
