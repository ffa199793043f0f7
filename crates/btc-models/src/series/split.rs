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
    /// The rows that calibration windows end in, see [`with_calibration`](Self::with_calibration).
    pub calibration: Range<usize>,
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
                calibration: ends.end..ends.end,
            });
        }
        let share = (ends.len() as f64 * validation).round() as usize;
        let most = ends.len() - horizon - 1;
        let validation = ends.end - share.clamp(1, most.max(1))..ends.end;
        let train = ends.start..validation.start + 1 - horizon;
        Ok(Self {
            train,
            calibration: validation.end..validation.end,
            validation,
        })
    }

    /// Takes the fraction `calibration` of the validation windows, the last ones, away from them.
    /// It begins when the last target of those that stay is known; one of them does stay.
    ///
    /// # Errors
    ///
    /// A fraction that is not at least 0 and below 1.
    pub fn with_calibration(mut self, horizon: usize, calibration: f64) -> Result<Self> {
        if !(0.0..1.0).contains(&calibration) {
            let expected = "at least 0 and below 1";
            return Err(Error::invalid(
                "calibration_fraction",
                calibration,
                expected,
            ));
        }
        let share = (self.validation.len() as f64 * calibration).round() as usize;
        let share = share.min(self.validation.len().saturating_sub(horizon));
        if 0 < share {
            let end = self.validation.end;
            self.calibration = end - share..end;
            self.validation.end = end - share + 1 - horizon;
        }
        Ok(self)
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
    fn calibration_begins_when_the_last_validation_target_is_known() {
        let split = |horizon, fraction| {
            let split = Split::new(203, 3, horizon, 0.1).unwrap();
            split.with_calibration(horizon, fraction).unwrap()
        };
        let one = split(1, 0.5);
        assert_eq!((one.validation, one.calibration), (182..192, 192..202));
        let three = split(3, 0.5);
        assert_eq!((three.validation, three.calibration), (180..188, 190..200));
        let most = split(3, 0.99);
        assert_eq!((most.validation, most.calibration), (180..181, 183..200));
        assert_eq!(split(3, 0.0).calibration, 200..200);
        // There are fewer windows than steps: none can be taken away.
        assert_eq!(split(40, 0.5).calibration.len(), 0);
        assert!(one.train.end <= 182);
        assert!(
            Split::new(24, 3, 1, 0.1)
                .unwrap()
                .with_calibration(1, 1.0)
                .is_err()
        );
    }

    #[test]
    fn a_series_without_two_training_windows_is_refused() {
        assert!(Split::new(6, 3, 1, 0.1).is_err());
        assert!(Split::new(7, 3, 1, 0.1).is_ok());
        assert!(Split::new(24, 3, 1, 1.0).is_err());
        assert!(Split::new(24, 3, 1, f64::NAN).is_err());
    }
}
