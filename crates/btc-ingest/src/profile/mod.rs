//! One page that shows what a data folder holds.

mod page;
mod stats;
mod svg;

use crate::error::{Error, Result};
use crate::quarantine;
use crate::source::DayValue;
use crate::status::{DataStatus, SeriesStatusReport};
use crate::store::{DataFolder, Revisions, Snapshot, Table};
use arrow::array::AsArray;
use arrow::datatypes::{DataType, Date32Type, Float64Type};
use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::path::Path;

/// One column of a processed table.
#[derive(Debug)]
struct Column {
    name: String,
    status: Option<SeriesStatusReport>,
    values: Vec<DayValue>,
}

/// What the page is made of.
#[derive(Debug)]
struct Profile {
    status: DataStatus,
    now: DateTime<Utc>,
    is_intact: bool,
    columns: Vec<Column>,
    /// Series and reason of what was set aside, with the number of values.
    quarantine: BTreeMap<(String, String), usize>,
}

/// Draws a data folder, as of `now`: one HTML page that needs nothing else.
///
/// It shows range, gaps and freshness of every series, its course, the distribution of its daily
/// changes, the correlations of all of them, and what was set aside.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let data_dir = folder.path();
/// let now = "2024-01-02T06:00:00Z".parse()?;
/// btc_ingest::pull_sample(data_dir, 0, "2024-01-01".parse()?, 365, now)?;
/// let page = btc_ingest::profile(data_dir, now)?;
/// assert!(page.starts_with("<!DOCTYPE html>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Fails if there is no data, or a file of it cannot be read.
pub fn profile(data_dir: impl AsRef<Path>, now: DateTime<Utc>) -> Result<String> {
    let folder = DataFolder::new(data_dir.as_ref());
    let snapshot = folder.snapshot()?;
    let status = crate::status::of(&snapshot, now)?;
    let mut columns = Vec::new();
    for table in [Table::Ohlcv, Table::Blockchain] {
        columns.extend(read_columns(&snapshot, table, &status)?);
    }
    let mut quarantine: BTreeMap<(String, String), usize> = BTreeMap::new();
    for source in snapshot.sources_with_quarantine() {
        for kind in quarantine::reasons(snapshot.quarantined(source)?) {
            *quarantine.entry(kind).or_default() += 1;
        }
    }
    let is_intact = folder.verify()?.is_ok();
    Ok(page::render(&Profile {
        status,
        now,
        is_intact,
        columns,
        quarantine,
    }))
}

fn read_columns(snapshot: &Snapshot, table: Table, status: &DataStatus) -> Result<Vec<Column>> {
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
        columns.push(Column {
            name: field.name().clone(),
            status: status.cloned(),
            values,
        });
    }
    Ok(columns)
}
