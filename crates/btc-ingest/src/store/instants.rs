//! Tables of values at instants: hours, minutes, weeks and whatever else is not a day.
//!
//! There is one for each source that has such, `processed/<source>/<year>.parquet`. A row is known
//! from its `event_timestamp` on, the end of its step; a value that changes makes a new row with a
//! later `created_timestamp`, as in the tables of days.

use super::log::Merged;
use super::parquet::{CREATED_TIMESTAMP, EVENT_TIMESTAMP, nanos, timestamp_type, timestamps};
use super::{PROCESSED, Table};
use crate::error::{Error, Result};
use crate::file::TIME;
use crate::series::SeriesName;
use arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Float64Type, Schema, TimestampNanosecondType};
use chrono::{DateTime, Datelike, Utc};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// The values of one step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct InstantRow {
    /// Nanoseconds since 1970 at which the step begins or ends, as the source stamps it.
    pub(crate) time: i64,
    /// From when on the row is known.
    pub(crate) known: i64,
    /// By column.
    pub(crate) values: Vec<Option<f64>>,
}

/// The rows of a source, by time and then by time of fetching.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct InstantTable {
    columns: Vec<SeriesName>,
    rows: Vec<(i64, InstantRow)>,
}

impl InstantTable {
    /// Adds rows, by ascending time, with the values of `columns`, as fetched at `now`. What was
    /// known is no news; a value that is not given stays as it was.
    pub(crate) fn merge(
        &mut self,
        columns: &[SeriesName],
        rows: Vec<InstantRow>,
        now: DateTime<Utc>,
    ) -> Merged {
        for column in columns {
            if !self.columns.contains(column) {
                self.columns.push(column.clone());
            }
        }
        let width = self.columns.len();
        for (_, row) in &mut self.rows {
            row.values.resize(width, None);
        }
        let places: Vec<Option<usize>> = columns
            .iter()
            .map(|column| self.columns.iter().position(|other| other == column))
            .collect();
        let created = nanos(now);
        let mut latest: BTreeMap<i64, usize> = BTreeMap::new();
        for (index, (fetched, row)) in self.rows.iter().enumerate() {
            if *fetched <= created {
                latest.insert(row.time, index);
            }
        }
        let mut merged = Merged::default();
        let mut news = Vec::new();
        for row in rows {
            let known = latest.get(&row.time).map(|index| &self.rows[*index].1);
            let mut values = match known {
                Some(known) => known.values.clone(),
                None => vec![None; width],
            };
            for (place, value) in places.iter().zip(&row.values) {
                if let (Some(place), Some(value)) = (place, value) {
                    values[*place] = Some(*value);
                }
            }
            match known {
                Some(known) if known.values == values && known.known == row.known => continue,
                Some(_) => merged.changed += 1,
                None => merged.new += 1,
            }
            news.push((created, InstantRow { values, ..row }));
        }
        if !news.is_empty() {
            // Of two rows fetched at one instant the later one counts.
            self.rows.extend(news);
            self.rows.sort_by_key(|(created, row)| (row.time, *created));
            self.rows.reverse();
            self.rows
                .dedup_by_key(|(created, row)| (row.time, *created));
            self.rows.reverse();
        }
        merged
    }

    /// The times that have rows, ascending, each once.
    pub(crate) fn times(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.rows.iter().map(|(_, row)| row.time).collect();
        times.dedup();
        times
    }

    /// The number of all rows, the ones that were replaced included.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The series.
    pub(crate) fn columns(&self) -> &[SeriesName] {
        &self.columns
    }

    /// Takes tables apart, in the order of their years; `path` is where they lie.
    pub(super) fn from_batches(path: &Path, batches: &[RecordBatch]) -> Result<Self> {
        let mut table = Self::default();
        for batch in batches {
            table
                .add(batch)
                .ok_or_else(|| Error::invalid(path, "it is not a table of values at instants"))?;
        }
        Ok(table)
    }

    fn add(&mut self, batch: &RecordBatch) -> Option<()> {
        let column = |name: &str| {
            let column = batch.column_by_name(name)?;
            let is_time = *column.data_type() == timestamp_type() && column.null_count() == 0;
            is_time.then(|| column.as_primitive::<TimestampNanosecondType>())
        };
        let (time, known) = (column(TIME)?, column(EVENT_TIMESTAMP)?);
        let created = column(CREATED_TIMESTAMP)?;
        let schema = batch.schema();
        let mut values = Vec::new();
        for (field, array) in schema.fields().iter().zip(batch.columns()) {
            if [TIME, EVENT_TIMESTAMP, CREATED_TIMESTAMP].contains(&field.name().as_str()) {
                continue;
            }
            let name = SeriesName::new(field.name()).ok()?;
            let array = array.as_primitive_opt::<Float64Type>()?;
            if !self.columns.contains(&name) {
                self.columns.push(name.clone());
            }
            let place = self.columns.iter().position(|other| *other == name)?;
            values.push((place, array));
        }
        let width = self.columns.len();
        for (_, row) in &mut self.rows {
            row.values.resize(width, None);
        }
        for row in 0..batch.num_rows() {
            let mut all = vec![None; width];
            for (place, array) in &values {
                all[*place] = array.is_valid(row).then(|| array.value(row));
            }
            self.rows.push((
                created.value(row),
                InstantRow {
                    time: time.value(row),
                    known: known.value(row),
                    values: all,
                },
            ));
        }
        Some(())
    }

    /// One table for each year of the times.
    pub(super) fn to_batches(&self) -> Result<BTreeMap<i32, RecordBatch>> {
        let year = |row: &(i64, InstantRow)| DateTime::from_timestamp_nanos(row.1.time).year();
        let chunks = self.rows.chunk_by(|a, b| year(a) == year(b));
        chunks
            .map(|rows| Ok((year(&rows[0]), self.to_batch(rows)?)))
            .collect()
    }

    fn to_batch(&self, rows: &[(i64, InstantRow)]) -> Result<RecordBatch> {
        let time = |name: &str| Field::new(name, timestamp_type(), false);
        let mut fields = vec![time(TIME), time(EVENT_TIMESTAMP), time(CREATED_TIMESTAMP)];
        let mut arrays: Vec<ArrayRef> = vec![
            timestamps(rows.iter().map(|(_, row)| row.time)),
            timestamps(rows.iter().map(|(_, row)| row.known)),
            timestamps(rows.iter().map(|(created, _)| *created)),
        ];
        for (index, column) in self.columns.iter().enumerate() {
            fields.push(Field::new(column.as_str(), DataType::Float64, true));
            let values = rows.iter().map(|(_, row)| row.values[index]);
            arrays.push(Arc::new(values.collect::<Float64Array>()));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
    }
}

/// The folder of the table of a source below the data folder.
pub(crate) fn folder(source: &str) -> String {
    format!("{PROCESSED}/{source}")
}

/// The source of a table of values at instants, by the name of one of its files.
pub(super) fn source_of(name: &str) -> Option<&str> {
    let is_of_days = [Table::Ohlcv, Table::Blockchain]
        .iter()
        .any(|table| name.starts_with(&format!("{}/", table.folder())));
    let below = name.strip_prefix(PROCESSED)?.strip_prefix('/')?;
    let (source, _) = below.split_once('/')?;
    (!is_of_days).then_some(source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(time: i64, values: &[Option<f64>]) -> InstantRow {
        InstantRow {
            time,
            known: time + 3_600_000_000_000,
            values: values.to_vec(),
        }
    }

    fn names(names: &[&str]) -> Vec<SeriesName> {
        names
            .iter()
            .map(|name| SeriesName::of_chart(name))
            .collect()
    }

    #[test]
    fn revisions_make_rows_and_what_is_known_does_not() {
        let at = |second| DateTime::from_timestamp(second, 0).unwrap();
        let mut table = InstantTable::default();
        let close = names(&["close"]);
        let merged = table.merge(
            &close,
            vec![row(0, &[Some(1.0)]), row(9, &[Some(2.0)])],
            at(5),
        );
        assert_eq!((merged.new, merged.changed), (2, 0));
        let merged = table.merge(
            &close,
            vec![row(0, &[Some(1.0)]), row(9, &[Some(3.0)])],
            at(6),
        );
        assert_eq!((merged.new, merged.changed), (0, 1));
        let volume = names(&["volume"]);
        table.merge(&volume, vec![row(0, &[Some(7.0)])], at(7));
        assert_eq!(table.len(), 4);
        assert_eq!(table.times(), [0, 9]);
        assert_eq!(table.rows[1].1.values, [Some(1.0), Some(7.0)]);
        let batches: Vec<RecordBatch> = table.to_batches().unwrap().into_values().collect();
        let read = InstantTable::from_batches(Path::new("x"), &batches).unwrap();
        assert_eq!(read, table);
    }

    #[test]
    fn tables_are_cut_by_year_and_read_together() {
        let mut table = InstantTable::default();
        let new_year = 1_735_689_600_000_000_000;
        let rows = vec![row(new_year - 1, &[Some(1.0)]), row(new_year, &[None])];
        table.merge(&names(&["close"]), rows, DateTime::UNIX_EPOCH);
        let batches = table.to_batches().unwrap();
        assert_eq!(batches.keys().copied().collect::<Vec<_>>(), [2024, 2025]);
        let other = batches[&2024].project(&[0, 3]).unwrap();
        assert!(InstantTable::from_batches(Path::new("x"), &[other]).is_err());
    }

    #[test]
    fn the_tables_of_days_are_none_of_instants() {
        assert_eq!(source_of("processed/hourly/2024.parquet"), Some("hourly"));
        for name in [
            "processed/ohlcv/2024.parquet",
            "processed/blockchain/2024.parquet",
            "raw/hourly/2024.parquet",
        ] {
            assert_eq!(source_of(name), None, "{name}");
        }
    }
}
