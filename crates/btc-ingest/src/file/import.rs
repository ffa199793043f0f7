//! Storing what a file holds.

use super::{FileSource, FileTable, ReadFile, Stamp, Step, TIME};
use crate::clean::Reason;
use crate::error::{Error, Result};
use crate::pull::{check_names, pull_source, store_instants};
use crate::report::PullReport;
use crate::series::SeriesName;
use crate::source::{DATE, TimedSeries, day_of_epoch};
use crate::store::{InstantRow, nanos};
use crate::validate::set_aside_by;
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Date32Type, Float64Type, TimestampNanosecondType};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use std::path::Path;
use std::sync::Arc;

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
    check_names(&[source])?;
    let data_dir = data_dir.as_ref().to_owned();
    let name = source.name.clone();
    let read = {
        let source = source.clone();
        tokio::task::spawn_blocking(move || source.preview(now)).await
    };
    let failed =
        |problem: tokio::task::JoinError| Error::invalid(&source.path, problem.to_string());
    let table = read.map_err(failed)??;
    let (recognised, step) = (table.recognised.clone(), table.step);
    let pull = if step.is_day() {
        let file = ReadFile { name, table };
        let all = NaiveDate::MIN..=NaiveDate::MAX;
        pull_source(&data_dir, &file, all, now).await?
    } else {
        let stored = tokio::task::spawn_blocking(move || {
            let mut pull = store_steps(&data_dir, &name, &table, now)?;
            pull.warnings.splice(0..0, table.notes);
            Ok::<_, Error>(pull)
        });
        stored.await.map_err(failed)??
    };
    Ok(ImportReport {
        recognised,
        step: step.to_string(),
        table: (!step.is_day()).then(|| crate::store::instants_folder(&source.name)),
        pull,
    })
}

fn store_steps(
    data_dir: &Path,
    name: &str,
    table: &FileTable,
    now: DateTime<Utc>,
) -> Result<PullReport> {
    let times = times(table)?;
    let series = columns(table)?;
    let names: Vec<SeriesName> = series.iter().map(|series| series.name.clone()).collect();
    let mut rows = Vec::with_capacity(times.len());
    for time in &times {
        // What is not known at any time that can be told was set aside.
        if let Some(known) = known_from(*time, table.step, table.stamp) {
            rows.push(InstantRow {
                time: nanos(*time),
                known: nanos(known),
                values: vec![None; names.len()],
            });
        }
    }
    for (index, TimedSeries { values, .. }) in series.into_iter().enumerate() {
        for (row, value) in values {
            if let Some(row) = rows.get_mut(row) {
                row.values[index] = Some(value);
            }
        }
    }
    store_instants(data_dir, name, &names, rows, table.rejected.clone(), now)
}

/// Sets aside what no source may bring, and says where it stands in the file.
pub(super) fn without_unfit(mut table: FileTable, now: DateTime<Utc>) -> Result<FileTable> {
    let times = times(&table)?;
    let mut series = columns(&table)?;
    let known: Vec<Option<DateTime<Utc>>> = times
        .iter()
        .map(|time| match table.step.is_day() {
            true => table.step.end(time.naive_utc()).map(|end| end.and_utc()),
            false => known_from(*time, table.step, table.stamp),
        })
        .collect();
    let mut unfit = set_aside_by(&mut series, |row: usize| match known.get(row) {
        Some(Some(known)) if *known > now => Some(Reason::Future),
        Some(Some(_)) => None,
        _ => Some(Reason::OutOfRange),
    });
    let whole = known.iter().all(Option::is_some);
    if unfit.is_empty() && whole {
        return Ok(table);
    }
    for rejected in &mut unfit {
        let row: usize = rejected.stamp.parse().unwrap_or(usize::MAX);
        if let Some(time) = times.get(row) {
            rejected.stamp = match table.step.is_day() {
                true => time.date_naive().to_string(),
                false => time.to_rfc3339(),
            };
        }
        rejected.origin = table.places.of(row, &rejected.series);
    }
    let mut keep = vec![false; times.len()];
    let mut arrays: Vec<ArrayRef> = vec![Arc::clone(table.batch.column(0))];
    for TimedSeries { values, .. } in series {
        let mut column = vec![None; times.len()];
        for (row, value) in values {
            (column[row], keep[row]) = (Some(value), true);
        }
        arrays.push(Arc::new(Float64Array::from(column)));
    }
    let batch = RecordBatch::try_new(table.batch.schema(), arrays)?;
    table.batch = filter_record_batch(&batch, &BooleanArray::from(keep.clone()))?;
    table.places = table.places.filtered(&keep);
    table.rejected.extend(unfit);
    table.notes = super::notes(&table.rejected, &table.remarks);
    Ok(table)
}

/// The times of the rows; of days their midnights.
fn times(table: &FileTable) -> Result<Vec<DateTime<Utc>>> {
    let wrong = || Error::config("a table of a file has no times");
    if table.step.is_day() {
        let days = table.batch.column_by_name(DATE).ok_or_else(wrong)?;
        let days = days.as_primitive_opt::<Date32Type>().ok_or_else(wrong)?;
        let midnight = |day: &i32| day_of_epoch(*day)?.and_hms_opt(0, 0, 0);
        let times = days
            .values()
            .iter()
            .map(|day| Some(midnight(day)?.and_utc()));
        return times.collect::<Option<_>>().ok_or_else(wrong);
    }
    let times = table.batch.column_by_name(TIME).ok_or_else(wrong)?;
    let times = times
        .as_primitive_opt::<TimestampNanosecondType>()
        .ok_or_else(wrong)?;
    let nanos = times.values().iter();
    Ok(nanos
        .map(|time| DateTime::from_timestamp_nanos(*time))
        .collect())
}

/// The values of each series by the number of their row.
fn columns(table: &FileTable) -> Result<Vec<TimedSeries<usize>>> {
    let schema = table.batch.schema();
    let columns = schema.fields().iter().zip(table.batch.columns()).skip(1);
    columns
        .map(|(field, column)| {
            let wrong = || Error::config("a column of a file holds no numbers");
            let column = column.as_primitive_opt::<Float64Type>().ok_or_else(wrong)?;
            let values = (0..column.len()).filter(|row| column.is_valid(*row));
            Ok(TimedSeries {
                name: SeriesName::new(field.name())?,
                values: values.map(|row| (row, column.value(row))).collect(),
            })
        })
        .collect()
}

/// From when on a row is known: the end of its step.
fn known_from(time: DateTime<Utc>, step: Step, stamp: Stamp) -> Option<DateTime<Utc>> {
    let known = match stamp {
        Stamp::Start => step.end(time.naive_utc())?.and_utc(),
        Stamp::End => time,
    };
    known.timestamp_nanos_opt().map(|_| known)
}
