//! Which rows train, which select, and which are held out.

use std::ops::Range;

use crate::{Error, Result};

/// A chronological split of a training table.
///
/// An *origin* is the row a forecast is made from; its target is the next
/// row. Every target of a part lies after every target of the part before.
///
/// ```
/// use btc_pipeline::Split;
///
/// let split = Split::new(100, 5, 20, 10).unwrap();
/// assert_eq!(split.training, 0..75);  // the last target trained on is row 74
/// assert_eq!(split.selection, 74..79); // targets 75..80
/// assert_eq!(split.holdout, 79..99); // targets 80..100
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split {
    /// Rows that networks are fitted on, validation included.
    pub training: Range<usize>,
    /// Origins of the forecasts that trials are compared by.
    pub selection: Range<usize>,
    /// Origins of the forecasts that are looked at once, at registration.
    pub holdout: Range<usize>,
}

/// Windows below which fitting a network makes no sense.
const FEWEST_WINDOWS: usize = 40;

impl Split {
    /// Splits `rows` rows so that the last `holdout` targets are held out and
    /// the `selection` targets before them select.
    ///
    /// # Errors
    ///
    /// [`Error::TooShort`] if fewer than 40 windows of `timesteps` rows are
    /// left to train on, or `selection` is zero.
    pub fn new(rows: usize, selection: usize, holdout: usize, timesteps: usize) -> Result<Self> {
        let needed = holdout
            .saturating_add(selection.max(1))
            .saturating_add(timesteps)
            .saturating_add(FEWEST_WINDOWS);
        if rows < needed || selection == 0 {
            return Err(Error::TooShort {
                rows,
                needed,
                holdout,
                selection,
                timesteps,
            });
        }
        let last_origin = rows - 1;
        let holdout_start = last_origin - holdout;
        let selection_start = holdout_start - selection;
        Ok(Self {
            training: 0..selection_start + 1,
            selection: selection_start..holdout_start,
            holdout: holdout_start..last_origin,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_target_is_in_two_parts(
            rows in 0usize..2000, selection in 0usize..100, holdout in 0usize..200, timesteps in 1usize..40,
        ) {
            let Ok(split) = Split::new(rows, selection, holdout, timesteps) else { return Ok(()) };
            // The last row trained on is the first origin: known when it forecasts.
            prop_assert_eq!(split.training.end - 1, split.selection.start);
            prop_assert_eq!(split.selection.end, split.holdout.start);
            prop_assert_eq!(split.holdout.end, rows - 1);
            prop_assert_eq!(split.selection.len(), selection);
            prop_assert_eq!(split.holdout.len(), holdout);
            prop_assert!(split.training.len() > timesteps);
        }
    }

    #[test]
    fn a_selection_of_nothing_is_refused() {
        assert!(matches!(
            Split::new(1000, 0, 60, 10),
            Err(Error::TooShort { .. })
        ));
    }

    #[test]
    fn absurd_numbers_are_refused_and_do_not_overflow() {
        assert!(Split::new(1000, usize::MAX, usize::MAX, usize::MAX).is_err());
    }
}
