//! Artifacts behind a server's proxy.

use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use btc_files::Sha256;
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{Http, Repeat, escape};
use crate::artifact::{ArtifactPath, ArtifactRepository, ArtifactUri, Upload, Written};
use crate::entity::FileInfo;
use crate::error::{Error, Result};
use crate::proto::FileInfoMessage;

const BASE: &str = "/api/2.0/mlflow-artifacts/artifacts";

/// The artifacts that an MLflow server keeps.
#[derive(Debug, Clone)]
pub struct RestArtifacts {
    http: Arc<Http>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Listing {
    files: Vec<FileInfoMessage>,
}

impl RestArtifacts {
    pub(super) fn new(http: Arc<Http>) -> Self {
        Self { http }
    }

    fn relative(&self, uri: &str, path: &str) -> Result<ArtifactPath> {
        let uri = ArtifactUri::parse(uri)?;
        if uri.scheme != "mlflow-artifacts" {
            return Err(Error::invalid(format!(
                "artifacts below {}:/ are not kept by the server itself",
                uri.scheme
            )));
        }
        Ok(uri.path.join(&ArtifactPath::parse(path)?))
    }

    fn copy_folder(&self, uri: &str, local: &Path, path: &ArtifactPath) -> Result<()> {
        for entry in fs::read_dir(local).map_err(Error::artifact("read", local))? {
            let entry = entry.map_err(Error::artifact("read", local))?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| {
                Error::invalid(format!("the file name {name:?} is not valid UTF-8"))
            })?;
            let target = path.join(&ArtifactPath::parse(name)?);
            let kind = entry.file_type().map_err(Error::artifact("read", local))?;
            if kind.is_dir() {
                self.copy_folder(uri, &entry.path(), &target)?;
            } else {
                self.copy_file(uri, &entry.path(), target.as_str())?;
            }
        }
        Ok(())
    }

    fn copy_file(&self, uri: &str, local: &Path, path: &str) -> Result<()> {
        let plain = fs::metadata(local).map_err(Error::artifact("read", local))?;
        if !plain.is_file() {
            return Err(Error::invalid(format!(
                "{} is no plain file",
                local.display()
            )));
        }
        let mut file = File::open(local).map_err(Error::artifact("read", local))?;
        self.write(uri, path, &mut file).map(|_| ())
    }
}

/// Counts and hashes what passes through.
struct Hashing<'a> {
    inner: &'a mut dyn Read,
    hasher: Sha256,
    size: u64,
}

impl Read for Hashing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.size += n as u64;
        Ok(n)
    }
}

/// A file that is sent once it is whole.
struct RestUpload {
    artifacts: RestArtifacts,
    uri: String,
    path: String,
    spool: File,
}

impl Write for RestUpload {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.spool.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.spool.flush()
    }
}

impl Upload for RestUpload {
    fn finish(mut self: Box<Self>) -> Result<Written> {
        self.spool
            .rewind()
            .map_err(Error::artifact("read", &self.path))?;
        self.artifacts.write(&self.uri, &self.path, &mut self.spool)
    }
}

impl ArtifactRepository for RestArtifacts {
    fn log_artifacts(&self, uri: &str, local: &Path, path: &str) -> Result<()> {
        let path = ArtifactPath::parse(path)?;
        if local.is_dir() {
            return self.copy_folder(uri, local, &path);
        }
        let name = local
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        self.copy_file(uri, local, path.join(&ArtifactPath::parse(name)?).as_str())
    }

    fn begin(&self, uri: &str, path: &str) -> Result<Box<dyn Upload>> {
        self.relative(uri, path)?;
        let spool = tempfile::tempfile().map_err(Error::artifact("write", path))?;
        Ok(Box::new(RestUpload {
            artifacts: self.clone(),
            uri: uri.to_owned(),
            path: path.to_owned(),
            spool,
        }))
    }

    fn write(&self, uri: &str, path: &str, content: &mut dyn Read) -> Result<Written> {
        let relative = self.relative(uri, path)?;
        let mut content = Hashing {
            inner: content,
            hasher: Sha256::default(),
            size: 0,
        };
        self.http.put(
            &format!("{BASE}/{}", escape(relative.as_str())),
            &mut content,
        )?;
        Ok(Written {
            size: content.size,
            sha256: content.hasher.hex(),
        })
    }

    fn list(&self, uri: &str, path: &str) -> Result<Vec<FileInfo>> {
        let relative = self.relative(uri, path)?;
        let below = ArtifactPath::parse(path)?;
        let listing: Listing = self.http.get(BASE, &[("path", relative.as_str())])?;
        let mut files = Vec::new();
        for file in listing.files {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            // A server must not make us read or write elsewhere, and one odd
            // name must not hide the others.
            let Ok(name) = ArtifactPath::parse(name) else {
                continue;
            };
            let path = below.join(&name);
            let file_size = file.file_size.and_then(|size| u64::try_from(size.0).ok());
            files.push(FileInfo {
                path: path.as_str().to_owned(),
                is_dir: file.is_dir,
                file_size,
            });
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(files)
    }

    fn open(&self, uri: &str, path: &str) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
        let relative = self.relative(uri, path)?;
        self.http
            .open(&format!("{BASE}/{}", escape(relative.as_str())))
    }

    fn delete(&self, uri: &str, path: &str) -> Result<()> {
        let relative = self.relative(uri, path)?;
        if relative.is_root() {
            return Err(Error::invalid(
                "the root of all artifacts cannot be deleted",
            ));
        }
        let path = format!("{BASE}/{}", escape(relative.as_str()));
        self.http
            .send::<_, Value>("DELETE", &path, &json!({}), Repeat::Allowed)
            .map(|_| ())
    }

    fn local_path(&self, _uri: &str) -> Option<PathBuf> {
        None
    }
}
