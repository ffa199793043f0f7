//! Storing what a file holds.

use super::{FileSource, FileTable, Step, TIME, daily_series};
use crate::clean::{Reason, Rejected};
use crate::error::{Error, Result};
use crate::pull::{check_name, store_days, store_instants};
use crate::report::PullReport;
use crate::series::SeriesName;
use crate::source::TimedSeries;
use crate::store::{InstantRow, nanos};
use crate::validate::set_aside_by;
use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, TimestampNanosecondType};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What an import brought.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// How the file reads, in one line.
    pub recognised: String,
    /// How far apart its rows are, as `1d` or `1h`.
    pub step: String,
    /// The folder of the table below the data folder, where the rows are not days; days go to the
    /// tables of the services.
    pub table: Option<String>,
    /// What is new.
    #[serde(flatten)]
    pub pull: PullReport,
}

/// Stores what a file holds, beside what the services gave.
///
/// Days become prices, if their columns are called open, high, low, close and volume, and charts
/// otherwise; where a service has a value for a day as well, the service's counts. Rows that are
/// an hour, a week or anything else apart become a table of their own, each known from the end of
/// its step on. What cannot be used is set aside with its place in the file, which the warnings of
/// the report name.
///
/// ```
/// use btc_ingest::{ColumnMapping, FileSource, import_file};
/// # let folder = tempfile::tempdir()?;
/// # let data_dir = folder.path().join("data");
/// # let file = folder.path().join("old.csv");
/// std::fs::write(&file, "Date;Close\n31.12.2011;5,27\n01.01.2012;oops\n")?;
/// let source = FileSource::new("old-prices", &file, ColumnMapping::new("Date").with("Close", "close"))?;
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let report = import_file(&data_dir, &source, "2024-01-01T00:00:00Z".parse()?).await?;
/// assert_eq!(report.pull.series[0].new_rows, 1);
/// assert!(report.pull.warnings[0].contains("old.csv, line 3"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// As [`FileSource::read`] and [`pull_source`](crate::pull_source).
pub async fn import_file(
    data_dir: impl AsRef<Path>,
    source: &FileSource,
    now: DateTime<Utc>,
) -> Result<ImportReport> {
    check_name(&source.name)?;
    let (data_dir, source) = (data_dir.as_ref().to_owned(), source.clone());
    let path = source.path.clone();
    let done = tokio::task::spawn_blocking(move || {
        let table = source.read()?;
        store(&data_dir, &source.name, table, now)
    });
    done.await
        .map_err(|problem| Error::invalid(&path, problem.to_string()))?
}

fn store(
    data_dir: &Path,
    name: &str,
    table: FileTable,
    now: DateTime<Utc>,
) -> Result<ImportReport> {
    let FileTable {
        step,
        recognised,
        rejected,
        notes,
        ..
    } = &table;
    let (step, recognised) = (*step, recognised.clone());
    let (rejected, notes) = (rejected.clone(), notes.clone());
    let mut pull = if step.is_day() {
        let series = daily_series(name, &table)?;
        store_days(data_dir, name, series, rejected, now)?
    } else {
        store_steps(data_dir, name, &table, rejected, now)?
    };
    pull.warnings.splice(0..0, notes);
    Ok(ImportReport {
        recognised,
        step: step.to_string(),
        table: (!step.is_day()).then(|| crate::store::instants_folder(name)),
        pull,
    })
}

fn store_steps(
    data_dir: &Path,
    name: &str,
    table: &FileTable,
    mut rejected: Vec<Rejected>,
    now: DateTime<Utc>,
) -> Result<PullReport> {
    let wrong = || Error::config("a table of steps has no times");
    let times = table.batch.column_by_name(TIME).ok_or_else(wrong)?;
    let times = times
        .as_primitive_opt::<TimestampNanosecondType>()
        .ok_or_else(wrong)?;
    let schema = table.batch.schema();
    let mut series: Vec<TimedSeries<DateTime<Utc>>> = Vec::new();
    for (field, column) in schema.fields().iter().zip(table.batch.columns()).skip(1) {
        let column = column.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
        let values = (0..column.len()).filter(|row| column.is_valid(*row));
        let at = |row: usize| DateTime::from_timestamp_nanos(times.value(row));
        series.push(TimedSeries {
            name: SeriesName::new(field.name())?,
            values: values.map(|row| (at(row), column.value(row))).collect(),
        });
    }
    let known = |time: DateTime<Utc>| known_from(time, table.step, table.stamp);
    let unfit = set_aside_by(&mut series, |time| match known(time) {
        None => Some(Reason::OutOfRange),
        Some(known) if known > now => Some(Reason::Future),
        Some(_) => None,
    });
    rejected.extend(unfit);
    let names: Vec<SeriesName> = series.iter().map(|series| series.name.clone()).collect();
    let mut rows: BTreeMap<DateTime<Utc>, InstantRow> = BTreeMap::new();
    for (index, TimedSeries { values, .. }) in series.into_iter().enumerate() {
        for (time, value) in values {
            let Some(known) = known(time) else {
                continue;
            };
            let row = rows.entry(time).or_insert_with(|| InstantRow {
                time: nanos(time),
                known: nanos(known),
                values: vec![None; names.len()],
            });
            row.values[index] = Some(value);
        }
    }
    let rows = rows.into_values().collect();
    store_instants(data_dir, name, &names, rows, rejected, now)
}

/// From when on a row is known: the end of its step.
fn known_from(time: DateTime<Utc>, step: Step, stamp: super::Stamp) -> Option<DateTime<Utc>> {
    let known = match stamp {
        super::Stamp::Start => step.end(time.naive_utc())?.and_utc(),
        super::Stamp::End => time,
    };
    known.timestamp_nanos_opt().map(|_| known)
}
