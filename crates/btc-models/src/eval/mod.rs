//! How good forecasts are, and whether one is better than another.

pub mod backtest;
pub mod metrics;
#[cfg_attr(
    not(feature = "nn"),
    allow(
        dead_code,
        reason = "networks alone need quantiles of the normal distribution"
    )
)]
pub(crate) mod special;
pub mod stats;
