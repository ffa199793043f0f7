//! Entity rows for a period: every key that has values in it, at its end.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{Field, Schema};
use arrow::row::{OwnedRow, RowConverter, SortField};

use super::input::{Input, Tables};
use super::request::Request;
use crate::definition::Definitions;
use crate::error::{Error, Result};

/// The distinct keys that the keyed views of a request have values for in
/// `period`, each at the end of the period; in the order of the keys.
pub(crate) fn entity_rows(
    request: &Request,
    definitions: &Definitions,
    repo_dir: &Path,
    tables: &Tables,
    period: RangeInclusive<i64>,
) -> Result<RecordBatch> {
    let mut columns: Option<Vec<&str>> = None;
    let mut fields = vec![Field::new(
        "event_timestamp",
        arrow::datatypes::DataType::Timestamp(
            arrow::datatypes::TimeUnit::Nanosecond,
            Some("UTC".into()),
        ),
        false,
    )];
    let mut converter = None;
    let mut found: BTreeSet<OwnedRow> = BTreeSet::new();
    for view in request.views.iter().filter(|view| !view.keys().is_empty()) {
        let of_rows: Vec<&str> = view
            .keys()
            .iter()
            .map(|(column, _)| column.as_str())
            .collect();
        let types: Vec<_> = definitions
            .join_keys(&view.view)?
            .into_iter()
            .map(|entity| entity.value_type.data_type())
            .collect();
        match &columns {
            Some(columns) if *columns != of_rows => {
                return Err(Error::InvalidRequest(format!(
                    "a request for a period needs views with the same keys, not {columns:?} and \
                     {of_rows:?}; ask for them one by one, or bring entity rows"
                )));
            }
            Some(_) => {}
            None => {
                fields.extend(
                    of_rows
                        .iter()
                        .zip(&types)
                        .map(|(name, t)| Field::new(*name, t.clone(), true)),
                );
                let sort = types.iter().map(|t| SortField::new(t.clone())).collect();
                converter = Some(RowConverter::new(sort)?);
                columns = Some(of_rows);
            }
        }
        let Some(converter) = &converter else {
            continue;
        };
        let Input::Files(scan) = Input::open(view.source(), repo_dir, tables)? else {
            return Err(Error::InvalidRequest(format!(
                "a request for a period needs files, and source {:?} is a table; bring entity \
                 rows",
                view.source().name
            )));
        };
        let source_keys: Vec<String> = view.keys().iter().map(|(_, c)| c.clone()).collect();
        scan.check(&source_keys)?;
        for unit in scan.units_between(*period.start(), *period.end()) {
            scan.read_keys(unit, &source_keys, |_, rows| {
                let keys = rows
                    .keys
                    .iter()
                    .zip(&types)
                    .map(|(column, data_type)| cast(column, data_type))
                    .collect::<Result<Vec<ArrayRef>, _>>()?;
                let within: arrow::array::BooleanArray = (0..rows.times.len())
                    .map(|row| {
                        Some(
                            rows.times.is_valid(row)
                                && period.contains(&rows.times.value(row))
                                && keys.iter().all(|key| key.is_valid(row)),
                        )
                    })
                    .collect();
                let names = keys
                    .iter()
                    .enumerate()
                    .map(|(n, k)| (n.to_string(), Arc::clone(k)));
                let keys = filter_record_batch(&RecordBatch::try_from_iter(names)?, &within)?;
                let encoded = converter.convert_columns(keys.columns())?;
                found.extend(encoded.iter().map(|row| row.owned()));
                Ok(())
            })?;
        }
    }
    let rows = if converter.is_some() { found.len() } else { 1 };
    let times = TimestampNanosecondArray::from(vec![*period.end(); rows]).with_timezone("UTC");
    let mut arrays: Vec<ArrayRef> = vec![Arc::new(times)];
    if let Some(converter) = converter {
        arrays.extend(converter.convert_rows(found.iter().map(OwnedRow::row))?);
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}
