//! Which files a source has.

use std::path::{Component, Path, PathBuf};

use crate::definition::FileSource;
use crate::error::{Error, Result};

/// The files of a source, where they really are: links in the path that the source gives are
/// followed once, so that a folder whose writer replaces a link is seen in one state.
#[derive(Debug)]
pub(crate) struct SourceFiles {
    /// By name.
    pub(crate) paths: Vec<PathBuf>,
    place: Place,
}

/// The part of a source's path that is no pattern.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    given: PathBuf,
    real: PathBuf,
}

impl Place {
    fn of(source: &FileSource, repo_dir: &Path) -> Self {
        let mut given = source.resolved_path(repo_dir);
        if !given.exists() {
            for _ in pattern_of(source).components() {
                given.pop();
            }
        }
        let real = std::fs::canonicalize(&given).unwrap_or_else(|_| given.clone());
        Self { given, real }
    }
}

/// Where sources are at this moment: another result says that a link has been replaced.
pub(crate) fn real_places<'a>(
    sources: impl IntoIterator<Item = &'a FileSource>,
    repo_dir: &Path,
) -> Vec<PathBuf> {
    let place = |source| Place::of(source, repo_dir).real;
    sources.into_iter().map(place).collect()
}

impl SourceFiles {
    /// A file by the path that the source gives, which stays when a link is replaced.
    pub(crate) fn given(&self, path: &Path) -> PathBuf {
        match path.strip_prefix(&self.place.real) {
            Ok(below) if below.as_os_str().is_empty() => self.place.given.clone(),
            Ok(below) => self.place.given.join(below),
            Err(_) => path.to_path_buf(),
        }
    }
}

/// The files of a source: one file, the Parquet files below a folder, or those that a pattern
/// matches.
///
/// What starts with a dot or an underscore is being written, or not meant to
/// be read (Spark's `_temporary` and `_SUCCESS`), unless the source names it.
pub(crate) fn source_files(source: &FileSource, repo_dir: &Path) -> Result<SourceFiles> {
    let place = Place::of(source, repo_dir);
    let pattern = pattern_of(source);
    let mut paths = Vec::new();
    if place.given == source.resolved_path(repo_dir) {
        if place.real.is_file() {
            paths.push(place.real.clone());
        } else if place.real.is_dir() {
            collect_parquet(&place.real, &mut paths)?;
        }
    } else if !pattern.as_os_str().is_empty() {
        matching(source, &place.real, &pattern, &mut paths)?;
    }
    if paths.is_empty() {
        return Err(Error::SourceMissing {
            name: source.name.clone(),
            path: source.resolved_path(repo_dir),
        });
    }
    paths.sort();
    Ok(SourceFiles { paths, place })
}

/// A source's path from its first part with a wildcard on.
fn pattern_of(source: &FileSource) -> PathBuf {
    Path::new(source.local_path())
        .components()
        .skip_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .collect()
}

/// Adds the files below a folder that match a pattern. Only what the source
/// itself writes is a pattern: the folder is taken as it is.
fn matching(
    source: &FileSource,
    folder: &Path,
    pattern: &Path,
    found: &mut Vec<PathBuf>,
) -> Result<()> {
    let wrong = |reason: String| {
        Error::invalid(
            format!("source {:?}", source.name),
            format!("its path: {reason}"),
        )
    };
    let dir = folder
        .to_str()
        .ok_or_else(|| wrong("its folder is not Unicode".into()))?;
    let base = folder.components().count();
    let asked_for = |start: char| {
        pattern
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with(start))
    };
    let pattern = Path::new(&glob::Pattern::escape(dir))
        .join(pattern)
        .to_string_lossy()
        .into_owned();
    for entry in glob::glob(&pattern).map_err(|error| wrong(error.to_string()))? {
        let file = entry.map_err(|error| {
            let path = error.path().to_path_buf();
            Error::io("read", &path)(error.into())
        })?;
        let hidden = file.components().skip(base).any(|part| {
            let Component::Normal(name) = part else {
                return false;
            };
            ['.', '_']
                .into_iter()
                .any(|start| name.to_string_lossy().starts_with(start) && !asked_for(start))
        });
        if file.is_file() && !hidden {
            found.push(file);
        }
    }
    Ok(())
}

/// Adds the Parquet files below a folder.
fn collect_parquet(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with(['.', '_']) {
            continue;
        }
        // A link counts as what it leads to; one that leads nowhere is told of.
        let kind = std::fs::metadata(&path).map_err(Error::io("read", &path))?;
        if kind.is_dir() {
            collect_parquet(&path, found)?;
        } else if path.extension().is_some_and(|extension| {
            ["parquet", "pq"]
                .iter()
                .any(|known| extension.eq_ignore_ascii_case(known))
        }) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(dir: &Path, path: &str) -> Vec<String> {
        let source = FileSource::new("s", path, "event_timestamp");
        source_files(&source, dir)
            .map(|files| files.paths.iter().map(|path| files.given(path)).collect())
            .unwrap_or_else(|_| Vec::new())
            .iter()
            .map(|file| file.strip_prefix(dir).unwrap().display().to_string())
            .collect()
    }

    #[test]
    fn a_folder_a_pattern_and_a_file_name_their_files() {
        let outer = tempfile::tempdir().unwrap();
        // The folder's own name looks like a pattern, and starts with a dot.
        let dir = outer.path().join(".q[1]*");
        for file in [
            "parts/part-0.parquet",
            "parts/b/PART-1.PARQUET",
            "parts/c.pq",
            "parts/_temporary/0/part-9.parquet",
            "parts/.staging/part-9.parquet",
            "parts/_SUCCESS",
            "parts/notes.txt",
            "_own/x.parquet",
        ] {
            let path = dir.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"").unwrap();
        }
        let all = [
            "parts/b/PART-1.PARQUET",
            "parts/c.pq",
            "parts/part-0.parquet",
        ];
        assert_eq!(found(&dir, "parts"), all);
        assert_eq!(found(&dir, "parts/**/*.parquet"), ["parts/part-0.parquet"]);
        assert_eq!(
            found(&dir, "parts/part-?.parquet"),
            ["parts/part-0.parquet"]
        );
        assert_eq!(found(&dir, "_own/*.parquet"), ["_own/x.parquet"]);
        assert_eq!(
            found(&dir, "parts/_temporary/*/*.parquet"),
            ["parts/_temporary/0/part-9.parquet"]
        );
        assert_eq!(found(&dir, "parts/c.pq"), ["parts/c.pq"]);
        assert!(found(&dir, "nothing/*").is_empty());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_is_replaced_leads_to_one_state_or_the_other() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let state = |name: &str| {
            let folder = dir.path().join(name).join("parts");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("1.parquet"), name).unwrap();
            symlink(name, dir.path().join("next")).unwrap();
            std::fs::rename(dir.path().join("next"), dir.path().join("current")).unwrap();
        };
        for path in [
            "current/parts",
            "current/parts/*.parquet",
            "current/parts/1.parquet",
        ] {
            state("old");
            let source = FileSource::new("s", path, "event_timestamp");
            let files = source_files(&source, dir.path()).unwrap();
            let before = real_places([&source], dir.path());
            state("new");
            // What was found stays what it was, by a name that lasts.
            assert_eq!(
                std::fs::read_to_string(&files.paths[0]).unwrap(),
                "old",
                "{path}"
            );
            let given = files.given(&files.paths[0]);
            assert_eq!(given, dir.path().join("current/parts/1.parquet"), "{path}");
            assert_ne!(real_places([&source], dir.path()), before, "{path}");
        }
    }
}
