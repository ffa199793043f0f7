//! Saved data sets: a result as a Parquet file, with a manifest of what it was
//! made from.

use std::fs::File;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::files::{absolute, draft_in, folder_of, keep_permissions, sync_dir, write_atomic};
use crate::historical::{Request, source_files};
use crate::registry::DatasetEntry;
use crate::retrieval::EntityRows;
use crate::selection::{FeatureSelection, Wanted};
use crate::store::FeatureStore;

const FORMAT_VERSION: u32 = 1;

/// The manifest of a saved data set, which lies beside it as
/// `FILE.manifest.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SavedDataset {
    /// The version of this form.
    pub format_version: u32,
    /// The name in the registry.
    pub name: String,
    /// The data set, a Parquet file.
    pub path: PathBuf,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// The project of the store.
    pub project: String,
    /// The version of the registry that it was made by.
    pub registry_version: u64,
    /// What was asked for.
    pub query: DatasetQuery,
    /// The number of rows.
    pub rows: usize,
    /// The columns, as name and Arrow type.
    pub columns: Vec<(String, String)>,
    /// The SHA-256 of the file.
    pub sha256: String,
    /// The files that features were read from.
    pub sources: Vec<SourceFile>,
}

/// What a saved data set was asked for by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DatasetQuery {
    /// The service, if one was named.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub service: Option<String>,
    /// The features, as `view:feature`, if they were named.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub features: Vec<String>,
    /// Whether columns are called `view__feature`.
    pub full_feature_names: bool,
    /// Whether rows written later than an entity row's time were left out.
    pub filter_by_created_timestamp: bool,
}

/// A file that a data set was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SourceFile {
    /// The source that it belongs to.
    pub source: String,
    /// The file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256.
    pub sha256: String,
}

impl FeatureStore {
    /// Retrieves features as [`Self::get_historical_features`] does, writes
    /// them to the Parquet file `path` while they come, and registers the file
    /// as the data set `name`, made at `now`.
    ///
    /// File and manifest appear whole. A data set of the same name is replaced
    /// in the registry; its file stays.
    ///
    /// # Errors
    ///
    /// As [`Self::get_historical_features`], and [`Error::Io`] or
    /// [`Error::Parquet`] if the file cannot be written.
    pub async fn save_dataset(
        &mut self,
        name: &str,
        entity_rows: impl Into<EntityRows>,
        selection: &FeatureSelection,
        path: &Path,
        now: DateTime<Utc>,
    ) -> Result<SavedDataset> {
        let frame = self.historical_features(entity_rows, selection).await?;
        let written = write_stream(frame, path).await?;
        let sources = self.source_hashes(selection)?;
        let (service, features) = match &selection.wanted {
            Wanted::Service(name) => (Some(name.clone()), Vec::new()),
            Wanted::Features(features) => (None, features.clone()),
        };
        let dataset = SavedDataset {
            format_version: FORMAT_VERSION,
            name: name.to_owned(),
            path: absolute(path),
            created: now,
            project: self.config().project.clone(),
            registry_version: self.registry().version,
            query: DatasetQuery {
                service,
                features,
                full_feature_names: selection.full_feature_names,
                filter_by_created_timestamp: selection.filter_by_created_timestamp,
            },
            rows: written.rows,
            columns: written.columns,
            sha256: written.sha256,
            sources,
        };
        let manifest = manifest_path(path);
        let text = serde_json::to_string_pretty(&dataset)
            .expect("a manifest is made of strings and numbers");
        write_atomic(&manifest, text.as_bytes())?;
        self.register_dataset(DatasetEntry {
            name: name.to_owned(),
            path: dataset.path.clone(),
            created: now,
            rows: dataset.rows,
            sha256: dataset.sha256.clone(),
        })?;
        Ok(dataset)
    }

    /// The manifest of a saved data set.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] if the registry has no such data set,
    /// [`Error::Io`] or [`Error::Corrupt`] if its manifest cannot be read.
    pub fn saved_dataset(&self, name: &str) -> Result<SavedDataset> {
        let known = &self.registry().saved_datasets;
        let entry = known.get(name).ok_or_else(|| {
            Error::unknown("saved data set", name, known.keys().map(String::as_str))
        })?;
        let path = manifest_path(&entry.path);
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        serde_json::from_str(&text).map_err(|error| Error::Corrupt {
            path,
            reason: error.to_string(),
        })
    }

    /// The files of the sources that a selection reads, with their hashes.
    fn source_hashes(&self, selection: &FeatureSelection) -> Result<Vec<SourceFile>> {
        let definitions = &self.registry().definitions;
        let mut request = Request::resolve(selection, definitions)?;
        request.add_on_demand_sources(definitions)?;
        let mut names: Vec<&str> = request
            .views
            .iter()
            .map(|view| view.view.source.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut files = Vec::new();
        for name in names {
            if self.has_table(name) {
                continue;
            }
            for path in source_files(definitions.source(name)?, self.repo_dir())? {
                let (bytes, sha256) = hash_file(&path)?;
                files.push(SourceFile {
                    source: name.to_owned(),
                    path: absolute(&path),
                    bytes,
                    sha256,
                });
            }
        }
        Ok(files)
    }
}

/// Writes a frame to a Parquet file as it comes: rows, columns and hash.
///
/// # Errors
///
/// The errors of the frame, and [`Error::Io`] or [`Error::Parquet`] if the file
/// cannot be written; what is at `path` is then as it was.
pub async fn write_parquet(frame: datafusion::dataframe::DataFrame, path: &Path) -> Result<usize> {
    Ok(write_stream(frame, path).await?.rows)
}

struct Written {
    rows: usize,
    columns: Vec<(String, String)>,
    sha256: String,
}

async fn write_stream(frame: datafusion::dataframe::DataFrame, path: &Path) -> Result<Written> {
    let dir = folder_of(path);
    std::fs::create_dir_all(dir).map_err(Error::io("create", dir))?;
    let mut file = draft_in(dir)?;
    let mut stream = frame.execute_stream().await?;
    let schema = stream.schema();
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(
        Hashing::new(file.as_file_mut()),
        schema.clone(),
        Some(properties),
    )
    .map_err(Error::parquet(path))?;
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch?;
        rows += batch.num_rows();
        writer.write(&batch).map_err(Error::parquet(path))?;
    }
    let sha256 = writer.into_inner().map_err(Error::parquet(path))?.finish();
    file.as_file()
        .sync_all()
        .map_err(Error::io("write", path))?;
    keep_permissions(file.as_file(), path)?;
    file.persist(path)
        .map_err(|error| Error::io("replace", path)(error.error))?;
    sync_dir(dir)?;
    let columns = schema
        .fields()
        .iter()
        .map(|field| (field.name().clone(), field.data_type().to_string()))
        .collect();
    Ok(Written {
        rows,
        columns,
        sha256,
    })
}

/// Hashes what passes through to a file.
struct Hashing<'a> {
    file: &'a mut File,
    hash: Sha256,
}

impl<'a> Hashing<'a> {
    fn new(file: &'a mut File) -> Self {
        Self {
            file,
            hash: Sha256::new(),
        }
    }

    fn finish(self) -> String {
        hex(&self.hash.finalize())
    }
}

impl Write for Hashing<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hash.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn hash_file(path: &Path) -> Result<(u64, String)> {
    let mut file = File::open(path).map_err(Error::io("open", path))?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if read == 0 {
            return Ok((bytes, hex(&hash.finalize())));
        }
        bytes += read as u64;
        hash.update(&buffer[..read]);
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn manifest_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".manifest.json");
    path.with_file_name(name)
}
