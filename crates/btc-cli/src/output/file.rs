//! Files that the commands write: `btc-files` with the path in the error.

use std::path::Path;

use anyhow::Context as _;

/// Replaces a file whole; a device or a pipe is written to.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    btc_files::replace(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Creates the folder that a file is to lie in.
pub(crate) fn create_folder_of(path: &Path) -> anyhow::Result<()> {
    let folder = btc_files::parent(path);
    btc_files::create_dirs(folder).with_context(|| format!("cannot create {}", folder.display()))
}
