//! Where a run comes from: code, command, data and seed.

use std::path::Path;
use std::process::Command;

use crate::entity::Tag;

/// What it takes to repeat a run, as tags.
///
/// ```
/// use btc_track::Provenance;
///
/// let provenance = Provenance { seed: Some(7), ..Default::default() };
/// assert_eq!(provenance.tags()[0].key, "seed");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The commit of the code.
    pub git_commit: Option<String>,
    /// The command as it was typed, without secrets.
    pub command_line: Option<String>,
    /// Libraries and their versions.
    pub versions: Vec<(String, String)>,
    /// A hash of the training data.
    pub data_hash: Option<String>,
    /// The seed of everything random.
    pub seed: Option<u64>,
}

impl Provenance {
    /// One tag for each known fact.
    pub fn tags(&self) -> Vec<Tag> {
        let mut tags = Vec::new();
        let mut add = |key: &str, value: Option<String>| {
            tags.extend(value.map(|value| Tag::new(key, value)));
        };
        add("mlflow.source.git.commit", self.git_commit.clone());
        add("command_line", self.command_line.clone());
        add("data_hash", self.data_hash.clone());
        add("seed", self.seed.map(|seed| seed.to_string()));
        for (name, version) in &self.versions {
            add(&format!("version.{name}"), Some(version.clone()));
        }
        tags
    }
}

/// The commit that is checked out in `folder`, if git knows one.
pub fn git_commit(folder: &Path) -> Option<String> {
    commit_without(folder, &[])
}

/// As [`git_commit`], without some environment variables of this process.
pub(crate) fn commit_without(folder: &Path, secrets: &[String]) -> Option<String> {
    let mut git = Command::new("git");
    for name in secrets {
        git.env_remove(name);
    }
    let output = git
        .arg("-C")
        .arg(folder)
        .args(["rev-parse", "--verify", "--quiet", "HEAD"])
        .output()
        .ok()?;
    let commit = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    (output.status.success() && !commit.is_empty()).then_some(commit)
}
