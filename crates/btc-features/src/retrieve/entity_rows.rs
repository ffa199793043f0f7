//! Retrieval: entity rows in, features out.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow::compute::concat_batches;
use chrono::{DateTime, Utc};
use datafusion::catalog::TableProvider;
use datafusion::dataframe::DataFrame;
use datafusion::datasource::MemTable;
use datafusion::datasource::file_format::options::ReadOptions as _;
use datafusion::datasource::listing::{ListingTable, ListingTableConfig, ListingTableUrl};
use datafusion::prelude::ParquetReadOptions;

use super::FeatureSelection;
use super::{HistoricalTable, Request, entity_rows_of_period, time_range};
use crate::blocking::blocking;
use crate::error::{Error, Result};
use crate::files::absolute;
use crate::store::FeatureStore;

/// The rows that features are wanted for: keys and times, and any other
/// columns, which are kept.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum EntityRows {
    /// Rows in memory.
    Batch(RecordBatch),
    /// The rows of a Parquet file.
    Parquet(PathBuf),
    /// The rows of a table.
    Table(Arc<dyn TableProvider>),
    /// The rows that a query gives.
    DataFrame(DataFrame),
    /// Every key that has values in a period, at the end of the period.
    Period(RangeInclusive<DateTime<Utc>>),
}

impl EntityRows {
    /// One row an instant, in their order, for views without entities: its
    /// only column is `event_timestamp`.
    ///
    /// ```
    /// # use btc_features::{EntityRows, chrono::DateTime};
    /// let noon = DateTime::from_timestamp(43_200, 0).unwrap_or_default();
    /// let rows = EntityRows::at([noon])?;
    /// # Ok::<(), btc_features::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::InvalidRequest`] for an instant outside the years 1677 to 2262.
    pub fn at(instants: impl IntoIterator<Item = DateTime<Utc>>) -> Result<Self> {
        let nanos = instants
            .into_iter()
            .map(|instant| nanos(&instant))
            .collect::<Result<Vec<_>>>()?;
        let times: ArrayRef = Arc::new(TimestampNanosecondArray::from(nanos).with_timezone("UTC"));
        Ok(Self::Batch(RecordBatch::try_from_iter([(
            "event_timestamp",
            times,
        )])?))
    }

    /// Every key that the views have values for from `start` to `end`, both
    /// included, as of `end`. The result has the columns `event_timestamp` and
    /// the keys, in the order of the keys.
    pub fn between(start: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self::Period(start..=end)
    }
}

impl From<RecordBatch> for EntityRows {
    fn from(batch: RecordBatch) -> Self {
        Self::Batch(batch)
    }
}

impl From<PathBuf> for EntityRows {
    fn from(path: PathBuf) -> Self {
        Self::Parquet(path)
    }
}

impl From<&str> for EntityRows {
    /// The rows of the Parquet file at a path.
    fn from(path: &str) -> Self {
        Self::Parquet(path.into())
    }
}

impl From<&Path> for EntityRows {
    fn from(path: &Path) -> Self {
        Self::Parquet(path.to_path_buf())
    }
}

impl From<Arc<dyn TableProvider>> for EntityRows {
    fn from(table: Arc<dyn TableProvider>) -> Self {
        Self::Table(table)
    }
}

impl From<DataFrame> for EntityRows {
    fn from(frame: DataFrame) -> Self {
        Self::DataFrame(frame)
    }
}

impl FeatureStore {
    /// Returns the entity rows with, beside each, the features known at its
    /// time: one row for each, in their order, and null where nothing was
    /// known.
    ///
    /// The time of an entity row is its column `event_timestamp`, or the only
    /// column of timestamps. A timestamp without time zone is in UTC; those of
    /// the result are in UTC.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`], [`Error::Collision`] or
    /// [`Error::InvalidRequest`] if the request cannot be answered,
    /// [`Error::SourceMissing`] or [`Error::SchemaMismatch`] if the data does
    /// not fit it, [`Error::MemoryLimit`] if it needs too much, and the errors
    /// of reading files.
    pub async fn get_historical_features(
        &self,
        entity_rows: impl Into<EntityRows>,
        selection: &FeatureSelection,
    ) -> Result<RecordBatch> {
        let frame = self.historical_features(entity_rows, selection).await?;
        let schema = Arc::clone(frame.schema().inner());
        let batches = frame.collect().await?;
        Ok(concat_batches(&schema, &batches)?)
    }

    /// The same as [`Self::get_historical_features`] as a lazy
    /// [`DataFrame`]: stream it, write it, or query on.
    ///
    /// # Errors
    ///
    /// As [`Self::get_historical_features`]; those of reading data come from
    /// the frame's own methods, as DataFusion's errors, which
    /// [`Error::from`] turns back.
    pub async fn historical_features(
        &self,
        entity_rows: impl Into<EntityRows>,
        selection: &FeatureSelection,
    ) -> Result<DataFrame> {
        let mut range = None;
        let table: Arc<dyn TableProvider> = match entity_rows.into() {
            EntityRows::Batch(batch) => {
                range = time_range(&batch)?;
                Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)
            }
            EntityRows::Parquet(path) => self.parquet_rows(path).await?,
            EntityRows::Table(table) => table,
            EntityRows::DataFrame(frame) => frame.into_view(),
            EntityRows::Period(period) => {
                let batch = self.entity_rows_of_period(selection, period).await?;
                Arc::new(MemTable::try_new(batch.schema(), vec![vec![batch]])?)
            }
        };
        let context = self.context().clone();
        let definitions = self.registry().definitions.clone();
        let (repo_dir, tables) = (self.repo_dir().to_path_buf(), self.tables().clone());
        let selection = selection.clone();
        // The footers of the sources' files are read here.
        blocking(move || {
            HistoricalTable::plan(
                &context,
                &definitions,
                &repo_dir,
                &tables,
                table,
                range,
                &selection,
            )
        })
        .await
    }

    /// The rows of a Parquet file, whatever it is called.
    pub(crate) async fn parquet_rows(&self, path: PathBuf) -> Result<Arc<dyn TableProvider>> {
        let url = blocking(move || {
            if !path.is_file() {
                return Err(Error::InvalidRequest(format!(
                    "there is no file of entity rows at {}",
                    path.display()
                )));
            }
            let mut start = [0; 4];
            let read = std::fs::File::open(&path)
                .and_then(|mut file| std::io::Read::read(&mut file, &mut start))
                .map_err(Error::io("read", &path))?;
            if start[..read] != *b"PAR1" {
                return Err(Error::InvalidRequest(format!(
                    "{} is not a Parquet file; entity rows come from Parquet",
                    path.display()
                )));
            }
            // As a URL, a path has no characters of a pattern.
            url::Url::from_file_path(absolute(&path))
                .map_err(|()| Error::InvalidRequest(format!("{} cannot be a URL", path.display())))
        })
        .await?;
        let state = self.context().state();
        let options = ParquetReadOptions::default()
            .file_extension("")
            .to_listing_options(state.config(), state.default_table_options());
        let config = ListingTableConfig::new(ListingTableUrl::try_new(url, None)?)
            .with_listing_options(options)
            .infer_schema(&state)
            .await?;
        Ok(Arc::new(ListingTable::try_new(config)?))
    }
}

impl FeatureStore {
    async fn entity_rows_of_period(
        &self,
        selection: &FeatureSelection,
        period: RangeInclusive<DateTime<Utc>>,
    ) -> Result<RecordBatch> {
        let definitions = self.registry().definitions.clone();
        let mut request = Request::resolve(selection, &definitions)?;
        request.parse_on_demand(self.context(), &definitions, &[])?;
        let period = nanos(period.start())?..=nanos(period.end())?;
        entity_rows_of_period(
            self.context(),
            &request,
            &definitions,
            self.repo_dir(),
            self.tables(),
            period,
        )
        .await
    }
}

/// An instant in nanoseconds since 1970.
pub(crate) fn nanos(instant: &DateTime<Utc>) -> Result<i64> {
    instant.timestamp_nanos_opt().ok_or_else(|| {
        Error::InvalidRequest(format!("{instant} is outside the years 1677 to 2262"))
    })
}
