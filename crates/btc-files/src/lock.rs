//! Locks between processes, with a limit to the wait.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A lock on a file, held until the value is dropped or its process ends, however it ends.
///
/// ```
/// use btc_files::{Lock, LockError};
/// use std::time::Duration;
///
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("lock");
/// let held = Lock::exclusive(&path, Duration::ZERO)?;
/// let second = Lock::exclusive(&path, Duration::ZERO);
/// assert!(matches!(second, Err(LockError::Taken { .. })));
/// # drop(held);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file is not enough: a process that another thread is just starting has a copy of
        // it until it runs its program, and would hold the lock for as long. If this fails, closing
        // does what it can.
        let _ = self.file.unlock();
    }
}

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another process holds it, and held it as long as was waited.
    #[error("another process holds {} (waited {} s)", .path.display(), .waited.as_secs())]
    Taken {
        /// The file that stands for the lock.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The file cannot be opened or locked.
    #[error("cannot lock {}", .path.display())]
    Io {
        /// The file that stands for the lock.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
}

/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl Lock {
    /// Locks `path`, which is created if it is not there, against all others; waits for `limit`
    /// at most.
    ///
    /// # Errors
    ///
    /// [`LockError::Taken`] if it is not free in time, [`LockError::Io`] if the file cannot be
    /// opened.
    pub fn exclusive(path: impl AsRef<Path>, limit: Duration) -> Result<Self, LockError> {
        let options = File::options().create(true).append(true).clone();
        acquire(
            path.as_ref(),
            options.open(path.as_ref()),
            limit,
            File::try_lock,
        )
    }

    /// Locks a file or folder that exists against those who lock it exclusively; others may share
    /// it.
    ///
    /// # Errors
    ///
    /// As [`Self::exclusive`].
    pub fn shared(path: impl AsRef<Path>, limit: Duration) -> Result<Self, LockError> {
        let path = path.as_ref();
        acquire(path, File::open(path), limit, File::try_lock_shared)
    }

    /// Locks a file or folder that exists against all others.
    ///
    /// # Errors
    ///
    /// As [`Self::exclusive`].
    pub fn exclusive_existing(path: impl AsRef<Path>, limit: Duration) -> Result<Self, LockError> {
        let path = path.as_ref();
        acquire(path, File::open(path), limit, File::try_lock)
    }
}

fn acquire(
    path: &Path,
    file: io::Result<File>,
    limit: Duration,
    try_lock: fn(&File) -> Result<(), TryLockError>,
) -> Result<Lock, LockError> {
    let io = |source| LockError::Io {
        path: path.to_owned(),
        source,
    };
    let file = file.map_err(io)?;
    let started = Instant::now();
    loop {
        match try_lock(&file) {
            Ok(()) => return Ok(Lock { file }),
            Err(TryLockError::Error(error)) => return Err(io(error)),
            Err(TryLockError::WouldBlock) => {}
        }
        let waited = started.elapsed();
        if limit <= waited {
            return Err(LockError::Taken {
                path: path.to_owned(),
                waited,
            });
        }
        std::thread::sleep(PAUSE.min(limit - waited));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_stays_taken_is_told_of_and_free_again_when_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let held = Lock::exclusive(&path, Duration::ZERO).unwrap();
        let error = Lock::exclusive(&path, Duration::from_millis(1)).unwrap_err();
        assert!(matches!(&error, LockError::Taken { path: told, .. } if *told == path));
        assert!(error.to_string().contains("another process holds"));
        drop(held);
        Lock::exclusive(&path, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_copy_in_a_process_that_is_being_started_does_not_hold_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let held = Lock::exclusive(&path, Duration::ZERO).unwrap();
        // What a fork leaves open until the other program runs.
        let copy = held.file.try_clone().unwrap();
        drop(held);
        Lock::exclusive(&path, Duration::ZERO).unwrap();
        drop(copy);
    }

    #[test]
    fn a_folder_can_be_shared_and_taken() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lock::shared(dir.path(), Duration::ZERO).unwrap();
        let second = Lock::shared(dir.path(), Duration::ZERO).unwrap();
        assert!(Lock::exclusive_existing(dir.path(), Duration::ZERO).is_err());
        drop((first, second));
        Lock::exclusive_existing(dir.path(), Duration::ZERO).unwrap();
        let missing = Lock::shared(dir.path().join("no"), Duration::MAX).unwrap_err();
        assert!(matches!(missing, LockError::Io { .. }));
    }
}
