//! The rows that windows at one instant hold, for the online store: it keeps
//! them, so that a window can be computed at the instant of a request.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_empty_array};
use arrow::compute::{concat, filter};
use arrow::datatypes::DataType;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::prelude::SessionContext;

use super::columns::feature_columns;
use super::columns::key_type;
use crate::blocking::blocking;
use crate::cast::cast_exact;
use crate::definition::{Definitions, FeatureView};
use crate::error::Result;
use crate::join::source::KeyRows;
use crate::join::source::{FeatureColumn, Input, Tables};

/// Rows of a view, in the order of its source.
pub(crate) struct WindowRows {
    /// The columns of the keys.
    pub(crate) keys: Vec<ArrayRef>,
    /// Event times, in nanoseconds.
    pub(crate) times: Vec<i64>,
    /// When each was written, if that is known.
    pub(crate) created: Vec<Option<i64>>,
    /// For each aggregate of the view, in their order, its input column.
    pub(crate) inputs: Vec<ArrayRef>,
    /// Of rows that somebody else reserved memory for, none.
    pub(crate) _memory: Option<MemoryReservation>,
}

/// The rows of a view with keys and with event times after `after` and up to
/// `until`.
pub(crate) async fn window_rows(
    context: &SessionContext,
    definitions: &Definitions,
    repo_dir: &Path,
    tables: &Tables,
    view: &FeatureView,
    (after, until): (i64, i64),
) -> Result<WindowRows> {
    let source = definitions.source(&view.source)?.clone();
    let keys: Vec<String> = definitions
        .join_keys(view)?
        .into_iter()
        .map(|entity| source.column_of(&entity.join_key).to_owned())
        .collect();
    let (dir, own) = (repo_dir.to_path_buf(), tables.clone());
    let input = blocking(move || Input::open(&source, &dir, &own)).await?;
    input.check(&keys)?;
    let names: Vec<String> = view
        .aggregates()
        .map(|(feature, _)| feature.name.clone())
        .collect();
    let inputs: Vec<FeatureColumn> = feature_columns(view, &names, &input)?
        .iter()
        .map(FeatureColumn::window_input)
        .collect();
    // Keys may have another type in each file.
    let entities = definitions.join_keys(view)?;
    let key_types: Vec<DataType> = entities
        .into_iter()
        .zip(&keys)
        .map(|(entity, column)| key_type(&input, entity, column).data_type())
        .collect();
    let pool = &context.runtime_env().memory_pool;
    let mut found = Found {
        pieces: vec![Vec::new(); keys.len() + inputs.len()],
        times: Vec::new(),
        created: Vec::new(),
        memory: MemoryConsumer::new("the rows of windows").register(pool),
        key_types: key_types.clone(),
        key_names: keys.clone(),
        after,
        until,
    };
    let types: Vec<DataType> = key_types
        .into_iter()
        .chain(inputs.iter().map(|input| input.data_type.clone()))
        .collect();
    let key_count = keys.len();
    let found = match input {
        Input::Files(scan) => {
            blocking(move || {
                for unit in scan.units_between(after.saturating_add(1), until) {
                    let (mut kept, mut held) = (Vec::new(), Vec::new());
                    scan.read_keys(unit, &keys, |_, rows| {
                        let mask = found.within(&rows);
                        held.push(found.add(&rows, &mask)?);
                        kept.extend(mask.values().iter());
                        Ok(())
                    })?;
                    let kept = BooleanArray::from(kept);
                    if kept.true_count() == 0 {
                        continue;
                    }
                    for columns in held {
                        found.push(0, columns)?;
                    }
                    scan.read_features(unit, &inputs, kept, |_, columns| {
                        found.push(key_count, columns)
                    })?;
                }
                Ok(found)
            })
            .await?
        }
        Input::Table(table) => {
            let between = (after.saturating_add(1), until);
            table
                .for_each(context, &keys, &inputs, between, |rows, columns| {
                    let mask = found.within(&rows);
                    let of_keys = found.add(&rows, &mask)?;
                    found.push(0, of_keys)?;
                    let columns = columns.iter().map(|column| Ok(filter(column, &mask)?));
                    found.push(key_count, columns.collect::<Result<_>>()?)
                })
                .await?;
            found
        }
    };
    let mut columns = found
        .pieces
        .iter()
        .zip(types)
        .map(|(pieces, data_type)| {
            if pieces.is_empty() {
                return Ok(new_empty_array(&data_type));
            }
            let pieces: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
            Ok(concat(&pieces)?)
        })
        .collect::<Result<Vec<_>>>()?;
    let inputs = columns.split_off(key_count);
    Ok(WindowRows {
        keys: columns,
        times: found.times,
        created: found.created,
        inputs,
        _memory: Some(found.memory),
    })
}

struct Found {
    /// The pieces of each column: keys, then inputs.
    pieces: Vec<Vec<ArrayRef>>,
    times: Vec<i64>,
    created: Vec<Option<i64>>,
    memory: MemoryReservation,
    key_types: Vec<DataType>,
    key_names: Vec<String>,
    after: i64,
    until: i64,
}

impl Found {
    /// Which rows have a key and lie in the window.
    fn within(&self, rows: &KeyRows) -> BooleanArray {
        let within = |row: usize| {
            let there = rows.times.is_valid(row) && rows.keys.iter().all(|key| key.is_valid(row));
            let time = rows.times.value(row);
            there && self.after < time && time <= self.until
        };
        (0..rows.times.len()).map(|row| Some(within(row))).collect()
    }

    /// Adds the times of some rows; returns their keys.
    fn add(&mut self, rows: &KeyRows, mask: &BooleanArray) -> Result<Vec<ArrayRef>> {
        for row in mask.values().set_indices() {
            self.times.push(rows.times.value(row));
            let created = rows
                .created
                .as_ref()
                .filter(|created| created.is_valid(row));
            self.created.push(created.map(|created| created.value(row)));
        }
        self.memory.try_grow(mask.true_count() * 24)?;
        let columns = rows.keys.iter().zip(&self.key_types).zip(&self.key_names);
        columns
            .map(|((key, data_type), name)| {
                let key = cast_exact(key, data_type)
                    .map_err(|unfit| unfit.after(rows.before).at(&rows.place, name))?;
                Ok(filter(&key, mask)?)
            })
            .collect()
    }

    /// Adds pieces of the columns from number `first` on.
    fn push(&mut self, first: usize, columns: Vec<ArrayRef>) -> Result<()> {
        for (pieces, column) in self.pieces[first..].iter_mut().zip(columns) {
            self.memory.try_grow(column.get_array_memory_size())?;
            pieces.push(Arc::clone(&column));
        }
        Ok(())
    }
}
