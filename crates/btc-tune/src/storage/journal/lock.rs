//! The lock file beside a log, in the way of Optuna's default.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use crate::error::{Error, Result};

/// A lock that nobody has touched for this long belongs to a process that died.
const GRACE: Duration = Duration::from_secs(30);

/// Held while it lives.
pub(super) struct FileLock {
    path: PathBuf,
}

impl FileLock {
    /// Waits until the log is ours.
    pub(super) fn acquire(log: &Path) -> Result<Self> {
        let mut name = log.as_os_str().to_owned();
        name.push(".lock");
        let lock = Self {
            path: PathBuf::from(name),
        };
        let mut pause = Duration::from_millis(1);
        let mut seen: Option<(SystemTime, Instant)> = None;
        loop {
            match link(log, &lock.path) {
                Ok(()) => return Ok(lock),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(source) => {
                    // Not ours to remove.
                    let path = lock.path.clone();
                    std::mem::forget(lock);
                    let operation = format!("create the lock file {}", path.display());
                    return Err(Error::storage(operation, source));
                }
            }
            // The time of what the link points to: it changes whenever somebody appends.
            let touched = std::fs::metadata(&lock.path)
                .or_else(|_| std::fs::symlink_metadata(&lock.path))
                .and_then(|metadata| metadata.modified());
            if let Ok(touched) = touched {
                match seen {
                    Some((before, since)) if before == touched => {
                        if since.elapsed() > GRACE {
                            remove(&lock.path);
                            seen = None;
                        }
                    }
                    _ => seen = Some((touched, Instant::now())),
                }
            }
            std::thread::sleep(pause);
            // Our turns are short: a longer pause would mostly be spent waiting for nobody.
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// Renames before removing: of two processes that break the same stale lock only one succeeds.
fn remove(lock: &Path) {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut name = lock.as_os_str().to_owned();
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    name.push(format!("{}-{unique}.rename", std::process::id()));
    if std::fs::rename(lock, &name).is_ok() {
        let _ = std::fs::remove_file(&name);
    }
}

#[cfg(unix)]
fn link(log: &Path, lock: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(log, lock)
}

#[cfg(not(unix))]
fn link(_log: &Path, lock: &Path) -> std::io::Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(lock)
        .map(drop)
}
