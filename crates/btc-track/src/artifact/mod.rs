//! Files that belong to runs and models.

mod local;
mod path;

pub use local::LocalArtifacts;
pub use path::{ArtifactPath, ArtifactUri};

use std::fmt::Debug;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::entity::FileInfo;
use crate::error::Result;

/// What was written by [`ArtifactRepository::write`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub size: u64,
    /// The SHA-256 of the content, in hexadecimal.
    pub sha256: String,
}

/// A file that is being written; it gets its name when it is whole.
///
/// One that is dropped before leaves nothing behind.
pub trait Upload: Write + Send {
    /// Makes the file visible, replacing an earlier one of its name.
    ///
    /// # Errors
    ///
    /// `Artifact` if it cannot be written.
    fn finish(self: Box<Self>) -> Result<Written>;
}

/// Keeps files below URIs such as `mlflow-artifacts:/1/RUN/artifacts`.
///
/// Every `path` is relative to the URI, with `/`; one that climbs out is
/// refused. A file appears whole or not at all.
pub trait ArtifactRepository: Debug + Send + Sync {
    /// Copies a local file, or everything in a local folder, into `path`.
    ///
    /// # Errors
    ///
    /// `Artifact` if something cannot be read or written; files copied until
    /// then stay.
    fn log_artifacts(&self, uri: &str, local: &Path, path: &str) -> Result<()>;
    /// Begins to write one file, for content that arrives in pieces.
    ///
    /// # Errors
    ///
    /// `InvalidParameter` if the path is refused or a folder is there already.
    fn begin(&self, uri: &str, path: &str) -> Result<Box<dyn Upload>>;
    /// Writes one file from a stream.
    ///
    /// # Errors
    ///
    /// As [`begin`](Self::begin); `Artifact` if the stream fails or the file
    /// cannot be written.
    fn write(&self, uri: &str, path: &str, content: &mut dyn Read) -> Result<Written>;
    /// What lies in a folder, sorted by path; empty for a file and for
    /// something that is not there.
    fn list(&self, uri: &str, path: &str) -> Result<Vec<FileInfo>>;
    /// Opens one file and tells its size.
    fn open(&self, uri: &str, path: &str) -> Result<(Box<dyn Read + Send>, Option<u64>)>;
    /// Deletes a file, or a folder with everything in it.
    fn delete(&self, uri: &str, path: &str) -> Result<()>;
    /// The local folder or file behind a URI, if there is one; it need not exist.
    fn local_path(&self, uri: &str) -> Option<PathBuf>;
}
