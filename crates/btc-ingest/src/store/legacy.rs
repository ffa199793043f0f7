//! Finishing a write of version 1, which moved files out of a staging folder.
//!
//! That version put new files into `.staging`, then a list of moves and deletes as `commit.json`:
//! from then on the change counted. Nothing is written so any more.

use crate::error::{Error, Result};
use btc_files::{create_dirs, parent, sync_dir};
use serde::Deserialize;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path};

const STAGING: &str = ".staging";
const COMMIT: &str = "commit.json";

#[derive(Deserialize)]
struct Plan {
    moves: Vec<String>,
    deletes: Vec<String>,
}

/// Tells whether a change was cut off after its commit.
pub(super) fn is_pending(root: &Path) -> bool {
    root.join(STAGING).join(COMMIT).exists()
}

/// Finishes a change that was cut off after its commit, or removes its traces.
pub(super) fn finish(root: &Path) -> Result<()> {
    let staging = root.join(STAGING);
    let commit = staging.join(COMMIT);
    match fs::read(&commit) {
        Ok(text) => {
            let plan: Plan = serde_json::from_slice(&text)
                .map_err(|problem| Error::invalid(&commit, problem.to_string()))?;
            carry_out(root, &plan)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(Error::read(&commit, error)),
    }
    match fs::remove_dir_all(&staging) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::write(&staging, error)),
        _ => Ok(()),
    }
}

fn carry_out(root: &Path, plan: &Plan) -> Result<()> {
    let staging = root.join(STAGING);
    for (index, path) in plan.moves.iter().enumerate() {
        let source = staging.join(index.to_string());
        let target = root.join(checked(&staging, path)?);
        // What is no longer in the staging folder was moved before the interruption.
        if source.exists() {
            create_dirs(parent(&target))
                .and_then(|()| fs::rename(&source, &target))
                .and_then(|()| sync_dir(parent(&target)))
                .map_err(|source| Error::write(&target, source))?;
        }
    }
    for path in &plan.deletes {
        let target = root.join(checked(&staging, path)?);
        match fs::remove_file(&target).and_then(|()| sync_dir(parent(&target))) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(Error::write(&target, error));
            }
            _ => {}
        }
    }
    let commit = staging.join(COMMIT);
    fs::remove_file(&commit).map_err(|source| Error::write(&commit, source))
}

/// Refuses paths that lead out of the data folder, should the list be forged.
fn checked<'a>(staging: &Path, path: &'a str) -> Result<&'a Path> {
    let path = Path::new(path);
    let inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if inside {
        Ok(path)
    } else {
        Err(Error::invalid(staging, "its list of changes is forged"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(root: &Path, path: &str) -> Option<String> {
        fs::read_to_string(root.join(path)).ok()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::create_dir(folder.path().join(STAGING)).unwrap();
        fs::write(folder.path().join("a/old"), "0").unwrap();
        folder
    }

    #[test]
    fn an_interruption_before_the_commit_changes_nothing() {
        let folder = folder();
        let staging = folder.path().join(STAGING);
        fs::write(staging.join("0"), "1").unwrap();
        fs::write(staging.join("commit.draft"), "{").unwrap();
        finish(folder.path()).unwrap();
        assert_eq!(read(folder.path(), "a/old").as_deref(), Some("0"));
        assert_eq!(read(folder.path(), "a/new"), None);
        assert!(!staging.exists());
    }

    #[test]
    fn an_interruption_after_the_commit_is_made_good_at_any_point() {
        // The state after 0, 1 or 2 moves, and after the delete.
        for done in 0..4 {
            let folder = folder();
            let root = folder.path();
            let staging = root.join(STAGING);
            let plan = r#"{"moves":["new/new","b"],"deletes":["a/old"]}"#;
            fs::write(staging.join(COMMIT), plan).unwrap();
            for (index, (target, text)) in [("new/new", "1"), ("b", "2")].iter().enumerate() {
                let place = if index < done {
                    root.join(target)
                } else {
                    staging.join(index.to_string())
                };
                create_dirs(parent(&place)).unwrap();
                fs::write(place, text).unwrap();
            }
            if done == 3 {
                fs::remove_file(root.join("a/old")).unwrap();
            }
            assert!(is_pending(root));
            finish(root).unwrap();
            assert_eq!(read(root, "new/new").as_deref(), Some("1"));
            assert_eq!(read(root, "b").as_deref(), Some("2"));
            assert_eq!(read(root, "a/old"), None);
            assert!(!staging.exists());
        }
    }

    #[test]
    fn a_forged_list_cannot_reach_outside() {
        let folder = folder();
        let commit = folder.path().join(STAGING).join(COMMIT);
        fs::write(commit, r#"{"moves":[],"deletes":["../x"]}"#).unwrap();
        assert!(finish(folder.path()).is_err());
    }
}
