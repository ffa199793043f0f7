//! Which rows train, which select, and which are held out.

use std::num::NonZeroUsize;
use std::ops::Range;

use crate::{Error, Result};

/// Days of the hold-out unless told otherwise.
pub const DEFAULT_HOLDOUT: usize = 60;

/// A chronological split of a training table.
///
/// An *origin* is the row a forecast is made from; its target is the row
/// `horizon` rows later. Every target of a part lies after every target of the
/// part before, and no origin of the hold-out lies before the last target that
/// selects.
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
    /// Rows between an origin and its target.
    pub horizon: usize,
}

/// Windows below which fitting a network makes no sense.
const FEWEST_WINDOWS: usize = 40;

impl Split {
    /// Splits `rows` rows for forecasts of the next row, so that the last
    /// `holdout` targets are held out and the `selection` targets before them
    /// select.
    ///
    /// # Errors
    ///
    /// As [`Split::with_horizon`].
    pub fn new(rows: usize, selection: usize, holdout: usize, timesteps: usize) -> Result<Self> {
        Self::with_horizon(rows, selection, holdout, timesteps, NonZeroUsize::MIN)
    }

    /// Splits `rows` rows for forecasts of the row `horizon` rows later.
    ///
    /// # Errors
    ///
    /// [`Error::TooShort`] if fewer than 40 windows of `timesteps` rows are
    /// left to train on, or `selection` is zero.
    pub fn with_horizon(
        rows: usize,
        selection: usize,
        holdout: usize,
        timesteps: usize,
        horizon: NonZeroUsize,
    ) -> Result<Self> {
        let horizon = horizon.get();
        // Between the last origin that selects and the first held out, the targets that select
        // become known; and the last target lies as far behind the last origin.
        let gaps = (horizon - 1).saturating_mul(2);
        let needed = holdout
            .saturating_add(selection.max(1))
            .saturating_add(timesteps)
            .saturating_add(FEWEST_WINDOWS)
            .saturating_add(gaps)
            .saturating_add(horizon - 1);
        if rows < needed || selection == 0 {
            return Err(Error::TooShort {
                rows,
                needed,
                holdout,
                selection,
                timesteps,
            });
        }
        let end = rows - horizon;
        let holdout_start = end - holdout;
        let selection_end = holdout_start - (horizon - 1);
        let selection_start = selection_end - selection;
        Ok(Self {
            training: 0..selection_start + 1,
            selection: selection_start..selection_end,
            holdout: holdout_start..end,
            horizon,
        })
    }

    /// Cuts the selection set into consecutive blocks, the first of them at most a row longer.
    /// Each is forecast by a model fitted on every row up to its first origin.
    ///
    /// ```
    /// use std::num::NonZeroUsize;
    /// use btc_pipeline::Split;
    ///
    /// let split = Split::new(100, 5, 20, 10).unwrap();
    /// let blocks = split.blocks(NonZeroUsize::new(2).unwrap()).unwrap();
    /// assert_eq!(blocks, [74..77, 77..79]);
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Folds`] if there are more blocks than rows.
    pub fn blocks(&self, folds: NonZeroUsize) -> Result<Vec<Range<usize>>> {
        let (rows, folds) = (self.selection.len(), folds.get());
        if rows < folds {
            return Err(Error::Folds {
                folds,
                selection: rows,
            });
        }
        let (length, longer) = (rows / folds, rows % folds);
        let mut start = self.selection.start;
        Ok((0..folds)
            .map(|fold| {
                let block = start..start + length + usize::from(fold < longer);
                start = block.end;
                block
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(btc_testing::cases(256))]

        #[test]
        fn no_target_is_in_two_parts(
            rows in 0usize..2000, selection in 0usize..100, holdout in 0usize..200, timesteps in 1usize..40,
            horizon in 1usize..30, folds in 1usize..12,
        ) {
            let horizon = NonZeroUsize::new(horizon).unwrap();
            let Ok(split) = Split::with_horizon(rows, selection, holdout, timesteps, horizon)
            else { return Ok(()) };
            let horizon = horizon.get();
            // The last row trained on is the first origin: known when it forecasts.
            prop_assert_eq!(split.training.end - 1, split.selection.start);
            // The last target that selects is known at the first origin that is held out.
            prop_assert_eq!(split.selection.end - 1 + horizon, split.holdout.start);
            prop_assert_eq!(split.holdout.end + horizon, rows);
            prop_assert_eq!(split.selection.len(), selection);
            prop_assert_eq!(split.holdout.len(), holdout);
            prop_assert!(split.training.len() > timesteps + horizon);
            let blocks = split.blocks(NonZeroUsize::new(folds).unwrap());
            prop_assert_eq!(blocks.is_err(), selection < folds);
            if let Ok(blocks) = blocks {
                prop_assert_eq!(blocks.len(), folds);
                prop_assert_eq!(blocks.into_iter().flatten().collect::<Vec<_>>(), split.selection.collect::<Vec<_>>());
            }
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
        let horizon = NonZeroUsize::MAX;
        assert!(Split::with_horizon(1000, 10, 10, 10, horizon).is_err());
    }
}
