//! The applied definitions: a text file that one writer at a time replaces.

mod impact;
mod plan;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use impact::Dependent;
pub use plan::{Action, Change, FieldChange, Plan};

use crate::definition::Definitions;
use crate::error::{Error, Result};
use crate::files::{absolute, folder_of, lock, relative, write_whole};
use crate::repo::REGISTRY_FILE;

const FORMAT_VERSION: u32 = 1;

/// What has been applied to a feature store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Registry {
    /// How many times the definitions have changed.
    pub version: u64,
    /// The definitions.
    pub definitions: Definitions,
    /// The saved data sets, by name.
    pub saved_datasets: BTreeMap<String, DatasetEntry>,
}

/// A saved data set, as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct DatasetEntry {
    /// The name.
    pub name: String,
    /// The Parquet file.
    pub path: PathBuf,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// The number of rows.
    pub rows: usize,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// The service that it was asked for by, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The features that it was asked for by, as `view:feature`, if they were
    /// named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
}

/// The registry as it lies on disk.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RegistryFile {
    format_version: u32,
    project: String,
    version: u64,
    #[serde(default)]
    definitions: Definitions,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    saved_dataset: Vec<DatasetEntry>,
}

/// The registry file of a store and the right to change it.
#[derive(Debug)]
pub(crate) struct RegistryStore {
    path: PathBuf,
    project: String,
}

impl RegistryStore {
    pub(crate) fn new(repo_dir: &Path, project: &str) -> Self {
        Self {
            path: repo_dir.join(REGISTRY_FILE),
            project: project.to_owned(),
        }
    }

    fn folder(&self) -> &Path {
        folder_of(&self.path)
    }

    /// Reads what is applied; nothing, if there is no file yet.
    pub(crate) fn read(&self) -> Result<Registry> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Registry::default());
            }
            Err(error) => return Err(Error::io("read", &self.path)(error)),
        };
        let corrupt = |reason: String| Error::Corrupt {
            path: self.path.clone(),
            reason: format!("{reason}; restore it, or delete it and apply the definitions again"),
        };
        let file: RegistryFile =
            toml::from_str(&text).map_err(|error| corrupt(error.to_string().trim_end().into()))?;
        if file.format_version != FORMAT_VERSION {
            return Err(corrupt(format!(
                "it has format {} and this version reads format {FORMAT_VERSION}",
                file.format_version
            )));
        }
        if file.project != self.project {
            return Err(Error::Conflict(format!(
                "{} belongs to the project {:?}, the store to {:?}; \
                 give each project its own folder",
                self.path.display(),
                file.project,
                self.project
            )));
        }
        let saved_datasets = file
            .saved_dataset
            .into_iter()
            .map(|mut entry| {
                entry.path = absolute(&self.folder().join(&entry.path));
                (entry.name.clone(), entry)
            })
            .collect();
        Ok(Registry {
            version: file.version,
            definitions: file.definitions,
            saved_datasets,
        })
    }

    /// Lets `change` turn the newest registry into the next, with no other
    /// writer in between. `None` leaves the file as it is.
    pub(crate) fn update<T>(
        &self,
        change: impl FnOnce(&Registry) -> Result<(Option<Registry>, T)>,
    ) -> Result<(Registry, T)> {
        let _lock = lock(&self.path.with_extension("lock"))?;
        let current = self.read()?;
        let (next, value) = change(&current)?;
        let Some(mut next) = next else {
            return Ok((current, value));
        };
        next.version = current.version + u64::from(next.definitions != current.definitions);
        let file = RegistryFile {
            format_version: FORMAT_VERSION,
            project: self.project.clone(),
            version: next.version,
            definitions: next.definitions.clone(),
            saved_dataset: next
                .saved_datasets
                .values()
                .map(|entry| DatasetEntry {
                    path: relative(&entry.path, &absolute(self.folder())),
                    ..entry.clone()
                })
                .collect(),
        };
        let body = toml::to_string(&file).expect("the registry is a table of plain values");
        let text = format!("# Written by `apply`; change the definitions instead.\n\n{body}");
        write_whole(&self.path, text.as_bytes())?;
        Ok((next, value))
    }
}
