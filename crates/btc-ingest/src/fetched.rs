//! What a source is asked for, and what it gives.

use crate::clean::Rejected;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::report::PullConfig;
use crate::series::SeriesName;
use crate::source::{DailySeries, SourceError, daily_schema, from_batch, to_batch};
use arrow::array::RecordBatch;
use chrono::{DateTime, Days, NaiveDate, Utc};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// Which days a source is asked for.
///
/// A first pull wants the whole history, later ones what is new and the last days again, in which
/// values may have been revised. Series may differ: one that was added later is asked for whole.
///
/// ```
/// use btc_ingest::Window;
///
/// let days = "2024-01-01".parse()?..="2024-01-31".parse()?;
/// let window = Window::of(days.clone(), "2024-02-01T06:00:00Z".parse()?);
/// assert_eq!(window.days("close"), days);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Window<'a> {
    now: DateTime<Utc>,
    running_day: Option<NaiveDate>,
    rule: Rule,
    /// The last day stored, by series.
    known: BTreeMap<SeriesName, NaiveDate>,
    progress: &'a dyn Progress,
}

/// How the first day follows from what is stored.
enum Rule {
    These(RangeInclusive<NaiveDate>),
    All,
    /// So many days before the last one that is stored.
    Since(u32),
}

impl Window<'_> {
    /// Asks for `days` of every series, at the time `now`; nobody hears of progress.
    #[must_use]
    pub fn of(days: RangeInclusive<NaiveDate>, now: DateTime<Utc>) -> Self {
        Self {
            now,
            running_day: None,
            rule: Rule::These(days),
            known: BTreeMap::new(),
            progress: &(),
        }
    }
}

impl<'a> Window<'a> {
    pub(crate) fn of_pull(
        config: &PullConfig,
        known: BTreeMap<SeriesName, NaiveDate>,
        running_day: Option<NaiveDate>,
        progress: &'a dyn Progress,
    ) -> Self {
        let rule = match config.refresh {
            true => Rule::All,
            false => Rule::Since(config.recheck_days),
        };
        Self {
            now: config.now,
            running_day,
            rule,
            known,
            progress,
        }
    }

    /// Where steps are told of.
    #[must_use]
    pub fn with_progress<'b>(self, progress: &'b dyn Progress) -> Window<'b> {
        Window { progress, ..self }
    }

    /// The time of the pull.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.now
    }

    /// The first day that is not over, if a source that was asked before has told.
    #[must_use]
    pub fn running_day(&self) -> Option<NaiveDate> {
        self.running_day
    }

    /// The last day that can be of interest: that of the clock, or the running one.
    #[must_use]
    pub fn last_day(&self) -> NaiveDate {
        let clock = self.now.date_naive();
        self.running_day.map_or(clock, |day| day.min(clock))
    }

    /// The days that are wanted of the series `column`. They may begin before there is any data,
    /// and end after today.
    #[must_use]
    pub fn days(&self, column: &str) -> RangeInclusive<NaiveDate> {
        self.days_until(column, self.last_day())
    }

    /// The same if no day after `last` is of interest.
    pub(crate) fn days_until(&self, column: &str, last: NaiveDate) -> RangeInclusive<NaiveDate> {
        let all = NaiveDate::MIN..=NaiveDate::MAX.pred_opt().unwrap_or(NaiveDate::MAX);
        match &self.rule {
            Rule::These(days) => days.clone(),
            Rule::All => all,
            Rule::Since(days) => {
                let known = self.known.get(SeriesName::of_chart(column).as_str());
                let Some(known) = known else { return all };
                match known.checked_sub_days(Days::new((*days).into())) {
                    // Where the data ends before what is stored, the window is still asked for.
                    Some(first) => first..=last.max(*known),
                    None => all,
                }
            }
        }
    }

    /// The days that are wanted of any of the series.
    #[must_use]
    pub fn days_of_any<'c>(
        &self,
        columns: impl IntoIterator<Item = &'c str>,
    ) -> RangeInclusive<NaiveDate> {
        let all = columns.into_iter().map(|column| self.days(column));
        let joined = all.reduce(|a, b| *a.start().min(b.start())..=*a.end().max(b.end()));
        joined.unwrap_or(self.last_day()..=self.last_day())
    }

    /// The days outside of which nothing is of use, if there are such.
    pub(crate) fn only(&self) -> Option<&RangeInclusive<NaiveDate>> {
        match &self.rule {
            Rule::These(days) => Some(days),
            Rule::All | Rule::Since(_) => None,
        }
    }

    /// Who hears of steps.
    #[must_use]
    pub fn progress(&self) -> &'a dyn Progress {
        self.progress
    }
}

impl fmt::Debug for Window<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Window")
            .field("now", &self.now)
            .field("running_day", &self.running_day)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

/// What a source gave.
///
/// ```
/// use btc_ingest::{ColumnMapping, Fetched};
///
/// let columns = ColumnMapping::new("Date").with("Close", "close");
/// let batch = columns.read_csv(b"Date,Close\n2024-01-01,42300\n")?;
/// // One part per column, without anything to add.
/// let fetched = Fetched::from(batch);
/// assert_eq!(fetched.parts.len(), 1);
/// # Ok::<(), btc_ingest::Error>(())
/// ```
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Fetched {
    /// What can come or fail alone.
    pub parts: Vec<Part>,
    /// The first day that is not over, as far as the source can tell.
    pub running_day: Option<NaiveDate>,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
}

/// A part of what a source gave: one line of the report.
#[derive(Debug)]
#[non_exhaustive]
pub struct Part {
    /// The name in reports, as `hash-rate`.
    pub name: String,
    /// A column `date` and one per series, or why there is none; what is stored then stays.
    pub values: Result<RecordBatch, SourceError>,
    /// The unit, as the source names it.
    pub unit: Option<String>,
    /// The number of days with several points, which were averaged.
    pub averaged_days: usize,
    /// The number of points that came after a later one.
    pub unordered_points: usize,
    /// Values that are not fit for use.
    pub rejected: Vec<Rejected>,
    /// Where the values are from.
    pub answers: Vec<Answer>,
}

/// One answer of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The address, without secrets.
    pub url: String,
    /// SHA-256 of the answer.
    pub sha256: String,
    /// Size of the answer.
    pub bytes: usize,
}

impl Part {
    /// Values that came: a column `date` (`Date32`) and nullable `Float64` columns.
    #[must_use]
    pub fn new(name: impl Into<String>, values: RecordBatch) -> Self {
        Self::of(name.into(), Ok(values))
    }

    /// Values that did not come, while others may have.
    #[must_use]
    pub fn failed(name: impl Into<String>, error: impl Into<SourceError>) -> Self {
        Self::of(name.into(), Err(error.into()))
    }

    fn of(name: String, values: Result<RecordBatch, SourceError>) -> Self {
        Self {
            name,
            values,
            unit: None,
            averaged_days: 0,
            unordered_points: 0,
            rejected: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Says where the values are from.
    #[must_use]
    pub fn with_answer(mut self, answer: Answer) -> Self {
        self.answers.push(answer);
        self
    }

    /// Says in which unit the values are.
    #[must_use]
    pub fn with_unit(mut self, unit: impl Into<String>) -> Self {
        self.unit = Some(unit.into());
        self
    }

    /// Adds values that are not fit for use.
    #[must_use]
    pub fn with_rejected(mut self, rejected: impl IntoIterator<Item = Rejected>) -> Self {
        self.rejected.extend(rejected);
        self
    }
}

impl Fetched {
    /// One part and nothing else.
    #[must_use]
    pub fn part(part: Part) -> Self {
        Self {
            parts: vec![part],
            ..Self::default()
        }
    }

    /// Tells which day is not over.
    #[must_use]
    pub fn with_running_day(mut self, day: NaiveDate) -> Self {
        self.running_day = Some(day);
        self
    }

    /// All parts side by side.
    ///
    /// # Errors
    ///
    /// The error of the first part that failed; [`Error::Malformed`] if a batch is not as
    /// [`Source`](crate::Source) says.
    pub fn into_batch(self) -> Result<RecordBatch> {
        let mut series: Vec<DailySeries> = Vec::new();
        for part in self.parts {
            let batch = part
                .values
                .map_err(|error| Error::source(&part.name, error))?;
            series.extend(from_batch(&part.name, &batch)?);
        }
        let names: Vec<SeriesName> = series.iter().map(|one| one.name.clone()).collect();
        to_batch(daily_schema(names.iter().map(SeriesName::as_str)), &series)
    }
}

/// One part per column, called as it is.
impl From<RecordBatch> for Fetched {
    fn from(batch: RecordBatch) -> Self {
        let schema = batch.schema();
        let Ok(date) = schema.index_of(crate::source::DATE) else {
            return Self::part(Part::new("date", batch));
        };
        let parts = (0..batch.num_columns())
            .filter(|column| *column != date)
            .filter_map(|column| {
                let name = schema.field(column).name().clone();
                // The indices are those of the batch.
                let values = batch.project(&[date, column]).ok()?;
                Some(Part::new(name, values))
            });
        Self {
            parts: parts.collect(),
            ..Self::default()
        }
    }
}
