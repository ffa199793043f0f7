//! The range of a real parameter.

use std::ops::RangeInclusive;

use crate::decimal;
use crate::error::{Error, Result};

/// The range of a real parameter.
///
/// ```
/// use btc_tune::FloatDistribution;
/// let rate = FloatDistribution::log(1e-5, 1e-1)?;
/// let dropout = FloatDistribution::stepped(0.0, 0.6, 0.05)?;
/// assert_eq!((rate.is_log(), dropout.step()), (true, Some(0.05)));
/// assert!(FloatDistribution::new(1.0, 0.0).is_err());
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FloatDistribution {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) log: bool,
    pub(super) step: Option<f64>,
}

impl FloatDistribution {
    /// Describes values between `low` and `high`, both included.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `low <= high` and both are finite.
    pub fn new(low: f64, high: f64) -> Result<Self> {
        Self::build(low, high, false, None)
    }

    /// Describes values that are sampled uniformly on the scale of their logarithm.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `0 < low <= high` and both are finite.
    pub fn log(low: f64, high: f64) -> Result<Self> {
        Self::build(low, high, true, None)
    }

    /// Describes the values `low`, `low + step`, ...; `high` is lowered to the last that fits.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `low <= high`, both finite, and `step > 0`.
    pub fn stepped(low: f64, high: f64, step: f64) -> Result<Self> {
        Self::build(low, high, false, Some(step))
    }

    pub(crate) fn build(low: f64, high: f64, log: bool, step: Option<f64>) -> Result<Self> {
        let invalid = |reason: String| Err(Error::InvalidDistribution { reason });
        if !(low.is_finite() && high.is_finite()) {
            return invalid(format!("bounds must be finite, not {low} and {high}"));
        }
        if low > high {
            return invalid(format!("low must not exceed high, but {low} > {high}"));
        }
        if log && low <= 0.0 {
            return invalid(format!(
                "low must be above 0 on a logarithmic scale, not {low}"
            ));
        }
        if !(high - low).is_finite() {
            return invalid(format!(
                "the width of {low} to {high} is beyond the largest number; choose narrower bounds"
            ));
        }
        let mut high = high;
        if let Some(step) = step {
            if log {
                return invalid("a step and a logarithmic scale exclude each other".to_owned());
            }
            if !(step > 0.0 && step.is_finite()) {
                return invalid(format!("step must be a number above 0, not {step}"));
            }
            high = decimal::last_step(low, high, step);
        }
        Ok(Self {
            low,
            high,
            log,
            step,
        })
    }

    /// The smallest value.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The largest value.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Whether values are sampled on the scale of their logarithm.
    pub fn is_log(&self) -> bool {
        self.log
    }

    /// The distance between neighbouring values, if they are discrete.
    pub fn step(&self) -> Option<f64> {
        self.step
    }
}

impl TryFrom<RangeInclusive<f64>> for FloatDistribution {
    type Error = Error;

    fn try_from(range: RangeInclusive<f64>) -> Result<Self> {
        Self::new(*range.start(), *range.end())
    }
}
