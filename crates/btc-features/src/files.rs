//! Paths of the store, and `btc-files` with this crate's errors.

use std::path::{Component, Path, PathBuf};
use std::time::Duration;

pub(crate) use btc_files::parent as folder_of;
use btc_files::{Lock, LockError, NewFile};

use crate::error::{Error, Result};

/// Starts a file that will be at `path`; its folder is created.
pub(crate) fn new_file(path: &Path) -> Result<NewFile> {
    create_folders(folder_of(path))?;
    NewFile::create(path).map_err(Error::io("write into", folder_of(path)))
}

/// Replaces `path` by `content` all at once; its folder is created.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    create_folders(folder_of(path))?;
    btc_files::replace(path, content).map_err(Error::io("write", path))
}

/// Creates a folder and those above it, each entered in its parent for good.
pub(crate) fn create_folders(dir: &Path) -> Result<()> {
    btc_files::create_dirs(dir).map_err(Error::io("create", dir))
}

/// An absolute path without `.` and `..`, by its text: the file need not be
/// there.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut kept = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir if kept.file_name().is_some() => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    kept
}

/// A path as seen from a folder, if both lie in one project: below the parent
/// of the folder. So a project that is moved finds its files.
pub(crate) fn relative(path: &Path, folder: &Path) -> PathBuf {
    if let Ok(below) = path.strip_prefix(folder) {
        return below.to_path_buf();
    }
    // A project at the root of the file system is none.
    let project = folder.parent().filter(|dir| dir.parent().is_some());
    match project.and_then(|project| path.strip_prefix(project).ok()) {
        Some(beside) => Path::new("..").join(beside),
        None => path.to_path_buf(),
    }
}

/// So long a lock is waited for: a writer holds it for the time of one file.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Waits for the lock that `path` stands for, a minute at most.
pub(crate) fn lock(path: &Path) -> Result<Lock> {
    Lock::exclusive(path, LOCK_WAIT).map_err(|error| match error {
        LockError::Io { path, source } => Error::io("lock", &path)(source),
        _ => Error::Locked {
            path: path.to_path_buf(),
        },
    })
}
