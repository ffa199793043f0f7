//! Forecasts, their quantiles and intervals, and the models that make them.

pub(crate) mod forecast;
pub(crate) mod interval;
mod model;
mod quantiles;
mod spread;

pub use forecast::{Forecast, Step};
pub use interval::Interval;
pub use model::{FitContext, FittedModel, MAX_HORIZON, Model};
pub use quantiles::Quantiles;
