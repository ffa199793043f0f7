//! The online store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use btc_features::arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampSecondArray};
use btc_features::{
    Definitions, Entity, Error, FeatureStatus, FeatureStore, FeatureView, Field, FileSource,
    OnDemandFeature, OnDemandFeatureView, OnlineRequest, ValueType,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::write_parquet;

fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(day * 86_400, 0).unwrap()
}

fn write(dir: &Path, name: &str, rows: &[(i64, i64, Option<i64>)]) {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let days: ArrayRef = Arc::new(TimestampSecondArray::from_iter_values(
        rows.iter().map(|r| r.1 * 86_400),
    ));
    let trips: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("driver_id", ids, false),
        ("event_timestamp", days, false),
        ("trips", trips, true),
    ])
    .unwrap();
    write_parquet(&dir.join("stats").join(name), &[batch], 100);
}

fn store(dir: &Path) -> FeatureStore {
    write(
        dir,
        "1.parquet",
        &[
            (1, 1, Some(11)),
            (2, 1, Some(21)),
            (1, 2, Some(12)),
            (3, 5, None),
        ],
    );
    let view = |name: &str| {
        FeatureView::new(name, "stats")
            .with_entities(["driver"])
            .with_ttl(Duration::from_secs(10 * 86_400))
            .with_features([Field::new("trips", ValueType::Int64)])
    };
    let mut store = FeatureStore::init(dir, "taxi").unwrap();
    store
        .apply(
            &Definitions::new()
                .with_entity(
                    Entity::new("driver")
                        .with_join_key("driver_id")
                        .with_value_type(ValueType::Int64),
                )
                .with_source(FileSource::new("stats", "stats", "event_timestamp"))
                .with_feature_view(view("stats"))
                .with_feature_view(view("offline").with_online(false))
                .with_on_demand_feature_view(
                    OnDemandFeatureView::new("pay")
                        .with_sources(["stats"])
                        .with_request([Field::new("fare", ValueType::Float64)])
                        .with_features([OnDemandFeature::new(
                            "earned",
                            ValueType::Float64,
                            "trips * fare",
                        )]),
                ),
        )
        .unwrap();
    store
}

fn request(body: Value) -> OnlineRequest {
    serde_json::from_value(body).unwrap()
}

fn trips(store: &FeatureStore, ids: &[i64], now: DateTime<Utc>) -> (Value, Vec<FeatureStatus>) {
    let body = json!({"features": ["stats:trips"], "entities": {"driver_id": ids}});
    let answer = store.get_online_features(&request(body), now).unwrap();
    assert_eq!(answer.metadata.feature_names, ["driver_id", "trips"]);
    (
        Value::from(answer.results[1].values.clone()),
        answer.results[1].statuses.clone(),
    )
}

#[tokio::test]
async fn each_value_has_a_status() {
    use FeatureStatus::{NotFound, NullValue, OutsideMaxAge, Present};
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    assert_eq!(trips(&store, &[1], at(6)), (json!([null]), vec![NotFound]));
    let reports = store.materialize(&[], at(0)..=at(6)).await.unwrap();
    assert_eq!(reports[0].view, "offline");
    assert!(
        reports[0]
            .skipped
            .as_deref()
            .unwrap()
            .contains("online = false")
    );
    assert_eq!((reports[1].keys, reports[1].skipped.as_deref()), (3, None));
    assert_eq!(
        trips(&store, &[1, 2, 3, 4], at(6)),
        (
            json!([12, 21, null, null]),
            vec![Present, Present, NullValue, NotFound]
        )
    );
    // Ten days after day 2, and a second more.
    assert_eq!(trips(&store, &[1], at(12)), (json!([12]), vec![Present]));
    let later = at(12) + chrono::TimeDelta::seconds(1);
    assert_eq!(
        trips(&store, &[1], later),
        (json!([null]), vec![OutsideMaxAge])
    );
}

#[tokio::test]
async fn incremental_runs_go_on_from_the_last_and_never_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let first = store
        .materialize_incremental(&["stats"], at(1))
        .await
        .unwrap();
    assert_eq!((first[0].start, first[0].keys), (Some(at(-9)), 2));
    assert_eq!(trips(&store, &[1], at(2)).0, json!([11]));
    write(
        dir.path(),
        "2.parquet",
        &[(1, 3, Some(13)), (2, 8, Some(28))],
    );
    let second = store
        .materialize_incremental(&["stats"], at(6))
        .await
        .unwrap();
    assert_eq!((second[0].start, second[0].end), (Some(at(1)), at(6)));
    assert_eq!(trips(&store, &[1, 2], at(6)).0, json!([13, 21]));
    let again = store
        .materialize_incremental(&["stats"], at(3))
        .await
        .unwrap();
    assert!(again[0].skipped.is_some());
    // An older period does not undo a newer one.
    store.materialize(&["stats"], at(0)..=at(1)).await.unwrap();
    assert_eq!(trips(&store, &[1], at(6)).0, json!([13]));
    assert!(matches!(
        store.materialize(&["statz"], at(0)..=at(1)).await,
        Err(Error::UnknownObject { .. })
    ));
}

#[tokio::test]
async fn on_demand_features_are_computed_from_what_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.materialize(&[], at(0)..=at(6)).await.unwrap();
    let body = json!({
        "features": ["pay:earned"],
        "entities": {"driver_id": [1, 4], "fare": [2.5, 3.0]},
        "full_feature_names": true,
    });
    let answer = store.get_online_features(&request(body), at(6)).unwrap();
    let answer = serde_json::to_value(answer).unwrap();
    assert_eq!(
        answer,
        json!({
            "metadata": {"feature_names": ["driver_id", "fare", "pay__earned"]},
            "results": [
                {
                    "values": [1, 4],
                    "statuses": ["PRESENT", "PRESENT"],
                    "event_timestamps": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"],
                },
                {
                    "values": [2.5, 3.0],
                    "statuses": ["PRESENT", "PRESENT"],
                    "event_timestamps": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"],
                },
                {
                    "values": [30.0, null],
                    "statuses": ["PRESENT", "NULL_VALUE"],
                    "event_timestamps": ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00Z"],
                },
            ],
        })
    );
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let error = |body: Value| {
        store
            .get_online_features(&request(body), at(1))
            .unwrap_err()
            .to_string()
    };
    assert!(error(json!({})).contains("feature service"));
    let text = error(json!({"features": ["stats:trips"], "entities": {}}));
    assert!(text.contains("driver_id"), "{text}");
    let text = error(json!({"features": ["stats:trips"], "entities": {"driver_id": ["one"]}}));
    assert!(text.contains("no Int64"), "{text}");
    let body = json!({"features": ["pay:earned"], "entities": {"driver_id": [1], "fare": [1, 2]}});
    assert!(error(body).contains("differ in length"));
}

#[tokio::test]
async fn teardown_empties_the_online_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    store.materialize(&[], at(0)..=at(6)).await.unwrap();
    let definitions = store.registry().definitions.clone();
    store.teardown().unwrap();
    store.apply(&definitions).unwrap();
    assert_eq!(trips(&store, &[1], at(6)).1, [FeatureStatus::NotFound]);
    let reports = store
        .materialize_incremental(&["stats"], at(6))
        .await
        .unwrap();
    assert_eq!(reports[0].start, Some(at(-4)));
}

#[tokio::test]
async fn a_view_that_is_removed_leaves_no_values_to_another_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    store.materialize(&[], at(0)..=at(6)).await.unwrap();
    let definitions = store.registry().definitions.clone();
    // The folder declares another view, whose table SQLite takes for the same.
    let text = definitions.to_toml().replace("\"stats\"", "\"Stats\"");
    let text = text.replace("path = \"Stats\"", "path = \"stats\"");
    std::fs::write(dir.path().join("definitions.toml"), text).unwrap();
    store.apply_dir().unwrap();
    let body = json!({"features": ["Stats:trips"], "entities": {"driver_id": [1]}});
    let answer = store.get_online_features(&request(body), at(6)).unwrap();
    assert_eq!(answer.results[1].statuses, [FeatureStatus::NotFound]);
    store.materialize(&["Stats"], at(0)..=at(6)).await.unwrap();
    // What stays applied keeps its values.
    store.apply_dir().unwrap();
    let body = json!({"features": ["Stats:trips"], "entities": {"driver_id": [1]}});
    let answer = store.get_online_features(&request(body), at(6)).unwrap();
    assert_eq!(answer.results[1].values, [json!(12)]);
}
