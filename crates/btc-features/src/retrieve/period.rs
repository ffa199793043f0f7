//! Entity rows for a period: every key that has values in it, at its end.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, BooleanArray, RecordBatch, TimestampNanosecondArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::prelude::SessionContext;

use super::columns::key_type;
use super::request::Request;
use crate::blocking::blocking;
use crate::cast::cast_exact;
use crate::definition::Definitions;
use crate::error::{Error, Result};
use crate::join::source::KeyRows;
use crate::join::source::{Input, Tables};

/// What a key in the set takes besides its bytes.
const KEY_OVERHEAD: usize = 64;

/// The distinct keys that the keyed views of a request have values for in
/// `period`, each at the end of the period; in the order of the keys.
pub(crate) async fn entity_rows(
    context: &SessionContext,
    request: &Request,
    definitions: &Definitions,
    repo_dir: &Path,
    tables: &Tables,
    period: RangeInclusive<i64>,
) -> Result<RecordBatch> {
    let mut names: Option<Vec<String>> = None;
    let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
    let mut fields = vec![Field::new("event_timestamp", utc, false)];
    let mut keys: Option<Keys> = None;
    for view in request.views.iter().filter(|view| !view.keys().is_empty()) {
        let of_rows: Vec<String> = view.keys().iter().map(|(name, _)| name.clone()).collect();
        let columns: Vec<String> = view.keys().iter().map(|(_, name)| name.clone()).collect();
        let (source, dir, own) = (
            view.source().clone(),
            repo_dir.to_path_buf(),
            tables.clone(),
        );
        let input = blocking(move || Input::open(&source, &dir, &own)).await?;
        input.check(&columns)?;
        let entities = definitions.join_keys(&view.view)?;
        let types: Vec<DataType> = entities
            .into_iter()
            .zip(&columns)
            .map(|(entity, column)| key_type(&input, entity, column).data_type())
            .collect();
        match &names {
            Some(names) if *names != of_rows => {
                return Err(Error::InvalidRequest(format!(
                    "a request for a period needs views with the same keys, not {names:?} and \
                     {of_rows:?}; ask for them one by one, or bring entity rows"
                )));
            }
            Some(_) => {}
            None => {
                let of_keys = of_rows.iter().zip(&types);
                fields.extend(of_keys.map(|(name, t)| Field::new(name, t.clone(), true)));
                names = Some(of_rows);
            }
        }
        let mut found = match keys.take() {
            Some(found) => found,
            None => Keys::new(context, types, period.clone())?,
        };
        keys = Some(match input {
            Input::Files(scan) => {
                blocking(move || {
                    for unit in scan.units_between(*found.period.start(), *found.period.end()) {
                        scan.read_keys(unit, &columns, |_, rows| found.add(&rows, &columns))?;
                    }
                    Ok(found)
                })
                .await?
            }
            Input::Table(table) => {
                let between = (*period.start(), *period.end());
                table
                    .for_each(context, &columns, &[], between, |rows, _| {
                        found.add(&rows, &columns)
                    })
                    .await?;
                found
            }
        });
    }
    let rows = keys.as_ref().map_or(1, |keys| keys.found.len());
    let times = TimestampNanosecondArray::from(vec![*period.end(); rows]).with_timezone("UTC");
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times)];
    if let Some(keys) = keys {
        arrays.extend(
            keys.converter
                .convert_rows(keys.found.iter().map(OwnedRow::row))?,
        );
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// The distinct keys of a period.
struct Keys {
    converter: RowConverter,
    types: Vec<DataType>,
    period: RangeInclusive<i64>,
    found: BTreeSet<OwnedRow>,
    memory: MemoryReservation,
}

impl Keys {
    fn new(
        context: &SessionContext,
        types: Vec<DataType>,
        period: RangeInclusive<i64>,
    ) -> Result<Self> {
        let sort = types.iter().map(|t| SortField::new(t.clone())).collect();
        let pool = &context.runtime_env().memory_pool;
        Ok(Self {
            converter: RowConverter::new(sort)?,
            types,
            period,
            found: BTreeSet::new(),
            memory: MemoryConsumer::new("the keys of a period").register(pool),
        })
    }

    fn add(&mut self, rows: &KeyRows, names: &[String]) -> Result<()> {
        let within: BooleanArray = (0..rows.times.len())
            .map(|row| {
                let there = rows.times.is_valid(row) && rows.keys.iter().all(|k| k.is_valid(row));
                Some(there && self.period.contains(&rows.times.value(row)))
            })
            .collect();
        let keys = rows
            .keys
            .iter()
            .zip(&self.types)
            .zip(names)
            .map(|((column, data_type), name)| {
                cast_exact(column, data_type)
                    .map_err(|unfit| unfit.after(rows.before).at(&rows.place, name))
            })
            .collect::<Result<Vec<ArrayRef>>>()?;
        let named = keys.into_iter().enumerate();
        let keys = RecordBatch::try_from_iter(named.map(|(n, key)| (n.to_string(), key)))?;
        let keys = filter_record_batch(&keys, &within)?;
        for row in &self.converter.convert_columns(keys.columns())? {
            let row = row.owned();
            let bytes = row.row().data().len() + KEY_OVERHEAD;
            if self.found.insert(row) {
                self.memory.try_grow(bytes)?;
            }
        }
        Ok(())
    }
}
