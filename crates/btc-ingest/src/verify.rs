//! Whether the stored files are what was written.

use crate::error::{Error, Result};
use crate::store::{MANIFEST, Manifest, PROCESSED, RAW, Transaction, entries, sha256};
use serde::Serialize;
use std::io::ErrorKind;
use std::path::Path;

/// The outcome of comparing a data folder with its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The number of files that were compared.
    pub checked: usize,
    /// What is not as the manifest says.
    pub problems: Vec<FileProblem>,
    /// Whether a change was cut off half way; the next pull finishes it.
    pub interrupted: bool,
}

impl Verification {
    /// Tells whether everything is as the manifest says.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.problems.is_empty() && !self.interrupted
    }
}

/// A file that is not as the manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct FileProblem {
    /// The path below the data folder.
    pub path: String,
    /// What is wrong.
    pub kind: FileProblemKind,
}

/// How a file differs from the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FileProblemKind {
    /// The file is gone.
    Missing,
    /// The file has other contents.
    Changed,
    /// The manifest does not know the file.
    Unknown,
    /// The manifest's fingerprint does not follow from its own entries.
    WrongHash,
}

/// Compares every file of a data folder with the manifest, byte for byte.
///
/// ```
/// # let folder = tempfile::tempdir()?;
/// # let data_dir = folder.path();
/// # let now = "2024-01-02T00:00:00Z".parse()?;
/// btc_ingest::pull_sample(data_dir, 0, "2024-01-01".parse()?, 30, now)?;
/// assert!(btc_ingest::verify(data_dir)?.is_ok());
/// std::fs::remove_file(data_dir.join("processed/ohlcv/2023.parquet"))?;
/// assert!(!btc_ingest::verify(data_dir)?.is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// Fails if there is no data, or a file cannot be read for another reason than being gone.
pub fn verify(data_dir: &Path) -> Result<Verification> {
    let manifest = Manifest::read(data_dir)?.ok_or_else(|| Error::NotPulled {
        path: data_dir.to_owned(),
    })?;
    let mut problems = Vec::new();
    let mut problem = |path: &str, kind| {
        problems.push(FileProblem {
            path: path.to_owned(),
            kind,
        })
    };
    for (name, record) in &manifest.tables {
        let path = data_dir.join(name);
        match std::fs::read(&path) {
            Ok(bytes) if sha256(&bytes) == record.sha256 => {}
            Ok(_) => problem(name, FileProblemKind::Changed),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                problem(name, FileProblemKind::Missing);
            }
            Err(error) => return Err(Error::read(&path, error)),
        }
    }
    for kind in [RAW, PROCESSED] {
        for folder in entries(&data_dir.join(kind))? {
            for file in entries(&folder)? {
                let below = file.strip_prefix(data_dir).unwrap_or(&file);
                let parts: Vec<_> = below.iter().map(|part| part.to_string_lossy()).collect();
                let name = parts.join("/");
                if !manifest.tables.contains_key(&name) {
                    problem(&name, FileProblemKind::Unknown);
                }
            }
        }
    }
    if Manifest::hash_of(&manifest.tables) != manifest.data_hash {
        problem(MANIFEST, FileProblemKind::WrongHash);
    }
    let interrupted = Transaction::is_pending(data_dir);
    Ok(Verification {
        checked: manifest.tables.len(),
        problems,
        interrupted,
    })
}
