//! Saved data sets.

use std::sync::Arc;

use btc_features::arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
use btc_features::{
    Definitions, EntityRows, Error, FeatureSelection, FeatureStore, FeatureView, Field, FileSource,
    ValueType,
};
use chrono::DateTime;

use crate::support::write_parquet;

#[tokio::test]
async fn a_data_set_has_a_manifest_of_what_it_was_made_from() {
    let dir = tempfile::tempdir().unwrap();
    let times = |times: Vec<i64>| -> ArrayRef { Arc::new(TimestampSecondArray::from(times)) };
    let values: ArrayRef = Arc::new(Float64Array::from(vec![1.5, 2.5]));
    let batch =
        RecordBatch::try_from_iter([("event_timestamp", times(vec![10, 20])), ("x", values)])
            .unwrap();
    write_parquet(&dir.path().join("data/1.parquet"), &[batch], 10);
    let mut store = FeatureStore::init(dir.path(), "p").unwrap();
    store
        .apply(
            &Definitions::new()
                .with_source(FileSource::new("s", "data", "event_timestamp"))
                .with_feature_view(
                    FeatureView::new("v", "s").with_features([Field::new("x", ValueType::Float64)]),
                ),
        )
        .unwrap();
    let rows = RecordBatch::try_from_iter([("event_timestamp", times(vec![5, 15, 25]))]).unwrap();
    let selection = FeatureSelection::features(["v:x"]);
    let path = dir.path().join("sets/train.parquet");
    let now = DateTime::from_timestamp(30, 0).unwrap();
    let saved = store
        .save_dataset("train", rows.clone(), &selection, &path, now)
        .await
        .unwrap();
    assert_eq!((saved.rows, saved.registry_version), (3, 1));
    assert_eq!(saved.query.features, ["v:x"]);
    assert_eq!(saved.columns[1], ("x".to_owned(), "Float64".to_owned()));
    assert_eq!(saved.sources.len(), 1);
    assert!(saved.sources[0].path.ends_with("data/1.parquet"));
    let mut reopened = FeatureStore::open(dir.path()).unwrap();
    assert_eq!(reopened.saved_dataset("train").unwrap(), saved);
    assert_eq!(
        reopened.registry().version,
        1,
        "a data set is no definition"
    );
    // The same data gives the same file, other data other hashes.
    let again = reopened
        .save_dataset("again", rows.clone(), &selection, &path, now)
        .await
        .unwrap();
    assert_eq!(
        (again.sha256, &again.sources),
        (saved.sha256.clone(), &saved.sources)
    );
    let values: ArrayRef = Arc::new(Float64Array::from(vec![9.0]));
    let batch =
        RecordBatch::try_from_iter([("event_timestamp", times(vec![12])), ("x", values)]).unwrap();
    write_parquet(&dir.path().join("data/2.parquet"), &[batch], 10);
    let other = store
        .save_dataset("train", rows, &selection, &path, now)
        .await
        .unwrap();
    assert_ne!(other.sha256, saved.sha256);
    assert_eq!(other.sources.len(), 2);
    // The file holds what a request gives.
    let read = store.context().read_parquet(
        path.to_str().unwrap(),
        btc_features::datafusion::prelude::ParquetReadOptions::default(),
    );
    assert_eq!(read.await.unwrap().count().await.unwrap(), 3);
    assert!(matches!(
        store.saved_dataset("trian"),
        Err(Error::UnknownObject { .. })
    ));
    let error = store
        .historical_features(
            EntityRows::Parquet(dir.path().join("none.parquet")),
            &selection,
        )
        .await;
    assert!(error.is_err());
}

#[tokio::test]
async fn a_project_that_is_moved_keeps_its_data_sets() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let times: ArrayRef = Arc::new(TimestampSecondArray::from(vec![10]));
    let values: ArrayRef = Arc::new(Float64Array::from(vec![1.5]));
    let batch = RecordBatch::try_from_iter([("event_timestamp", times), ("x", values)]).unwrap();
    write_parquet(&before.join("data/raw/1.parquet"), &[batch], 10);
    let mut store = FeatureStore::init(before.join("features"), "p").unwrap();
    let view = FeatureView::new("v", "s").with_features([Field::new("x", ValueType::Float64)]);
    let source = FileSource::new("s", "../data/raw", "event_timestamp");
    let definitions = Definitions::new()
        .with_source(source)
        .with_feature_view(view);
    store.apply(&definitions).unwrap();
    let now = DateTime::from_timestamp(30, 0).unwrap();
    let selection = FeatureSelection::features(["v:x"]);
    let path = before.join("data/training/train.parquet");
    let rows = EntityRows::at([now]).unwrap();
    store
        .save_dataset("train", rows, &selection, &path, now)
        .await
        .unwrap();
    std::fs::rename(&before, &after).unwrap();
    let moved = FeatureStore::open(after.join("features")).unwrap();
    let saved = moved.saved_dataset("train").unwrap();
    assert_eq!(saved.path, after.join("data/training/train.parquet"));
    assert_eq!(moved.registry().saved_datasets["train"].path, saved.path);
    assert_eq!(saved.sources[0].path, after.join("data/raw/1.parquet"));
    assert!(saved.path.is_file() && saved.sources[0].path.is_file());
}
