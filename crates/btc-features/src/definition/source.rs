//! Where the rows of a view come from.

use crate::files::absolute;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Tags;

/// Parquet files that hold the values of features over time.
///
/// The path is one file, a folder (every `*.parquet` below it, in the order of
/// their names) or a pattern with `*`, `?`, `[..]` and `**`. A relative path
/// starts at the folder of the feature store.
///
/// ```
/// # use btc_features::FileSource;
/// let ohlcv = FileSource::new("ohlcv", "../data/processed/ohlcv", "event_timestamp")
///     .with_created_timestamp_column("created_timestamp")
///     .with_field_mapping("4. close", "close");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FileSource {
    /// The name, unique among sources.
    pub name: String,
    /// Where the files are.
    pub path: String,
    /// The column that says from when on a row's values are known.
    #[serde(default = "event_timestamp")]
    pub timestamp_field: String,
    /// The column that says when a row was written; the newest row wins among
    /// those of one key and one event timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_timestamp_column: Option<String>,
    /// Names of features or keys by the column of the files that holds them.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub field_mapping: Tags,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

fn event_timestamp() -> String {
    "event_timestamp".into()
}

impl FileSource {
    /// The files at `path`, whose column `timestamp_field` holds event times.
    pub fn new(
        name: impl Into<String>,
        path: impl Into<String>,
        timestamp_field: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            timestamp_field: timestamp_field.into(),
            created_timestamp_column: None,
            field_mapping: Tags::new(),
            description: String::new(),
            owner: String::new(),
            tags: Tags::new(),
        }
    }

    /// Names the column that says when a row was written.
    #[must_use]
    pub fn with_created_timestamp_column(mut self, column: impl Into<String>) -> Self {
        self.created_timestamp_column = Some(column.into());
        self
    }

    /// Calls the files' column `column` by the name `name`.
    #[must_use]
    pub fn with_field_mapping(
        mut self,
        column: impl Into<String>,
        name: impl Into<String>,
    ) -> Self {
        self.field_mapping.insert(column.into(), name.into());
        self
    }

    /// Says what the source is.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Says who answers for it.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// The column of the files that holds the feature or key `name`.
    pub fn column_of<'a>(&'a self, name: &'a str) -> &'a str {
        self.field_mapping
            .iter()
            .find_map(|(column, mapped)| (mapped == name).then_some(column.as_str()))
            .unwrap_or(name)
    }

    /// The path, seen from the working directory, for a store in `repo_dir`.
    pub fn resolved_path(&self, repo_dir: &Path) -> PathBuf {
        let joined = repo_dir.join(self.local_path());
        // `..` leads nowhere from a folder that is not there, as a previewed store's may be.
        match repo_dir.exists() {
            true => joined,
            false => absolute(&joined),
        }
    }

    /// The path as a path, without a URL's scheme.
    pub(crate) fn local_path(&self) -> &str {
        self.path.strip_prefix("file://").unwrap_or(&self.path)
    }
}
