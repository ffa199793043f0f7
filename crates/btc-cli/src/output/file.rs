//! Files that the commands write: there whole or not at all, with the mode
//! that the umask leaves.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;

/// Writes beside the file, then renames.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if path.metadata().is_ok_and(|known| !known.is_file()) {
        // A device or a pipe is written to, not replaced; a folder refuses.
        return std::fs::write(path, bytes);
    }
    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{}.part", std::process::id()));
    let draft = Path::new(&draft);
    let written = File::create(draft).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(draft, path)
    });
    if written.is_err() {
        // The error is what is told; a draft that stays is its consequence.
        let _ = std::fs::remove_file(draft);
    }
    written
}

/// Makes the folder that a file is to lie in.
pub(crate) fn create_folder_of(path: &Path) -> anyhow::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display())),
        _ => Ok(()),
    }
}
