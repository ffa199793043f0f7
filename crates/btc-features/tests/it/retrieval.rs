//! Retrieval beyond the golden cases: inputs, plans, limits and errors.

use std::path::Path;
use std::sync::Arc;

use btc_features::arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampSecondArray,
};
use btc_features::arrow::datatypes::{Float64Type, Int64Type};
use btc_features::arrow::util::pretty::pretty_format_batches;
use btc_features::{
    Definitions, Entity, EntityRows, Error, FeatureSelection, FeatureStore, FeatureView, Field,
    FileSource, OnDemandFeature, OnDemandFeatureView, ValueType,
};
use std::time::Duration;

use crate::support::write_parquet;

const DAY: i64 = 86_400;

fn days(days: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampSecondArray::from_iter_values(
        days.into_iter().map(|day| day * DAY),
    ))
}

fn numbers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

/// A store with a row a day for each of ten drivers, `trips` being
/// `100 * driver + day`.
fn store(dir: &Path) -> FeatureStore {
    let rows = (0..100).flat_map(|day| (0..10).map(move |driver| (driver, day)));
    let (drivers, at): (Vec<i64>, Vec<i64>) = rows.unzip();
    let trips: Vec<i64> = drivers
        .iter()
        .zip(&at)
        .map(|(driver, day)| 100 * driver + day)
        .collect();
    let rating: ArrayRef = Arc::new(Float64Array::from_iter_values(
        trips.iter().map(|trips| *trips as f64 / 10.0),
    ));
    let batch = RecordBatch::try_from_iter([
        ("driver_id", numbers(drivers)),
        ("event_timestamp", days(at)),
        ("trips", numbers(trips)),
        ("rating", rating),
    ])
    .unwrap();
    write_parquet(&dir.join("stats.parquet"), &[batch], 100);
    let mut store = FeatureStore::init(dir, "taxi").unwrap();
    store.apply(&definitions()).unwrap();
    store
}

fn definitions() -> Definitions {
    Definitions::new()
        .with_entity(
            Entity::new("driver")
                .with_join_key("driver_id")
                .with_value_type(ValueType::Int64),
        )
        .with_source(FileSource::new("stats", "stats.parquet", "event_timestamp"))
        .with_feature_view(
            FeatureView::new("stats", "stats")
                .with_entities(["driver"])
                .with_ttl(Duration::from_secs(5 * DAY as u64))
                .with_features([
                    Field::new("trips", ValueType::Int64),
                    Field::new("rating", ValueType::Float64),
                ]),
        )
        .with_on_demand_feature_view(
            OnDemandFeatureView::new("pay")
                .with_sources(["stats"])
                .with_request([Field::new("fare", ValueType::Float64)])
                .with_features([OnDemandFeature::new(
                    "earned",
                    ValueType::Float64,
                    "stats.trips * fare",
                )]),
        )
}

fn entity_rows() -> RecordBatch {
    let fares: ArrayRef = Arc::new(Float64Array::from(vec![2.0, 3.0, 4.0]));
    RecordBatch::try_from_iter([
        ("driver_id", numbers([3, 7, 3])),
        ("event_timestamp", days([50, 20, 49])),
        ("fare", fares),
    ])
    .unwrap()
}

fn trips(batch: &RecordBatch) -> Vec<Option<i64>> {
    batch["trips"].as_primitive::<Int64Type>().iter().collect()
}

#[tokio::test]
async fn entity_rows_come_from_a_file_a_query_or_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let selection = FeatureSelection::features(["stats:trips"]);
    let expected = [Some(350), Some(720), Some(349)];
    let file = dir.path().join("entities.parquet");
    write_parquet(&file, &[entity_rows()], 2);
    let joined = store
        .get_historical_features(file.as_path(), &selection)
        .await
        .unwrap();
    assert_eq!(trips(&joined), expected);
    store
        .context()
        .register_batch("orders", entity_rows())
        .unwrap();
    let query = "select driver_id, event_timestamp from orders where fare > 2 order by fare";
    let frame = store.context().sql(query).await.unwrap();
    let joined = store
        .get_historical_features(frame, &selection)
        .await
        .unwrap();
    assert_eq!(trips(&joined), expected[1..]);
    let missing = dir.path().join("nothing.parquet");
    let error = store
        .get_historical_features(missing.as_path(), &selection)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::InvalidRequest(_)), "{error}");
}

#[tokio::test]
async fn an_on_demand_feature_brings_what_it_needs_and_shows_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let selection = FeatureSelection::features(["pay:earned"]);
    let joined = store
        .get_historical_features(entity_rows(), &selection)
        .await
        .unwrap();
    let schema = joined.schema();
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["driver_id", "event_timestamp", "fare", "earned"]);
    let earned: Vec<_> = joined["earned"]
        .as_primitive::<Float64Type>()
        .iter()
        .collect();
    assert_eq!(earned, [Some(700.0), Some(2160.0), Some(1396.0)]);
    let full = selection.with_full_feature_names(true);
    let joined = store
        .get_historical_features(entity_rows(), &full)
        .await
        .unwrap();
    assert!(joined.column_by_name("pay__earned").is_some());
    let without = entity_rows().project(&[0, 1]).unwrap();
    let error = store
        .get_historical_features(without, &FeatureSelection::features(["pay:earned"]))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("\"fare\""), "{error}");
}

#[tokio::test]
async fn the_plan_shows_the_join_and_reads_no_more_than_it_needs() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let selection = FeatureSelection::features(["stats:trips", "stats:rating"]);
    let frame = store
        .historical_features(entity_rows(), &selection)
        .await
        .unwrap();
    let narrow = frame.select_columns(&["driver_id", "trips"]).unwrap();
    let plan = narrow
        .clone()
        .explain(false, false)
        .unwrap()
        .collect()
        .await
        .unwrap();
    let plan = pretty_format_batches(&plan).unwrap().to_string();
    assert!(
        plan.contains("PointInTimeJoinExec: views=[stats(keys=[driver_id], ttl=5d"),
        "{plan}"
    );
    assert!(plan.contains("columns=[trips]"), "{plan}");
    let plan = narrow
        .explain(false, true)
        .unwrap()
        .collect()
        .await
        .unwrap();
    let plan = pretty_format_batches(&plan).unwrap().to_string();
    // Ten row groups of ten days each; the entity rows reach from day 20 - 5
    // to day 50.
    assert!(plan.contains("row_groups_matched=5"), "{plan}");
    assert!(plan.contains("row_groups_pruned=5"), "{plan}");
    assert!(plan.contains("gathered_rows=3"), "{plan}");
}

#[tokio::test]
async fn a_limit_on_the_result_is_one_on_the_entity_rows() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let selection = FeatureSelection::features(["stats:trips"]);
    let frame = store
        .historical_features(entity_rows(), &selection)
        .await
        .unwrap();
    let batches = frame.limit(0, Some(2)).unwrap().collect().await.unwrap();
    let rows: Vec<_> = batches.iter().flat_map(trips).collect();
    assert_eq!(rows, [Some(350), Some(720)]);
    let frame = store
        .historical_features(entity_rows(), &selection)
        .await
        .unwrap();
    assert_eq!(frame.count().await.unwrap(), 3);
}

#[tokio::test]
async fn no_entity_rows_give_no_rows_and_all_columns() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let selection = FeatureSelection::features(["stats:trips"]);
    let none = entity_rows().slice(0, 0);
    let joined = store
        .get_historical_features(none, &selection)
        .await
        .unwrap();
    assert_eq!((joined.num_rows(), joined.num_columns()), (0, 4));
}

#[tokio::test]
async fn a_memory_limit_ends_a_request_that_needs_more_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).with_memory_limit(200_000).unwrap();
    let selection = FeatureSelection::features(["stats:trips"]);
    store
        .get_historical_features(entity_rows(), &selection)
        .await
        .unwrap();
    let many = RecordBatch::try_from_iter([
        ("driver_id", numbers((0..20_000).map(|row| row % 10))),
        ("event_timestamp", days((0..20_000).map(|row| row % 100))),
    ])
    .unwrap();
    let error = store
        .get_historical_features(many, &selection)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::MemoryLimit(_)), "{error:?}");
    // What the failed request held is free again.
    store
        .get_historical_features(entity_rows(), &selection)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_cannot_be_answered_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let error = |rows: RecordBatch, features: &'static str| {
        let selection = FeatureSelection::features([features]);
        let store = &store;
        async move {
            store
                .get_historical_features(rows, &selection)
                .await
                .unwrap_err()
                .to_string()
        }
    };
    let text = error(entity_rows(), "stats:tripps").await;
    assert!(text.contains("did you mean \"stats:trips\""), "{text}");
    let text = error(entity_rows(), "stat:trips").await;
    assert!(text.contains("did you mean \"stats\""), "{text}");
    let text = error(entity_rows(), "trips").await;
    assert!(text.contains("\"view:feature\""), "{text}");
    let text = error(entity_rows().project(&[1, 2]).unwrap(), "stats:trips").await;
    assert!(text.contains("no column \"driver_id\""), "{text}");
    let text = error(entity_rows().project(&[0, 2]).unwrap(), "stats:trips").await;
    assert!(text.contains("\"event_timestamp\""), "{text}");
    let float: ArrayRef = Arc::new(btc_features::arrow::array::StringArray::from(vec!["a"]));
    let rows =
        RecordBatch::try_from_iter([("driver_id", float), ("event_timestamp", days([1]))]).unwrap();
    let text = error(rows, "stats:trips").await;
    assert!(text.contains("Utf8") && text.contains("Int64"), "{text}");
}

#[tokio::test]
async fn a_broken_file_is_named_and_leaves_other_views_alone() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    std::fs::write(
        dir.path().join("broken.parquet"),
        b"PAR1 this is not Parquet PAR1",
    )
    .unwrap();
    let broken = Definitions::new()
        .with_source(FileSource::new(
            "broken",
            "broken.parquet",
            "event_timestamp",
        ))
        .with_feature_view(
            FeatureView::new("broken", "broken")
                .with_features([Field::new("x", ValueType::Float64)]),
        );
    let error = store.apply(&broken).unwrap_err();
    assert!(error.to_string().contains("broken.parquet"), "{error}");
    let selection = FeatureSelection::features(["stats:trips"]);
    store
        .get_historical_features(entity_rows(), &selection)
        .await
        .unwrap();
    // A file that ends early is found out when its rows are read.
    let whole = std::fs::read(dir.path().join("stats.parquet")).unwrap();
    let mut cut = whole.clone();
    for byte in &mut cut[4..4_000] {
        *byte ^= 0x5a;
    }
    std::fs::write(dir.path().join("stats.parquet"), cut).unwrap();
    let early =
        RecordBatch::try_from_iter([("driver_id", numbers([3])), ("event_timestamp", days([5]))])
            .unwrap();
    let error = store
        .get_historical_features(early, &selection)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("stats.parquet"), "{error}");
}

#[tokio::test]
async fn keys_for_a_period_come_once_each_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let at = |day: i64| chrono::DateTime::from_timestamp(day * DAY, 0).unwrap();
    let selection = FeatureSelection::features(["stats:trips"]);
    let rows = EntityRows::between(at(97), at(98));
    let joined = store
        .get_historical_features(rows, &selection)
        .await
        .unwrap();
    assert_eq!(
        trips(&joined),
        (0..10)
            .map(|driver| Some(100 * driver + 98))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn the_order_of_many_files_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path()).with_target_partitions(4).unwrap();
    let folder = dir.path().join("orders");
    for file in 0..12 {
        let drivers = numbers((0..200).map(|row| (row + file) % 10));
        let at = days((0..200).map(|row| (row * 7 + file) % 100));
        let number = numbers((0..200).map(|row| file * 200 + row));
        let batch = RecordBatch::try_from_iter([
            ("driver_id", drivers),
            ("event_timestamp", at),
            ("number", number),
        ])
        .unwrap();
        write_parquet(&folder.join(format!("{file:02}.parquet")), &[batch], 50);
    }
    let selection = FeatureSelection::features(["stats:trips"]);
    for _ in 0..5 {
        let options = btc_features::datafusion::prelude::ParquetReadOptions::default();
        let orders = store
            .context()
            .read_parquet(folder.to_str().unwrap(), options)
            .await
            .unwrap();
        let joined = store
            .get_historical_features(orders, &selection)
            .await
            .unwrap();
        let order = joined["number"].as_primitive::<Int64Type>();
        assert!(order.iter().flatten().eq(0..2_400));
        let expected = (0..2_400).map(|number| {
            let (file, row) = (number / 200, number % 200);
            Some(100 * ((row + file) % 10) + (row * 7 + file) % 100)
        });
        assert_eq!(trips(&joined), expected.collect::<Vec<_>>());
    }
}
