//! The range of an integer parameter.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};

/// The range of an integer parameter.
///
/// ```
/// use btc_tune::IntDistribution;
/// let units = IntDistribution::log(16, 1024)?;
/// let batch = IntDistribution::stepped(16, 250, 16)?;
/// assert_eq!((units.is_log(), batch.high()), (true, 240));
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntDistribution {
    pub(super) low: i64,
    pub(super) high: i64,
    pub(super) log: bool,
    pub(super) step: i64,
}

impl IntDistribution {
    /// Describes the integers from `low` to `high`, both included.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `low <= high`.
    pub fn new(low: i64, high: i64) -> Result<Self> {
        Self::build(low, high, false, 1)
    }

    /// Describes integers that are sampled uniformly on the scale of their logarithm.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `1 <= low <= high`.
    pub fn log(low: i64, high: i64) -> Result<Self> {
        Self::build(low, high, true, 1)
    }

    /// Describes `low`, `low + step`, ...; `high` is lowered to the last that fits.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `low <= high` and `step >= 1`.
    pub fn stepped(low: i64, high: i64, step: i64) -> Result<Self> {
        Self::build(low, high, false, step)
    }

    pub(crate) fn build(low: i64, high: i64, log: bool, step: i64) -> Result<Self> {
        // Beyond 2^53 neighbouring integers share one f64, which is what storages keep.
        const LARGEST: u64 = 1 << 53;
        if low.unsigned_abs() > LARGEST || high.unsigned_abs() > LARGEST {
            return Err(Error::InvalidDistribution {
                reason: format!("bounds must lie within ±2^53, not {low} and {high}"),
            });
        }
        Self::read(low, high, log, step)
    }

    /// As `build`, for what another program has stored, which may be wider.
    pub(crate) fn read(low: i64, high: i64, log: bool, step: i64) -> Result<Self> {
        // The width of these bounds is an i64 too.
        const WIDEST: u64 = 1 << 62;
        let invalid = |reason: String| Err(Error::InvalidDistribution { reason });
        if low > high {
            return invalid(format!("low must not exceed high, but {low} > {high}"));
        }
        if low.unsigned_abs() >= WIDEST || high.unsigned_abs() >= WIDEST {
            return invalid(format!(
                "bounds must lie within ±2^62, not {low} and {high}"
            ));
        }
        if step < 1 {
            return invalid(format!("step must be at least 1, not {step}"));
        }
        if log && low < 1 {
            return invalid(format!(
                "low must be at least 1 on a logarithmic scale, not {low}"
            ));
        }
        if log && step != 1 {
            return invalid("a step and a logarithmic scale exclude each other".to_owned());
        }
        Ok(Self {
            low,
            high: low + (high - low) / step * step,
            log,
            step,
        })
    }

    /// The smallest value.
    pub fn low(&self) -> i64 {
        self.low
    }

    /// The largest value.
    pub fn high(&self) -> i64 {
        self.high
    }

    /// Whether values are sampled on the scale of their logarithm.
    pub fn is_log(&self) -> bool {
        self.log
    }

    /// The distance between neighbouring values.
    pub fn step(&self) -> i64 {
        self.step
    }
}

impl TryFrom<RangeInclusive<i64>> for IntDistribution {
    type Error = Error;

    fn try_from(range: RangeInclusive<i64>) -> Result<Self> {
        Self::new(*range.start(), *range.end())
    }
}

impl TryFrom<RangeInclusive<i32>> for IntDistribution {
    type Error = Error;

    fn try_from(range: RangeInclusive<i32>) -> Result<Self> {
        Self::new(i64::from(*range.start()), i64::from(*range.end()))
    }
}
