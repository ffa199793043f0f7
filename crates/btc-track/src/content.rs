//! What the files of a model version are, as one hash.

use std::io::Read;

use btc_files::{Sha256, sha256_of};

use crate::artifact::ArtifactRepository;
use crate::error::{Error, Result};

/// How deep folders may be nested.
const MAX_DEPTH: usize = 64;

/// The SHA-256 of everything below an artifact URI, in hexadecimal; none if
/// nothing is there.
///
/// It is the hash of the list that `sha256sum` prints for the files in the
/// order of their paths: a line `HASH  PATH` for each.
///
/// ```
/// use btc_track::{ArtifactRepository, LocalArtifacts, content_hash};
///
/// # let folder = tempfile::tempdir()?;
/// let artifacts = LocalArtifacts::new(folder.path());
/// let model = "mlflow-artifacts:/0/run/artifacts/model";
/// assert_eq!(content_hash(&artifacts, model)?, None);
/// artifacts.write(model, "weights", &mut &b"1"[..])?;
/// let first = content_hash(&artifacts, model)?;
/// artifacts.write(model, "weights", &mut &b"2"[..])?;
/// assert_ne!(content_hash(&artifacts, model)?, first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// `Artifact` if a file cannot be read; `InvalidParameter` if something is no
/// plain file, if folders are nested too deep, or if the repository does not
/// serve the URI.
pub fn content_hash(artifacts: &dyn ArtifactRepository, uri: &str) -> Result<Option<String>> {
    let mut paths = Vec::new();
    collect(artifacts, uri, "", 0, &mut paths)?;
    if paths.is_empty() {
        // The source can be one file.
        return match artifacts.open(uri, "") {
            Ok((mut file, _)) => Ok(Some(list_hash(&[(String::new(), hash(&mut file)?)]))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        };
    }
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let (mut file, _) = artifacts.open(uri, &path)?;
        files.push((path, hash(&mut file)?));
    }
    Ok(Some(list_hash(&files)))
}

fn collect(
    artifacts: &dyn ArtifactRepository,
    uri: &str,
    path: &str,
    depth: usize,
    paths: &mut Vec<String>,
) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid(format!(
            "the artifacts below {path:?} are nested too deep"
        )));
    }
    for file in artifacts.list(uri, path)? {
        if file.is_dir {
            collect(artifacts, uri, &file.path, depth + 1, paths)?;
        } else {
            paths.push(file.path);
        }
    }
    Ok(())
}

fn hash(file: &mut dyn Read) -> Result<String> {
    let mut file = file;
    let (_, hash) = sha256_of(&mut file).map_err(|source| Error::Store {
        action: "read the files of a model".into(),
        source: source.into(),
    })?;
    Ok(hash)
}

fn list_hash(files: &[(String, String)]) -> String {
    let mut hasher = Sha256::default();
    for (path, hash) in files {
        hasher.update(format!("{hash}  {path}\n"));
    }
    hasher.hex()
}
