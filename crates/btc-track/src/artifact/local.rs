//! Artifacts in a folder of this machine.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use btc_files::{NewFile, Sha256, create_dirs};

use super::{ArtifactPath, ArtifactRepository, ArtifactUri, Upload, Written};
use crate::entity::FileInfo;
use crate::error::{Error, Result};

/// Folders of the repository itself, and of its earlier versions; no artifact
/// path starts with them.
const UPLOADS: &str = ".uploads";
const DIGESTS: &str = ".sha256";

/// Artifacts in a local folder.
///
/// `mlflow-artifacts:/1/RUN/artifacts` is the folder `1/RUN/artifacts` below
/// the root. Uploads are written to a temporary name, synced and renamed; a
/// symbolic link below the root is never followed.
#[derive(Debug, Clone)]
pub struct LocalArtifacts {
    root: PathBuf,
}

impl LocalArtifacts {
    /// Keeps artifacts below `root`, which is created when first written to.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder below which everything lies.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn relative(&self, uri: &str, path: &str) -> Result<ArtifactPath> {
        let uri = ArtifactUri::parse(uri)?;
        if uri.scheme != "mlflow-artifacts" {
            return Err(Error::invalid(format!(
                "artifacts below {}:/ are not in this repository",
                uri.scheme
            )));
        }
        let relative = uri.path.join(&ArtifactPath::parse(path)?);
        let first = relative.as_str().split('/').next().unwrap_or_default();
        if matches!(first, UPLOADS | DIGESTS) {
            return Err(Error::invalid(format!(
                "the artifact path {first:?} is reserved"
            )));
        }
        Ok(relative)
    }

    /// The place of a path, which no symbolic link leads away from.
    fn place(&self, relative: &ArtifactPath) -> Result<PathBuf> {
        let mut place = self.root.clone();
        for part in relative.as_str().split('/').filter(|part| !part.is_empty()) {
            place.push(part);
            match fs::symlink_metadata(&place) {
                Ok(metadata) if metadata.file_type().is_symlink() => {
                    return Err(Error::invalid(format!(
                        "the artifact path {:?} leads through a symbolic link",
                        relative.as_str()
                    )));
                }
                _ => {}
            }
        }
        Ok(place)
    }

    fn draft(&self, relative: &ArtifactPath) -> Result<LocalUpload> {
        if relative.is_root() {
            return Err(Error::invalid("the artifact path is empty"));
        }
        let place = self.place(relative)?;
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() => {
                return Err(Error::invalid(format!(
                    "the artifact {:?} is a folder already",
                    relative.as_str()
                )));
            }
            Ok(metadata) if !metadata.is_file() => return Err(not_plain(relative)),
            _ => {}
        }
        let uploads = self.root.join(UPLOADS);
        let failed = Error::artifact("write", &place);
        let draft =
            fs::create_dir_all(&uploads).and_then(|()| NewFile::create_in(&uploads, &place));
        Ok(LocalUpload {
            draft: draft.map_err(failed)?,
            place,
            hasher: Sha256::default(),
            size: 0,
        })
    }

    fn write_relative(&self, relative: &ArtifactPath, content: &mut dyn Read) -> Result<Written> {
        let mut upload = Box::new(self.draft(relative)?);
        copy(content, &mut upload).map_err(Error::artifact("write", &upload.place))?;
        upload.finish()
    }

    /// Copies a folder. One that is new appears whole or not at all.
    fn write_folder(&self, local: &Path, target: &ArtifactPath) -> Result<()> {
        let place = self.place(target)?;
        if target.is_root() || place.exists() {
            return self.copy_folder(local, target);
        }
        let failed = |source| Error::Artifact {
            action: "write",
            path: place.clone(),
            source,
        };
        let uploads = self.root.join(UPLOADS);
        fs::create_dir_all(&uploads).map_err(failed)?;
        let staging = btc_files::temporary_dir(&uploads, "folder-").map_err(failed)?;
        // The same layout below another root, moved into place at the end.
        let staged = Self::new(staging.path());
        staged.copy_folder(local, target)?;
        let files = staged.place(target)?;
        if !files.exists() {
            return Ok(());
        }
        let parent = place.parent().unwrap_or(&self.root);
        create_dirs(parent).map_err(failed)?;
        fs::rename(&files, &place).map_err(failed)?;
        btc_files::sync_dir(parent).map_err(failed)
    }

    fn copy_folder(&self, local: &Path, target: &ArtifactPath) -> Result<()> {
        let entries = fs::read_dir(local).map_err(Error::artifact("read", local))?;
        for entry in entries {
            let entry = entry.map_err(Error::artifact("read", local))?;
            let path = entry.path();
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| {
                Error::invalid(format!(
                    "the file name {} is not valid UTF-8",
                    path.display()
                ))
            })?;
            let target = target.join(&ArtifactPath::parse(name)?);
            let kind = entry.file_type().map_err(Error::artifact("read", &path))?;
            if kind.is_dir() {
                self.copy_folder(&path, &target)?;
            } else {
                self.copy_file(&path, &target)?;
            }
        }
        Ok(())
    }

    fn copy_file(&self, local: &Path, target: &ArtifactPath) -> Result<()> {
        let mut file = open_plain(local)
            .map_err(Error::artifact("read", local))?
            .ok_or_else(|| Error::invalid(format!("{} is no plain file", local.display())))?;
        self.write_relative(target, &mut file).map(|_| ())
    }
}

impl ArtifactRepository for LocalArtifacts {
    fn log_artifacts(&self, uri: &str, local: &Path, path: &str) -> Result<()> {
        let target = self.relative(uri, path)?;
        if local.is_dir() {
            return self.write_folder(local, &target);
        }
        let name = local
            .file_name()
            .and_then(|name| name.to_str())
            .ok_or_else(|| {
                Error::invalid(format!(
                    "the file name {} is not valid UTF-8",
                    local.display()
                ))
            })?;
        self.copy_file(local, &target.join(&ArtifactPath::parse(name)?))
    }

    fn begin(&self, uri: &str, path: &str) -> Result<Box<dyn Upload>> {
        Ok(Box::new(self.draft(&self.relative(uri, path)?)?))
    }

    fn write(&self, uri: &str, path: &str, content: &mut dyn Read) -> Result<Written> {
        self.write_relative(&self.relative(uri, path)?, content)
    }

    fn list(&self, uri: &str, path: &str) -> Result<Vec<FileInfo>> {
        let relative = self.relative(uri, path)?;
        let below = ArtifactPath::parse(path)?;
        let place = self.place(&relative)?;
        let entries = match fs::read_dir(&place) {
            Ok(entries) => entries,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Ok(Vec::new());
            }
            Err(source) => {
                return Err(Error::Artifact {
                    action: "list",
                    path: place,
                    source,
                });
            }
        };
        let mut files = Vec::new();
        for entry in entries {
            let entry = entry.map_err(Error::artifact("list", &place))?;
            let kind = entry.file_type().map_err(Error::artifact("list", &place))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let own = relative.is_root() && matches!(name, UPLOADS | DIGESTS);
            // Names that no path can have cannot be fetched either.
            let Ok(name) = ArtifactPath::parse(name) else {
                continue;
            };
            if own || kind.is_symlink() {
                continue;
            }
            let size = entry
                .metadata()
                .map_err(Error::artifact("list", &place))?
                .len();
            files.push(FileInfo {
                path: below.join(&name).as_str().to_owned(),
                is_dir: kind.is_dir(),
                file_size: kind.is_file().then_some(size),
            });
        }
        files.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(files)
    }

    fn open(&self, uri: &str, path: &str) -> Result<(Box<dyn Read + Send>, Option<u64>)> {
        let relative = self.relative(uri, path)?;
        let place = self.place(&relative)?;
        let missing = || Error::not_found("artifact", relative.as_str());
        let failed = Error::artifact("read", &place);
        let file = match open_plain(&place) {
            Ok(Some(file)) => file,
            Ok(None) if place.is_dir() => return Err(missing()),
            Ok(None) => return Err(not_plain(&relative)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::InvalidFilename
                ) =>
            {
                return Err(missing());
            }
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        Ok((Box::new(file), Some(metadata.len())))
    }

    fn delete(&self, uri: &str, path: &str) -> Result<()> {
        let relative = self.relative(uri, path)?;
        if relative.is_root() {
            return Err(Error::invalid(
                "the root of all artifacts cannot be deleted",
            ));
        }
        let place = self.place(&relative)?;
        let failed = |source| Error::Artifact {
            action: "delete",
            path: place.clone(),
            source,
        };
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&place).map_err(failed)?,
            Ok(_) => fs::remove_file(&place).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        }
        Ok(())
    }

    fn local_path(&self, uri: &str) -> Option<PathBuf> {
        let relative = self.relative(uri, "").ok()?;
        self.place(&relative).ok()
    }
}

/// A draft on its way to its place.
struct LocalUpload {
    draft: NewFile,
    place: PathBuf,
    hasher: Sha256,
    size: u64,
}

impl Write for LocalUpload {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.draft.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.flush()
    }
}

impl Upload for LocalUpload {
    fn finish(self: Box<Self>) -> Result<Written> {
        let Self {
            draft,
            place,
            hasher,
            size,
        } = *self;
        let failed = |source| Error::Artifact {
            action: "write",
            path: place.clone(),
            source,
        };
        // A place below the root has a parent.
        create_dirs(place.parent().unwrap_or(&place)).map_err(failed)?;
        draft.finish().map_err(failed)?;
        Ok(Written {
            size,
            sha256: hasher.hex(),
        })
    }
}

fn not_plain(path: &ArtifactPath) -> Error {
    Error::invalid(format!("the artifact {:?} is no plain file", path.as_str()))
}

/// Opens a plain file; none if something else is there. A pipe is not waited for.
fn open_plain(path: &Path) -> io::Result<Option<File>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    let file = File::open(path)?;
    Ok(file.metadata()?.is_file().then_some(file))
}

fn copy(from: &mut dyn Read, to: &mut dyn Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => to.write_all(&buffer[..n])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
