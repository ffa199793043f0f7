//! The database file: a table a view, in Feast's layout.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::proto::Value;
use super::windows::{NewWindowRows, WindowRow, WindowState};
use crate::error::{Error, Result};

/// Until when views are materialized. Feast does not look at this table, and
/// with its colon no project and view have it as their table.
const PROGRESS: &str = "btc:materialization";
/// What that table was called when a view could have the same name.
const FORMER_PROGRESS: &str = "btc_materialization";

/// From when to when a view is materialized.
type Period = (DateTime<Utc>, DateTime<Utc>);

/// One entity's values of a view.
#[derive(Debug, Clone, Default)]
pub(super) struct OnlineRow {
    pub(super) values: HashMap<String, Value>,
    /// The event time, in nanoseconds since 1970; of a row that Feast wrote,
    /// the start of its second.
    pub(super) event_time: i128,
}

/// A row to be written.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) key: Vec<u8>,
    pub(super) values: Vec<(String, Value, Option<String>)>,
    /// The event time, in nanoseconds since 1970.
    pub(super) event_time: i64,
    /// When it was written, in seconds since 1970.
    pub(super) created: Option<i64>,
}

/// Nanoseconds in a second.
const SECOND: i64 = 1_000_000_000;

/// The online store of a project.
#[derive(Debug)]
pub(crate) struct OnlineDatabase {
    path: PathBuf,
    project: String,
    connection: Connection,
}

impl OnlineDatabase {
    /// Opens the database, which is made if it is not there.
    pub(crate) fn open(path: &Path, project: &str) -> Result<Self> {
        let dir = crate::files::folder_of(path);
        std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
        let connection = Connection::open(path).map_err(failed(path, "was opened"))?;
        // Another process may be writing a view.
        connection
            .busy_timeout(Duration::from_secs(60))
            .map_err(failed(path, "was opened"))?;
        Ok(Self {
            path: path.to_path_buf(),
            project: project.to_owned(),
            connection,
        })
    }

    /// Opens the database if there is one.
    pub(crate) fn open_existing(path: &Path, project: &str) -> Result<Option<Self>> {
        if path.is_file() {
            Self::open(path, project).map(Some)
        } else {
            Ok(None)
        }
    }

    fn failed(&self, action: &str) -> impl Fn(rusqlite::Error) -> Error + use<> {
        failed(&self.path, action)
    }

    fn table(&self, view: &str) -> String {
        format!("{}_{view}", self.project)
    }

    /// Writes rows of a view and, with them or not at all, the period that the
    /// view is materialized for by them, if it is, and the rows that windows
    /// hold. A row never takes the place of a newer one, to the
    /// nanosecond: Feast's columns hold seconds, so the rest of the event time
    /// is in a column of our own, which counts as long as it lies in the second
    /// that Feast's column names.
    pub(super) fn write(
        &mut self,
        view: &str,
        rows: impl IntoIterator<Item = Result<NewRow>>,
        period: Option<(i64, i64)>,
        windows: Option<&NewWindowRows>,
    ) -> Result<usize> {
        let failed = self.failed(&format!("wrote {view:?}"));
        let table = self.table(view);
        let name = quoted(&table);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        if progress_table(&transaction).map_err(&failed)? == Some(FORMER_PROGRESS) {
            let rename = format!("ALTER TABLE {FORMER_PROGRESS} RENAME TO \"{PROGRESS}\"");
            transaction.execute_batch(&rename).map_err(&failed)?;
        }
        // The primary key starts with the entity key: another index, as Feast
        // makes it, finds nothing faster, and its name could be that of a view.
        transaction
            .execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {name} (entity_key BLOB, feature_name TEXT, value BLOB, \
                 value_text TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp, \
                 event_ns INTEGER, PRIMARY KEY(entity_key, feature_name));
                 CREATE TABLE IF NOT EXISTS \"{PROGRESS}\" (view TEXT PRIMARY KEY, \
                 start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL);"
            ))
            .map_err(&failed)?;
        if !has_column(&transaction, &table, "event_ns").map_err(&failed)? {
            let add = format!("ALTER TABLE {name} ADD COLUMN event_ns INTEGER");
            transaction.execute_batch(&add).map_err(&failed)?;
        }
        let mut written = 0;
        {
            let mut insert = transaction
                .prepare(&format!(
                    "INSERT INTO {name} (entity_key, feature_name, value, value_text, event_ts, \
                     created_ts, event_ns) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
                     ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value, \
                     value_text = excluded.value_text, event_ts = excluded.event_ts, \
                     created_ts = excluded.created_ts, event_ns = excluded.event_ns \
                     WHERE excluded.event_ts > {name}.event_ts \
                     OR (excluded.event_ts = {name}.event_ts AND ({name}.event_ns IS NULL \
                     OR {name}.event_ns NOT BETWEEN {name}.event_ts * {SECOND} \
                     AND {name}.event_ts * {SECOND} + {SECOND} - 1 \
                     OR excluded.event_ns >= {name}.event_ns))"
                ))
                .map_err(&failed)?;
            for row in rows {
                let row = row?;
                for (feature, value, text) in &row.values {
                    insert
                        .execute(params![
                            row.key,
                            feature,
                            value.encode_to_vec(),
                            text,
                            row.event_time.div_euclid(SECOND),
                            row.created,
                            row.event_time
                        ])
                        .map_err(&failed)?;
                }
                written += 1;
            }
        }
        if let Some((start, end)) = period {
            transaction
                .execute(
                    &format!(
                        "INSERT INTO \"{PROGRESS}\" (view, start_ns, end_ns) VALUES (?1, ?2, ?3) \
                         ON CONFLICT (view) DO UPDATE SET \
                         start_ns = min(start_ns, excluded.start_ns), \
                         end_ns = max(end_ns, excluded.end_ns)"
                    ),
                    params![table, start, end],
                )
                .map_err(&failed)?;
        }
        if let Some(windows) = windows {
            super::windows::write(&transaction, &table, windows).map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)?;
        Ok(written)
    }

    /// The period that a view is materialized for, in nanoseconds.
    pub(crate) fn progress(&self, view: &str) -> Result<Option<(i64, i64)>> {
        let failed = self.failed("was read");
        let Some(progress) = progress_table(&self.connection).map_err(&failed)? else {
            return Ok(None);
        };
        self.connection
            .query_row(
                &format!("SELECT start_ns, end_ns FROM \"{progress}\" WHERE view = ?1"),
                [self.table(view)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(failed)
    }

    /// The periods that views are materialized for.
    pub(crate) fn materialized<'a>(
        &self,
        views: impl Iterator<Item = &'a String>,
    ) -> Result<BTreeMap<String, Period>> {
        let mut all = BTreeMap::new();
        for view in views {
            if let Some((start, end)) = self.progress(view)? {
                let at = DateTime::from_timestamp_nanos;
                all.insert(view.clone(), (at(start), at(end)));
            }
        }
        Ok(all)
    }

    /// The values of a view for some keys, in their order.
    pub(super) fn read(&self, view: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<OnlineRow>>> {
        let table = self.table(view);
        if !self.has_table(&table)? {
            return Ok(vec![None; keys.len()]);
        }
        let failed = self.failed(&format!("read {view:?}"));
        let finer = has_column(&self.connection, &table, "event_ns").map_err(&failed)?;
        let mut select = self
            .connection
            .prepare_cached(&format!(
                "SELECT feature_name, value, event_ts, {} FROM {} WHERE entity_key = ?1",
                if finer { "event_ns" } else { "NULL" },
                quoted(&table)
            ))
            .map_err(&failed)?;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            let mut rows = select.query([key]).map_err(&failed)?;
            let mut online: Option<OnlineRow> = None;
            while let Some(row) = rows.next().map_err(&failed)? {
                let name: String = row.get(0).map_err(&failed)?;
                let bytes: Vec<u8> = row.get(1).map_err(&failed)?;
                let value = Value::decode(bytes.as_slice()).map_err(|error| Error::Corrupt {
                    path: self.path.clone(),
                    reason: format!("a value of {name:?} cannot be read: {error}"),
                })?;
                let online = online.get_or_insert_default();
                online.values.insert(name, value);
                let seconds: i64 = row.get(2).map_err(&failed)?;
                let nanos: Option<i64> = row.get(3).map_err(&failed)?;
                // Another second than Feast's column says: Feast has written since.
                let nanos = nanos.filter(|nanos| nanos.div_euclid(SECOND) == seconds);
                online.event_time =
                    nanos.map_or(i128::from(seconds) * i128::from(SECOND), i128::from);
            }
            found.push(online);
        }
        Ok(found)
    }

    /// From when to when the rows that windows of a view hold are complete.
    pub(super) fn window_state(&self, view: &str) -> Result<Option<WindowState>> {
        let state = super::windows::state(&self.connection, &self.table(view));
        state.map_err(self.failed(&format!("read {view:?}")))
    }

    /// The rows that windows of a view hold of a key, after one instant and up
    /// to another.
    pub(super) fn window_rows(
        &self,
        view: &str,
        key: &[u8],
        between: (i64, i64),
    ) -> Result<Vec<WindowRow>> {
        super::windows::read(&self.connection, &self.table(view), key, between)
            .map_err(self.failed(&format!("read {view:?}")))?
            .into_iter()
            .collect()
    }

    /// Removes the table of a view.
    pub(crate) fn drop_view(&mut self, view: &str) -> Result<()> {
        let failed = self.failed(&format!("dropped {view:?}"));
        let table = self.table(view);
        let transaction = self.connection.transaction().map_err(&failed)?;
        transaction
            .execute_batch(&format!("DROP TABLE IF EXISTS {};", quoted(&table)))
            .map_err(&failed)?;
        if let Some(progress) = progress_table(&transaction).map_err(&failed)? {
            let delete = format!("DELETE FROM \"{progress}\" WHERE view = ?1");
            transaction.execute(&delete, [&table]).map_err(&failed)?;
        }
        super::windows::drop(&transaction, &table).map_err(&failed)?;
        transaction.commit().map_err(&failed)
    }

    fn has_table(&self, name: &str) -> Result<bool> {
        has_table(&self.connection, name).map_err(self.failed("was read"))
    }
}

pub(super) fn has_table(connection: &Connection, name: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1",
        [name],
        |row| row.get(0),
    )
}

fn has_column(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    connection.query_row(
        "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2",
        [table, column],
        |row| row.get(0),
    )
}

/// The table that says until when views are materialized, if there is one.
fn progress_table(connection: &Connection) -> rusqlite::Result<Option<&'static str>> {
    if has_table(connection, PROGRESS)? {
        return Ok(Some(PROGRESS));
    }
    // A view's table may have the former name.
    let former = has_table(connection, FORMER_PROGRESS)?
        && has_column(connection, FORMER_PROGRESS, "start_ns")?;
    Ok(former.then_some(FORMER_PROGRESS))
}

fn failed(path: &Path, action: &str) -> impl Fn(rusqlite::Error) -> Error + use<> {
    let (path, action) = (path.to_path_buf(), action.to_owned());
    move |source| Error::OnlineStore {
        path: path.clone(),
        action: action.clone(),
        source: Box::new(source),
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(event_time: i64, value: i64) -> Result<NewRow> {
        let value = Value {
            val: Some(super::super::proto::Val::Int64(value)),
        };
        Ok(NewRow {
            key: b"k".to_vec(),
            values: vec![("x".into(), value, None)],
            event_time,
            created: None,
        })
    }

    fn stored(database: &OnlineDatabase, view: &str) -> (i64, i128) {
        let rows = database.read(view, &[b"k".to_vec()]).unwrap();
        let row = rows[0].as_ref().unwrap();
        match row.values["x"].val {
            Some(super::super::proto::Val::Int64(value)) => (value, row.event_time),
            ref other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_newer_value_of_the_same_second_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = OnlineDatabase::open(&dir.path().join("o.db"), "p").unwrap();
        let base = 1_622_505_600 * SECOND;
        for (event_time, value, expected) in [
            (base + 900, 9, 9),
            (base + 200, 2, 9),
            (base + 900, 10, 10),
            (base + SECOND, 11, 11),
            (base + 900, 12, 11),
        ] {
            database
                .write("v", [row(event_time, value)], Some((0, 1)), None)
                .unwrap();
            assert_eq!(stored(&database, "v").0, expected);
        }
        assert_eq!(stored(&database, "v").1, i128::from(base + SECOND));
        // Feast writes whole seconds, and does not know our column.
        let feast = "UPDATE p_v SET event_ts = event_ts + 5";
        database.connection.execute(feast, []).unwrap();
        assert_eq!(stored(&database, "v").1, i128::from(base + 6 * SECOND));
        database
            .write("v", [row(base + 6 * SECOND + 1, 13)], Some((0, 1)), None)
            .unwrap();
        assert_eq!(
            stored(&database, "v"),
            (13, i128::from(base + 6 * SECOND + 1))
        );
    }

    #[test]
    fn a_view_may_be_called_as_the_table_of_progress_was_and_as_an_index() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("o.db");
        // As versions before wrote it.
        Connection::open(&path)
            .unwrap()
            .execute_batch(
                "CREATE TABLE btc_materialization (view TEXT PRIMARY KEY, start_ns INTEGER NOT \
                 NULL, end_ns INTEGER NOT NULL);
                 INSERT INTO btc_materialization VALUES ('btc_v', 3, 7);
                 CREATE TABLE btc_v (entity_key BLOB, feature_name TEXT, value BLOB, value_text \
                 TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp, PRIMARY \
                 KEY(entity_key, feature_name));",
            )
            .unwrap();
        let mut database = OnlineDatabase::open(&path, "btc").unwrap();
        assert_eq!(database.progress("v").unwrap(), Some((3, 7)));
        assert_eq!(database.progress("materialization").unwrap(), None);
        for (number, view) in ["v", "materialization", "v_ek", "materialization_ek"]
            .into_iter()
            .enumerate()
        {
            let value = number as i64;
            database
                .write(view, [row(5, value)], Some((1, 9)), None)
                .unwrap();
            assert_eq!(stored(&database, view), (value, 5));
            assert_eq!(database.progress(view).unwrap(), Some((1, 9)));
        }
        database.drop_view("materialization").unwrap();
        assert_eq!(database.progress("v").unwrap(), Some((1, 9)));
    }
}
