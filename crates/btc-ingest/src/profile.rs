//! Figures of all that a data folder holds, for whoever wants to draw or compare them.

mod stats;

pub use stats::{Moments, Summary};

use crate::error::{Error, Result};
use crate::misdated::Misdated;
use crate::quarantine;
use crate::source::DayValue;
use crate::status::{DataStatus, Gap, SeriesStatusReport, gaps};
use crate::store::{DataFolder, Revisions, Snapshot, Table};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Date32Type, Float64Type};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use stats::{changes, paired_correlation};
use std::collections::BTreeMap;
use std::path::Path;

/// What a data folder holds, in figures.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Profile {
    /// Range, gaps and freshness.
    pub status: DataStatus,
    /// The time as of which it was made.
    pub now: DateTime<Utc>,
    /// Whether all files are as the manifest says.
    pub is_intact: bool,
    /// Every column of the processed tables, prices first.
    pub columns: Vec<ColumnProfile>,
    /// The correlations of the daily changes.
    pub correlations: Correlations,
    /// What was set aside.
    pub quarantine: Vec<SetAside>,
    /// Where two sources of one quantity are a day apart.
    pub misdated: Vec<Misdated>,
}

/// One column of a processed table.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ColumnProfile {
    /// The name.
    pub name: String,
    /// What is stored of the series.
    pub status: Option<SeriesStatusReport>,
    /// The values, by ascending day.
    pub values: Vec<(NaiveDate, f64)>,
    /// The runs of days without a value.
    pub gaps: Vec<Gap>,
    /// Where the values lie; nothing without any.
    pub summary: Option<Summary>,
    /// The logarithm of each day's value over that of the day before, where both are above zero.
    pub changes: Vec<f64>,
    /// How these changes are distributed; nothing with fewer than three, or if all are equal.
    pub change_moments: Option<Moments>,
}

/// Pearson correlations of daily changes, over the days that both series have.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Correlations {
    /// The series with enough changes.
    pub series: Vec<String>,
    /// A row and a column per series; nothing where too few days are common to tell.
    pub values: Vec<Vec<Option<f64>>>,
}

/// Values of a series that were set aside for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SetAside {
    /// The series.
    pub series: String,
    /// Why, as it stands in the quarantine file.
    pub reason: String,
    /// The number of values.
    pub values: usize,
}

/// Describes a data folder in figures, as of `now`.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let data_dir = folder.path();
/// let now = "2024-01-02T06:00:00Z".parse()?;
/// btc_ingest::pull_sample(data_dir, 0, "2024-01-01".parse()?, 365, now)?;
/// let profile = btc_ingest::profile(data_dir, now)?;
/// assert_eq!(profile.columns.len(), 20);
/// assert!(profile.is_intact);
/// assert!(serde_json::to_string(&profile)?.contains("\"hash_rate\""));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Fails if there is no data, or a file of it cannot be read.
pub fn profile(data_dir: impl AsRef<Path>, now: DateTime<Utc>) -> Result<Profile> {
    let folder = DataFolder::new(data_dir.as_ref());
    let snapshot = folder.snapshot()?;
    let status = crate::status::of(&snapshot, now)?;
    let mut columns = Vec::new();
    for table in [Table::Ohlcv, Table::Blockchain] {
        columns.extend(read_columns(&snapshot, table, &status)?);
    }
    let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
    for source in snapshot.sources_with_quarantine() {
        for kind in quarantine::reasons(snapshot.quarantined(source)?) {
            *counts.entry(kind).or_default() += 1;
        }
    }
    let quarantine = counts
        .into_iter()
        .map(|((series, reason), values)| SetAside {
            series,
            reason,
            values,
        });
    Ok(Profile {
        correlations: correlations(&columns),
        quarantine: quarantine.collect(),
        misdated: snapshot.misdated()?,
        is_intact: folder.verify()?.is_ok(),
        status,
        now,
        columns,
    })
}

fn correlations(columns: &[ColumnProfile]) -> Correlations {
    let all: Vec<(&str, BTreeMap<NaiveDate, f64>)> = columns
        .iter()
        .map(|column| (column.name.as_str(), changes(&column.values)))
        .filter(|(_, changes)| changes.len() >= 3)
        .collect();
    let row = |(name, a): &(&str, BTreeMap<NaiveDate, f64>)| {
        let cells = all.iter().map(|(other, b)| match name == other {
            true => Some(1.0),
            false => paired_correlation(a, b),
        });
        cells.collect()
    };
    Correlations {
        series: all.iter().map(|(name, _)| (*name).to_owned()).collect(),
        values: all.iter().map(row).collect(),
    }
}

impl ColumnProfile {
    fn new(name: String, status: Option<SeriesStatusReport>, values: Vec<DayValue>) -> Self {
        let days: Vec<NaiveDate> = values.iter().map(|(day, _)| *day).collect();
        let changes: Vec<f64> = changes(&values).into_values().collect();
        Self {
            name,
            status,
            gaps: gaps(&days),
            summary: Summary::of(&values),
            change_moments: Moments::of(&changes),
            changes,
            values,
        }
    }
}

fn read_columns(
    snapshot: &Snapshot,
    table: Table,
    status: &DataStatus,
) -> Result<Vec<ColumnProfile>> {
    let batch = match snapshot.read(table, Revisions::Latest) {
        Err(Error::NotPulled { .. }) => return Ok(Vec::new()),
        read => read?,
    };
    let broken = || Error::invalid(Path::new(table.folder()), "it is not a processed table");
    let days = batch
        .column(0)
        .as_primitive_opt::<Date32Type>()
        .ok_or_else(broken)?;
    let schema = batch.schema();
    let mut columns = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if *field.data_type() != DataType::Float64 {
            continue;
        }
        let values = days
            .iter()
            .zip(column.as_primitive::<Float64Type>())
            .filter_map(|(day, value)| Some((crate::source::day_of_epoch(day?)?, value?)));
        let values: Vec<DayValue> = values.collect();
        let status = status
            .series
            .iter()
            .find(|series| series.series == *field.name());
        columns.push(ColumnProfile::new(
            field.name().clone(),
            status.cloned(),
            values,
        ));
    }
    Ok(columns)
}
