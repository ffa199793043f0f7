//! The rows that the windows of aggregates hold: kept beside the newest
//! values, so that a window is computed at the instant of a request and not at
//! that of the last materialization. Feast does not look at these tables.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use arrow::array::ArrayRef;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, Transaction, params};

use super::key;
use super::materialize::key_type;
use super::proto::Value;
use super::sqlite::{has_table, quoted};
use super::value::{from_column, to_column};
use crate::definition::{Aggregate, Definitions, FeatureView, Field, ValueType};
use crate::error::{Error, Result};
use crate::join::aggregate::Aggregator;
use crate::retrieve::WindowRows;

/// For each view, from when to when its rows are complete.
const STATE: &str = "btc:windows";

/// The input columns of one row, by their names.
#[derive(Clone, PartialEq, prost::Message)]
struct Inputs {
    #[prost(btree_map = "string, message", tag = "1")]
    values: BTreeMap<String, Value>,
}

/// A row of a window that is to be kept.
#[derive(Debug)]
pub(super) struct NewWindowRow {
    pub(super) key: Vec<u8>,
    pub(super) time: i64,
    pub(super) created: Option<i64>,
    inputs: Vec<u8>,
}

/// Rows of windows to be written, and which of the kept ones they replace.
#[derive(Debug)]
pub(super) struct NewWindowRows {
    pub(super) rows: Vec<NewWindowRow>,
    /// Whether rows of one key and event time are versions of one row.
    pub(super) versions: bool,
    /// If these are all rows of the source after the first and up to the
    /// second instant: which those are, and the writes that the reading saw.
    pub(super) complete: Option<Complete>,
}

/// The window that written rows are all of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Complete {
    pub(super) after: i64,
    pub(super) until: i64,
    pub(super) seen: i64,
}

/// A kept row.
#[derive(Debug, Clone)]
pub(super) struct WindowRow {
    time: i64,
    inputs: BTreeMap<String, Value>,
}

/// From when to when the rows of a view are complete, both in nanoseconds: all
/// of the source that are later than the first and not than the second.
#[derive(Debug, Clone, Copy)]
pub(super) struct WindowState {
    pub(super) after: i64,
    pub(super) until: i64,
    /// Counts the writes.
    pub(super) writes: i64,
}

/// The name and the type of an aggregate's input column online.
fn input(field: &Field, aggregate: &Aggregate) -> (String, ValueType) {
    let column = aggregate.column.as_deref().unwrap_or_default();
    match aggregate.values(field.value_type) {
        Some(value_type) => (format!("{column}:{value_type}"), value_type),
        // True or null.
        None => (format!("{column}:"), ValueType::Bool),
    }
}

/// Takes apart the rows of a view that windows hold.
pub(super) fn new_window_rows(
    definitions: &Definitions,
    view: &FeatureView,
    rows: &WindowRows,
) -> Result<Vec<NewWindowRow>> {
    let place = format!("the rows of feature view {:?}", view.name);
    let entities = definitions.join_keys(view)?;
    let mut keys = Vec::with_capacity(entities.len());
    for (entity, column) in entities.iter().zip(&rows.keys) {
        let value_type = key_type(entity, column.data_type());
        let values =
            from_column(column, value_type).map_err(|unfit| unfit.at(&place, &entity.join_key))?;
        keys.push((entity.join_key.as_str(), values));
    }
    let mut inputs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for ((field, aggregate), column) in view.aggregates().zip(&rows.inputs) {
        let (name, value_type) = input(field, aggregate);
        if let Entry::Vacant(entry) = inputs.entry(name) {
            let values = from_column(column, value_type);
            entry.insert(values.map_err(|unfit| unfit.at(&place, &field.name))?);
        }
    }
    (0..rows.times.len())
        .map(|row| {
            let key: Vec<_> = keys
                .iter()
                .filter_map(|(name, values)| Some((*name, values[row].val.clone()?)))
                .collect();
            let values = inputs
                .iter()
                .map(|(name, values)| (name.clone(), values[row].clone()))
                .collect();
            Ok(NewWindowRow {
                key: key::encode(&key)?,
                time: rows.times[row],
                created: rows.created[row],
                inputs: Inputs { values }.encode_to_vec(),
            })
        })
        .collect()
}

/// The value of an aggregate at an instant; `None` if the kept rows do not
/// say, for they were kept for other aggregates.
pub(super) fn value_at(
    field: &Field,
    aggregate: &Aggregate,
    rows: &[WindowRow],
    state: WindowState,
    now: i64,
) -> Result<Option<Value>> {
    let (name, value_type) = input(field, aggregate);
    let from = now.saturating_sub(aggregate.nanos());
    if from < state.after {
        return Ok(None);
    }
    let inside = rows.iter().filter(|row| from < row.time && row.time <= now);
    let values: Option<Vec<Value>> = inside.map(|row| row.inputs.get(&name).cloned()).collect();
    let Some(values) = values else {
        return Ok(None);
    };
    let wrong = |unfit: crate::cast::Unfit| unfit.at("the online store", &field.name);
    let column: ArrayRef = to_column(&values, value_type).map_err(wrong)?;
    let mut aggregator = Aggregator::new(aggregate.function, &column).map_err(wrong)?;
    let places: Vec<u32> = (0..column.len() as u32).collect();
    aggregator.push(&places);
    let result = aggregator
        .finish(&field.value_type.data_type())
        .map_err(wrong)?;
    let mut values = from_column(&result, field.value_type).map_err(wrong)?;
    Ok(values.pop())
}

fn table(view: &str) -> String {
    format!("{STATE}:{view}")
}

/// Writes rows of the windows of a view, whose table is called `view`.
pub(super) fn write(
    transaction: &Transaction<'_>,
    view: &str,
    new: &NewWindowRows,
) -> rusqlite::Result<()> {
    let name = quoted(&table(view));
    transaction.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {name} (entity_key BLOB, event_ns INTEGER, place INTEGER, \
         created_ns INTEGER, inputs BLOB, write INTEGER, \
         PRIMARY KEY (entity_key, event_ns, place)) WITHOUT ROWID;
         CREATE TABLE IF NOT EXISTS \"{STATE}\" (view TEXT PRIMARY KEY, after_ns INTEGER, \
         until_ns INTEGER, writes INTEGER NOT NULL);"
    ))?;
    let (mut after, mut until, writes) = stored_state(transaction, view)?.unwrap_or_default();
    let write = writes + 1;
    if let Some(complete) = &new.complete {
        // What was written while the source was read stays.
        transaction.execute(
            &format!("DELETE FROM {name} WHERE write <= ?1 AND ?2 < event_ns AND event_ns <= ?3"),
            params![complete.seen, complete.after, complete.until],
        )?;
        if until.is_none_or(|until| until <= complete.until) {
            transaction.execute(
                &format!("DELETE FROM {name} WHERE event_ns <= ?1"),
                [complete.after],
            )?;
            (after, until) = (Some(complete.after), Some(complete.until));
        }
    }
    let mut place_of: HashMap<(&[u8], i64), i64> = HashMap::new();
    {
        let mut next = transaction.prepare(&format!(
            "SELECT coalesce(max(place) + 1, 0) FROM {name} WHERE entity_key = ?1 AND event_ns = ?2"
        ))?;
        let mut insert = transaction.prepare(&format!(
            "INSERT INTO {name} (entity_key, event_ns, place, created_ns, inputs, write) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (entity_key, event_ns, place) \
             DO UPDATE SET created_ns = excluded.created_ns, inputs = excluded.inputs, \
             write = excluded.write WHERE excluded.created_ns IS {name}.created_ns \
             OR {name}.created_ns IS NULL OR excluded.created_ns >= {name}.created_ns"
        ))?;
        for row in &new.rows {
            let place = if new.versions {
                0
            } else {
                match place_of.entry((row.key.as_slice(), row.time)) {
                    std::collections::hash_map::Entry::Occupied(mut entry) => {
                        *entry.get_mut() += 1;
                        *entry.get()
                    }
                    std::collections::hash_map::Entry::Vacant(entry) => {
                        // Rows that were all read start from the first place.
                        let first = match new.complete {
                            Some(_) => 0,
                            None => next.query_row(params![row.key, row.time], |row| row.get(0))?,
                        };
                        *entry.insert(first)
                    }
                }
            };
            insert.execute(params![
                row.key,
                row.time,
                place,
                row.created,
                row.inputs,
                write
            ])?;
        }
    }
    transaction.execute(
        &format!(
            "INSERT INTO \"{STATE}\" (view, after_ns, until_ns, writes) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (view) DO UPDATE SET after_ns = excluded.after_ns, \
             until_ns = excluded.until_ns, writes = excluded.writes"
        ),
        params![view, after, until, write],
    )?;
    Ok(())
}

/// From when to when the rows of a view's windows are complete, if they ever
/// were.
pub(super) fn state(connection: &Connection, view: &str) -> rusqlite::Result<Option<WindowState>> {
    if !has_table(connection, STATE)? {
        return Ok(None);
    }
    let found = stored_state(connection, view)?;
    Ok(found.and_then(|(after, until, writes)| {
        Some(WindowState {
            after: after?,
            until: until?,
            writes,
        })
    }))
}

/// The columns of the state's table: two instants and the number of writes.
type StoredState = (Option<i64>, Option<i64>, i64);

/// What is stored of it: the instants are null before rows were complete.
fn stored_state(connection: &Connection, view: &str) -> rusqlite::Result<Option<StoredState>> {
    let select = format!("SELECT after_ns, until_ns, writes FROM \"{STATE}\" WHERE view = ?1");
    connection
        .query_row(&select, [view], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
}

/// The kept rows of a key after one instant and up to another, in the order of
/// their times.
pub(super) fn read(
    connection: &Connection,
    view: &str,
    key: &[u8],
    (after, until): (i64, i64),
) -> rusqlite::Result<Vec<Result<WindowRow>>> {
    let mut select = connection.prepare_cached(&format!(
        "SELECT event_ns, inputs FROM {} WHERE entity_key = ?1 AND ?2 < event_ns \
         AND event_ns <= ?3 ORDER BY event_ns, place",
        quoted(&table(view))
    ))?;
    let rows = select.query_map(params![key, after, until], |row| {
        let (time, bytes): (i64, Vec<u8>) = (row.get(0)?, row.get(1)?);
        Ok(Inputs::decode(bytes.as_slice())
            .map(|inputs| WindowRow {
                time,
                inputs: inputs.values,
            })
            .map_err(|error| {
                Error::InvalidRequest(format!(
                    "a row of the windows of {view:?} cannot be read ({error}); materialize the \
                     view again"
                ))
            }))
    })?;
    rows.collect()
}

/// Removes what is kept for a view.
pub(super) fn drop(transaction: &Transaction<'_>, view: &str) -> rusqlite::Result<()> {
    transaction.execute_batch(&format!("DROP TABLE IF EXISTS {};", quoted(&table(view))))?;
    if has_table(transaction, STATE)? {
        let delete = format!("DELETE FROM \"{STATE}\" WHERE view = ?1");
        transaction.execute(&delete, [view])?;
    }
    Ok(())
}
