//! Files that take their place all at once.

use crate::{parent, sync_dir};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir};

/// Replaces the file `path`, or creates it, so that it appears whole.
///
/// A device or a pipe is written to, not replaced.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// let path = folder.path().join("report.html");
/// btc_files::replace(&path, b"<p>")?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// Fails if the folder does not exist or cannot be written to; what was at `path` is then as it
/// was.
pub fn replace(path: impl AsRef<Path>, content: &[u8]) -> io::Result<()> {
    let path = path.as_ref();
    if fs::metadata(path).is_ok_and(|known| !known.is_file() && !known.is_dir()) {
        return File::options().write(true).open(path)?.write_all(content);
    }
    let mut file = NewFile::create(path)?;
    file.write_all(content)?;
    file.finish()
}

/// A file that takes the place of a path when it is [finished](Self::finish). Dropped before, it
/// leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl NewFile {
    /// Starts a file that will be at `path`, in a temporary file beside it.
    ///
    /// A symbolic link at `path` stays: the file that it points to is replaced.
    ///
    /// # Errors
    ///
    /// Fails if the folder of `path` does not exist or cannot be written to.
    pub fn create(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        // What cannot be resolved is not there yet.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        Self::create_in(parent(&path), &path)
    }

    /// Starts a file that will be at `path`, in a temporary file in `dir`, which has to be on the
    /// same file system.
    ///
    /// # Errors
    ///
    /// Fails if `dir` does not exist or cannot be written to.
    pub fn create_in(dir: impl AsRef<Path>, path: impl AsRef<Path>) -> io::Result<Self> {
        Ok(Self {
            file: of_mode(0o666).prefix(".tmp-").tempfile_in(dir)?,
            path: path.as_ref().to_owned(),
        })
    }

    /// Makes the content durable and puts it in its place, with the mode of the file that it
    /// replaces.
    ///
    /// # Errors
    ///
    /// Fails if the content cannot be synced or the path is that of a folder.
    pub fn finish(self) -> io::Result<()> {
        let Self { file, path } = self;
        if let Ok(old) = fs::metadata(&path).map(|old| old.permissions()) {
            // Another user's file may be replaced, but its mode not always be set.
            match file.as_file().set_permissions(old) {
                Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
                _ => {}
            }
        }
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        sync_dir(parent(&path))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Creates a folder of a temporary name in `dir`, to be renamed when it is complete. Dropped
/// before, it is removed with all that it holds.
///
/// # Errors
///
/// Fails if `dir` does not exist or cannot be written to.
pub fn temporary_dir(dir: impl AsRef<Path>, prefix: &str) -> io::Result<TempDir> {
    of_mode(0o777).prefix(prefix).tempdir_in(dir)
}

/// Of this mode less the umask, as the system makes any other file; by itself, tempfile gives
/// access to the owner alone.
fn of_mode<'a>(mode: u32) -> tempfile::Builder<'a, 'a> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn mode(path: &Path) -> u32 {
        let metadata = fs::metadata(path).expect("the file is there");
        metadata.permissions().mode() & 0o777
    }

    #[test]
    fn what_is_new_has_the_mode_that_the_umask_leaves() {
        let dir = tempfile::tempdir().unwrap();
        // Whatever the umask of the test is, ordinary new files and folders follow it.
        let ordinary = dir.path().join("ordinary");
        fs::write(&ordinary, b"x").unwrap();
        let whole = dir.path().join("whole");
        replace(&whole, b"x").unwrap();
        assert_eq!(mode(&whole), mode(&ordinary));
        let folder = dir.path().join("folder");
        fs::create_dir(&folder).unwrap();
        let new = temporary_dir(dir.path(), "new-").unwrap();
        assert_eq!(mode(new.path()), mode(&folder));
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private");
        fs::write(&path, b"old").unwrap();
        for bits in [0o600, 0o664, 0o400] {
            fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
            replace(&path, b"new").unwrap();
            assert_eq!(
                (mode(&path), fs::read(&path).unwrap()),
                (bits, b"new".to_vec())
            );
        }
        let mut given_up = NewFile::create(&path).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_link_stays_a_link_and_a_folder_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("file"), dir.path().join("link"));
        fs::write(&file, b"old").unwrap();
        symlink("file", &link).unwrap();
        replace(&link, b"new").unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(replace(dir.path(), b"x").is_err());
        assert!(replace(dir.path().join("no/such"), b"x").is_err());
        replace("/dev/null", b"x").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
    }
}
