//! Files that appear whole, folders that last, locks with a time limit, and SHA-256.
//!
//! ```
//! # let folder = tempfile::tempdir()?;
//! let path = folder.path().join("below/settings.toml");
//! btc_files::create_dirs(btc_files::parent(&path))?;
//! btc_files::replace(&path, b"a = 1\n")?;
//! assert_eq!(std::fs::read(&path)?, b"a = 1\n");
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! Whoever reads a file that is being replaced sees the old content or the new one, never a part,
//! and after a power loss as well: the content is synced before the rename, and the folder's entry
//! after it. New files and folders have the mode that the umask leaves, as everything else that
//! the user makes; a replaced file hands its mode down.
//!
//! Errors are those of the system, without the path: the caller knows best what it was doing.

mod hash;
mod lock;
mod whole;

pub use hash::{Sha256, sha256, sha256_of};
pub use lock::{Lock, LockError};
pub use whole::{NewFile, replace, temporary_dir};

use std::fs::File;
use std::io;
use std::path::Path;

/// The folder that a file lies in; `.` for a bare name.
///
/// ```
/// use std::path::Path;
///
/// assert_eq!(btc_files::parent(Path::new("a/b")), Path::new("a"));
/// assert_eq!(btc_files::parent(Path::new("b")), Path::new("."));
/// ```
#[must_use]
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

/// Creates a folder and those above it, each entered durably in its parent.
///
/// A folder that exists is left as it is.
///
/// # Errors
///
/// Fails if a folder cannot be created, or something else has its name.
pub fn create_dirs(dir: impl AsRef<Path>) -> io::Result<()> {
    let dir = dir.as_ref();
    let missing: Vec<&Path> = dir
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .collect();
    std::fs::create_dir_all(dir)?;
    missing
        .into_iter()
        .try_for_each(|made| sync_dir(parent(made)))
}

/// Makes the entries of a folder durable: files created, renamed or removed in it.
///
/// # Errors
///
/// Fails if the folder cannot be opened or synced. Where folders cannot be opened, as on Windows,
/// nothing is done.
pub fn sync_dir(dir: impl AsRef<Path>) -> io::Result<()> {
    if cfg!(unix) {
        File::open(dir)?.sync_all()
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_created_once_and_never_over_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("a/b/c");
        create_dirs(&below).unwrap();
        create_dirs(&below).unwrap();
        assert!(below.is_dir());
        std::fs::write(below.join("file"), b"x").unwrap();
        assert!(create_dirs(below.join("file")).is_err());
    }
}
