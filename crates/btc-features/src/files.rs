//! Files that appear whole, folders that last, and locks.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::error::{Error, Result};

/// A file that takes the place of `path` all at once when it is finished:
/// whoever reads sees the old content or the new. Dropped before, it leaves
/// nothing.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Starts a file that will be at `path`; its folder is created.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let dir = folder_of(path);
        create_folders(dir)?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".tmp-");
        // Temporary files are private to their owner unless another mode is
        // asked for, of which the umask takes away its part.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder
            .tempfile_in(dir)
            .map_err(Error::io("write into", dir))?;
        Ok(Self {
            file,
            path: path.to_path_buf(),
        })
    }

    /// Makes the content last and puts it in its place. A file that is replaced
    /// hands its mode down.
    pub(crate) fn finish(self) -> Result<()> {
        let Self { file, path } = self;
        if let Ok(old) = std::fs::metadata(&path) {
            file.as_file()
                .set_permissions(old.permissions())
                .map_err(Error::io("write", &path))?;
        }
        file.as_file()
            .sync_all()
            .map_err(Error::io("write", &path))?;
        file.persist(&path)
            .map_err(|error| Error::io("replace", &path)(error.error))?;
        sync_dir(folder_of(&path))
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

/// Replaces `path` by `content` all at once.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let mut file = WholeFile::create(path)?;
    file.write_all(content).map_err(Error::io("write", path))?;
    file.finish()
}

/// Creates a folder and those above it, each entered in its parent for good.
pub(crate) fn create_folders(dir: &Path) -> Result<()> {
    let missing: Vec<&Path> = dir
        .ancestors()
        .take_while(|dir| !dir.as_os_str().is_empty() && !dir.exists())
        .collect();
    std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    missing
        .into_iter()
        .try_for_each(|made| sync_dir(folder_of(made)))
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

/// Makes the names in a folder as lasting as the files.
#[cfg(unix)]
fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io("write into", dir))
}

#[cfg(not(unix))]
fn sync_dir(_: &Path) -> Result<()> {
    Ok(())
}

/// So long a lock is waited for: a writer holds it for the time of one file.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Waits for the lock that `path` stands for, a minute at most; it is free
/// again when the value is dropped or its process ends.
pub(crate) fn lock(path: &Path) -> Result<File> {
    lock_within(path, LOCK_WAIT)
}

fn lock_within(path: &Path, wait: Duration) -> Result<File> {
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(Error::io("open", path))?;
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path)(error)),
            Err(TryLockError::WouldBlock) if wait <= started.elapsed() => {
                return Err(Error::Locked {
                    path: path.to_path_buf(),
                });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_new_file_has_the_mode_that_the_umask_leaves() {
        let dir = tempfile::tempdir().unwrap();
        // Whatever the umask of the test is, an ordinary new file follows it.
        let ordinary = dir.path().join("ordinary");
        std::fs::write(&ordinary, b"x").unwrap();
        let whole = dir.path().join("below/it/whole");
        write_whole(&whole, b"x").unwrap();
        assert_eq!(mode(&whole), mode(&ordinary));
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("private");
        std::fs::write(&path, b"old").unwrap();
        for bits in [0o600, 0o664] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(bits)).unwrap();
            write_whole(&path, b"new").unwrap();
            assert_eq!(
                (mode(&path), std::fs::read(&path).unwrap()),
                (bits, b"new".to_vec())
            );
        }
        let mut given_up = WholeFile::create(&path).unwrap();
        given_up.write_all(b"half").unwrap();
        drop(given_up);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_that_stays_taken_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l");
        let held = lock(&path).unwrap();
        let error = lock_within(&path, Duration::ZERO).unwrap_err();
        assert!(matches!(&error, Error::Locked { path: told } if *told == path));
        drop(held);
        lock_within(&path, Duration::ZERO).unwrap();
    }
}
