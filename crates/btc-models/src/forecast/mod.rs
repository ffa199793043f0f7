//! Forecasts, their quantiles and intervals, and the models that make them.

pub(crate) mod interval;
mod model;
mod path;
pub(crate) mod quantiles;
mod spread;

pub use interval::Interval;
pub use model::{FitContext, FittedModel, MAX_HORIZON, Model};
pub use path::{Forecast, Step};
pub use quantiles::Quantiles;
