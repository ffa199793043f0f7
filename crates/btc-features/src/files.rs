//! Files that appear whole, and locks.

use std::fs::File;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, Result};

/// Replaces `path` by `content`: whoever reads sees the old text or the new.
pub(crate) fn write_atomic(path: &Path, content: &[u8]) -> Result<()> {
    let dir = folder_of(path);
    let mut file = draft_in(dir)?;
    file.write_all(content).map_err(Error::io("write", path))?;
    file.as_file()
        .sync_all()
        .map_err(Error::io("write", path))?;
    keep_permissions(file.as_file(), path)?;
    file.persist(path)
        .map_err(|error| Error::io("replace", path)(error.error))?;
    sync_dir(dir)
}

/// A file in `dir` that gets its name when it is whole. Its mode is that of
/// any new file: what the umask leaves.
pub(crate) fn draft_in(dir: &Path) -> Result<tempfile::NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tmp-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
        .tempfile_in(dir)
        .map_err(Error::io("write into", dir))
}

/// What takes the place of a file is shared as far as the file was.
pub(crate) fn keep_permissions(file: &File, path: &Path) -> Result<()> {
    match std::fs::metadata(path) {
        Ok(old) => file
            .set_permissions(old.permissions())
            .map_err(Error::io("write", path)),
        Err(_) => Ok(()),
    }
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
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

/// Makes the names in a folder as lasting as the files.
#[cfg(unix)]
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io("write into", dir))
}

#[cfg(not(unix))]
pub(crate) fn sync_dir(_: &Path) -> Result<()> {
    Ok(())
}

/// Waits for the lock that `path` stands for; it is free again when the value
/// is dropped or its process ends.
pub(crate) fn lock(path: &Path) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    file.lock().map_err(Error::io("lock", path))?;
    Ok(file)
}
