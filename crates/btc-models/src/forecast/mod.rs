//! Forecasts, their intervals, and the models that make them.

pub(crate) mod forecast;
pub(crate) mod interval;
mod model;

pub use forecast::Forecast;
pub(crate) use forecast::after;
pub use interval::Interval;
pub use model::{FittedModel, Model};
