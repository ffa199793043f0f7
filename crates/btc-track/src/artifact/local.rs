use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use btc_files::{NewFile, Sha256, create_dirs};

use super::{ArtifactPath, ArtifactRepository, ArtifactUri, Written};
use crate::entity::FileInfo;
use crate::error::{Error, Result};

/// Folders of the repository itself; no artifact path starts with them.
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

    // A "#" is in no artifact path, so the two never collide.
    fn digest_place(&self, relative: &ArtifactPath) -> PathBuf {
        self.root
            .join(DIGESTS)
            .join(format!("{}#sha256", relative.as_str()))
    }

    fn write_relative(&self, relative: &ArtifactPath, content: &mut dyn Read) -> Result<Written> {
        if relative.is_root() {
            return Err(Error::invalid("the artifact path is empty"));
        }
        let place = self.place(relative)?;
        if place.is_dir() {
            return Err(Error::invalid(format!(
                "the artifact {:?} is a folder already",
                relative.as_str()
            )));
        }
        let failed = |source| Error::Artifact {
            action: "write",
            path: place.clone(),
            source,
        };
        let folder = place.parent().unwrap_or(&self.root);
        let uploads = self.root.join(UPLOADS);
        fs::create_dir_all(&uploads).map_err(failed)?;
        let mut file = NewFile::create_in(&uploads, &place).map_err(failed)?;
        let (size, sha256) = copy(content, &mut file).map_err(failed)?;

        let digest_place = self.digest_place(relative);
        let digests = digest_place.parent().unwrap_or(&self.root);
        create_dirs(digests).map_err(failed)?;
        let mut digest = NewFile::create_in(&uploads, &digest_place).map_err(failed)?;
        digest.write_all(sha256.as_bytes()).map_err(failed)?;

        create_dirs(folder).map_err(failed)?;
        digest.finish().map_err(failed)?;
        file.finish().map_err(failed)?;
        Ok(Written { size, sha256 })
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
        let staged_digests = staging.path().join(DIGESTS).join(target.as_str());
        let digests = self.root.join(DIGESTS).join(target.as_str());
        let parents = [place.parent(), digests.parent()];
        for parent in parents.into_iter().flatten() {
            create_dirs(parent).map_err(failed)?;
        }
        // Leftovers of a folder that was deleted must not block the move.
        let _ = fs::remove_dir_all(&digests);
        fs::rename(staged_digests, &digests).map_err(failed)?;
        fs::rename(&files, &place).map_err(failed)?;
        parents
            .into_iter()
            .flatten()
            .try_for_each(btc_files::sync_dir)
            .map_err(failed)
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
            } else if path.is_file() {
                self.copy_file(&path, &target)?;
            }
        }
        Ok(())
    }

    fn copy_file(&self, local: &Path, target: &ArtifactPath) -> Result<()> {
        let mut file = File::open(local).map_err(Error::artifact("read", local))?;
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
        let file = match File::open(&place) {
            Ok(file) => file,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                return Err(missing());
            }
            Err(source) => {
                return Err(Error::Artifact {
                    action: "read",
                    path: place,
                    source,
                });
            }
        };
        let metadata = file.metadata().map_err(Error::artifact("read", &place))?;
        if !metadata.is_file() {
            return Err(missing());
        }
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
        // What was recorded about the files goes with them; a leftover would
        // only be overwritten by the next upload of that name.
        let _ = fs::remove_file(self.digest_place(&relative));
        let _ = fs::remove_dir_all(self.root.join(DIGESTS).join(relative.as_str()));
        Ok(())
    }

    fn sha256(&self, uri: &str, path: &str) -> Result<Option<String>> {
        let place = self.digest_place(&self.relative(uri, path)?);
        match fs::read_to_string(&place) {
            Ok(text) => Ok(Some(text)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Ok(None)
            }
            Err(source) => Err(Error::Artifact {
                action: "read",
                path: place,
                source,
            }),
        }
    }

    fn local_path(&self, uri: &str) -> Option<PathBuf> {
        let relative = self.relative(uri, "").ok()?;
        self.place(&relative).ok()
    }
}

fn copy(from: &mut dyn Read, to: &mut impl Write) -> io::Result<(u64, String)> {
    let mut hasher = Sha256::default();
    let mut buffer = vec![0; 64 * 1024];
    let mut size = 0;
    loop {
        let n = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&buffer[..n]);
        to.write_all(&buffer[..n])?;
        size += n as u64;
    }
    Ok((size, hasher.hex()))
}
