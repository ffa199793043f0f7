//! Saved data sets: a result as a Parquet file, with a manifest of what it was
//! made from.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Schema, SchemaRef, TimeUnit};
use btc_files::{NewFile, Sha256};
use chrono::{DateTime, Utc};
use datafusion::common::runtime::SpawnedTask;
use datafusion::dataframe::DataFrame;
use datafusion::error::DataFusionError;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};

use crate::blocking::blocking;
use crate::cast::cast_exact;
use crate::definition::FileSource;
use crate::error::{Error, Result};
use crate::files::{absolute, folder_of, new_file, relative, write_whole};
use crate::join::source::{Identity, source_files};
use crate::parquet_writer::ParallelWriter;
use crate::registry::DatasetEntry;
use crate::retrieve::EntityRows;
use crate::retrieve::Request;
use crate::retrieve::{FeatureSelection, Wanted};
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
    /// in the registry; its file stays. The sources are hashed before they are
    /// read, and compared when all is written.
    ///
    /// # Errors
    ///
    /// As [`Self::get_historical_features`], [`Error::SourceChanged`] if a file
    /// of a source is not the one that was hashed, and [`Error::Io`] or
    /// [`Error::Parquet`] if the file cannot be written.
    pub async fn save_dataset(
        &mut self,
        name: &str,
        entity_rows: impl Into<EntityRows>,
        selection: &FeatureSelection,
        path: impl AsRef<Path>,
        now: DateTime<Utc>,
    ) -> Result<SavedDataset> {
        let path = path.as_ref();
        let hashed = self.source_hashes(selection).await?;
        let frame = self.historical_features(entity_rows, selection).await?;
        let (sources, unchanged) = hashed;
        let written = write_stream_if(frame, path, unchanged).await?;
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
        // As the file itself, what lies in the same project may be moved with it.
        let folder = absolute(folder_of(path));
        let mut stored = dataset.clone();
        stored.path = relative(&stored.path, &folder);
        for source in &mut stored.sources {
            source.path = relative(&source.path, &folder);
        }
        let text = serde_json::to_string_pretty(&stored)
            .expect("a manifest is made of strings and numbers");
        blocking(move || write_whole(&manifest, text.as_bytes())).await?;
        self.register_dataset(DatasetEntry {
            name: name.to_owned(),
            path: dataset.path.clone(),
            created: now,
            rows: dataset.rows,
            sha256: dataset.sha256.clone(),
            service: dataset.query.service.clone(),
            features: dataset.query.features.clone(),
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
        let mut dataset: SavedDataset =
            serde_json::from_str(&text).map_err(|error| Error::Corrupt {
                path: path.clone(),
                reason: error.to_string(),
            })?;
        let folder = folder_of(&path);
        dataset.path = absolute(&folder.join(&dataset.path));
        for source in &mut dataset.sources {
            source.path = absolute(&folder.join(&source.path));
        }
        Ok(dataset)
    }

    /// The files of the sources that a selection reads, with their hashes, and
    /// a check that they are still the same.
    async fn source_hashes(
        &self,
        selection: &FeatureSelection,
    ) -> Result<(
        Vec<SourceFile>,
        impl FnOnce() -> Result<()> + Send + 'static,
    )> {
        let definitions = &self.registry().definitions;
        let mut request = Request::resolve(selection, definitions)?;
        request.add_on_demand_sources(definitions)?;
        let mut names: Vec<&str> = request
            .views
            .iter()
            .map(|view| view.view.source.as_str())
            .filter(|name| !self.has_table(name))
            .collect();
        names.sort_unstable();
        names.dedup();
        let sources = names
            .into_iter()
            .map(|name| Ok(definitions.source(name)?.clone()))
            .collect::<Result<Vec<FileSource>>>()?;
        let repo_dir = self.repo_dir().to_path_buf();
        SpawnedTask::spawn_blocking(move || {
            let mut files = Vec::new();
            let mut seen = Vec::new();
            for source in sources {
                let found = source_files(&source, &repo_dir)?;
                let mut identities = Vec::new();
                for path in &found.paths {
                    let mut file = File::open(path).map_err(Error::io("open", path))?;
                    let identity = Identity::of_file(&file, path)?;
                    let (bytes, sha256) = hash_file(&mut file, path)?;
                    files.push(SourceFile {
                        source: source.name.clone(),
                        path: absolute(&found.given(path)),
                        bytes,
                        sha256,
                    });
                    identities.push((path.clone(), identity));
                }
                seen.push((source, identities));
            }
            Ok((files, move || {
                for (source, identities) in seen {
                    let paths = source_files(&source, &repo_dir)?.paths;
                    let same = identities.len() == paths.len()
                        && identities
                            .iter()
                            .zip(&paths)
                            .all(|((path, identity), now)| path == now && identity.is_at(now));
                    if !same {
                        return Err(Error::SourceChanged {
                            path: source.resolved_path(&repo_dir),
                            name: source.name,
                        });
                    }
                }
                Ok(())
            }))
        })
        .await
        .map_err(|error| Error::from(DataFusionError::External(Box::new(error))))?
    }
}

/// Writes a frame to a Parquet file as it comes: rows, columns and hash.
///
/// # Errors
///
/// The errors of the frame, and [`Error::Io`] or [`Error::Parquet`] if the file
/// cannot be written; what is at `path` is then as it was.
pub async fn write_parquet(frame: DataFrame, path: impl AsRef<Path>) -> Result<usize> {
    Ok(write_stream(frame, path.as_ref()).await?.rows)
}

struct Written {
    rows: usize,
    columns: Vec<(String, String)>,
    sha256: String,
}

async fn write_stream(frame: DataFrame, path: &Path) -> Result<Written> {
    write_stream_if(frame, path, || Ok(())).await
}

/// The same if `may_finish` agrees when everything is written. The file is
/// encoded on threads of its own, each some of the columns, while the next rows
/// are joined.
async fn write_stream_if(
    frame: DataFrame,
    path: &Path,
    may_finish: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<Written> {
    let mut stream = frame.execute_stream().await?;
    let schema = stored_schema(&stream.schema());
    // `None` says that everything has come; a channel that closes without it
    // was given up.
    let (sender, receiver) = tokio::sync::mpsc::channel::<Option<RecordBatch>>(2);
    let path = path.to_path_buf();
    let writer = SpawnedTask::spawn_blocking(move || encode(receiver, schema, &path, may_finish));
    let mut failed = None;
    loop {
        let batch = match stream.next().await {
            Some(Ok(batch)) => Some(batch),
            Some(Err(error)) => {
                failed = Some(Error::from(error));
                break;
            }
            None => None,
        };
        let last = batch.is_none();
        // A writer that has failed hears no more, and says why below.
        if sender.send(batch).await.is_err() || last {
            break;
        }
    }
    drop(sender);
    let written = writer
        .await
        .map_err(|error| Error::from(DataFusionError::External(Box::new(error))))?;
    match failed {
        Some(error) => Err(error),
        None => written,
    }
}

fn encode(
    mut batches: tokio::sync::mpsc::Receiver<Option<RecordBatch>>,
    schema: SchemaRef,
    path: &Path,
    may_finish: impl FnOnce() -> Result<()>,
) -> Result<Written> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let file = Hashing {
        file: new_file(path)?,
        sum: Sha256::default(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut writer = ParallelWriter::try_new(file, &schema, properties, threads)
        .map_err(Error::parquet(path))?;
    let mut rows = 0;
    loop {
        let batch = match batches.blocking_recv() {
            Some(Some(batch)) => batch,
            Some(None) => break,
            None => {
                return Err(Error::InvalidRequest(format!(
                    "writing {} was given up before its last row",
                    path.display()
                )));
            }
        };
        let columns = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| {
                cast_exact(column, field.data_type())
                    .map_err(|unfit| unfit.after(rows).at("the result", field.name()))
            })
            .collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        rows += batch.num_rows();
        let batch = RecordBatch::try_new_with_options(Arc::clone(&schema), columns, &options)?;
        writer.write(&batch).map_err(Error::parquet(path))?;
    }
    let file = writer.finish().map_err(Error::parquet(path))?;
    let sha256 = file.sum.hex();
    may_finish()?;
    file.file.finish().map_err(Error::io("write", path))?;
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

/// The columns as they are stored: Parquet has no timestamps in seconds and no
/// dates in milliseconds, and other readers would see bare integers.
pub(crate) fn stored_schema(schema: &Schema) -> SchemaRef {
    let stored = |data_type: &DataType| match data_type {
        DataType::Timestamp(TimeUnit::Second, zone) => {
            DataType::Timestamp(TimeUnit::Millisecond, zone.clone())
        }
        DataType::Date64 => DataType::Timestamp(TimeUnit::Millisecond, None),
        other => other.clone(),
    };
    let fields = schema.fields().iter().map(|field| {
        field
            .as_ref()
            .clone()
            .with_data_type(stored(field.data_type()))
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Hashes what passes through to a file.
struct Hashing {
    file: NewFile,
    sum: Sha256,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

fn hash_file(file: &mut File, path: &Path) -> Result<(u64, String)> {
    btc_files::sha256_of(file).map_err(Error::io("read", path))
}

fn manifest_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".manifest.json");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Float64Array, TimestampMillisecondArray};
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::{Definitions, FeatureView, Field, ValueType};

    async fn write(path: &Path, x: f64) {
        let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![0]));
        let values: ArrayRef = Arc::new(Float64Array::from(vec![x]));
        let batch = RecordBatch::try_from_iter([("event_timestamp", times), ("x", values)]);
        let frame = SessionContext::new().read_batch(batch.unwrap()).unwrap();
        write_parquet(frame, path).await.unwrap();
    }

    #[tokio::test]
    async fn sources_that_change_after_they_were_hashed_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        write(&data.join("1.parquet"), 1.0).await;
        let mut store = FeatureStore::init(dir.path(), "p").unwrap();
        let view = FeatureView::new("v", "s").with_features([Field::new("x", ValueType::Float64)]);
        let source = FileSource::new("s", "data", "event_timestamp");
        let definitions = Definitions::new()
            .with_source(source)
            .with_feature_view(view);
        store.apply(&definitions).unwrap();
        let selection = FeatureSelection::features(["v:x"]);
        let (files, unchanged) = store.source_hashes(&selection).await.unwrap();
        assert_eq!(files.len(), 1);
        unchanged().unwrap();
        // Replaced by a file of the same size, and joined by another.
        let (_, replaced) = store.source_hashes(&selection).await.unwrap();
        write(&data.join("1.parquet"), 2.0).await;
        let (_, more) = store.source_hashes(&selection).await.unwrap();
        write(&data.join("2.parquet"), 3.0).await;
        for error in [replaced().unwrap_err(), more().unwrap_err()] {
            assert!(matches!(error, Error::SourceChanged { .. }), "{error:?}");
        }
        // A file that may not be finished does not appear.
        let frame = store
            .historical_features(EntityRows::at([DateTime::UNIX_EPOCH]).unwrap(), &selection)
            .await
            .unwrap();
        let path = dir.path().join("set.parquet");
        let refused = || Err(Error::InvalidRequest("no".into()));
        write_stream_if(frame, &path, refused).await.err().unwrap();
        assert!(!path.exists());
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            4,
            "settings, registry, its lock and data"
        );
    }
}
