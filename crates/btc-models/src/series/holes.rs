//! Instants of the grid for which a series has no row.

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::frame::SeriesFrame;
use crate::{Error, Result};

/// The most missing instants that are listed one by one.
pub const MAX_MISSING: usize = 1000;

/// Consecutive instants of the grid without a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Hole {
    /// When the last row before it is known.
    pub after: DateTime<Utc>,
    /// When the first row after it is known.
    pub before: DateTime<Utc>,
    /// The number of rows that are missing.
    pub missing: usize,
}

/// What is done with a window that has a hole in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HolePolicy {
    /// It is an error that names the missing instants.
    Refuse,
    /// Training leaves the window out; a forecast from it is an error.
    Skip,
    /// Training leaves the window out; a forecast from it carries the missing instants.
    #[default]
    Flag,
}

named!(HolePolicy, "hole policy", {
    Refuse => "refuse",
    Skip => "skip",
    Flag => "flag",
});

impl SeriesFrame {
    /// The holes between the frame's rows, oldest first.
    ///
    /// ```
    /// use btc_models::SeriesFrame;
    ///
    /// let days = ["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-06"];
    /// let known_at = days.map(|day| format!("{day}T00:00:00Z").parse().unwrap());
    /// let frame = SeriesFrame::new(known_at.to_vec(), [("load", vec![1.0, 2.0, 3.0, 4.0])], "load")?;
    /// assert_eq!(frame.holes().len(), 1);
    /// assert_eq!(frame.holes()[0].missing, 2);
    /// # Ok::<(), btc_models::Error>(())
    /// ```
    pub fn holes(&self) -> &[Hole] {
        let (rows, holes) = (&self.storage().hole_rows, &self.storage().holes);
        let view = self.view();
        // A hole before the first row of the view is not between two of its rows.
        let from = rows.partition_point(|row| *row <= view.start);
        let to = rows.partition_point(|row| *row < view.end);
        &holes[from..to.max(from)]
    }

    /// The instants of the grid between the first and the last of `rows` that have no row, at
    /// most the first [`MAX_MISSING`] of them.
    pub fn missing_in(&self, rows: Range<usize>) -> Vec<DateTime<Utc>> {
        let Ok(part) = self.slice(rows) else {
            return Vec::new();
        };
        let each = part.holes().iter().flat_map(|hole| {
            (1..=hole.missing as i64).filter_map(|step| self.storage().grid.later(hole.after, step))
        });
        each.take(MAX_MISSING).collect()
    }

    /// Whether no row is missing between the first and the last of `rows`.
    pub fn is_whole(&self, rows: Range<usize>) -> bool {
        self.slice(rows).is_ok_and(|part| part.holes().is_empty())
    }

    /// The rows among `ends` in which a window of `length` rows ends that may be trained on: it
    /// has no hole, and its target `horizon` steps later has a value.
    ///
    /// # Errors
    ///
    /// [`Error::Holes`] for a window with a hole under [`HolePolicy::Refuse`].
    pub fn training_windows(
        &self,
        ends: Range<usize>,
        length: usize,
        horizon: usize,
        policy: HolePolicy,
    ) -> Result<Vec<usize>> {
        let mut usable = Vec::with_capacity(ends.len());
        for end in ends {
            let window = (end + 1).saturating_sub(length)..end + 1;
            if !self.is_whole(window.clone()) {
                if policy == HolePolicy::Refuse {
                    return Err(self.holes_error(window));
                }
                continue;
            }
            if self.target_at(end, horizon).is_some() {
                usable.push(end);
            }
        }
        Ok(usable)
    }

    /// The missing instants in the window of `length` rows that ends in row `end`, for a forecast
    /// to carry.
    ///
    /// # Errors
    ///
    /// [`Error::Holes`] if there are any, unless the policy is [`HolePolicy::Flag`].
    pub fn missing_for_forecast(
        &self,
        end: usize,
        length: usize,
        policy: HolePolicy,
    ) -> Result<Vec<DateTime<Utc>>> {
        let window = (end + 1).saturating_sub(length)..end + 1;
        if self.is_whole(window.clone()) {
            return Ok(Vec::new());
        }
        match policy {
            HolePolicy::Flag => Ok(self.missing_in(window)),
            HolePolicy::Refuse | HolePolicy::Skip => Err(self.holes_error(window)),
        }
    }

    pub(crate) fn holes_error(&self, rows: Range<usize>) -> Error {
        let until = self.known_at().get(rows.end.saturating_sub(1)).copied();
        let count = self
            .slice(rows.clone())
            .map(|part| part.holes().iter().map(|hole| hole.missing).sum())
            .unwrap_or_default();
        Error::Holes {
            until: until.unwrap_or_default(),
            count,
            missing: self.missing_in(rows),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Error;
    use crate::series::frame::tests::daily_with_holes;

    use super::*;

    // Days 0, 1, 2, 5, 6, 7, 8: days 3 and 4 are missing.
    #[test]
    fn no_window_is_trained_on_across_a_hole() {
        let frame = daily_with_holes(&[0, 1, 2, 5, 6, 7, 8]);
        let windows = |policy| frame.training_windows(1..7, 2, 1, policy);
        // Row 2 has no next day, row 3 no day before, and row 6 is the last.
        assert_eq!(windows(HolePolicy::Flag).unwrap(), [1, 4, 5]);
        let Err(Error::Holes { missing, count, .. }) = windows(HolePolicy::Refuse) else {
            panic!()
        };
        assert_eq!((missing.len(), count), (2, 2));
        assert_eq!(missing[0].to_rfc3339(), "2020-01-04T00:00:00+00:00");
        assert_eq!(
            frame.missing_for_forecast(4, 3, HolePolicy::Flag).unwrap(),
            missing
        );
        assert!(frame.missing_for_forecast(4, 3, HolePolicy::Skip).is_err());
        assert!(
            frame
                .missing_for_forecast(4, 2, HolePolicy::Refuse)
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn a_slice_knows_its_own_holes_alone() {
        let frame = daily_with_holes(&[0, 1, 2, 5, 6, 9]);
        assert_eq!(frame.holes().len(), 2);
        assert_eq!(frame.slice(3..6).unwrap().holes()[0].missing, 2);
        assert_eq!(frame.slice(0..4).unwrap().holes().len(), 1);
        assert!(frame.slice(3..5).unwrap().holes().is_empty());
        assert!(frame.slice(3..3).unwrap().holes().is_empty());
    }
}
