//! Reading bounded files, and `btc-files` with this crate's errors.

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
    btc_files::replace(path, bytes).map_err(|source| Error::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
