//! How a series is split in time.

use std::ops::Range;

use crate::{Error, Result};

/// Which rows the windows for training and for validation end in.
///
/// The first validation window ends no earlier than the last target of training is known.
///
/// ```
/// use btc_models::Split;
///
/// // Windows end in rows 3 to 22 of 24; the last tenth of them is for validation.
/// let split = Split::new(24, 3, 1, 0.1)?;
/// assert_eq!((split.train, split.validation), (3..21, 21..23));
/// # Ok::<(), btc_models::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Split {
    /// The rows that training windows end in.
    pub train: Range<usize>,
    /// The rows that validation windows end in.
    pub validation: Range<usize>,
}

impl Split {
    /// Splits a series of `rows` rows, of which the first window ends in row `first`, so that the
    /// fraction `validation` of the windows, at least one if it is not 0, is for validation.
    ///
    /// # Errors
    ///
    /// A fraction that is not at least 0 and below 1, and [`Error::SeriesTooShort`] if there are
    /// not two windows for training.
    pub fn new(rows: usize, first: usize, horizon: usize, validation: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&validation) {
            let expected = "at least 0 and below 1";
            return Err(Error::invalid("validation_fraction", validation, expected));
        }
        let least = 2 + if 0.0 < validation { horizon } else { 0 };
        let needed = first + horizon + least;
        if rows < needed {
            return Err(Error::SeriesTooShort { rows, needed });
        }
        let ends = first..rows - horizon;
        if validation == 0.0 {
            return Ok(Self {
                train: ends.clone(),
                validation: ends.end..ends.end,
            });
        }
        let share = (ends.len() as f64 * validation).round() as usize;
        let most = ends.len() - horizon - 1;
        let validation = ends.end - share.clamp(1, most.max(1))..ends.end;
        let train = ends.start..validation.start + 1 - horizon;
        Ok(Self { train, validation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: usize, horizon: usize, fraction: f64, train: Range<usize>, val: Range<usize>) {
        let split = Split::new(rows, 3, horizon, fraction).unwrap();
        assert_eq!((split.train, split.validation), (train, val));
    }

    #[test]
    fn validation_begins_when_the_last_training_target_is_known() {
        check(24, 1, 0.1, 3..21, 21..23);
        check(24, 1, 0.0, 3..23, 23..23);
        check(24, 3, 0.2, 3..15, 17..21);
    }

    #[test]
    fn a_series_without_two_training_windows_is_refused() {
        assert!(Split::new(6, 3, 1, 0.1).is_err());
        assert!(Split::new(7, 3, 1, 0.1).is_ok());
        assert!(Split::new(24, 3, 1, 1.0).is_err());
        assert!(Split::new(24, 3, 1, f64::NAN).is_err());
    }
}
