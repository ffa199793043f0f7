//! Studies in a SQLite file, in the tables of Optuna.

mod cache;
mod read;
mod schema;
mod write;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior};
use serde_json::Value;

use self::cache::Cache;
use super::records::{check_study, unknown_study, unknown_trial};
use super::{AttrScope, Heartbeat, NewTrial, Storage, TrialUpdate, codec};
use crate::error::{Error, Result};
use crate::frozen::{FrozenStudy, FrozenTrial, StudyDirection, StudyId, TrialId};
use crate::sync::lock;

/// Keeps studies in a SQLite file that Optuna and its dashboard can open, at the same time if need be.
///
/// Threads share one connection; any number of processes may work on one file. The file is in WAL
/// mode while it is open; whoever closes it last folds the log back into the file.
///
/// ```
/// use btc_tune::{SqliteStorage, Storage};
/// let dir = tempfile::tempdir()?;
/// let storage = SqliteStorage::open(dir.path().join("studies.db"))?;
/// assert!(storage.study_ids()?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStorage {
    path: PathBuf,
    inner: Mutex<Inner>,
}

struct Inner {
    connection: Connection,
    cache: Cache,
}

impl fmt::Debug for SqliteStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStorage")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// How long a writer waits for another: below 20 ms each, a minute in all.
const BUSY_TRIES: i32 = 3_000;

fn wait_for_lock(tries: i32) -> bool {
    let millis = u64::try_from(tries).unwrap_or(0) + 1;
    std::thread::sleep(Duration::from_millis(millis.min(20)));
    tries < BUSY_TRIES
}

impl SqliteStorage {
    /// Opens a file, creating it with its tables if there is none.
    ///
    /// # Errors
    ///
    /// [`Error::SchemaVersion`] if the file has the tables of another version of Optuna;
    /// [`Error::Storage`] if it cannot be opened or is no database.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let failed =
            |source| Error::storage(format!("open the database {}", path.display()), source);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags).map_err(failed)?;
        connection
            .busy_handler(Some(wait_for_lock))
            .map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(64);
        schema::prepare(&mut connection, &path)?;
        Ok(Self {
            path,
            inner: Mutex::new(Inner {
                connection,
                cache: Cache::default(),
            }),
        })
    }

    /// Opens a database that is there, and changes nothing by doing so; it may lie in a folder
    /// that cannot be written to.
    ///
    /// # Errors
    ///
    /// [`Error::Storage`] if there is no file or it cannot be opened; [`Error::SchemaVersion`] if
    /// its tables are of another version.
    pub fn open_existing(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_path_buf();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || {
            let mut connection = Connection::open_with_flags(&path, flags)?;
            connection.busy_handler(Some(wait_for_lock))?;
            // In a folder that cannot be written to, this is the first thing to fail.
            connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))?;
            Ok::<_, rusqlite::Error>(connection)
        };
        let frozen = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_URI;
            // What has a meaning in a URI is escaped.
            let text = path.display().to_string();
            let text = text
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)
        };
        let opened = match open() {
            Err(error) if cannot_write_beside(&error) => frozen(),
            opened => opened,
        };
        let connection = opened.map_err(|source| {
            Error::storage(format!("open the database {}", path.display()), source)
        })?;
        connection.set_prepared_statement_cache_capacity(64);
        schema::check(&connection, &path)?;
        Ok(Self {
            path,
            inner: Mutex::new(Inner {
                connection,
                cache: Cache::default(),
            }),
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn failed(&self, operation: &str) -> impl Fn(rusqlite::Error) -> Error {
        let operation = format!("{operation} in {}", self.path.display());
        move |source| Error::storage(operation.clone(), source)
    }

    /// Runs `change` in one write transaction; an error rolls it back.
    fn write<T>(
        &self,
        inner: &mut Inner,
        operation: &str,
        change: impl FnOnce(&Transaction<'_>, &Cache) -> Result<T, write::Failure>,
    ) -> Result<T> {
        let failed = self.failed(operation);
        let transaction = inner
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(&failed)?;
        match change(&transaction, &inner.cache) {
            Ok(value) => {
                transaction.commit().map_err(&failed)?;
                Ok(value)
            }
            Err(write::Failure::Sqlite(source)) => Err(failed(source)),
            Err(write::Failure::Rule(error)) => Err(error),
        }
    }

    fn refresh(&self, inner: &mut Inner, study: StudyId) -> Result<()> {
        let Inner { connection, cache } = inner;
        cache
            .refresh(connection, study)
            .map_err(|failure| match failure {
                write::Failure::Sqlite(source) => self.failed("read a study")(source),
                write::Failure::Rule(error) => error,
            })
    }

    /// Makes sure the cache knows a trial, and returns where it is.
    fn locate(&self, inner: &mut Inner, trial: TrialId) -> Result<(StudyId, usize)> {
        if let Some((study, _)) = inner.cache.position(trial) {
            // Identifiers of deleted trials are given again.
            self.refresh(inner, study)?;
            if let Some(place) = inner.cache.position(trial) {
                return Ok(place);
            }
        }
        let study: Option<i64> = inner
            .connection
            .prepare_cached("SELECT study_id FROM trials WHERE trial_id = ?1")
            .and_then(|mut statement| statement.query_row([trial.0], |row| row.get(0)).optional())
            .map_err(self.failed("find a trial"))?;
        let study = StudyId(study.ok_or_else(|| unknown_trial(trial))?);
        self.refresh(inner, study)?;
        inner
            .cache
            .position(trial)
            .ok_or_else(|| unknown_trial(trial))
    }

    fn create(
        &self,
        study: StudyId,
        number: Option<usize>,
        trial: NewTrial,
    ) -> Result<Option<Arc<FrozenTrial>>> {
        let mut inner = lock(&self.inner);
        // Another process may have deleted the study and made one with the same identifier.
        self.refresh(&mut inner, study)?;
        let created = self.write(&mut inner, "create a trial", |transaction, cache| {
            write::create_trial(transaction, cache, study, number, &trial)
        })?;
        let Some((id, number)) = created else {
            return Ok(None);
        };
        let frozen = trial.freeze(id, number);
        Ok(Some(inner.cache.mirror_create(study, frozen)))
    }
}

/// Whether a database could not be opened because nothing can be written beside it.
fn cannot_write_beside(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly))
}

impl Storage for SqliteStorage {
    fn create_study(&self, name: &str, directions: &[StudyDirection]) -> Result<StudyId> {
        check_study(name, directions)?;
        let mut inner = lock(&self.inner);
        self.write(&mut inner, "create a study", |transaction, _| {
            write::create_study(transaction, name, directions)
        })
    }

    fn delete_study(&self, study: StudyId) -> Result<()> {
        let mut inner = lock(&self.inner);
        self.write(&mut inner, "delete a study", |transaction, _| {
            write::delete_study(transaction, study)
        })?;
        inner.cache.forget(study);
        Ok(())
    }

    fn find_study(&self, name: &str) -> Result<Option<StudyId>> {
        let inner = lock(&self.inner);
        inner
            .connection
            .prepare_cached("SELECT study_id FROM studies WHERE study_name = ?1")
            .and_then(|mut statement| {
                statement
                    .query_row([name], |row| row.get(0).map(StudyId))
                    .optional()
            })
            .map_err(self.failed("find a study"))
    }

    fn study(&self, study: StudyId) -> Result<FrozenStudy> {
        let mut inner = lock(&self.inner);
        self.refresh(&mut inner, study)?;
        Ok(inner
            .cache
            .record(study)
            .ok_or_else(|| unknown_study(study))?
            .frozen
            .clone())
    }

    fn study_name(&self, study: StudyId) -> Result<String> {
        let inner = lock(&self.inner);
        inner
            .connection
            .prepare_cached("SELECT study_name FROM studies WHERE study_id = ?1")
            .and_then(|mut statement| statement.query_row([study.0], |row| row.get(0)).optional())
            .map_err(self.failed("find a study"))?
            .ok_or_else(|| unknown_study(study))
    }

    fn study_ids(&self) -> Result<Vec<StudyId>> {
        let inner = lock(&self.inner);
        inner
            .connection
            .prepare_cached("SELECT study_id FROM studies ORDER BY study_id")
            .and_then(|mut statement| {
                statement
                    .query_map([], |row| row.get(0).map(StudyId))?
                    .collect()
            })
            .map_err(self.failed("list the studies"))
    }

    fn set_study_attr(
        &self,
        study: StudyId,
        scope: AttrScope,
        key: &str,
        value: &Value,
    ) -> Result<()> {
        let mut inner = lock(&self.inner);
        self.write(
            &mut inner,
            "set an attribute of a study",
            |transaction, _| write::set_study_attr(transaction, study, scope, key, value),
        )?;
        inner.cache.mirror_study_attr(study, scope, key, value);
        Ok(())
    }

    fn create_trial(&self, study: StudyId, trial: NewTrial) -> Result<Arc<FrozenTrial>> {
        self.create(study, None, trial)?
            .ok_or_else(|| unknown_study(study))
    }

    fn create_trial_numbered(
        &self,
        study: StudyId,
        number: usize,
        trial: NewTrial,
    ) -> Result<Option<Arc<FrozenTrial>>> {
        self.create(study, Some(number), trial)
    }

    fn update_trial(&self, trial: TrialId, updates: &[TrialUpdate]) -> Result<()> {
        let mut inner = lock(&self.inner);
        self.locate(&mut inner, trial)?;
        self.write(&mut inner, "change a trial", |transaction, cache| {
            write::update_trial(transaction, cache, trial, updates)
        })?;
        inner.cache.mirror_update(trial, updates);
        Ok(())
    }

    fn claim_trial(
        &self,
        trial: TrialId,
        now: DateTime<Utc>,
        heartbeat: Heartbeat,
        updates: &[TrialUpdate],
    ) -> Result<bool> {
        let mut inner = lock(&self.inner);
        self.locate(&mut inner, trial)?;
        let claimed = self.write(&mut inner, "take a queued trial", |transaction, cache| {
            let changed = transaction
                .prepare_cached(
                    "UPDATE trials SET state = 'RUNNING', datetime_start = ?2 \
                     WHERE trial_id = ?1 AND state = 'WAITING'",
                )?
                .execute((trial.0, codec::encode_time(now)))?;
            if changed == 1 && heartbeat == Heartbeat::On {
                write::set_heartbeat(transaction, trial, now)?;
            }
            if changed == 1 && !updates.is_empty() {
                write::update_trial(transaction, cache, trial, updates)?;
            }
            Ok(changed == 1)
        })?;
        if claimed {
            inner.cache.mirror_claim(trial, now);
            inner.cache.mirror_update(trial, updates);
        }
        Ok(claimed)
    }

    fn trial(&self, trial: TrialId) -> Result<Arc<FrozenTrial>> {
        let mut inner = lock(&self.inner);
        let (study, _) = self.locate(&mut inner, trial)?;
        self.refresh(&mut inner, study)?;
        let (study, position) = inner
            .cache
            .position(trial)
            .ok_or_else(|| unknown_trial(trial))?;
        let record = inner
            .cache
            .record(study)
            .ok_or_else(|| unknown_study(study))?;
        Ok(record.trials[position].clone())
    }

    fn trials(&self, study: StudyId) -> Result<Vec<Arc<FrozenTrial>>> {
        let mut inner = lock(&self.inner);
        self.refresh(&mut inner, study)?;
        Ok(inner
            .cache
            .record(study)
            .ok_or_else(|| unknown_study(study))?
            .trials
            .clone())
    }

    fn record_heartbeat(&self, trial: TrialId, now: DateTime<Utc>) -> Result<()> {
        let mut inner = lock(&self.inner);
        self.locate(&mut inner, trial)?;
        self.write(&mut inner, "record a heartbeat", |transaction, _| {
            write::set_heartbeat(transaction, trial, now)?;
            Ok(())
        })
    }

    fn stale_trials(&self, study: StudyId, limit: DateTime<Utc>) -> Result<Vec<TrialId>> {
        let mut inner = lock(&self.inner);
        self.refresh(&mut inner, study)?;
        inner
            .connection
            .prepare_cached(
                "SELECT trials.trial_id FROM trials JOIN trial_heartbeats USING (trial_id) \
                 WHERE study_id = ?1 AND state = 'RUNNING' AND heartbeat < ?2 ORDER BY 1",
            )
            .and_then(|mut statement| {
                let rows = statement.query_map((study.0, codec::encode_seconds(limit)), |row| {
                    row.get(0).map(TrialId)
                })?;
                rows.collect()
            })
            .map_err(self.failed("look for stale trials"))
    }
}
