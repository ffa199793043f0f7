//! Which files a source has.

use std::path::{Component, Path, PathBuf};

use crate::definition::FileSource;
use crate::error::{Error, Result};

/// The files of a source, by name: one file, the Parquet files below a folder,
/// or those that a pattern matches.
///
/// What starts with a dot or an underscore is being written, or not meant to
/// be read (Spark's `_temporary` and `_SUCCESS`), unless the source names it.
pub(crate) fn source_files(source: &FileSource, repo_dir: &Path) -> Result<Vec<PathBuf>> {
    let path = source.resolved_path(repo_dir);
    if path.is_file() {
        return Ok(vec![path]);
    }
    let mut found = Vec::new();
    if path.is_dir() {
        collect_parquet(&path, &mut found)?;
    } else if source.path.contains(['*', '?', '[']) {
        matching(source, repo_dir, &mut found)?;
    }
    if found.is_empty() {
        return Err(Error::SourceMissing {
            name: source.name.clone(),
            path,
        });
    }
    found.sort();
    Ok(found)
}

/// Adds the files that match the pattern of a source. Only what the source
/// itself writes is a pattern: the folder of the store is taken as it is.
fn matching(source: &FileSource, repo_dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let wrong = |reason: String| {
        Error::invalid(
            format!("source {:?}", source.name),
            format!("its path: {reason}"),
        )
    };
    let pattern = source.local_path();
    let pattern = if Path::new(pattern).is_absolute() {
        pattern.to_owned()
    } else {
        let dir = repo_dir
            .to_str()
            .ok_or_else(|| wrong("the folder of the store is not Unicode".into()))?;
        Path::new(&glob::Pattern::escape(dir))
            .join(pattern)
            .to_string_lossy()
            .into_owned()
    };
    // So many parts of a match are literally what the pattern says.
    let literal = Path::new(source.local_path())
        .components()
        .take_while(|part| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']))
        .count();
    let base = if Path::new(source.local_path()).is_absolute() {
        0
    } else {
        repo_dir.components().count()
    };
    let asked_for = |start: char| {
        Path::new(source.local_path())
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with(start))
    };
    for entry in glob::glob(&pattern).map_err(|error| wrong(error.to_string()))? {
        let file = entry.map_err(|error| {
            let path = error.path().to_path_buf();
            Error::io("read", &path)(error.into())
        })?;
        let hidden = file.components().skip(base + literal).any(|part| {
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
            .unwrap_or_default()
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
}
