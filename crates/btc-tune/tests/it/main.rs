//! The integration tests of btc-tune.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a failing case is meant to panic, and figures and skips are printed"
)]

mod faults;
mod interrupted;
mod optuna;
mod plots;
#[cfg(all(unix, feature = "sqlite"))]
mod processes;
mod quality;
mod samplers;
mod storage;
mod study;
