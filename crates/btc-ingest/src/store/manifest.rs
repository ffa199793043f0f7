//! What the data folder holds, with a fingerprint of every part.

use super::parquet::{FORMAT_VERSION, sha256};
use crate::error::{Error, Result};
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

pub(crate) const MANIFEST: &str = "manifest.json";

/// The contents of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of this file's form.
    pub format_version: u32,
    /// Whether all data is made up.
    pub synthetic: bool,
    /// The currency of the prices.
    pub market: String,
    /// The charts that have a column, in the order of the columns.
    pub charts: Vec<String>,
    /// When the data was last brought up to date.
    pub updated: DateTime<Utc>,
    /// The last day that has a price and is over.
    pub last_complete_day: Option<NaiveDate>,
    /// SHA-256 over the names and fingerprints of the processed tables.
    pub data_hash: String,
    /// Every series, by `source/series`.
    pub series: BTreeMap<String, SeriesRecord>,
    /// Every table, by its path below the data folder.
    pub tables: BTreeMap<String, TableRecord>,
    /// The answers that brought new or changed values, in the order of fetching.
    pub bodies: Vec<BodyRecord>,
}

/// One series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SeriesRecord {
    /// The unit, as the source names it.
    pub unit: Option<String>,
    /// The first day.
    pub first: Option<NaiveDate>,
    /// The last day.
    pub last: Option<NaiveDate>,
    /// The number of days with a value.
    pub days: usize,
    /// When the source was last asked with success.
    pub fetched: Option<DateTime<Utc>>,
}

/// One Parquet file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size of the file.
    pub bytes: u64,
    /// The number of rows.
    pub rows: usize,
}

/// One answer of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyRecord {
    /// Source and series.
    pub series: String,
    /// The address, without secrets.
    pub url: String,
    /// SHA-256 of the answer.
    pub sha256: String,
    /// Size of the answer.
    pub bytes: usize,
    /// When it was fetched; equals the `created_timestamp` of the values it brought.
    pub fetched: DateTime<Utc>,
}

impl Manifest {
    /// Reads the manifest of a data folder, if it has one.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, is broken, or was written by a later version.
    pub fn read(data_dir: &Path) -> Result<Option<Self>> {
        let path = data_dir.join(MANIFEST);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::read(&path, error)),
        };
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let broken = |problem: serde_json::Error| Error::invalid(&path, problem.to_string());
        let version: Version = serde_json::from_slice(&text).map_err(broken)?;
        if version.format_version != FORMAT_VERSION {
            let problem = format!(
                "it has format version {}, this program knows {FORMAT_VERSION}; use a newer program",
                version.format_version
            );
            return Err(Error::invalid(&path, problem));
        }
        serde_json::from_slice(&text).map(Some).map_err(broken)
    }

    pub(crate) fn to_bytes(&self, data_dir: &Path) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|problem| Error::invalid(&data_dir.join(MANIFEST), problem.to_string()))?;
        text.push(b'\n');
        Ok(text)
    }

    /// The fingerprint of all processed tables.
    pub(crate) fn hash_of(tables: &BTreeMap<String, TableRecord>) -> String {
        let processed = tables
            .iter()
            .filter(|(path, _)| path.starts_with(super::PROCESSED));
        let lines: String = processed
            .map(|(path, table)| format!("{} {path}\n", table.sha256))
            .collect();
        sha256(lines.as_bytes())
    }
}
