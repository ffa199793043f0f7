//! Pushing rows: written to the files of a view's source and to the online
//! store at once.

mod offline;
mod rows;

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use chrono::{DateTime, Utc};
use datafusion::execution::memory_pool::MemoryConsumer;
use serde::{Deserialize, Serialize};
#[cfg(feature = "sqlite")]
use serde_json::Value as Json;

use crate::blocking::blocking;
use crate::error::{Error, Result};
use crate::retrieve::nanos;
use crate::store::FeatureStore;
pub(crate) use rows::PushedRows;

/// Where pushed rows go; the names are those of Feast's feature server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PushTo {
    /// The online store alone.
    Online,
    /// The files of the source alone.
    Offline,
    /// Both: what is served is what a later join finds.
    #[default]
    OnlineAndOffline,
}

impl PushTo {
    fn online(self) -> bool {
        matches!(self, Self::Online | Self::OnlineAndOffline)
    }

    fn offline(self) -> bool {
        matches!(self, Self::Offline | Self::OnlineAndOffline)
    }
}

/// Rows to be pushed: the body of `POST /push`.
///
/// ```
/// let request: btc_features::PushRequest = serde_json::from_str(
///     r#"{
///         "push_source_name": "stats",
///         "df": {
///             "driver_id": [1001],
///             "event_timestamp": ["2022-06-01T12:00:00Z"],
///             "trips": [7]
///         },
///         "to": "online_and_offline"
///     }"#,
/// )?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[cfg(feature = "sqlite")]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PushRequest {
    /// The view.
    #[serde(alias = "view")]
    pub push_source_name: String,
    /// The columns, by name; as many values of each.
    pub df: serde_json::Map<String, Json>,
    /// Where they go; as for Feast, online if nothing is said.
    #[serde(default = "online")]
    pub to: PushTo,
}

#[cfg(feature = "sqlite")]
fn online() -> PushTo {
    PushTo::Online
}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PushReport {
    /// The view.
    pub view: String,
    /// The number of rows.
    pub rows: usize,
    /// The number of keys that were written to the online store.
    pub keys: usize,
    /// The file that the rows are in now, if they were written offline.
    pub file: Option<PathBuf>,
}

impl FeatureStore {
    /// Writes rows to the files of a view's source and to the online store.
    ///
    /// The rows have the columns of the source under the names that its files
    /// use: keys, event time, what the view's features are made of and, if the
    /// others are to have values, the rest. A created timestamp that is not
    /// brought along is `now`. Every value is checked before anything is
    /// written.
    ///
    /// Offline, a folder gets a file more (small pushes share one), which
    /// comes last among its files; one file is written anew. Online, a row does
    /// not replace a newer one. The files come first: if the online store then
    /// refuses, the rows come to it with the next materialization.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] for a view that is not applied,
    /// [`Error::SchemaMismatch`] or [`Error::InvalidValue`] for rows that do
    /// not fit it, [`Error::InvalidRequest`] if its source has no place for
    /// more rows, [`Error::Io`] or [`Error::OnlineStore`] if they cannot be
    /// written.
    pub async fn push(
        &self,
        view: &str,
        rows: RecordBatch,
        to: PushTo,
        now: DateTime<Utc>,
    ) -> Result<PushReport> {
        let definitions = &self.registry().definitions;
        let feature_view = definitions.feature_view(view)?.clone();
        let source = definitions.source(&feature_view.source)?.clone();
        if to.online() && !feature_view.online {
            return Err(Error::InvalidRequest(format!(
                "feature view {view:?} is not for the online store (online = false); push to the \
                 files alone"
            )));
        }
        if to.offline() && self.has_table(&source.name) {
            return Err(Error::InvalidRequest(format!(
                "the rows of source {:?} come from a registered table, which takes none; push to \
                 the online store alone",
                source.name
            )));
        }
        let pool = &self.context().runtime_env().memory_pool;
        let memory = MemoryConsumer::new("pushed rows").register(pool);
        // As they came, and as they are written.
        memory.try_grow(2 * rows.get_array_memory_size())?;
        let (dir, tables) = (self.repo_dir().to_path_buf(), self.tables().clone());
        let own = definitions.clone();
        let now_nanos = nanos(&now)?;
        let named = feature_view.clone();
        let pushed =
            blocking(move || PushedRows::new(&own, &named, &dir, &tables, rows, now_nanos)).await?;
        let mut report = PushReport {
            view: view.to_owned(),
            rows: pushed.len(),
            keys: 0,
            file: None,
        };
        if pushed.len() == 0 {
            return Ok(report);
        }
        if to.offline() {
            let (dir, rows) = (self.repo_dir().to_path_buf(), pushed.stored.clone());
            report.file = Some(blocking(move || offline::append(&source, &dir, &rows)).await?);
        }
        if to.online() {
            report.keys = self
                .push_online(&feature_view, pushed, to.offline(), now_nanos)
                .await?;
        }
        Ok(report)
    }

    /// The same with the rows of a Parquet file.
    ///
    /// # Errors
    ///
    /// As [`Self::push`], and the errors of reading the file.
    pub async fn push_parquet(
        &self,
        view: &str,
        path: impl AsRef<Path>,
        to: PushTo,
        now: DateTime<Utc>,
    ) -> Result<PushReport> {
        let table = self.parquet_rows(path.as_ref().to_path_buf()).await?;
        let frame = self.context().read_table(table)?;
        let schema = frame.schema().inner().clone();
        let batches = frame.collect().await?;
        self.push(view, concat_batches(&schema, &batches)?, to, now)
            .await
    }

    #[cfg(feature = "sqlite")]
    /// The same with rows as JSON has them: instants are texts of RFC 3339 or
    /// seconds since 1970.
    ///
    /// # Errors
    ///
    /// As [`Self::push`].
    pub async fn push_json(&self, request: &PushRequest, now: DateTime<Utc>) -> Result<PushReport> {
        let view = request.push_source_name.as_str();
        let definitions = self.registry().definitions.clone();
        definitions.feature_view(view)?;
        let (dir, tables) = (self.repo_dir().to_path_buf(), self.tables().clone());
        let (name, columns) = (view.to_owned(), request.df.clone());
        let rows =
            blocking(move || rows::from_json(&definitions, &name, &dir, &tables, &columns)).await?;
        self.push(view, rows, request.to, now).await
    }

    #[cfg(not(feature = "sqlite"))]
    async fn push_online(
        &self,
        _: &crate::definition::FeatureView,
        _: PushedRows,
        _: bool,
        _: i64,
    ) -> Result<usize> {
        Err(Error::InvalidRequest(
            "this build has no online store; push to the files alone".into(),
        ))
    }
}
