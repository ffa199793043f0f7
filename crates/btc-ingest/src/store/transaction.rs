//! Several files that change together or not at all.
//!
//! New files are written and synced in a staging folder. Then a list of what is to happen is
//! put there with one rename: from this instant on the change counts. Files are moved to their
//! places, and the staging folder is removed. Whoever opens the data folder next finishes what
//! was listed, or throws away what was not.

use super::parquet::sync_folder;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Component, Path, PathBuf};

const STAGING: &str = ".staging";
const COMMIT: &str = "commit.json";

/// Changes to the files below one folder. Paths are relative, with `/`.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    writes: Vec<(String, Vec<u8>)>,
    deletes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Plan {
    moves: Vec<String>,
    deletes: Vec<String>,
}

impl Transaction {
    pub(crate) fn write(&mut self, path: impl Into<String>, bytes: Vec<u8>) {
        self.writes.push((path.into(), bytes));
    }

    pub(crate) fn delete(&mut self, path: impl Into<String>) {
        self.deletes.push(path.into());
    }

    /// Makes all changes, in the order they were given.
    pub(crate) fn commit(self, root: &Path) -> Result<()> {
        let staging = root.join(STAGING);
        remove_all(&staging)?;
        create_folder(&staging)?;
        for (index, (_, bytes)) in self.writes.iter().enumerate() {
            write_synced(&staging.join(index.to_string()), bytes)?;
        }
        let plan = Plan {
            moves: self.writes.into_iter().map(|(path, _)| path).collect(),
            deletes: self.deletes,
        };
        let text = serde_json::to_vec(&plan).map_err(|problem| {
            Error::invalid(
                &staging,
                format!("the list of changes cannot be written: {problem}"),
            )
        })?;
        let draft = staging.join("commit.draft");
        write_synced(&draft, &text)?;
        sync_folder(&staging)?;
        rename(&draft, &staging.join(COMMIT))?;
        sync_folder(&staging)?;
        carry_out(root, &plan)
    }

    /// Finishes a change that was cut off after its instant, or removes its traces.
    pub(crate) fn recover(root: &Path) -> Result<()> {
        let staging = root.join(STAGING);
        let commit = staging.join(COMMIT);
        match fs::read(&commit) {
            Ok(text) => {
                let plan: Plan = serde_json::from_slice(&text)
                    .map_err(|problem| Error::invalid(&commit, problem.to_string()))?;
                carry_out(root, &plan)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => remove_all(&staging),
            Err(error) => Err(Error::read(&commit, error)),
        }
    }

    /// Tells whether a change was cut off after its instant.
    pub(crate) fn is_pending(root: &Path) -> bool {
        root.join(STAGING).join(COMMIT).exists()
    }
}

fn carry_out(root: &Path, plan: &Plan) -> Result<()> {
    let staging = root.join(STAGING);
    let mut folders: Vec<PathBuf> = Vec::new();
    for (index, path) in plan.moves.iter().enumerate() {
        let source = staging.join(index.to_string());
        let target = root.join(checked(&staging, path)?);
        // What is no longer in the staging folder was moved before the interruption.
        if source.exists() {
            if let Some(folder) = target.parent() {
                create_folder(folder)?;
                folders.push(folder.to_owned());
            }
            rename(&source, &target)?;
        }
    }
    for path in &plan.deletes {
        let target = root.join(checked(&staging, path)?);
        match fs::remove_file(&target) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::write(&target, error)),
        }
        folders.extend(
            target
                .parent()
                .filter(|folder| folder.exists())
                .map(Path::to_owned),
        );
    }
    folders.sort();
    folders.dedup();
    for folder in folders {
        sync_folder(&folder)?;
    }
    let commit = staging.join(COMMIT);
    fs::remove_file(&commit).map_err(|source| Error::write(&commit, source))?;
    remove_all(&staging)
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

fn write_synced(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::File::create(path)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .map_err(|source| Error::write(path, source))
}

fn create_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::write(path, source))
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).map_err(|source| Error::write(to, source))
}

fn remove_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::write(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(root: &Path, path: &str) -> Option<String> {
        fs::read_to_string(root.join(path)).ok()
    }

    fn transaction() -> Transaction {
        let mut transaction = Transaction::default();
        transaction.write("a/new", b"1".to_vec());
        transaction.write("b", b"2".to_vec());
        transaction.delete("a/old");
        transaction
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/old"), "0").unwrap();
        folder
    }

    #[track_caller]
    fn assert_done(root: &Path) {
        assert_eq!(read(root, "a/new").as_deref(), Some("1"));
        assert_eq!(read(root, "b").as_deref(), Some("2"));
        assert_eq!(read(root, "a/old"), None);
        assert!(!root.join(STAGING).exists());
    }

    #[test]
    fn a_commit_changes_all_files() {
        let folder = folder();
        transaction().commit(folder.path()).unwrap();
        assert_done(folder.path());
    }

    #[test]
    fn an_interruption_before_the_instant_changes_nothing() {
        let folder = folder();
        let staging = folder.path().join(STAGING);
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join("0"), "1").unwrap();
        fs::write(staging.join("commit.draft"), "{").unwrap();
        Transaction::recover(folder.path()).unwrap();
        assert_eq!(read(folder.path(), "a/old").as_deref(), Some("0"));
        assert_eq!(read(folder.path(), "a/new"), None);
        assert!(!staging.exists());
    }

    #[test]
    fn an_interruption_after_the_instant_is_made_good_at_any_point() {
        // The state after 0, 1 or 2 moves, and after the delete.
        for done in 0..4 {
            let folder = folder();
            let root = folder.path();
            let staging = root.join(STAGING);
            fs::create_dir(&staging).unwrap();
            let plan = r#"{"moves":["a/new","b"],"deletes":["a/old"]}"#;
            fs::write(staging.join(COMMIT), plan).unwrap();
            for (index, (target, text)) in [("a/new", "1"), ("b", "2")].iter().enumerate() {
                let place = if index < done {
                    root.join(target)
                } else {
                    staging.join(index.to_string())
                };
                fs::write(place, text).unwrap();
            }
            if done == 3 {
                fs::remove_file(root.join("a/old")).unwrap();
            }
            assert!(Transaction::is_pending(root));
            Transaction::recover(root).unwrap();
            assert_done(root);
        }
    }

    #[test]
    fn a_forged_list_cannot_reach_outside() {
        let folder = folder();
        let staging = folder.path().join(STAGING);
        fs::create_dir(&staging).unwrap();
        fs::write(staging.join(COMMIT), r#"{"moves":[],"deletes":["../x"]}"#).unwrap();
        assert!(Transaction::recover(folder.path()).is_err());
    }
}
