//! A file of a source, held open: what was planned is what is read.

use std::fs::{File, Metadata};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use datafusion::parquet::errors::{ParquetError, Result as ParquetResult};
use datafusion::parquet::file::reader::{ChunkReader, Length};

use crate::error::{Error, Result};

/// What tells a file from another that takes its place, and from itself after
/// it was written into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    bytes: u64,
    modified: Option<SystemTime>,
    /// Device and inode, where there are such.
    place: (u64, u64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let place = {
            use std::os::unix::fs::MetadataExt as _;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let place = (0, 0);
        Self {
            bytes: metadata.len(),
            modified: metadata.modified().ok(),
            place,
        }
    }

    /// The identity of an open file.
    pub(crate) fn of_file(file: &File, path: &Path) -> Result<Self> {
        let metadata = file.metadata().map_err(Error::io("open", path))?;
        Ok(Self::of(&metadata))
    }

    /// Whether the file at `path` is still this one.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        std::fs::metadata(path).is_ok_and(|metadata| Self::of(&metadata) == *self)
    }
}

/// A file that is read several times and must be the same each time.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: PathBuf,
    /// The source that it belongs to.
    source: String,
    identity: Identity,
    /// The file itself, unless there are too many to hold.
    held: Option<PositionedFile>,
}

impl OpenFile {
    /// Opens a file of a source; with `hold` it stays open, so that a rename
    /// over it changes nothing. Otherwise it is opened again for each reading,
    /// and refused if it is another by then.
    pub(crate) fn open(path: &Path, source: &str, hold: bool) -> Result<(Self, PositionedFile)> {
        let (file, identity) = open(path)?;
        let this = Self {
            path: path.to_path_buf(),
            source: source.to_owned(),
            identity,
            held: hold.then(|| file.clone()),
        };
        Ok((this, file))
    }

    /// The content, to be [checked](Self::check) after it was read.
    pub(crate) fn content(&self) -> Result<PositionedFile> {
        let file = match &self.held {
            Some(file) => file.clone(),
            None => match open(&self.path) {
                Ok((file, _)) => file,
                // A folder that is replaced with all it holds takes the file with it.
                Err(_) if !self.path.exists() => return Err(self.changed()),
                Err(error) => return Err(error),
            },
        };
        self.check(&file)?;
        Ok(file)
    }

    /// Checks that content is that of the file as it was opened first.
    pub(crate) fn check(&self, content: &PositionedFile) -> Result<()> {
        if Identity::of_file(&content.file, &self.path)? == self.identity {
            return Ok(());
        }
        Err(self.changed())
    }

    fn changed(&self) -> Error {
        Error::SourceChanged {
            name: self.source.clone(),
            path: self.path.clone(),
        }
    }
}

fn open(path: &Path) -> Result<(PositionedFile, Identity)> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let identity = Identity::of_file(&file, path)?;
    let file = PositionedFile {
        file: Arc::new(file),
        bytes: identity.bytes,
    };
    Ok((file, identity))
}

/// An open file that several threads read at once: without a cursor of its
/// own, which clones of a [`File`] would share.
#[derive(Debug, Clone)]
pub(crate) struct PositionedFile {
    file: Arc<File>,
    bytes: u64,
}

/// Reads on from a position.
#[derive(Debug)]
pub(crate) struct Onward {
    file: Arc<File>,
    position: u64,
}

impl Read for Onward {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = read_at(&self.file, buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Length for PositionedFile {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for PositionedFile {
    type T = BufReader<Onward>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::new(Onward {
            file: Arc::clone(&self.file),
            position: start,
        }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        // A length out of a broken footer must not reserve memory.
        let end = start.checked_add(length as u64);
        if end.is_none_or(|end| self.bytes < end) {
            return Err(ParquetError::EOF(format!(
                "{length} bytes from {start} on are beyond the end of the file"
            )));
        }
        let mut buffer = vec![0; length];
        let mut filled = 0;
        while filled < length {
            match read_at(&self.file, &mut buffer[filled..], start + filled as u64)? {
                0 => return Err(ParquetError::EOF("the file has become shorter".into())),
                read => filled += read,
            }
        }
        Ok(buffer.into())
    }
}

fn read_at(file: &File, buffer: &mut [u8], position: u64) -> std::io::Result<usize> {
    loop {
        #[cfg(unix)]
        let read = std::os::unix::fs::FileExt::read_at(file, buffer, position);
        #[cfg(windows)]
        let read = std::os::windows::fs::FileExt::seek_read(file, buffer, position);
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
