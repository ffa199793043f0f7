//! One connection that writes, and commits for many callers at once.

use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode};

use super::lock;
use crate::error::{Error, Result};
use crate::store::deadline;

/// A transaction is committed at the latest after so many writes.
const MAX_GROUP: usize = 256;
/// How long one look at a lock of another process takes.
const POLL: Duration = Duration::from_millis(10);

/// The one writing connection, whose waiting writers share transactions.
///
/// A writer that sees others waiting leaves its transaction open for them and
/// sleeps; the last one commits for all. So eight writers pay for one commit,
/// and a lone writer waits for nobody.
pub(super) struct Writer {
    state: Mutex<State>,
    waiting: AtomicUsize,
    committed: Condvar,
    undone: Arc<AtomicU64>,
    pub(super) patience: Duration,
}

struct State {
    connection: Connection,
    /// Writes in the open transaction.
    group_size: usize,
    /// The number of the open transaction, or of the next one.
    group: u64,
    /// The last groups that could not be committed, and why.
    failed: Vec<(u64, String)>,
    undone: Arc<AtomicU64>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Writes over `connection`; a writer waits at most `patience` for its turn.
    pub(super) fn new(connection: Connection, patience: Duration) -> rusqlite::Result<Self> {
        // Waiting is done without the lock, see `turn`.
        connection.busy_timeout(POLL)?;
        let undone = Arc::new(AtomicU64::new(0));
        let state = State {
            connection,
            group_size: 0,
            group: 0,
            failed: Vec::new(),
            undone: undone.clone(),
        };
        Ok(Self {
            state: Mutex::new(state),
            waiting: AtomicUsize::new(0),
            committed: Condvar::new(),
            undone,
            patience,
        })
    }

    /// Runs one write; once this returns, it is committed or undone.
    ///
    /// Every writer waits for its own time only, whether for another process or
    /// for the writers before it, and then gives up with nothing written.
    pub(super) fn write<T>(&self, write: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut guard = self.turn()?;
        let first = guard.group_size == 0;
        let mut state = PanicGuard {
            state: &mut guard,
            committed: &self.committed,
        };
        if !first {
            state.execute("SAVEPOINT write")?;
        }
        let result = write(&state.state.connection);
        if result.is_err() {
            self.undone.fetch_add(1, Ordering::SeqCst);
        }
        match &result {
            Ok(_) => {
                if !first {
                    state.execute("RELEASE write")?;
                }
                state.state.group_size += 1;
            }
            Err(_) if first => state.execute("ROLLBACK")?,
            Err(_) => {
                state.execute("ROLLBACK TO write")?;
                state.execute("RELEASE write")?;
            }
        }
        std::mem::forget(state);

        let group = guard.group;
        let full = guard.group_size >= MAX_GROUP;
        if guard.group_size > 0 && (full || self.waiting.load(Ordering::SeqCst) == 0) {
            guard.commit();
            self.committed.notify_all();
        }
        let value = result?;
        while guard.group == group {
            let (woken, _) = self
                .committed
                .wait_timeout(guard, POLL)
                .unwrap_or_else(PoisonError::into_inner);
            guard = woken;
            // Whoever was waited for may have given up.
            if guard.group == group && self.waiting.load(Ordering::SeqCst) == 0 {
                guard.commit();
                self.committed.notify_all();
            }
        }
        match guard.failed.iter().find(|(failed, _)| *failed == group) {
            None => Ok(value),
            Some((_, reason)) => Err(Error::Store {
                action: "commit to the tracking database".into(),
                source: reason.clone().into(),
            }),
        }
    }

    /// Waits until a transaction is open and this writer may add to it.
    fn turn(&self) -> Result<MutexGuard<'_, State>> {
        let patience = Instant::now() + self.patience;
        let until = deadline::current().map_or(patience, |deadline| deadline.min(patience));
        loop {
            self.waiting.fetch_add(1, Ordering::SeqCst);
            let guard = lock(&self.state);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if until <= Instant::now() {
                return Err(Error::Busy {
                    action: "write to the tracking database",
                });
            }
            if guard.group_size > 0 {
                return Ok(guard);
            }
            let begun = guard
                .connection
                .prepare_cached("BEGIN IMMEDIATE")
                .and_then(|mut statement| statement.execute([]));
            match begun {
                Ok(_) => return Ok(guard),
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {}
                Err(error) => return Err(error.into()),
            }
            // Another process writes: whoever else waits here may look at the clock.
            drop(guard);
            std::thread::sleep(POLL);
        }
    }

    /// Changes whenever something that was written is undone.
    ///
    /// What a write has read is only worth remembering while this stays the
    /// same.
    pub(super) fn undone(&self) -> u64 {
        self.undone.load(Ordering::SeqCst)
    }
}

impl State {
    /// Ends the open transaction, one way or the other.
    fn commit(&mut self) {
        let result = self
            .connection
            .prepare_cached("COMMIT")
            .and_then(|mut s| s.execute([]));
        if let Err(error) = result {
            self.abandon(error.to_string());
        } else {
            self.group += 1;
            self.group_size = 0;
        }
    }

    /// Undoes the open transaction and remembers why.
    fn abandon(&mut self, reason: String) {
        self.undone.fetch_add(1, Ordering::SeqCst);
        if !self.connection.is_autocommit() {
            // If this fails too, SQLite has rolled back by itself or will do
            // so when the next transaction fails to begin.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
        self.failed.push((self.group, reason));
        // Sleepers of a failed group read this soon after they are woken.
        if self.failed.len() > 1024 {
            self.failed.remove(0);
        }
        self.group += 1;
        self.group_size = 0;
    }
}

/// Undoes the transaction and wakes the sleepers if a write panics or the
/// database refuses to go on.
struct PanicGuard<'a> {
    state: &'a mut State,
    committed: &'a Condvar,
}

impl PanicGuard<'_> {
    fn execute(&mut self, sql: &str) -> Result<()> {
        let result = self
            .state
            .connection
            .prepare_cached(sql)
            .and_then(|mut s| s.execute([]));
        result.map(|_| ()).map_err(Error::from)
    }
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        self.state
            .abandon("another write of the same transaction has failed".into());
        self.committed.notify_all();
    }
}
