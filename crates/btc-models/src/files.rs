//! Files that appear whole, with the permissions that the caller's umask gives.

use std::io::Write;
use std::path::Path;
#[cfg(feature = "nn")]
use std::{fs::File, io::Read};

use crate::{Error, Result};

#[cfg(feature = "nn")]
/// Reads a file of at most `limit_bytes`.
pub(crate) fn read(path: &Path, limit_bytes: u64) -> Result<Vec<u8>> {
    let io = |source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    File::open(path)
        .map_err(io)?
        .take(limit_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if limit_bytes < bytes.len() as u64 {
        return Err(Error::Bundle {
            path: path.to_owned(),
            reason: format!("it is larger than {limit_bytes} bytes"),
        });
    }
    Ok(bytes)
}

/// Writes a file so that it appears whole.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let io = |source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    };
    let dir = match path.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let mut file = as_readable_as(0o666).tempfile_in(dir).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

#[cfg(feature = "nn")]
/// A directory under a temporary name in `parent`, with the permissions of an ordinary one.
pub(crate) fn staging_dir(parent: &Path) -> std::io::Result<tempfile::TempDir> {
    as_readable_as(0o777).prefix(".bundle-").tempdir_in(parent)
}

/// A temporary file or directory of the mode `mode` less the umask, as the system makes any other;
/// by itself, tempfile gives access to the owner alone.
fn as_readable_as(mode: u32) -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

#[cfg(feature = "nn")]
/// Makes the entries of a directory durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<()> {
    // Other systems cannot open a directory as a file.
    if cfg!(unix) {
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(|source| Error::Io {
                action: "write",
                path: dir.to_owned(),
                source,
            })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_file_is_as_readable_as_any_other() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let (ours, other) = (dir.path().join("ours"), dir.path().join("other"));
        write(&ours, b"text").unwrap();
        std::fs::write(&other, b"text").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&other));
    }
}
