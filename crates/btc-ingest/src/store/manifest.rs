//! What the data folder holds, with a fingerprint of every part.
//!
//! Version 2 has in [`TableRecord::content`] what a table says rather than how it is encoded, so
//! that another version of the Parquet library names the same data the same; and the answers that
//! values came from lie in tables of their own, so that the manifest stays small for ever.
//! Version 1 is read.

use crate::error::{Error, Result};
use btc_files::sha256;
use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// The version that is written.
pub(crate) const FORMAT_VERSION: u32 = 2;

pub(crate) const MANIFEST: &str = "manifest.json";

/// The contents of `manifest.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
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
    /// SHA-256 over the names and contents of the processed tables.
    pub data_hash: String,
    /// Every series, by `source/series`.
    pub series: BTreeMap<String, SeriesRecord>,
    /// Every table, by its path below the data folder.
    pub tables: BTreeMap<String, TableRecord>,
}

/// One series.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct TableRecord {
    /// SHA-256 of the file.
    pub sha256: String,
    /// Size of the file.
    pub bytes: u64,
    /// The number of rows.
    pub rows: usize,
    /// SHA-256 over names, types and values of the columns; a manifest of version 1 has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

impl Manifest {
    /// Reads the manifest in `dir`, if there is one, with its text.
    pub(super) fn read(dir: &Path) -> Result<Option<(Self, Vec<u8>)>> {
        let path = dir.join(MANIFEST);
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
        if !(1..=FORMAT_VERSION).contains(&version.format_version) {
            let problem = format!(
                "it has format version {}, this program knows those up to {FORMAT_VERSION}; use a \
                 newer program",
                version.format_version
            );
            return Err(Error::invalid(&path, problem));
        }
        let manifest = serde_json::from_slice(&text).map_err(broken)?;
        Ok(Some((manifest, text)))
    }

    pub(super) fn to_bytes(&self, path: &Path) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|problem| Error::invalid(path, problem.to_string()))?;
        text.push(b'\n');
        Ok(text)
    }

    /// The fingerprint of all processed tables, as manifests of `format_version` have it.
    pub(super) fn hash_of(tables: &BTreeMap<String, TableRecord>, format_version: u32) -> String {
        let lines: String = tables
            .iter()
            .filter(|(path, _)| path.starts_with(super::PROCESSED))
            .map(|(path, table)| {
                let hash = match format_version {
                    1 => &table.sha256,
                    _ => table.content.as_ref().unwrap_or(&table.sha256),
                };
                format!("{hash} {path}\n")
            })
            .collect();
        sha256(lines)
    }

    /// Whether its fingerprint follows from its own entries.
    pub(super) fn is_consistent(&self) -> bool {
        Self::hash_of(&self.tables, self.format_version) == self.data_hash
    }
}
