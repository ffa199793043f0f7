//! The database file: a table a view, in Feast's layout.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::DateTime;
use prost::Message as _;
use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior, params};

use super::proto::Value;
use crate::error::{Error, Result};
use crate::interchange::Materialized;

/// Until when views are materialized. Feast does not look at this table.
const PROGRESS: &str = "btc_materialization";

/// One entity's values of a view.
#[derive(Debug, Clone, Default)]
pub(super) struct OnlineRow {
    pub(super) values: HashMap<String, Value>,
    /// The event time, in seconds since 1970.
    pub(super) event_time: i64,
}

/// A row to be written.
#[derive(Debug)]
pub(super) struct NewRow {
    pub(super) key: Vec<u8>,
    pub(super) values: Vec<(String, Value, Option<String>)>,
    pub(super) event_time: i64,
    pub(super) created: Option<i64>,
}

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

    /// Writes rows of a view and, with them or not at all, until when the view
    /// is materialized. A row never takes the place of a newer one.
    pub(super) fn write(
        &mut self,
        view: &str,
        rows: impl IntoIterator<Item = Result<NewRow>>,
        period: (i64, i64),
    ) -> Result<usize> {
        let failed = self.failed(&format!("wrote {view:?}"));
        let table = self.table(view);
        let name = quoted(&table);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        transaction
            .execute_batch(&format!(
                "CREATE TABLE IF NOT EXISTS {name} (entity_key BLOB, feature_name TEXT, value BLOB, \
                 value_text TEXT, vector_value BLOB, event_ts timestamp, created_ts timestamp, \
                 PRIMARY KEY(entity_key, feature_name));
                 CREATE INDEX IF NOT EXISTS {} ON {name} (entity_key);
                 CREATE TABLE IF NOT EXISTS {PROGRESS} (view TEXT PRIMARY KEY, \
                 start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL);",
                quoted(&format!("{table}_ek"))
            ))
            .map_err(&failed)?;
        let mut written = 0;
        {
            let mut insert = transaction
                .prepare(&format!(
                    "INSERT INTO {name} (entity_key, feature_name, value, value_text, event_ts, \
                     created_ts) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
                     ON CONFLICT (entity_key, feature_name) DO UPDATE SET value = excluded.value, \
                     value_text = excluded.value_text, event_ts = excluded.event_ts, \
                     created_ts = excluded.created_ts \
                     WHERE excluded.event_ts >= {name}.event_ts"
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
                            row.event_time,
                            row.created
                        ])
                        .map_err(&failed)?;
                }
                written += 1;
            }
        }
        transaction
            .execute(
                &format!(
                    "INSERT INTO {PROGRESS} (view, start_ns, end_ns) VALUES (?1, ?2, ?3) \
                     ON CONFLICT (view) DO UPDATE SET start_ns = min(start_ns, excluded.start_ns), \
                     end_ns = max(end_ns, excluded.end_ns)"
                ),
                params![table, period.0, period.1],
            )
            .map_err(&failed)?;
        transaction.commit().map_err(&failed)?;
        Ok(written)
    }

    /// The period that a view is materialized for, in nanoseconds.
    pub(crate) fn progress(&self, view: &str) -> Result<Option<(i64, i64)>> {
        if !self.has_table(PROGRESS)? {
            return Ok(None);
        }
        self.connection
            .query_row(
                &format!("SELECT start_ns, end_ns FROM {PROGRESS} WHERE view = ?1"),
                [self.table(view)],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .optional()
            .map_err(self.failed("was read"))
    }

    /// The periods that views are materialized for.
    pub(crate) fn materialized<'a>(
        &self,
        views: impl Iterator<Item = &'a String>,
    ) -> Result<Materialized> {
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
        let mut select = self
            .connection
            .prepare_cached(&format!(
                "SELECT feature_name, value, event_ts FROM {} WHERE entity_key = ?1",
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
                online.event_time = row.get(2).map_err(&failed)?;
            }
            found.push(online);
        }
        Ok(found)
    }

    /// Removes the table of a view.
    pub(crate) fn drop_view(&mut self, view: &str) -> Result<()> {
        let failed = self.failed(&format!("dropped {view:?}"));
        let table = self.table(view);
        let transaction = self.connection.transaction().map_err(&failed)?;
        transaction
            .execute_batch(&format!("DROP TABLE IF EXISTS {};", quoted(&table)))
            .map_err(&failed)?;
        let known: bool = transaction
            .query_row(
                "SELECT count(*) FROM sqlite_master WHERE name = ?1",
                [PROGRESS],
                |row| row.get(0),
            )
            .map_err(&failed)?;
        if known {
            transaction
                .execute(&format!("DELETE FROM {PROGRESS} WHERE view = ?1"), [table])
                .map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)
    }

    fn has_table(&self, name: &str) -> Result<bool> {
        self.connection
            .query_row(
                "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?1",
                [name],
                |row| row.get(0),
            )
            .map_err(self.failed("was read"))
    }
}

fn failed(path: &Path, action: &str) -> impl Fn(rusqlite::Error) -> Error + use<> {
    let (path, action) = (path.to_path_buf(), action.to_owned());
    move |source| Error::OnlineStore {
        path: path.clone(),
        action: action.clone(),
        source,
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
