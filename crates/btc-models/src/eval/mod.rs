//! How good forecasts are, and whether one is better than another.

pub mod backtest;
pub mod metrics;
pub(crate) mod special;
pub mod stats;
