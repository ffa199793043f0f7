//! Whether a data folder is what its manifest says.

use crate::error::Result;
use crate::store::DataFolder;
use serde::Serialize;
use std::path::Path;

/// The outcome of comparing a data folder with its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Verification {
    /// The number of files that were compared.
    pub checked: usize,
    /// What is not as the manifest says.
    pub problems: Vec<FileProblem>,
    /// Whether a write of version 1 was cut off half way; whoever reads or writes next finishes it.
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
    /// A fingerprint in the manifest, or its own, is not that of what it stands for.
    WrongHash,
    /// There is something else in the place of the link that leads to the current state.
    NotTheLink,
}

impl std::fmt::Display for FileProblemKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Unknown => "unknown",
            Self::WrongHash => "wrong hash",
            Self::NotTheLink => "not the link to the current state",
        })
    }
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
pub fn verify(data_dir: impl AsRef<Path>) -> Result<Verification> {
    DataFolder::new(data_dir.as_ref()).verify()
}
