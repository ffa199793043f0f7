//! The registry and the online store under the eyes of the real Feast.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use btc_features::arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampNanosecondArray,
};
use btc_features::arrow::datatypes::Float64Type;
use btc_features::{
    Aggregate, AggregateFunction, Definitions, Entity, Error, FeatureSelection, FeatureService,
    FeatureStore, FeatureView, FeatureViewProjection, Field, FileSource, OnDemandFeature,
    OnDemandFeatureView, ValueType,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::{python_with, write_parquet};

const DAY: i64 = 86_400;

fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(19_000 * DAY + day * DAY, 0).unwrap()
}

fn days(days: impl IntoIterator<Item = f64>) -> ArrayRef {
    let nanos = days
        .into_iter()
        .map(|day| ((19_000.0 + day) * DAY as f64) as i64 * 1_000_000_000);
    Arc::new(TimestampNanosecondArray::from_iter_values(nanos).with_timezone("UTC"))
}

fn floats(values: impl IntoIterator<Item = Option<f64>>) -> ArrayRef {
    Arc::new(Float64Array::from_iter(values))
}

/// A store with daily prices and chain metrics, which hold for everything, and
/// with rows of drivers.
fn store(dir: &Path) -> FeatureStore {
    let all = || (0..40).map(|day| day as f64);
    // Two days of prices are missing, and one is corrected the day after.
    let traded: Vec<f64> = all().filter(|day| *day != 10.0 && *day != 11.0).collect();
    let prices = RecordBatch::try_from_iter([
        ("event_timestamp", days(traded.clone())),
        (
            "created_timestamp",
            days(traded.iter().map(|day| day + 0.1)),
        ),
        ("open", floats(traded.iter().map(|day| Some(100.0 + day)))),
        (
            "close",
            floats(
                traded
                    .iter()
                    .map(|day| (*day != 5.0).then_some(101.5 + day)),
            ),
        ),
    ])
    .unwrap();
    let correction = RecordBatch::try_from_iter([
        ("event_timestamp", days([20.0])),
        ("created_timestamp", days([21.0])),
        ("open", floats([Some(1.0)])),
        ("close", floats([Some(2.0)])),
    ])
    .unwrap();
    write_parquet(&dir.join("data/ohlcv/1.parquet"), &[prices], 1_000);
    write_parquet(&dir.join("data/ohlcv/2.parquet"), &[correction], 1_000);
    let chain = RecordBatch::try_from_iter([
        ("event_timestamp", days(all().step_by(3))),
        (
            "hash_rate",
            floats(all().step_by(3).map(|day| Some(day * 7.25))),
        ),
    ])
    .unwrap();
    write_parquet(&dir.join("data/chain.parquet"), &[chain], 1_000);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 1]));
    let trips: ArrayRef = Arc::new(Int64Array::from(vec![Some(10), Some(20), None]));
    let names: ArrayRef = Arc::new(StringArray::from(vec!["Ada", "Björn", "Ada"]));
    let drivers = RecordBatch::try_from_iter_with_nullable([
        ("driver", ids, false),
        ("event_timestamp", days([38.0, 38.5, 39.0]), false),
        ("trips", trips, true),
        ("name", names, true),
    ])
    .unwrap();
    write_parquet(&dir.join("data/drivers.parquet"), &[drivers], 1_000);
    let repo = dir.join("features");
    let mut store = FeatureStore::init(&repo, "bitcoin").unwrap();
    store.apply(&definitions()).unwrap();
    store
}

fn definitions() -> Definitions {
    Definitions::new()
        .with_entity(
            Entity::new("driver")
                .with_join_key("driver_id")
                .with_value_type(ValueType::Int64)
                .with_description("who drives"),
        )
        .with_source(
            FileSource::new("ohlcv", "../data/ohlcv", "event_timestamp")
                .with_created_timestamp_column("created_timestamp"),
        )
        .with_source(FileSource::new(
            "chain",
            "../data/chain.parquet",
            "event_timestamp",
        ))
        .with_source(
            FileSource::new("stats", "../data/drivers.parquet", "event_timestamp")
                .with_field_mapping("driver", "driver_id")
                .with_owner("fleet"),
        )
        .with_feature_view(
            FeatureView::new("ohlcv", "ohlcv")
                .with_ttl(Duration::from_secs(3 * DAY as u64))
                .with_tag("market", "USD")
                .with_features([
                    Field::new("open", ValueType::Float64),
                    Field::new("close", ValueType::Float64),
                ]),
        )
        .with_feature_view(
            FeatureView::new("blockchain", "chain")
                .with_ttl(Duration::from_secs(2 * DAY as u64))
                .with_features([Field::new("hash_rate", ValueType::Float64)]),
        )
        .with_feature_view(
            FeatureView::new("drivers", "stats")
                .with_entities(["driver"])
                .with_features([
                    Field::new("trips", ValueType::Int64).with_tag("unit", "rides"),
                    Field::new("name", ValueType::String),
                    Field::new("trips_7d", ValueType::Int64).with_aggregate(Aggregate::new(
                        AggregateFunction::Sum,
                        "trips",
                        Duration::from_secs(7 * DAY as u64),
                    )),
                    Field::new("rows_1d", ValueType::Int64)
                        .with_aggregate(Aggregate::count_rows(Duration::from_secs(DAY as u64))),
                ]),
        )
        .with_feature_service(
            FeatureService::new("daily_bitcoin_v1", ["ohlcv", "blockchain"])
                .with_description("what the model is fitted on"),
        )
}

fn entity_rows() -> RecordBatch {
    RecordBatch::try_from_iter([(
        "event_timestamp",
        days((0..44).map(|day| day as f64 + 0.25)),
    )])
    .unwrap()
}

#[test]
fn what_is_exported_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    let projection = FeatureViewProjection::new("drivers")
        .with_alias("cab")
        .with_features(["name"])
        .with_join_key_map([("driver_id", "cab_id")]);
    let more = Definitions::new()
        .with_feature_service(FeatureService::new("cabs", [projection]))
        .with_on_demand_feature_view(
            OnDemandFeatureView::new("change")
                .with_sources(["ohlcv"])
                .with_features([OnDemandFeature::new(
                    "gain",
                    ValueType::Float64,
                    "close - open",
                )]),
        );
    store.apply(&more).unwrap();
    let path = dir.path().join("registry.db");
    let notes = store.export_feast(&path, at(50)).unwrap();
    // The on-demand view is left out, and two aggregates are not for Feast to join.
    assert_eq!(notes.len(), 3, "{notes:?}");
    let imported = store.read_feast(&path, None).unwrap();
    assert_eq!(imported.projects, ["bitcoin"]);
    let mut expected = store.registry().definitions.clone();
    expected.on_demand_feature_views.clear();
    assert_eq!(imported.definitions, expected);
    assert!(store.plan(&imported.definitions).unwrap().is_empty());
}

#[test]
fn relative_paths_start_from_feasts_own_folder_and_the_project_travels() {
    let dir = tempfile::tempdir().unwrap();
    let ours = store(dir.path());
    let path = dir.path().join("exported.db");
    ours.export_feast(&path, at(50)).unwrap();
    // As Feast's template lays it out: the registry below the folder that paths
    // start from. The absolute paths become shorter and keep their length.
    let repo = dir.path().join("feature_repo");
    std::fs::create_dir_all(repo.join("data")).unwrap();
    std::fs::write(repo.join("feature_store.yaml"), "project: bitcoin\n").unwrap();
    let long = dir.path().join("data/chain.parquet").display().to_string();
    let short = "./".repeat(long.len()) + "data/chain.parquet";
    let short = &short[short.len() - long.len()..];
    let short = short
        .strip_prefix('/')
        .map_or(short.to_owned(), |rest| format!(".{rest}"));
    let mut bytes = std::fs::read(&path).unwrap();
    let places: Vec<usize> = (0..bytes.len() - long.len())
        .filter(|place| bytes[*place..].starts_with(long.as_bytes()))
        .collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + long.len()].copy_from_slice(short.as_bytes());
    }
    let registry = repo.join("data/registry.db");
    std::fs::write(&registry, bytes).unwrap();
    let other = dir.path().join("other");
    let store = FeatureStore::init_for_feast(&other, &registry, None).unwrap();
    assert_eq!(store.config().project, "bitcoin");
    let imported = store.read_feast(&registry, None).unwrap();
    assert_eq!(imported.project, "bitcoin");
    let chain = imported.definitions.source("chain").unwrap();
    let absolute = std::path::absolute(repo.join("data/chain.parquet")).unwrap();
    assert_eq!(Path::new(&chain.path), absolute);
}

#[test]
fn a_file_that_is_no_registry_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let path = dir.path().join("registry.db");
    for bytes in [
        &b""[..],
        b"not a protobuf at all",
        b"\x0a\xff\xff\xff\xff\x0f",
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = store.read_feast(&path, None).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    }
}

#[tokio::test]
async fn feast_opens_joins_and_reads_what_we_wrote_and_we_what_it_applied() {
    let Some(mut python) = python_with("feast") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    store.materialize(&[], at(0)..=at(40)).await.unwrap();
    let registry = dir.path().join("registry.db");
    store.export_feast(&registry, at(50)).unwrap();
    let rows = dir.path().join("data/entities.parquet");
    write_parquet(&rows, &[entity_rows()], 1_000);
    let applied = dir.path().join("applied.db");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/open_with_feast.py");
    let output = python
        .arg(script)
        .args([
            &registry,
            &dir.path().join("features/online_store.db"),
            &rows,
            &applied,
        ])
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let line = text
        .lines()
        .find(|line| line.starts_with("{\"listed\""))
        .unwrap();
    let feast: Value = serde_json::from_str(line).unwrap();

    let listed = &feast["listed"];
    assert_eq!(listed["entities"], json!(["driver"]));
    assert_eq!(listed["sources"], json!(["chain", "ohlcv", "stats"]));
    assert_eq!(listed["services"], json!(["daily_bitcoin_v1"]));
    let ttls = json!({"ohlcv": 259_200.0, "blockchain": 172_800.0, "drivers": 0.0});
    assert_eq!(listed["views"], ttls);
    assert_eq!(listed["join_keys"]["drivers"], json!(["driver_id"]));
    assert_eq!(listed["materialized"]["ohlcv"], json!(1));

    let selection = FeatureSelection::service("daily_bitcoin_v1");
    let ours = store
        .get_historical_features(entity_rows(), &selection)
        .await
        .unwrap();
    // Feast's file store leaves out entity rows for which all that a view has is
    // too old; its DuckDB store does not.
    let times = feast["times"].as_array().unwrap();
    if feast["offline"] == "duckdb" {
        assert_eq!(times.len(), 44);
    } else {
        let complete = (0..44).filter(|row| {
            ["open", "hash_rate"]
                .iter()
                .all(|name| ours[*name].is_valid(*row))
        });
        let complete = complete.count();
        assert!(
            20 < complete && complete <= times.len(),
            "{complete} of {}",
            times.len()
        );
    }
    let first = at(0).timestamp() + DAY / 4;
    for name in ["open", "close", "hash_rate"] {
        let column = ours[name].as_primitive::<Float64Type>();
        let expected: Vec<Value> = times
            .iter()
            .map(|time| ((time.as_i64().unwrap() - first) / DAY) as usize)
            .map(|row| {
                column
                    .iter()
                    .nth(row)
                    .unwrap()
                    .map_or(Value::Null, Value::from)
            })
            .collect();
        assert_eq!(feast["joined"][name], Value::from(expected), "{name}");
    }

    assert_eq!(feast["online"]["driver_id"], json!([1, 2, 9]));
    assert_eq!(feast["online"]["trips"], json!([null, 20, null]));
    assert_eq!(feast["online"]["trips_7d"], json!([10, 20, null]));
    let tags = &listed["tags"]["drivers"];
    assert_eq!(tags["trips"], json!({ "unit": "rides" }));
    assert_eq!(tags["trips_7d"]["btc.aggregate.window"], json!("7d"));
    assert_eq!(feast["online"]["name"], json!(["Ada", "Björn", null]));
    assert_eq!(feast["market"]["close"], json!([140.5]));
    assert_eq!(feast["market"]["hash_rate"], json!([39.0 * 7.25]));

    let imported = store.read_feast(&applied, None).unwrap().definitions;
    let drivers = imported.feature_view("drivers").unwrap();
    assert_eq!(
        drivers.ttl,
        Some(Duration::from_millis(DAY as u64 * 1_000 + 250))
    );
    assert_eq!(drivers.entities, ["driver"]);
    assert!(!drivers.online);
    assert_eq!(drivers.tags["team"], "fleet");
    assert_eq!(drivers.features.len(), 2);
    assert!(imported.feature_view("ohlcv").unwrap().entities.is_empty());
    assert_eq!(
        imported.entity("driver").unwrap(),
        &definitions().entities["driver"]
    );
    assert_eq!(
        imported.source("stats").unwrap(),
        &definitions().sources["stats"]
    );
    let totals = imported.feature_view("totals").unwrap();
    let week = Duration::from_secs(7 * DAY as u64);
    let hour = Duration::from_secs(3_600);
    // Feast keeps them in no order.
    let mut features = totals.features.clone();
    features.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(
        features,
        [
            Field::new("hourly", ValueType::Float64).with_aggregate(Aggregate::new(
                AggregateFunction::Mean,
                "trips",
                hour
            )),
            Field::new("sum_trips_604800s", ValueType::Int64)
                .with_tag("unit", "rides")
                .with_aggregate(Aggregate::new(AggregateFunction::Sum, "trips", week)),
        ]
    );
    let daily = imported.feature_service("daily").unwrap();
    assert_eq!(
        daily.views,
        [
            FeatureViewProjection::new("ohlcv").with_features(["close"]),
            FeatureViewProjection::new("drivers")
                .with_alias("cab")
                .with_join_key_map([("driver_id", "cab_id")]),
        ]
    );
    let mut other = FeatureStore::init(dir.path().join("other"), "bitcoin").unwrap();
    other.apply(&imported).unwrap();
}
