//! Runs and models in one SQLite file.

mod complete;
mod experiments;
mod history;
mod logged_models;
mod purge;
mod registry;
mod rollup;
mod runs;
mod schema;
mod search;
mod tracking;
mod writer;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::clock::{Clock, SystemClock};
use crate::entity::Tag;
use crate::error::{Error, Result};
use writer::Writer;

/// How long to wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Connections kept open for reading.
const MAX_IDLE_READERS: usize = 4;

/// What a returned write survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// The death of the process (`kill -9`).
    #[default]
    Process,
    /// The loss of power too: each commit waits for the disk.
    Full,
}

/// Runs and models in one SQLite file, shared by threads and processes.
///
/// Writers that wait for each other share one transaction. When the last
/// handle is dropped, everything is in the one file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: Writer,
    readers: Mutex<Vec<Connection>>,
    path: PathBuf,
    access: Access,
    clock: Arc<dyn Clock>,
    /// Ids of metric names, which never change unless they are undone, and the
    /// state of the writer in which they were read.
    metric_keys: Mutex<(u64, HashMap<String, i64>)>,
}

impl SqliteStore {
    /// Opens a file, creating it and its folder if need be.
    ///
    /// # Errors
    ///
    /// `Store` if the file cannot be used; `InvalidParameter` if it belongs
    /// to another program.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Durability::default(), Arc::new(SystemClock))
    }

    /// Opens a file with a durability and a clock.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::open`].
    pub fn open_with(path: &Path, durability: Durability, clock: Arc<dyn Clock>) -> Result<Self> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Store {
            action: format!("open the tracking database {}", path.display()),
            source,
        };
        if let Some(folder) = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
        {
            std::fs::create_dir_all(folder).map_err(|error| failed(error.into()))?;
        }
        let mut connection = connect(path, Access::Create).map_err(|error| failed(error.into()))?;
        let synchronous = match durability {
            Durability::Process => "NORMAL",
            Durability::Full => "FULL",
        };
        connection
            .pragma_update(None, "journal_mode", "WAL")
            .and_then(|()| connection.pragma_update(None, "synchronous", synchronous))
            .map_err(|error| failed(error.into()))?;
        schema::prepare(&mut connection, clock.now_ms())?;
        Self::new(connection, path, Access::Create, clock)
    }

    /// Opens a file that is there, and changes nothing by doing so; it may lie
    /// in a folder that cannot be written to.
    ///
    /// # Errors
    ///
    /// `Store` if there is no file or it cannot be used; `InvalidParameter` if
    /// it belongs to another program.
    pub fn open_existing(path: &Path, clock: Arc<dyn Clock>) -> Result<Self> {
        let open = |access| {
            let connection = connect(path, access)?;
            // In a folder that cannot be written to, this is the first thing to fail.
            connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i32>(0))?;
            Ok::<_, rusqlite::Error>((connection, access))
        };
        let opened = match open(Access::Existing) {
            Err(error) if cannot_write_beside(&error) => open(Access::Frozen),
            opened => opened,
        };
        let (mut connection, access) = opened.map_err(|error| Error::Store {
            action: format!("open the tracking database {}", path.display()),
            source: error.into(),
        })?;
        schema::check(&mut connection, clock.now_ms())?;
        Self::new(connection, path, access, clock)
    }

    /// How long a write waits for another process before it is refused with
    /// [`Error::Busy`]; the default is 30 seconds.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Self {
        self.writer.patience = patience;
        self
    }

    fn new(
        connection: Connection,
        path: &Path,
        access: Access,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        Ok(Self {
            writer: Writer::new(connection, BUSY_TIMEOUT)?,
            readers: Mutex::default(),
            path: path.to_owned(),
            access,
            clock,
            metric_keys: Mutex::default(),
        })
    }

    /// Runs `read` on a snapshot of the database.
    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let idle = lock(&self.readers).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(&self.path, self.access)?,
        };
        let transaction = connection.transaction()?;
        let result = read(&transaction);
        transaction.finish()?;
        let mut readers = lock(&self.readers);
        if readers.len() < MAX_IDLE_READERS {
            readers.push(connection);
        }
        result
    }

    /// Runs `write` in a transaction; an error undoes what it has written.
    fn write<T>(&self, write: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        self.writer.write(write)
    }
}

/// Whether a file could not be opened because nothing can be written beside it.
fn cannot_write_beside(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | ReadOnly))
}

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Made if it is not there.
    Create,
    /// Only if it is there.
    Existing,
    /// Only read, by a process that cannot write beside the file.
    Frozen,
}

fn connect(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let connection = match access {
        Access::Create => Connection::open(path)?,
        Access::Existing => {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            Connection::open_with_flags(path, flags)?
        }
        Access::Frozen => {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
                | OpenFlags::SQLITE_OPEN_NO_MUTEX
                | OpenFlags::SQLITE_OPEN_URI;
            // What has a meaning in a URI is escaped.
            let path = path.display().to_string();
            let path = path
                .replace('%', "%25")
                .replace('?', "%3f")
                .replace('#', "%23");
            Connection::open_with_flags(format!("file:{path}?immutable=1"), flags)?
        }
    };
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(128);
    // KiB for each connection; the operating system caches the rest.
    connection.pragma_update(None, "cache_size", -2048)?;
    Ok(connection)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What the mutexes here protect is valid at any moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// NaN as SQLite can store it, see the schema.
fn encode(value: f64) -> f64 {
    if value.is_nan() {
        f64::NEG_INFINITY
    } else {
        crate::store::finite(value)
    }
}

fn decode(value: f64) -> f64 {
    if value == f64::NEG_INFINITY {
        f64::NAN
    } else {
        value
    }
}

/// Reads an integer id; anything else names nothing.
fn row_id(what: &'static str, id: &str) -> Result<i64> {
    let canonical = id.parse::<i64>().ok().filter(|n| n.to_string() == id);
    canonical.ok_or_else(|| Error::not_found(what, id))
}

fn key_values(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, String)> {
    Ok((row.get(0)?, row.get(1)?))
}

/// Reads `key, value` rows of one thing.
fn read_tags(connection: &Connection, sql: &str, id: i64) -> Result<Vec<Tag>> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([id], key_values)?;
    rows.map(|row| {
        row.map(|(key, value)| Tag { key, value })
            .map_err(Error::from)
    })
    .collect()
}

/// Turns "no row" into `NotFound`.
fn found<T>(result: rusqlite::Result<T>, what: &'static str, id: &str) -> Result<T> {
    match result {
        Err(rusqlite::Error::QueryReturnedNoRows) => Err(Error::not_found(what, id)),
        other => Ok(other?),
    }
}

/// Turns a broken uniqueness rule into `AlreadyExists`.
fn unique<T>(
    result: rusqlite::Result<T>,
    what: &'static str,
    id: &str,
    hint: &'static str,
) -> Result<T> {
    match result {
        Err(rusqlite::Error::SqliteFailure(error, _))
            if error.code == rusqlite::ErrorCode::ConstraintViolation =>
        {
            Err(Error::AlreadyExists {
                what,
                id: id.to_owned(),
                hint,
            })
        }
        other => Ok(other?),
    }
}
