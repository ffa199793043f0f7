//! A table of values in time, of which one column is forecast.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use chrono::{DateTime, Utc};

use super::covariates::{Covariates, Role};
use super::frequency::{Frequency, Grid, MAX_STEPS};
use super::holes::Hole;
use crate::forecast::interval::Spread;
use crate::{Error, Result};

/// A table of values in time: one row per instant, one column per feature.
///
/// Row `i` holds what is known at `known_at()[i]`. One of the columns is the target that is
/// forecast; it has a value in every row. Elsewhere NaN means that a value is missing. Rows lie
/// on the grid of a [`Frequency`], and instants of the grid without a row are
/// [`holes`](Self::holes).
///
/// A part of a frame and its clones share the values.
///
/// ```
/// use btc_models::{Frequency, SeriesFrame};
/// use chrono::{DateTime, TimeDelta};
///
/// let start = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
/// let known_at = (0..3).map(|hour| start + TimeDelta::hours(hour)).collect();
/// let load = ("load", vec![10.0, 11.0, 12.0]);
/// let wind = ("wind", vec![1.0, f64::NAN, 3.0]);
/// let frame = SeriesFrame::new(known_at, [load, wind], "load")?;
/// assert_eq!((frame.rows(), frame.frequency()), (3, Frequency::hours(1)));
/// assert_eq!(frame.slice(1..3)?.target(), [11.0, 12.0]);
/// assert_eq!(frame.target_time(2, 24), Some(start + TimeDelta::hours(26)));
/// # Ok::<(), btc_models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SeriesFrame {
    storage: Arc<Storage>,
    view: Range<usize>,
}

/// The values of a frame and of all its parts.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) known_at: Vec<DateTime<Utc>>,
    /// Instants after the last row for which columns known ahead have values.
    pub(crate) future_at: Vec<DateTime<Utc>>,
    /// The place on the grid of each row, and of each later instant.
    pub(crate) steps: Vec<i64>,
    pub(crate) names: Vec<String>,
    pub(crate) roles: Vec<Role>,
    /// Values by column; columns known ahead go on after the last row.
    pub(crate) columns: Vec<Vec<f64>>,
    pub(crate) covariates: Covariates,
    target: usize,
    pub(crate) grid: Grid,
    pub(crate) holes: Vec<Hole>,
    /// The row after each hole.
    pub(crate) hole_rows: Vec<usize>,
    /// The running variance of the target from the first row on, once it was asked for.
    spread: OnceLock<Arc<Spread>>,
}

impl SeriesFrame {
    /// Checks and takes the columns, and infers the frequency: the commonest step between rows.
    ///
    /// `target` is the name of the column that is forecast. With fewer than two rows there is no
    /// step, and the series is [`Frequency::Irregular`].
    ///
    /// # Errors
    ///
    /// `known_at` must be strictly increasing, the names distinct, all columns as long as the
    /// instants, and the target finite in every row. [`Error::OffGrid`] if there are instants off
    /// the grid; a series without one must say so with [`of_frequency`](Self::of_frequency).
    pub fn new<N: Into<String>>(
        known_at: Vec<DateTime<Utc>>,
        columns: impl IntoIterator<Item = (N, Vec<f64>)>,
        target: &str,
    ) -> Result<Self> {
        let frequency = Frequency::infer(&known_at);
        if frequency == Frequency::Irregular && 2 < known_at.len() {
            return Err(Error::OffGrid {
                frequency,
                count: known_at.len(),
                first: known_at.into_iter().take(3).collect(),
            });
        }
        Self::of_frequency(frequency, known_at, columns, target)
    }

    /// As [`new`](Self::new), with the frequency given.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn of_frequency<N: Into<String>>(
        frequency: Frequency,
        known_at: Vec<DateTime<Utc>>,
        columns: impl IntoIterator<Item = (N, Vec<f64>)>,
        target: &str,
    ) -> Result<Self> {
        let rows = known_at.len();
        let (names, columns): (Vec<String>, Vec<Vec<f64>>) = columns
            .into_iter()
            .map(|(name, values)| (name.into(), values))
            .unzip();
        for (name, column) in names.iter().zip(&columns) {
            if column.len() != rows {
                return Err(Error::series(format!(
                    "{} values of {name:?} do not fit {rows} instants",
                    column.len()
                )));
            }
        }
        if let Some(at) = known_at.windows(2).position(|pair| pair[1] <= pair[0]) {
            return Err(Error::series(format!(
                "row {} is known at {}, not after {} of the row before",
                at + 1,
                known_at[at + 1],
                known_at[at]
            )));
        }
        for (at, name) in names.iter().enumerate() {
            if names[..at].contains(name) {
                return Err(Error::series(format!("two columns are called {name:?}")));
            }
        }
        let Some(target) = names.iter().position(|name| name == target) else {
            return Err(Error::series(format!(
                "no column is called {target:?}; there are {}",
                names.join(", ")
            )));
        };
        if let Some(row) = columns[target].iter().position(|value| !value.is_finite()) {
            return Err(Error::series(format!(
                "the target {:?} is missing in row {row} ({})",
                names[target], known_at[row]
            )));
        }
        let (grid, steps) = Grid::fit(frequency, &known_at)?;
        let (mut holes, mut hole_rows) = (Vec::new(), Vec::new());
        for (row, pair) in steps.windows(2).enumerate() {
            if pair[0] + 1 < pair[1] {
                hole_rows.push(row + 1);
                holes.push(Hole {
                    after: known_at[row],
                    before: known_at[row + 1],
                    missing: (pair[1] - pair[0] - 1) as usize,
                });
            }
        }
        Ok(Self {
            view: 0..rows,
            storage: Arc::new(Storage {
                known_at,
                future_at: Vec::new(),
                steps,
                roles: vec![Role::Past; names.len()],
                names,
                columns,
                covariates: Covariates::default(),
                target,
                grid,
                holes,
                hole_rows,
                spread: OnceLock::new(),
            }),
        })
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.view.len()
    }

    /// The rows of `range` alone. The values are shared, not copied.
    ///
    /// # Errors
    ///
    /// The range must lie inside the frame.
    pub fn slice(&self, range: Range<usize>) -> Result<Self> {
        if range.start > range.end || self.rows() < range.end {
            return Err(Error::series(format!(
                "rows {}..{} are not inside its {} rows",
                range.start,
                range.end,
                self.rows()
            )));
        }
        Ok(Self {
            storage: self.storage.clone(),
            view: self.view.start + range.start..self.view.start + range.end,
        })
    }

    /// The columns' names, in order.
    pub fn names(&self) -> &[String] {
        &self.storage.names
    }

    /// When each row is known.
    pub fn known_at(&self) -> &[DateTime<Utc>] {
        &self.storage.known_at[self.view.clone()]
    }

    /// The step between rows.
    pub fn frequency(&self) -> Frequency {
        self.storage.grid.frequency
    }

    /// The name of the column that is forecast.
    pub fn target_name(&self) -> &str {
        &self.storage.names[self.storage.target]
    }

    /// The column that is forecast.
    pub fn target(&self) -> &[f64] {
        &self.storage.columns[self.storage.target][self.view.clone()]
    }

    /// The column called `name`, NaN where a value is missing; `None` if there is none.
    pub fn column(&self, name: &str) -> Option<&[f64]> {
        let at = self.names().iter().position(|other| other == name)?;
        Some(&self.storage.columns[at][self.view.clone()])
    }

    /// The instant `steps` after the one of a row; none for an irregular series, beyond the
    /// calendar, or more than [`MAX_STEPS`] ahead.
    pub fn target_time(&self, row: usize, steps: usize) -> Option<DateTime<Utc>> {
        (steps <= MAX_STEPS).then_some(())?;
        self.storage
            .grid
            .later(*self.known_at().get(row)?, steps as i64)
    }

    /// The row that is known `steps` after a row, if there is one. In an irregular series a step
    /// is a row.
    pub fn row_at(&self, row: usize, steps: usize) -> Option<usize> {
        let later = self.storage_row_at(row, steps)?;
        (later < self.view.end).then(|| later - self.view.start)
    }

    /// The target's value `steps` after a row, if there is one.
    pub fn target_at(&self, row: usize, steps: usize) -> Option<f64> {
        Some(self.target()[self.row_at(row, steps)?])
    }

    /// The row that was known `steps` before a row, if there is one.
    pub(crate) fn row_before(&self, row: usize, steps: usize) -> Option<usize> {
        let all = &self.storage.steps[self.view.clone()];
        let wanted = all.get(row)?.checked_sub(i64::try_from(steps).ok()?)?;
        match row.checked_sub(steps) {
            Some(earlier) if all[earlier] == wanted => Some(earlier),
            _ => all[..=row].binary_search(&wanted).ok(),
        }
    }

    /// The frame with all rows that its storage has after its last one.
    pub(crate) fn to_its_end(&self) -> Self {
        Self {
            storage: self.storage.clone(),
            view: self.view.start..self.storage.known_at.len(),
        }
    }

    /// Whether it shows the same rows of the same values.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.storage, &other.storage) && self.view == other.view
    }

    /// How many steps a row is after the one before it: 1 where there is no hole.
    pub(crate) fn step_into(&self, row: usize) -> i64 {
        let at = self.view.start + row;
        self.storage.steps[at] - self.storage.steps[at - 1]
    }

    /// How many steps the last row is after the first.
    pub(crate) fn length_in_steps(&self) -> i64 {
        match self.rows() {
            0 => 0,
            _ => self.storage.steps[self.view.end - 1] - self.storage.steps[self.view.start],
        }
    }

    /// The place in the storage of what is known `steps` after a row, later instants included.
    pub(crate) fn storage_row_at(&self, row: usize, steps: usize) -> Option<usize> {
        (row < self.rows()).then_some(())?;
        let (at, all) = (self.view.start + row, &self.storage.steps);
        let wanted = all[at].checked_add(i64::try_from(steps).ok()?)?;
        // Without a hole in between it is as many rows later.
        match all.get(at.checked_add(steps)?) {
            Some(step) if *step == wanted => Some(at + steps),
            _ => all[at..]
                .binary_search(&wanted)
                .ok()
                .map(|later| at + later),
        }
    }

    /// For each column, the rows since its last value, counted from the last row: 0 if the last
    /// row has one. `None` if the column has no value at all.
    pub fn staleness(&self) -> BTreeMap<String, Option<usize>> {
        let since = |column: &Vec<f64>| {
            let rows = &column[self.view.clone()];
            rows.iter().rev().position(|value| value.is_finite())
        };
        self.names()
            .iter()
            .zip(&self.storage.columns)
            .map(|(name, column)| (name.clone(), since(column)))
            .collect()
    }

    /// The frame with one more row, of which only the target is known, and what is known ahead.
    pub(crate) fn with_row(&self, known_at: DateTime<Utc>, target: f64) -> Result<Self> {
        let (storage, end) = (&self.storage, self.view.end);
        // Instants after the last row, with their places in the columns known ahead.
        let later = storage.known_at[end..].iter().chain(&storage.future_at);
        let later: Vec<(usize, DateTime<Utc>)> = (end..).zip(later.copied()).collect();
        let new = later.iter().find(|(_, at)| *at == known_at);
        let after: Vec<(usize, DateTime<Utc>)> = later
            .iter()
            .copied()
            .filter(|(_, at)| known_at < *at)
            .collect();
        let ahead = |at: usize| storage.roles[at] == Role::KnownFuture;
        let value = |at: usize, row: usize| storage.columns[at].get(row).copied();
        let columns = storage.columns.iter().enumerate().map(|(at, column)| {
            let new = match new {
                _ if at == storage.target => target,
                Some((row, _)) if ahead(at) => value(at, *row).unwrap_or(f64::NAN),
                _ => f64::NAN,
            };
            let rows = column[self.view.clone()].iter().copied();
            (
                self.names()[at].clone(),
                rows.chain([new]).collect::<Vec<f64>>(),
            )
        });
        let times = self.known_at().iter().copied().chain([known_at]).collect();
        let mut frame = Self::of_frequency(self.frequency(), times, columns, self.target_name())?;
        let known: Vec<usize> = (0..storage.names.len()).filter(|at| ahead(*at)).collect();
        if !known.is_empty() {
            let columns = known.iter().map(|at| {
                let values = after.iter().map(|(row, _)| value(*at, *row));
                let values = values.map(|value| value.unwrap_or(f64::NAN));
                (storage.names[*at].clone(), values.collect::<Vec<f64>>())
            });
            let times = after.iter().map(|(_, at)| *at).collect();
            frame = frame
                .with_known_future(known.iter().map(|at| &storage.names[*at]))?
                .with_future(times, columns)?;
        }
        let mut covariates = storage.covariates.clone();
        for category in covariates.categories.values_mut() {
            let mut codes = category.codes[self.view.clone()].to_vec();
            codes.push(codes.last().copied().flatten());
            category.codes = codes;
        }
        Arc::make_mut(&mut frame.storage).covariates = covariates;
        Ok(frame)
    }

    /// The frame with `change` applied to all values after `row` that are not known ahead.
    ///
    /// # Errors
    ///
    /// A change to a value that the target must not have.
    pub(crate) fn changed_after(&self, row: usize, change: impl Fn(f64) -> f64) -> Result<Self> {
        let mut storage = (*self.storage).clone();
        storage.spread = OnceLock::new();
        let from = self.view.start + row + 1;
        for (column, role) in storage.columns.iter_mut().zip(&storage.roles) {
            if *role == Role::Past {
                column[from..].iter_mut().for_each(|x| *x = change(*x));
            }
        }
        if storage.columns[storage.target]
            .iter()
            .any(|x| !x.is_finite())
        {
            return Err(Error::series("a change leaves the target's range"));
        }
        Ok(Self {
            storage: Arc::new(storage),
            view: self.view.clone(),
        })
    }

    /// The running variance of the target.
    ///
    /// A row's value depends on the rows before it alone, so all parts of a frame that begin with
    /// it share one computation.
    pub(crate) fn spread(&self) -> Arc<Spread> {
        if self.view.start != 0 {
            return Arc::new(Spread::new(self));
        }
        let whole = self.to_its_end();
        self.storage
            .spread
            .get_or_init(|| Arc::new(Spread::new(&whole)))
            .clone()
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn shared(&mut self) -> &mut Arc<Storage> {
        &mut self.storage
    }

    pub(crate) fn view(&self) -> Range<usize> {
        self.view.clone()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use chrono::Days;

    use super::*;

    fn day(n: u64) -> DateTime<Utc> {
        let start: DateTime<Utc> = "2020-01-01T00:00:00Z".parse().unwrap();
        start + Days::new(n)
    }

    /// `rows` days from 2020-01-01 on, of the columns given; the first is the target.
    pub(crate) fn frame(columns: &[(&str, Vec<f64>)]) -> SeriesFrame {
        let rows = columns[0].1.len();
        let known_at = (0..rows as u64).map(day).collect();
        SeriesFrame::new(known_at, columns.iter().cloned(), columns[0].0).unwrap()
    }

    /// These days after 2020-01-01 alone, each with its number as the value.
    pub(crate) fn daily_with_holes(days: &[u64]) -> SeriesFrame {
        let values: Vec<f64> = days.iter().map(|day| *day as f64).collect();
        let known_at = days.iter().map(|n| day(*n)).collect();
        // Of some of these days one could think that they are business days.
        SeriesFrame::of_frequency(Frequency::days(1), known_at, [("y", values)], "y").unwrap()
    }

    fn refused(times: &[i64], columns: &[(&str, Vec<f64>)], expected: &str) {
        let known_at = times
            .iter()
            .map(|&t| DateTime::from_timestamp(t, 0).unwrap())
            .collect();
        let error = SeriesFrame::new(known_at, columns.iter().cloned(), "p")
            .unwrap_err()
            .to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_frame_that_contradicts_itself_is_refused() {
        refused(&[0, 1], &[("p", vec![1.0])], "do not fit");
        refused(&[1, 1], &[("p", vec![1.0, 2.0])], "row 1 is known at");
        refused(&[0], &[("p", vec![1.0]), ("p", vec![2.0])], "two columns");
        refused(&[0], &[("q", vec![1.0])], "no column is called \"p\"");
        refused(&[0, 1], &[("p", vec![1.0, f64::NAN])], "missing in row 1");
        refused(
            &[0, 60, 120, 130],
            &[("p", vec![1.0; 4])],
            "1970-01-01 00:02:10",
        );
    }

    #[test]
    fn a_slice_outside_the_frame_is_refused() {
        let frame = frame(&[("p", vec![1.0, 2.0])]);
        assert!(frame.slice(1..3).is_err());
        assert_eq!(frame.slice(2..2).unwrap().rows(), 0);
    }

    #[test]
    fn a_target_is_found_by_its_instant_and_not_by_its_row() {
        let frame = daily_with_holes(&[0, 1, 2, 5, 6]);
        assert_eq!(frame.target_at(1, 1), Some(2.0));
        assert_eq!(frame.target_at(2, 1), None);
        assert_eq!(frame.target_at(2, 3), Some(5.0));
        assert_eq!(frame.target_at(4, 1), None);
        assert_eq!(frame.target_at(9, 1), None);
        assert_eq!(frame.target_time(2, 1), Some(day(3)));
        assert_eq!(frame.target_time(2, MAX_STEPS + 1), None);
        let part = frame.slice(1..4).unwrap();
        assert_eq!(
            (part.target_at(1, 3), part.target_at(1, 4)),
            (Some(5.0), None)
        );
    }

    #[test]
    fn an_irregular_series_has_rows_for_steps_and_no_instants() {
        let at = [day(0), day(1), day(4)].to_vec();
        let frame =
            SeriesFrame::of_frequency(Frequency::Irregular, at, [("y", vec![1.0, 2.0, 3.0])], "y");
        let frame = frame.unwrap();
        assert_eq!(
            (frame.target_at(1, 1), frame.target_time(1, 1)),
            (Some(3.0), None)
        );
        assert!(frame.holes().is_empty());
    }
}
