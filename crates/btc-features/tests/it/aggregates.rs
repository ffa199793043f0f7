//! Windowed aggregates against a look at every row, offline and online.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use btc_features::arrow::array::{
    Array as _, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampSecondArray,
};
use btc_features::arrow::compute::cast;
use btc_features::arrow::datatypes::{DataType, Float64Type, TimeUnit};
use btc_features::datafusion::datasource::MemTable;
use btc_features::{
    Aggregate, AggregateFunction, Definitions, Entity, EntityRows, Error, FeatureSelection,
    FeatureStatus, FeatureStore, FeatureView, Field, FileSource, OnlineRequest, ValueType,
};
use chrono::{DateTime, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::write_parquet;

const START: i64 = 1_700_000_000;

/// An instant; a tick is a second.
fn at(tick: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(START + tick, 0).unwrap()
}

fn instants(ticks: impl IntoIterator<Item = Option<i64>>) -> ArrayRef {
    let ticks = ticks.into_iter().map(|tick| tick.map(|tick| START + tick));
    Arc::new(TimestampSecondArray::from_iter(ticks))
}

#[derive(Debug, Clone, Copy)]
struct Row {
    key: Option<i64>,
    time: Option<i64>,
    created: Option<i64>,
    value: Option<i32>,
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let row = (
        prop::option::weighted(0.9, 0..3_i64),
        prop::option::weighted(0.95, 0..40_i64),
        prop::option::weighted(0.9, 0..50_i64),
        prop::option::weighted(0.8, -50..50_i32),
    )
        .prop_map(|(key, time, created, value)| Row {
            key,
            time,
            created,
            value,
        });
    prop::collection::vec(row, 0..70)
}

fn batch(rows: &[Row]) -> RecordBatch {
    let keys: ArrayRef = Arc::new(rows.iter().map(|row| row.key).collect::<Int64Array>());
    let values: Float64Array = rows.iter().map(|row| row.value.map(f64::from)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("key", keys, true),
        (
            "event_timestamp",
            instants(rows.iter().map(|r| r.time)),
            true,
        ),
        ("created", instants(rows.iter().map(|r| r.created)), true),
        ("x", Arc::new(values) as ArrayRef, true),
    ])
    .unwrap()
}

/// The features of the test: each function over two windows.
fn fields(windows: [i64; 2]) -> Vec<Field> {
    let mut fields = vec![Field::new("x", ValueType::Float64)];
    for (number, window) in windows.into_iter().enumerate() {
        let window = Duration::from_secs(window as u64);
        for function in AggregateFunction::ALL {
            let value_type = match function {
                AggregateFunction::Count => ValueType::Int64,
                _ => ValueType::Float64,
            };
            fields.push(
                Field::new(format!("{function}_{number}"), value_type)
                    .with_aggregate(Aggregate::new(function, "x", window)),
            );
        }
        fields.push(
            Field::new(format!("rows_{number}"), ValueType::Int32)
                .with_aggregate(Aggregate::count_rows(window)),
        );
    }
    fields
}

fn definitions(has_created: bool, windows: [i64; 2]) -> Definitions {
    let mut source = FileSource::new("s", "data", "event_timestamp");
    if has_created {
        source = source.with_created_timestamp_column("created");
    }
    Definitions::new()
        .with_entity(Entity::new("key").with_value_type(ValueType::Int64))
        .with_source(source)
        .with_feature_view(
            FeatureView::new("v", "s")
                .with_entities(["key"])
                // Shorter than the windows: it does not cut them.
                .with_ttl(Duration::from_secs(1))
                .with_features(fields(windows)),
        )
}

/// The names of the aggregates, and what they are at an instant by looking at
/// every row.
fn expected(
    rows: &[Row],
    key: Option<i64>,
    now: Option<i64>,
    has_created: bool,
    filter: bool,
    windows: [i64; 2],
) -> Vec<(String, Option<f64>)> {
    let mut all = Vec::new();
    for (number, window) in windows.into_iter().enumerate() {
        let mut name = |name: &str, value: Option<f64>| {
            let there = key.is_some() && now.is_some();
            all.push((format!("{name}_{number}"), value.filter(|_| there)));
        };
        let mut inside: Vec<(i64, Option<i64>, usize, Option<f64>)> = Vec::new();
        for (place, row) in rows.iter().enumerate() {
            let (Some(time), Some(now)) = (row.time, now) else {
                continue;
            };
            let known = !(filter && has_created) || row.created.is_some_and(|c| c <= now);
            if row.key.is_some() && row.key == key && now - window < time && time <= now && known {
                let created = row.created.filter(|_| has_created);
                inside.push((time, created, place, row.value.map(f64::from)));
            }
        }
        inside.sort_by_key(|(time, created, place, _)| (*time, *created, *place));
        if has_created {
            let all = inside.clone();
            inside.retain(|row| {
                let versions = all.iter().filter(|other| other.0 == row.0);
                versions.map(|v| (v.1, v.2)).max() == Some((row.1, row.2))
            });
        }
        let values: Vec<f64> = inside.iter().filter_map(|row| row.3).collect();
        let count = values.len() as f64;
        let some = |value: f64| (!values.is_empty()).then_some(value);
        let sum: f64 = values.iter().sum();
        let mean = sum / count;
        let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        name("count", Some(count));
        name("sum", some(sum));
        name("mean", some(mean));
        name(
            "std",
            (count > 1.0).then(|| (squares / (count - 1.0)).sqrt()),
        );
        name(
            "min",
            some(values.iter().copied().fold(f64::INFINITY, f64::min)),
        );
        name(
            "max",
            some(values.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        );
        name("last", values.last().copied());
        name("rows", Some(inside.len() as f64));
    }
    all
}

fn close(found: Option<f64>, expected: Option<f64>) -> bool {
    match (found, expected) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9,
        (a, b) => a == b,
    }
}

fn selection(windows: [i64; 2]) -> FeatureSelection {
    let names = fields(windows);
    FeatureSelection::features(names.iter().map(|field| format!("v:{}", field.name)))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .build()
        .unwrap()
}

/// The aggregates of a result, by row.
fn columns(joined: &RecordBatch, name: &str) -> Vec<Option<f64>> {
    let column = cast(&joined[name], &DataType::Float64).unwrap();
    column.as_primitive::<Float64Type>().iter().collect()
}

/// What the online store answers for keys 0 to 3, by feature.
fn online(store: &FeatureStore, windows: [i64; 2], now: i64) -> Vec<(String, Vec<Value>)> {
    let names: Vec<String> = fields(windows)
        .iter()
        .map(|field| format!("v:{}", field.name))
        .collect();
    let request: OnlineRequest = serde_json::from_value(json!({
        "features": names, "entities": { "key": [0, 1, 2, 3, null] },
    }))
    .unwrap();
    let answer = store.get_online_features(&request, at(now)).unwrap();
    answer
        .metadata
        .feature_names
        .into_iter()
        .zip(answer.results.into_iter().map(|result| result.values))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: None, ..Default::default() })]

    #[test]
    fn windows_hold_what_a_look_at_every_row_finds(
        rows in rows(),
        (has_created, filter, as_table) in any::<(bool, bool, bool)>(),
        (cut, row_group, partitions) in (0..70_usize, 1..30_usize, 1..4_usize),
        windows in [1..60_i64, 1..20_i64],
        entity_rows in prop::collection::vec(
            (prop::option::weighted(0.9, 0..4_i64), prop::option::weighted(0.95, -2..60_i64)),
            0..40,
        ),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = FeatureStore::init(dir.path(), "p")
            .unwrap()
            .with_target_partitions(partitions)
            .unwrap();
        let cut = cut.min(rows.len());
        let pieces = [batch(&rows[..cut]), batch(&rows[cut..])];
        if as_table {
            let partitions = pieces.iter().map(|piece| vec![piece.clone()]).collect();
            let table = MemTable::try_new(pieces[0].schema(), partitions).unwrap();
            store = store.with_table("s", Arc::new(table));
        } else {
            for (number, piece) in pieces.iter().enumerate() {
                let path = dir.path().join(format!("data/{number}.parquet"));
                write_parquet(&path, std::slice::from_ref(piece), row_group);
            }
        }
        store.apply(&definitions(has_created, windows)).unwrap();
        let keys: ArrayRef =
            Arc::new(entity_rows.iter().map(|row| row.0).collect::<Int64Array>());
        let asked = RecordBatch::try_from_iter_with_nullable([
            ("key", keys, true),
            ("event_timestamp", instants(entity_rows.iter().map(|row| row.1)), true),
        ])
        .unwrap();
        let selection = selection(windows).with_filter_by_created_timestamp(filter);
        let joined = runtime()
            .block_on(store.get_historical_features(asked, &selection))
            .unwrap();
        prop_assert_eq!(joined.num_rows(), entity_rows.len());
        for (number, (key, now)) in entity_rows.iter().enumerate() {
            for (name, value) in expected(&rows, *key, *now, has_created, filter, windows) {
                let found = columns(&joined, &name)[number];
                prop_assert!(close(found, value), "{name} of {key:?} at {now:?}: {found:?}, not {value:?}");
            }
        }
    }

}

proptest! {
    // Each case writes an online store twice.
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..Default::default() })]

    #[test]
    fn an_online_window_is_the_historical_one_at_the_same_instant(
        (first, second) in (rows(), rows()),
        has_created in any::<bool>(),
        windows in [1..60_i64, 1..20_i64],
        (until, more, later) in (0..40_i64, 0..20_i64, 0..30_i64),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = runtime();
        let mut store = FeatureStore::init(dir.path(), "p").unwrap();
        write_parquet(&dir.path().join("data/0.parquet"), &[batch(&first)], 100);
        store.apply(&definitions(has_created, windows)).unwrap();
        // The second rows come after the first materialization, whatever their
        // event times are: some are late.
        let both: Vec<Row> = first.iter().chain(&second).copied().collect();
        let steps = [(&first, until), (&both, until + more)];
        for (number, (rows, until)) in steps.into_iter().enumerate() {
            if number == 1 {
                write_parquet(&dir.path().join("data/1.parquet"), &[batch(&second)], 100);
            }
            runtime.block_on(store.materialize_incremental(&["v"], at(until))).unwrap();
            let known: Vec<Row> =
                rows.iter().filter(|row| row.time <= Some(until)).copied().collect();
            for now in [until, until + later] {
                let answers = online(&store, windows, now);
                for key in 0..4 {
                    for (name, value) in expected(&known, Some(key), Some(now), has_created, false, windows) {
                        let (_, values) = answers.iter().find(|(known, _)| *known == name).unwrap();
                        let found = values[key as usize].as_f64();
                        prop_assert!(close(found, value), "{name} of {key} at {now}: {found:?}, not {value:?}");
                    }
                }
                let nulls = answers.iter().filter(|(name, _)| name != "key");
                for (_, values) in nulls {
                    prop_assert_eq!(&values[4], &Value::Null);
                }
            }
            // To the last bit what the join gives.
            let keys: ArrayRef = Arc::new(Int64Array::from(vec![0, 1, 2, 3]));
            let asked = RecordBatch::try_from_iter([
                ("key", keys),
                ("event_timestamp", instants([Some(until); 4])),
            ])
            .unwrap();
            let joined = runtime
                .block_on(store.get_historical_features(asked, &selection(windows)))
                .unwrap();
            for (name, values) in online(&store, windows, until) {
                if name.contains('_') {
                    let offline = columns(&joined, &name);
                    let online: Vec<Option<f64>> = values[..4].iter().map(Value::as_f64).collect();
                    prop_assert_eq!(&offline, &online, "{}", name);
                }
            }
        }
    }
}

/// A store of daily prices without entities, whose mean of two days is asked for.
fn prices(dir: &Path, aggregates: &str) -> Result<FeatureStore, Error> {
    let closes: ArrayRef = Arc::new(Float64Array::from(vec![Some(10.0), None, Some(30.0)]));
    let volumes: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1, 2]));
    let prices = RecordBatch::try_from_iter_with_nullable([
        (
            "event_timestamp",
            instants([Some(0), Some(10), Some(20)]),
            false,
        ),
        ("close", closes, true),
        ("volume", volumes, false),
    ])
    .unwrap();
    write_parquet(&dir.join("prices.parquet"), &[prices], 10);
    std::fs::write(
        dir.join("prices.toml"),
        format!(
            "[[source]]\nname = \"prices\"\npath = \"prices.parquet\"\n[[feature_view]]\n\
             name = \"prices\"\nsource = \"prices\"\nfeatures = [{aggregates}]\n\
             [[on_demand_feature_view]]\nname = \"ratio\"\nsources = [\"prices\"]\n\
             features = [{{ name = \"twice\", type = \"Float64\", expression = \"2 * a\" }}]\n"
        ),
    )
    .unwrap();
    let mut store = FeatureStore::init(dir, "p")?;
    store.apply_dir()?;
    Ok(store)
}

#[tokio::test]
async fn a_window_opens_after_its_start_and_holds_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let store = prices(
        dir.path(),
        "{ name = \"a\", type = \"Float64\", \
         aggregate = { function = \"mean\", column = \"close\", window = \"20s\" } }",
    )
    .unwrap();
    let ticks = [-1, 0, 19, 20, 39, 40];
    let rows = EntityRows::at(ticks.map(at)).unwrap();
    let selection = FeatureSelection::features(["prices:a", "ratio:twice"]);
    let joined = store
        .get_historical_features(rows, &selection)
        .await
        .unwrap();
    // At 20 the row of 0 has left and that of 20 has come; at 40 that has left.
    let expected = [None, Some(10.0), Some(10.0), Some(30.0), Some(30.0), None];
    assert_eq!(columns(&joined, "a"), expected);
    // On-demand features are computed from aggregates as from other features.
    assert_eq!(
        columns(&joined, "twice"),
        expected.map(|x| x.map(|x| 2.0 * x))
    );
    // Online, before anything is materialized, nothing is known.
    let request: OnlineRequest =
        serde_json::from_value(json!({ "features": ["prices:a", "ratio:twice"] })).unwrap();
    let answer = store.get_online_features(&request, at(20)).unwrap();
    assert_eq!(answer.results[0].statuses, [FeatureStatus::NotFound]);
    store.materialize_incremental(&[], at(25)).await.unwrap();
    for (tick, value) in [(25, json!(30.0)), (39, json!(30.0)), (40, Value::Null)] {
        let answer = store.get_online_features(&request, at(tick)).unwrap();
        assert_eq!(answer.results[0].values, [value], "{tick}");
    }
    // A longer window than was kept is not known until the next time.
    let mut store = prices(
        dir.path(),
        "{ name = \"a\", type = \"Int64\", aggregate = { function = \"count\", window = \"1h\" } }",
    )
    .unwrap();
    let request: OnlineRequest =
        serde_json::from_value(json!({ "features": ["prices:a"] })).unwrap();
    let ask = |store: &FeatureStore| {
        let answer = store.get_online_features(&request, at(50)).unwrap();
        (
            answer.results[0].values[0].clone(),
            answer.results[0].statuses[0],
        )
    };
    assert_eq!(ask(&store), (Value::Null, FeatureStatus::NotFound));
    store.materialize_incremental(&[], at(50)).await.unwrap();
    assert_eq!(ask(&store), (json!(3), FeatureStatus::Present));
    // What is torn down is kept nowhere.
    store.teardown().unwrap();
    store.apply_dir().unwrap();
    assert_eq!(ask(&store), (Value::Null, FeatureStatus::NotFound));
}

#[tokio::test]
async fn a_sum_beyond_its_type_names_the_entity_row() {
    let dir = tempfile::tempdir().unwrap();
    let aggregate = "{ name = \"a\", type = \"Int64\", \
                     aggregate = { function = \"sum\", column = \"volume\", window = \"15s\" } }";
    let store = prices(dir.path(), aggregate).unwrap();
    let rows = EntityRows::at([at(20), at(12)]).unwrap();
    let selection = FeatureSelection::features(["prices:a"]);
    let error = store
        .get_historical_features(rows, &selection)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::InvalidValue { column, row: 1, .. } if column == "volume"),
        "{error:?}"
    );
}

#[test]
fn aggregates_that_cannot_work_are_refused() {
    for (aggregate, why) in [
        (
            "{ name = \"a\", type = \"Float64\", aggregate = { function = \"mean\", window = \"1d\" } }",
            "column",
        ),
        (
            "{ name = \"a\", type = \"Int64\", aggregate = { function = \"mean\", column = \"close\", window = \"1d\" } }",
            "Float64",
        ),
        (
            "{ name = \"a\", type = \"Float64\", aggregate = { function = \"mean\", column = \"close\", window = \"0s\" } }",
            "window",
        ),
        (
            "{ name = \"a\", type = \"Float64\", aggregate = { function = \"mean\", column = \"clse\", window = \"1d\" } }",
            "did you mean \"close\"",
        ),
        (
            "{ name = \"a\", type = \"String\", aggregate = { function = \"last\", column = \"close\", window = \"1d\" } }",
            "declared",
        ),
        (
            "{ name = \"a\", type = \"Float64\", aggregate = { function = \"median\", column = \"close\", window = \"1d\" } }",
            "median",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let error = prices(dir.path(), aggregate).unwrap_err().to_string();
        assert!(error.contains(why), "{aggregate}: {error}");
    }
}

#[tokio::test]
async fn held_rows_count_against_the_memory_limit() {
    let dir = tempfile::tempdir().unwrap();
    let many = 300_000;
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values((0..many).map(|x| x as f64)));
    let times = instants((0..many).map(|tick| Some(tick / 100)));
    let times = cast(&times, &DataType::Timestamp(TimeUnit::Millisecond, None)).unwrap();
    let rows = RecordBatch::try_from_iter([("event_timestamp", times), ("close", values)]).unwrap();
    prices(dir.path(), "{ name = \"a\", type = \"Float64\", aggregate = { function = \"sum\", column = \"close\", window = \"1d\" } }").unwrap();
    write_parquet(&dir.path().join("prices.parquet"), &[rows], 100_000);
    let store = FeatureStore::open(dir.path()).unwrap();
    let ask = || EntityRows::at([at(5_000)]).unwrap();
    let selection = FeatureSelection::features(["prices:a"]);
    let joined = store
        .get_historical_features(ask(), &selection)
        .await
        .unwrap();
    assert_eq!(joined["a"].null_count(), 0);
    let store = store.with_memory_limit(1 << 20).unwrap();
    let error = store
        .get_historical_features(ask(), &selection)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { .. }), "{error:?}");
    let error = store
        .materialize_incremental(&[], at(5_000))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::MemoryLimit { .. }), "{error:?}");
}
