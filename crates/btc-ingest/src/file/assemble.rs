//! From rows to series: each row is stored or set aside, and nothing else.

use super::dates::{DateSurvey, Reading};
use super::figures::{self, FigureSurvey};
use super::options::{DecimalMark, Duplicates, FileOptions, Stamp, Step};
use super::rows::{Cell, Content, Row, Rows};
use crate::clean::{Reason, Rejected};
use crate::error::{Error, Result};
use crate::series::SeriesName;
use crate::store::is_storable;
use chrono::{NaiveDateTime, NaiveTime};
use std::path::Path;

/// How many cells that were set aside are told one by one.
const TOLD: usize = 5;

/// What the rows of a file come to.
#[derive(Debug)]
pub(super) struct Assembled {
    pub(super) step: Step,
    pub(super) recognised: String,
    /// Ascending; midnights where the step is a day.
    pub(super) times: Vec<NaiveDateTime>,
    pub(super) columns: Vec<(SeriesName, Vec<Option<f64>>)>,
    pub(super) rejected: Vec<Rejected>,
    /// What is to be said of times given more than once.
    pub(super) remarks: Vec<String>,
    pub(super) places: Places,
}

/// Where the values of a table stand in its file.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Places {
    file: String,
    unit: String,
    /// The number of the row that each time is from.
    numbers: Vec<u64>,
    /// The names of the columns, by series.
    columns: Vec<(String, String)>,
}

impl Places {
    /// The place of the value of a series in a row of the table.
    pub(super) fn of(&self, row: usize, series: &str) -> Option<String> {
        let number = self.numbers.get(row)?;
        let (_, column) = self.columns.iter().find(|(name, _)| name == series)?;
        Some(place(&self.file, &self.unit, *number, Some(column)))
    }

    /// The same without the rows for which `keep` is false.
    pub(super) fn filtered(mut self, keep: &[bool]) -> Self {
        let mut kept = keep.iter();
        self.numbers
            .retain(|_| kept.next().copied().unwrap_or(true));
        self
    }
}

fn place(file: &str, unit: &str, number: u64, column: Option<&str>) -> String {
    let place = format!("{file}, {unit} {number}");
    match column {
        Some(column) => format!("{place}, column {column:?}"),
        None => place,
    }
}

/// Puts the rows of a file together.
///
/// # Errors
///
/// Fails if the file can be read in more than one way, or no row can be used.
pub(super) fn assemble(
    path: &Path,
    rows: &dyn Rows,
    series: &[SeriesName],
    options: &FileOptions,
) -> Result<Assembled> {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let (dates, figures) = survey(rows)?;
    let unclear = |option: &'static str, problem: String, answers: &'static str| Error::Unclear {
        path: path.to_owned(),
        problem,
        option,
        answers,
    };
    let reading = dates
        .settle(options.date_format.as_ref(), rows.unit())
        .map_err(|open| unclear("date-format", open.0, "ymd, dmy or mdy"))?;
    let mark = figures
        .settle(options.decimal, rows.has_points(), rows.unit())
        .map_err(|problem| unclear("decimal", problem, "point or comma"))?;
    let mut taken = Taken {
        file: &file,
        unit: rows.unit(),
        date_name: rows.date_name(),
        names: rows.columns(),
        series,
        reading: &reading,
        mark,
        strict: options.strict.then_some(path),
        times: Vec::new(),
        numbers: Vec::new(),
        values: Vec::new(),
        missing: 0,
        rejected: Vec::new(),
    };
    rows.visit(&mut |row| taken.row(row))?;
    if taken.times.is_empty() {
        let problem = match taken.rejected.first() {
            None => "it holds no row".to_owned(),
            Some(rejected) => format!("no row can be used; the first: {}", rejected.in_words()),
        };
        return Err(Error::invalid(path, problem));
    }
    let order = Order::of(&taken.times);
    let usual = usual_step(&taken.times);
    // Rows that are further apart than a day may describe their day or all of their step.
    let step = match options.step {
        Some(step) => step,
        None if usual.is_within_day() => usual,
        None => Step::DAY,
    };
    let total = taken.times.len();
    let missing = taken.missing;
    let names = rows.columns().iter().zip(series);
    let names = names.filter_map(|(name, series)| Some((series.to_string(), name.clone()?)));
    let (columns, rejected, mut remarks) = merge(taken, step, options)?;
    let times: Vec<NaiveDateTime> = columns.times;
    let places = Places {
        file: file.to_string(),
        unit: rows.unit().to_owned(),
        numbers: columns.numbers,
        columns: names.collect(),
    };
    if times.is_empty() {
        let first = rejected.first().map(Rejected::in_words).unwrap_or_default();
        let problem = format!(
            "no row can be used; the first: {first}; if several rows a day are meant, say how far \
             apart they are with the option step, or which of them counts with duplicates"
        );
        return Err(Error::invalid(path, problem));
    }
    let mut recognised = format!(
        "{}, {}, {}, {}, {}: {total} rows",
        rows.describe(),
        dates.describe(&reading),
        figures.describe(mark),
        order.in_words(),
        step_in_words(step),
    );
    if let (Some(first), Some(last)) = (times.first(), times.last()) {
        let shown = |time: &NaiveDateTime| match step.is_day() {
            true => time.date().to_string(),
            false => time.to_string(),
        };
        recognised.push_str(&format!(" from {} to {}", shown(first), shown(last)));
    }
    if missing > 0 {
        recognised.push_str(&format!(", {missing} cells marked as missing"));
    }
    if options.step.is_none() && step != usual {
        remarks.push(format!(
            "the rows are {usual} apart and each is taken for one day; if each describes all of \
             its step, say so with the option step, so that it counts from the end of that on"
        ));
    }
    Ok(Assembled {
        step,
        recognised,
        times,
        columns: columns.columns,
        rejected,
        remarks,
        places,
    })
}

fn survey(rows: &dyn Rows) -> Result<(DateSurvey, FigureSurvey)> {
    let mut dates = DateSurvey::default();
    let mut figures = FigureSurvey::default();
    rows.visit(&mut |row| {
        let Content::Cells(date, cells) = row.content else {
            return Ok(());
        };
        match &date {
            Cell::Text(text) => dates.text(row.number, text),
            Cell::Instant(_) => dates.typed(),
            other => {
                if let Some(count) = other.count() {
                    dates.number(count);
                }
            }
        }
        for cell in cells {
            if let Cell::Text(text) = cell {
                figures.text(row.number, text);
            }
        }
        Ok(())
    })?;
    Ok((dates, figures))
}

/// The rows that were taken, in the order of the file, and what was set aside.
struct Taken<'a> {
    file: &'a str,
    unit: &'a str,
    date_name: &'a str,
    names: &'a [Option<String>],
    series: &'a [SeriesName],
    reading: &'a Reading,
    mark: DecimalMark,
    /// The file that is refused with its first cell that cannot be used.
    strict: Option<&'a Path>,
    times: Vec<NaiveDateTime>,
    numbers: Vec<u64>,
    /// By row, then by series; NaN where there is none.
    values: Vec<f64>,
    missing: usize,
    rejected: Vec<Rejected>,
}

impl Taken<'_> {
    fn row(&mut self, row: Row<'_>) -> Result<()> {
        let (date, cells) = match row.content {
            Content::Cells(date, cells) => (date, cells),
            Content::Width { found, expected } => {
                let shown = format!("{found} cells in place of {expected}");
                return self.reject(row.number, None, "", shown, Reason::WrongWidth);
            }
        };
        if matches!(date, Cell::Missing) && cells.iter().all(|cell| *cell == Cell::Missing) {
            return Ok(());
        }
        let time = match &date {
            Cell::Text(text) => self.reading.text(text),
            Cell::Instant(instant) => Some(*instant),
            other => other.count().and_then(|count| self.reading.number(count)),
        };
        let shown = date.shown();
        let Some(time) = time else {
            return self.reject(row.number, None, &shown, shown.clone(), Reason::BadStamp);
        };
        let can_be_stored =
            is_storable(time.date()) && time.and_utc().timestamp_nanos_opt().is_some();
        if !can_be_stored {
            return self.reject(row.number, None, &shown, shown.clone(), Reason::OutOfRange);
        }
        self.times.push(time);
        self.numbers.push(row.number);
        for (index, cell) in cells.iter().enumerate() {
            let value = match cell {
                Cell::Missing => {
                    self.missing += usize::from(self.names[index].is_some());
                    Ok(f64::NAN)
                }
                Cell::Text(text) => figures::parse(text, self.mark).ok_or(Reason::NotANumber),
                Cell::Whole(number) => Ok(*number as f64),
                Cell::Number(number) => Ok(*number),
                Cell::Instant(_) | Cell::Other(_) => Err(Reason::NotANumber),
            };
            let value = value.and_then(|value| match value.is_infinite() {
                true => Err(Reason::NotFinite),
                false => Ok(value),
            });
            match value {
                Ok(value) => self.values.push(value),
                Err(reason) => {
                    self.values.push(f64::NAN);
                    self.reject(row.number, Some(index), &shown, cell.shown(), reason)?;
                }
            }
        }
        Ok(())
    }

    /// Sets a cell aside, or the whole row where no `column` is given.
    fn reject(
        &mut self,
        number: u64,
        column: Option<usize>,
        stamp: &str,
        value: String,
        reason: Reason,
    ) -> Result<()> {
        let name = column.and_then(|index| self.names[index].as_deref());
        let name = match reason {
            Reason::WrongWidth => None,
            _ => Some(name.unwrap_or(self.date_name)),
        };
        let rejected = Rejected {
            series: match column {
                Some(index) => self.series[index].to_string(),
                None => crate::source::DATE.to_owned(),
            },
            stamp: stamp.to_owned(),
            value,
            reason,
            origin: Some(place(self.file, self.unit, number, name)),
        };
        if let Some(path) = self.strict {
            return Err(Error::invalid(path, rejected.in_words()));
        }
        self.rejected.push(rejected);
        Ok(())
    }
}

struct Merged {
    times: Vec<NaiveDateTime>,
    numbers: Vec<u64>,
    columns: Vec<(SeriesName, Vec<Option<f64>>)>,
}

/// One row for each time: rows of one time are one, or the rule tells which of them counts.
fn merge(
    mut taken: Taken<'_>,
    step: Step,
    options: &FileOptions,
) -> Result<(Merged, Vec<Rejected>, Vec<String>)> {
    let time_of = |time: NaiveDateTime| {
        // A day that ends at a midnight is the one before it.
        let moved = match (step.is_day(), options.stamp) {
            (true, Stamp::End) => time - chrono::TimeDelta::nanoseconds(1),
            _ => time,
        };
        match step.is_day() {
            true => moved.date().and_time(NaiveTime::MIN),
            false => moved,
        }
    };
    let keys: Vec<NaiveDateTime> = taken.times.iter().map(|time| time_of(*time)).collect();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by_key(|row| keys[*row]);
    let width = taken.series.len();
    let mut columns: Vec<Vec<Option<f64>>> = vec![Vec::new(); width];
    let (mut times, mut numbers) = (Vec::new(), Vec::new());
    let (mut equal, mut ruled) = (0, Vec::new());
    for group in order.chunk_by(|a, b| keys[*a] == keys[*b]) {
        let time = keys[group[0]];
        let mut differs = false;
        for (index, column) in columns.iter_mut().enumerate() {
            let all = group.iter().map(|row| taken.values[row * width + index]);
            let given: Vec<f64> = all.filter(|value| !value.is_nan()).collect();
            let value = match given.as_slice() {
                [] => None,
                [one] => Some(*one),
                [first, rest @ ..] if rest.iter().all(|other| other == first) => Some(*first),
                many => {
                    differs = true;
                    match options.duplicates {
                        Duplicates::SetAside => None,
                        Duplicates::First => many.first().copied(),
                        Duplicates::Last => many.last().copied(),
                        Duplicates::Mean => Some(many.iter().sum::<f64>() / many.len() as f64),
                    }
                }
            };
            column.push(value);
            if value.is_none() && given.len() > 1 {
                for row in group {
                    let value = taken.values[row * width + index];
                    if !value.is_nan() {
                        let number = taken.numbers[*row];
                        let shown = value.to_string();
                        let stamp = stamp(time, step);
                        taken.reject(number, Some(index), &stamp, shown, Reason::Duplicate)?;
                    }
                }
            }
        }
        times.push(time);
        numbers.push(taken.numbers[group[0]]);
        match (group.len() > 1, differs) {
            (true, true) => ruled.push(group[0]),
            (true, false) => equal += 1,
            (false, _) => {}
        }
    }
    // A time without any value is no row.
    let keep: Vec<bool> = (0..times.len())
        .map(|row| columns.iter().any(|column| column[row].is_some()))
        .collect();
    let kept = |row: &usize| keep[*row];
    let rows: Vec<usize> = (0..times.len()).filter(kept).collect();
    let times: Vec<NaiveDateTime> = rows.iter().map(|row| times[*row]).collect();
    let numbers: Vec<u64> = rows.iter().map(|row| numbers[*row]).collect();
    let columns = taken.series.iter().zip(columns).zip(taken.names);
    let columns = columns
        // An optional column that the file does not have brings no series.
        .filter(|(_, name)| name.is_some())
        .map(|((series, column), _)| {
            let column = (0..column.len()).filter(kept).map(|row| column[row]);
            (series.clone(), column.collect())
        })
        .collect();
    let mut notes = Vec::new();
    if equal > 0 {
        notes.push(format!(
            "{equal} {} given more than once with the same values; each counts once",
            times_in_words(equal, step)
        ));
    }
    if let Some(first) = ruled.first() {
        let rule = match options.duplicates {
            Duplicates::SetAside => "none counts, all are set aside",
            Duplicates::First => "the first in the file counts",
            Duplicates::Last => "the last in the file counts",
            Duplicates::Mean => "their mean counts",
        };
        notes.push(format!(
            "{} {} given more than once with different values, the first in {} {} ({}): {rule}; \
             the option duplicates has other rules",
            ruled.len(),
            times_in_words(ruled.len(), step),
            taken.unit,
            taken.numbers[*first],
            stamp(keys[*first], step),
        ));
    }
    Ok((
        Merged {
            times,
            numbers,
            columns,
        },
        taken.rejected,
        notes,
    ))
}

fn stamp(time: NaiveDateTime, step: Step) -> String {
    match step.is_day() {
        true => time.date().to_string(),
        false => time.and_utc().to_rfc3339(),
    }
}

fn times_in_words(count: usize, step: Step) -> &'static str {
    match (step.is_day(), count) {
        (true, 1) => "day is",
        (true, _) => "days are",
        (false, 1) => "time is",
        (false, _) => "times are",
    }
}

fn step_in_words(step: Step) -> String {
    match step.is_day() {
        true => "daily".to_owned(),
        false => format!("in steps of {step}"),
    }
}

/// What was set aside, the first few one by one.
pub(super) fn told(rejected: &[Rejected]) -> Vec<String> {
    let mut told: Vec<String> = rejected.iter().take(TOLD).map(Rejected::in_words).collect();
    if rejected.len() > TOLD {
        told.push(format!(
            "{} more cells or rows are set aside",
            rejected.len() - TOLD
        ));
    }
    told
}

/// In which direction the times of a file go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Ascending,
    Descending,
    Mixed,
}

impl Order {
    fn of(times: &[NaiveDateTime]) -> Self {
        if times.is_sorted() {
            Self::Ascending
        } else if times.is_sorted_by(|a, b| a >= b) {
            Self::Descending
        } else {
            Self::Mixed
        }
    }

    fn in_words(self) -> &'static str {
        match self {
            Self::Ascending => "oldest first",
            Self::Descending => "newest first",
            Self::Mixed => "in no order",
        }
    }
}

/// How far apart the rows are: the step that most of them keep, or else a day.
///
/// A part of a day has to go into the day a whole number of times. Weeks and months are seen
/// where all but a tenth of the rows keep them.
fn usual_step(times: &[NaiveDateTime]) -> Step {
    const FEWEST: usize = 3;
    const DAY: i64 = 86_400;
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() < FEWEST {
        return Step::DAY;
    }
    let mut steps: Vec<i64> = sorted
        .windows(2)
        .map(|pair| (pair[1] - pair[0]).num_seconds())
        .collect();
    steps.sort_unstable();
    let median = steps[steps.len() / 2];
    let keeping = |fits: &dyn Fn(i64) -> bool| steps.iter().filter(|step| fits(**step)).count();
    let within_day = (1..DAY).contains(&median) && DAY % median == 0;
    if within_day && keeping(&|step| step == median) * 2 > steps.len() {
        return Step::from_seconds(median).unwrap_or(Step::DAY);
    }
    let most = |count: usize| count * 10 >= steps.len() * 9;
    if median == 7 * DAY && most(keeping(&|step| step % (7 * DAY) == 0)) {
        return Step::from_seconds(median).unwrap_or(Step::DAY);
    }
    let day_of_month = |time: &NaiveDateTime| chrono::Datelike::day(time);
    let is_one_day = sorted
        .iter()
        .all(|time| day_of_month(time) == day_of_month(&sorted[0]));
    if is_one_day && most(keeping(&|step| (28 * DAY..=31 * DAY).contains(&step))) {
        return Step::MONTH;
    }
    Step::DAY
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{NaiveDate, TimeDelta};

    fn at(seconds: &[i64]) -> Vec<NaiveDateTime> {
        let start = NaiveDate::from_ymd_opt(2024, 1, 1)
            .unwrap()
            .and_time(NaiveTime::MIN);
        seconds
            .iter()
            .map(|s| start + TimeDelta::seconds(*s))
            .collect()
    }

    #[track_caller]
    fn steps(seconds: &[i64], expected: &str) {
        assert_eq!(usual_step(&at(seconds)).to_string(), expected);
    }

    #[test]
    fn the_step_is_the_one_that_most_rows_keep() {
        const DAY: i64 = 86_400;
        steps(&[0, 3600, 7200, 14_400], "1h");
        steps(&[0, 60, 120, 180], "1min");
        steps(&[0, 14_400, 28_800], "4h");
        steps(&[0, DAY, 2 * DAY], "1d");
        // The running day, later.
        steps(&[0, DAY, 2 * DAY, 2 * DAY + 49_020], "1d");
        steps(&[0, 49_020], "1d");
        steps(&[0, 100, 5000, 90_000, 90_001], "1d");
        steps(&[0, 7 * DAY, 14 * DAY, 28 * DAY], "1w");
        steps(&[0, 31 * DAY, 60 * DAY, 91 * DAY], "1mo");
        // Days with holes.
        steps(&[0, DAY, 5 * DAY, 6 * DAY, 13 * DAY], "1d");
    }
}
