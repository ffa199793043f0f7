//! Declare features and join them as of a time, on DataFusion.
//!
//! A feature view says where values are and from when on they were known. A
//! request brings keys and times, and gets what was known then, and nothing
//! that came later:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use btc_features::arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
//! use btc_features::{
//!     Definitions, FeatureSelection, FeatureService, FeatureStore, FeatureView, Field,
//!     FileSource, ValueType,
//! };
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # let repo = dir.path();
//! // Two closing prices, known from the ends of their days on.
//! let days = |days: Vec<i64>| -> ArrayRef {
//!     Arc::new(TimestampSecondArray::from_iter_values(days.iter().map(|day| day * 86_400)))
//! };
//! let closes: ArrayRef = Arc::new(Float64Array::from(vec![41_000.0, 42_500.0]));
//! let prices =
//!     RecordBatch::try_from_iter([("event_timestamp", days(vec![1, 2])), ("close", closes)])?;
//! # let file = std::fs::File::create(repo.join("ohlcv.parquet"))?;
//! # let mut writer = btc_features::datafusion::parquet::arrow::ArrowWriter::try_new(
//! #     file, prices.schema(), None)?;
//! # writer.write(&prices)?;
//! # writer.close()?;
//!
//! let mut store = FeatureStore::init(repo, "bitcoin")?;
//! store.apply(
//!     &Definitions::new()
//!         .with_source(FileSource::new("ohlcv", "ohlcv.parquet", "event_timestamp"))
//!         .with_feature_view(
//!             FeatureView::new("ohlcv", "ohlcv")
//!                 .with_ttl(Duration::from_secs(3 * 86_400))
//!                 .with_features([Field::new("close", ValueType::Float64)]),
//!         )
//!         .with_feature_service(FeatureService::new("daily_bitcoin_v1", ["ohlcv"])),
//! )?;
//!
//! let entity_rows = RecordBatch::try_from_iter([("event_timestamp", days(vec![0, 1, 2, 9]))])?;
//! let selection = FeatureSelection::service("daily_bitcoin_v1");
//! let joined = store.get_historical_features(entity_rows, &selection).await?;
//!
//! let closes: &Float64Array = joined["close"].as_any().downcast_ref().unwrap();
//! assert_eq!(
//!     closes.iter().collect::<Vec<_>>(),
//!     [None, Some(41_000.0), Some(42_500.0), None], // too early, known, known, expired
//! );
//! # Ok(())
//! # }
//! ```

pub use arrow;
pub use chrono;
pub use datafusion;
pub use serde_json;

mod blocking;
mod builder;
mod cast;
mod dataset;
mod definition;
mod error;
mod feast;
mod files;
mod join;
#[cfg(feature = "sqlite")]
mod online;
mod parquet_writer;
mod push;
mod quality;
mod registry;
mod repo;
mod retrieve;
mod store;

pub use builder::FeatureStoreBuilder;
pub use dataset::{DatasetQuery, SavedDataset, SourceFile, write_parquet};
pub use definition::{
    Aggregate, AggregateFunction, Checks, Definitions, Entity, FeatureService, FeatureView,
    FeatureViewProjection, Field, FileSource, ObjectKind, OnDemandFeature, OnDemandFeatureView,
    Tags, ValueType,
};
pub use error::{Error, ErrorKind, Result};
pub use feast::Imported;
#[cfg(feature = "sqlite")]
pub use online::{
    FeatureStatus, MaterializeReport, OnlineFeatures, OnlineMetadata, OnlineRequest, OnlineResult,
    OnlineSelection,
};
#[cfg(feature = "sqlite")]
pub use push::PushRequest;
pub use push::{PushReport, PushTo};
pub use quality::{FeatureStatistics, NumericSummary, ViewStatistics, Violation};
pub use registry::{Action, Change, DatasetEntry, Dependent, FieldChange, Plan, Registry};
pub use repo::StoreConfig;
pub use retrieve::{EntityRows, FeatureSelection};
pub use store::FeatureStore;

/// Runs the examples of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
