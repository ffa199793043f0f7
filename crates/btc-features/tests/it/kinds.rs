//! Values that must not turn into others without a word.

use std::path::Path;
use std::sync::Arc;

use btc_features::arrow::array::{
    Array, ArrayRef, AsArray, Date32Array, Float32Array, Float64Array, Int64Array, ListArray,
    RecordBatch, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use btc_features::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use btc_features::datafusion::datasource::MemTable;
use btc_features::{Definitions, Error, FeatureSelection, FeatureStore, OnlineRequest, ValueType};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::write_parquet;

const DAY: i64 = 86_400;

fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(day * DAY, 0).unwrap()
}

fn days(days: impl IntoIterator<Item = i64>) -> ArrayRef {
    let seconds = days.into_iter().map(|day| day * DAY);
    Arc::new(TimestampSecondArray::from_iter_values(seconds))
}

fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn floats(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn batch(columns: impl IntoIterator<Item = (&'static str, ArrayRef)>) -> RecordBatch {
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Definitions of one view `v` over `s.parquet`, by `driver_id`.
fn definitions(key: &str, features: &str, more: &str) -> Definitions {
    Definitions::from_toml(&format!(
        "[[entity]]\nname = \"driver\"\njoin_key = \"driver_id\"\n{key}\n\
         [[source]]\nname = \"s\"\npath = \"s.parquet\"\n\
         [[feature_view]]\nname = \"v\"\nsource = \"s\"\nentities = [\"driver\"]\n\
         features = [{features}]\n{more}"
    ))
    .unwrap()
}

const INT64: &str = "value_type = \"Int64\"";
const X: &str = "{ name = \"x\", type = \"Float64\" }";

fn store(dir: &Path, rows: &RecordBatch, definitions: &Definitions) -> FeatureStore {
    write_parquet(&dir.join("s.parquet"), std::slice::from_ref(rows), 2);
    let mut store = FeatureStore::init(dir, "shop").unwrap();
    store.apply(definitions).unwrap();
    store
}

fn online(store: &FeatureStore, feature: &str, key: Value) -> Value {
    let body = json!({"features": [feature], "entities": {"driver_id": [key]}});
    let request: OnlineRequest = serde_json::from_value(body).unwrap();
    let answer = store.get_online_features(&request, at(20_000)).unwrap();
    answer.results.last().unwrap().values[0].clone()
}

async fn joined(store: &FeatureStore, rows: RecordBatch, feature: &str) -> Result<ArrayRef, Error> {
    let selection = FeatureSelection::features([feature]);
    let joined = store.get_historical_features(rows, &selection).await?;
    Ok(joined.columns().last().unwrap().clone())
}

fn x(column: &ArrayRef) -> Vec<Option<f64>> {
    column.as_primitive::<Float64Type>().iter().collect()
}

fn entities(keys: ArrayRef) -> RecordBatch {
    let times = days(vec![20; keys.len()]);
    batch([("driver_id", keys), ("event_timestamp", times)])
}

#[tokio::test]
async fn a_source_replaced_under_a_plan_is_read_as_it_was_planned() {
    let dir = tempfile::tempdir().unwrap();
    let rows = |x: f64| {
        batch([
            ("driver_id", integers([1])),
            ("event_timestamp", days([1])),
            ("x", floats([x])),
        ])
    };
    let store = store(dir.path(), &rows(50.0), &definitions(INT64, X, ""));
    let selection = FeatureSelection::features(["v:x"]);
    let plan = || store.historical_features(entities(integers([1])), &selection);
    let planned = plan().await.unwrap();
    write_parquet(&dir.path().join("new"), &[rows(51.0)], 2);
    std::fs::rename(dir.path().join("new"), dir.path().join("s.parquet")).unwrap();
    let value = |batches: Vec<RecordBatch>| x(batches[0].columns().last().unwrap());
    assert_eq!(value(planned.collect().await.unwrap()), [Some(50.0)]);
    assert_eq!(
        value(plan().await.unwrap().collect().await.unwrap()),
        [Some(51.0)]
    );
    // Written into instead of replaced, it is noticed.
    let planned = plan().await.unwrap();
    let later = std::fs::read(dir.path().join("s.parquet")).unwrap();
    let file = std::fs::File::options()
        .write(true)
        .open(dir.path().join("s.parquet"))
        .unwrap();
    std::io::Write::write_all(&mut &file, &later).unwrap();
    let soon = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    file.set_modified(soon).unwrap();
    let error = Error::from(planned.collect().await.unwrap_err());
    assert!(
        matches!(&error, Error::SourceChanged { name, .. } if name == "s"),
        "{error:?}"
    );
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sources_behind_one_link_are_read_in_one_state() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("states");
    let put = move |x: i64| {
        for source in ["a", "b"] {
            let rows = batch([
                ("driver_id", integers([1])),
                ("event_timestamp", days([1])),
                ("x", floats([x as f64])),
            ]);
            let path = state.join(format!("{x}/{source}/0.parquet"));
            write_parquet(&path, &[rows], 2);
        }
        // States that are two steps back are gone, as a collector would have it.
        let _ = std::fs::remove_dir_all(state.join((x - 2).to_string()));
        symlink(x.to_string(), state.join("next")).unwrap();
        std::fs::rename(state.join("next"), state.join("current")).unwrap();
    };
    put(1);
    let definitions = Definitions::from_toml(&format!(
        "[[entity]]\nname = \"driver\"\njoin_key = \"driver_id\"\n{INT64}\n\
         [[source]]\nname = \"a\"\npath = \"states/current/a\"\n\
         [[source]]\nname = \"b\"\npath = \"states/current/b\"\n\
         [[feature_view]]\nname = \"va\"\nsource = \"a\"\nentities = [\"driver\"]\nfeatures = [{X}]\n\
         [[feature_view]]\nname = \"vb\"\nsource = \"b\"\nentities = [\"driver\"]\nfeatures = [{X}]\n"
    ))
    .unwrap();
    let mut store = FeatureStore::init(dir.path(), "shop").unwrap();
    store.apply(&definitions).unwrap();
    let selection = FeatureSelection::features(["va:x", "vb:x"]).with_full_feature_names(true);
    let writer = tokio::task::spawn_blocking(move || (2..=100).for_each(put));
    let (mut reads, mut newest) = (0, 0.0);
    while reads < 300 || !writer.is_finished() {
        reads += 1;
        let rows = entities(integers([1]));
        let joined = store
            .get_historical_features(rows, &selection)
            .await
            .unwrap();
        let value = |name: &str| x(joined.column_by_name(name).unwrap())[0].unwrap();
        let (a, b) = (value("va__x"), value("vb__x"));
        assert_eq!(a, b, "a mixture of states");
        assert!(newest <= a);
        newest = a;
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_file_too_many_to_hold_open_is_refused_when_it_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let rows = |day: i64| {
        let x = floats([day as f64]);
        batch([
            ("driver_id", integers([1])),
            ("event_timestamp", days([day])),
            ("x", x),
        ])
    };
    for day in 0..140 {
        write_parquet(
            &dir.path().join(format!("d/{day:03}.parquet")),
            &[rows(day)],
            2,
        );
    }
    let text = definitions(INT64, X, "")
        .to_toml()
        .replace("s.parquet", "d");
    let mut store = FeatureStore::init(dir.path(), "shop").unwrap();
    store
        .apply(&Definitions::from_toml(&text).unwrap())
        .unwrap();
    let selection = FeatureSelection::features(["v:x"]);
    let late = batch([
        ("driver_id", integers([1])),
        ("event_timestamp", days([500])),
    ]);
    let planned = store
        .historical_features(late.clone(), &selection)
        .await
        .unwrap();
    write_parquet(&dir.path().join("new"), &[rows(7)], 2);
    std::fs::rename(dir.path().join("new"), dir.path().join("d/139.parquet")).unwrap();
    let error = Error::from(planned.collect().await.unwrap_err());
    assert!(matches!(error, Error::SourceChanged { .. }), "{error:?}");
    assert_eq!(
        x(&joined(&store, late, "v:x").await.unwrap()),
        [Some(138.0)]
    );
}

#[tokio::test]
async fn instants_that_nanoseconds_do_not_reach_stay_what_they_are() {
    const NEVER: i64 = 253_402_214_400_000_000;
    const FIRST: i64 = -62_135_596_800_000_000;
    let dir = tempfile::tempdir().unwrap();
    let until: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![NEVER, FIRST]));
    let day: ArrayRef = Arc::new(Date32Array::from(vec![2_932_896, -719_162]));
    // Not known before the year 9999, and known since ever.
    let known: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![0, 0]));
    let rows = batch([
        ("driver_id", integers([1, 2])),
        ("event_timestamp", known),
        ("until", until),
        ("day", day),
        ("x", floats([1.0, 2.0])),
    ]);
    let instant = "{ name = \"until\", type = \"UnixTimestamp\" }, \
                   { name = \"day\", type = \"UnixTimestamp\" }";
    let store = store(
        dir.path(),
        &rows,
        &definitions(INT64, &format!("{X}, {instant}"), ""),
    );
    let both = entities(integers([1, 2]));
    let until = joined(&store, both.clone(), "v:until").await.unwrap();
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    assert_eq!(until.data_type(), &utc(TimeUnit::Microsecond));
    assert_eq!(
        until
            .as_primitive::<btc_features::arrow::datatypes::TimestampMicrosecondType>()
            .values()[..],
        [NEVER, FIRST]
    );
    let day = joined(&store, both, "v:day").await.unwrap();
    assert_eq!(day.data_type(), &utc(TimeUnit::Millisecond));
    store.materialize(&[], at(0)..=at(20)).await.unwrap();
    for (key, micros) in [(1, NEVER), (2, FIRST)] {
        assert_eq!(
            online(&store, "v:until", json!(key)),
            json!(micros / 1_000_000)
        );
        assert_eq!(
            online(&store, "v:day", json!(key)),
            json!(micros / 1_000_000)
        );
        assert_eq!(online(&store, "v:x", json!(key)), json!(key as f64));
    }
}

#[tokio::test]
async fn event_times_at_the_ends_of_the_calendar_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let times =
        TimestampMicrosecondArray::from(vec![253_402_214_400_000_000, -62_135_596_800_000_000]);
    let rows = batch([
        ("driver_id", integers([1, 1])),
        ("event_timestamp", Arc::new(times) as ArrayRef),
        ("x", floats([9.0, 1.0])),
    ]);
    let store = store(dir.path(), &rows, &definitions(INT64, X, ""));
    let found = joined(&store, entities(integers([1])), "v:x")
        .await
        .unwrap();
    assert_eq!(x(&found), [Some(1.0)]);
}

/// Writes `INT96` timestamps as Spark does: nanoseconds of the day, Julian day.
fn write_int96(path: &Path, times: &[(i64, i64)]) {
    use btc_features::datafusion::parquet;
    use parquet::data_type::{DoubleType, Int64Type, Int96, Int96Type};
    let schema = "message s { required int64 driver_id; required int96 event_timestamp; \
                  required int96 t; required double x; }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer =
        parquet::file::writer::SerializedFileWriter::new(file, schema, Default::default()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let int96: Vec<Int96> = times
        .iter()
        .map(|(day, nanos)| {
            let mut value = Int96::new();
            value.set_data(
                *nanos as u32,
                (*nanos >> 32) as u32,
                (*day + 2_440_588) as u32,
            );
            value
        })
        .collect();
    let count = times.len() as i64;
    let mut column = group.next_column().unwrap().unwrap();
    let keys: Vec<i64> = (0..count).collect();
    column
        .typed::<Int64Type>()
        .write_batch(&keys, None, None)
        .unwrap();
    column.close().unwrap();
    for _ in 0..2 {
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int96Type>()
            .write_batch(&int96, None, None)
            .unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    let x: Vec<f64> = keys.iter().map(|key| *key as f64).collect();
    column
        .typed::<DoubleType>()
        .write_batch(&x, None, None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[tokio::test]
async fn int96_does_not_wrap_and_keeps_its_nanoseconds() {
    let dir = tempfile::tempdir().unwrap();
    // Day 1 and a nanosecond, 9999-12-31, 0001-01-01.
    write_int96(
        &dir.path().join("s.parquet"),
        &[(1, 1), (2_932_896, 0), (-719_162, 0)],
    );
    let features = format!("{X}, {{ name = \"t\", type = \"UnixTimestamp\" }}");
    let mut store = FeatureStore::init(dir.path(), "shop").unwrap();
    store.apply(&definitions(INT64, &features, "")).unwrap();
    let nanos = TimestampNanosecondArray::from(vec![DAY * 1_000_000_000, DAY * 1_000_000_000 + 1]);
    let early = batch([
        ("driver_id", integers([0, 0])),
        ("event_timestamp", Arc::new(nanos) as ArrayRef),
    ]);
    let found = joined(&store, early, "v:x").await.unwrap();
    assert_eq!(
        x(&found),
        [None, Some(0.0)],
        "known a nanosecond after midnight"
    );
    let found = joined(&store, entities(integers([0, 1, 2])), "v:t")
        .await
        .unwrap();
    let micros = found.as_primitive::<btc_features::arrow::datatypes::TimestampMicrosecondType>();
    assert_eq!(
        micros.iter().collect::<Vec<_>>(),
        [Some(DAY * 1_000_000), None, Some(-62_135_596_800_000_000)]
    );
    // As a file of entity rows, they are not wrapped either.
    let selection = FeatureSelection::features(["v:x"]).with_full_feature_names(true);
    let file = dir.path().join("s.parquet");
    let error = store
        .get_historical_features(file, &selection)
        .await
        .unwrap_err();
    assert!(
        matches!(&error, Error::InvalidValue { column, row: 1, .. } if column == "event_timestamp"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_value_that_its_type_cannot_hold_is_named_by_file_column_and_row() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "oops"]));
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![7, 8, u64::MAX]));
    for (declared, column, value) in [
        ("Int32", integers([1, 2, 1 << 31]), "2147483648"),
        ("Int64", floats([1.0, 2.0, 2.5]), "2.5"),
        ("Int64", large, "18446744073709551615"),
        ("Float32", floats([1.0, 2.0, 1e300]), "1e300"),
        ("Bool", integers([0, 1, 2]), "2"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let rows = batch([
            ("driver_id", integers([1, 2, 3])),
            ("event_timestamp", days([1, 1, 1])),
            ("x", column),
        ]);
        let feature = format!("{{ name = \"x\", type = \"{declared}\" }}");
        let store = store(dir.path(), &rows, &definitions(INT64, &feature, ""));
        let error = joined(&store, entities(integers([3])), "v:x")
            .await
            .unwrap_err();
        match &error {
            Error::InvalidValue {
                place,
                column,
                row,
                reason,
            } => {
                assert!(place.ends_with("s.parquet"), "{error}");
                assert_eq!((column.as_str(), *row), ("x", 2), "{error}");
                assert!(reason.starts_with(value), "{error}");
            }
            other => panic!("{other:?}"),
        }
        joined(&store, entities(integers([2])), "v:x")
            .await
            .unwrap();
    }
    // Text is no number, and a number no instant: refused before it is read.
    for (declared, column) in [
        ("Float64", texts),
        ("UnixTimestamp", integers([1_622_505_600, 0, 0])),
        ("Int64", days([1, 2, 3])),
        ("Array(Int64)", integers([1, 2, 3])),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let rows = batch([
            ("driver_id", integers([1, 2, 3])),
            ("event_timestamp", days([1, 1, 1])),
            ("x", column),
        ]);
        write_parquet(&dir.path().join("s.parquet"), &[rows], 2);
        let mut store = FeatureStore::init(dir.path(), "shop").unwrap();
        let feature = format!("{{ name = \"x\", type = \"{declared}\" }}");
        let error = store.apply(&definitions(INT64, &feature, "")).unwrap_err();
        assert!(
            matches!(error, Error::SchemaMismatch { .. }),
            "{declared}: {error:?}"
        );
    }
}

#[tokio::test]
async fn keys_beyond_their_type_are_not_left_out_of_the_online_store() {
    let large: ArrayRef = Arc::new(UInt64Array::from(vec![7, u64::MAX]));
    for (declared, keys, value) in [
        ("Int64", large, "18446744073709551615"),
        ("Int32", integers([7, 1 << 31]), "2147483648"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let rows = batch([
            ("driver_id", keys),
            ("event_timestamp", days([1, 1])),
            ("x", floats([1.0, 2.0])),
        ]);
        let key = format!("value_type = \"{declared}\"");
        let store = store(dir.path(), &rows, &definitions(&key, X, ""));
        let error = store.materialize(&[], at(0)..=at(2)).await.unwrap_err();
        assert!(
            matches!(&error, Error::InvalidValue { row: 1, reason, .. } if reason.starts_with(value)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_float_that_several_integers_round_to_is_no_key() {
    const ID: i64 = 1_700_000_000_000_000_001;
    let dir = tempfile::tempdir().unwrap();
    let rows = batch([
        ("driver_id", integers([ID - 1, ID, 16_777_217])),
        ("event_timestamp", days([1, 1, 1])),
        ("x", floats([0.0, 1.0, 2.0])),
    ]);
    let store = store(dir.path(), &rows, &definitions(INT64, X, ""));
    let nullable: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(ID as f64)]));
    let narrow: ArrayRef = Arc::new(Float32Array::from(vec![1.0, 16_777_217.0]));
    for keys in [nullable, narrow] {
        let error = joined(&store, entities(keys), "v:x").await.unwrap_err();
        assert!(
            matches!(&error, Error::InvalidValue { place, column, row: 1, .. }
                if place == "the entity rows" && column == "driver_id"),
            "{error}"
        );
    }
    let exact: ArrayRef = Arc::new(Float64Array::from(vec![Some(16_777_217.0), None]));
    assert_eq!(
        x(&joined(&store, entities(exact), "v:x").await.unwrap()),
        [Some(2.0), None]
    );
    store.materialize(&[], at(0)..=at(2)).await.unwrap();
    assert_eq!(online(&store, "v:x", json!(ID)), json!(1.0));
    assert_eq!(online(&store, "v:x", json!(ID.to_string())), json!(1.0));
    let body = json!({"features": ["v:x"], "entities": {"driver_id": [ID as f64]}});
    let request: OnlineRequest = serde_json::from_value(body).unwrap();
    assert!(store.get_online_features(&request, at(3)).is_err());
}

#[tokio::test]
async fn ids_that_look_like_numbers_are_text() {
    let ids = [
        "1e5",
        "007",
        "1.50",
        "true",
        "null",
        "12345678901234567890123",
        "-0",
        "10.0",
    ];
    let dir = tempfile::tempdir().unwrap();
    let rows = batch([
        (
            "driver_id",
            Arc::new(StringArray::from(ids.to_vec())) as ArrayRef,
        ),
        ("event_timestamp", days(vec![1; ids.len()])),
        ("x", floats((0..ids.len()).map(|x| x as f64))),
    ]);
    let store = store(
        dir.path(),
        &rows,
        &definitions("value_type = \"String\"", X, ""),
    );
    store.materialize(&[], at(0)..=at(2)).await.unwrap();
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(
            online(&store, "v:x", json!(id)),
            json!(number as f64),
            "{id}"
        );
    }
    // The text of such a number is lost before it comes here.
    let body = json!({"features": ["v:x"], "entities": {"driver_id": [1e5]}});
    let request: OnlineRequest = serde_json::from_value(body).unwrap();
    assert!(store.get_online_features(&request, at(3)).is_err());
}

#[tokio::test]
async fn a_list_with_a_null_does_not_shift_online() {
    let dir = tempfile::tempdir().unwrap();
    let list = |items: Vec<Option<i64>>| {
        ListArray::from_iter_primitive::<Int64Type, _, _>([Some(items), None, Some(vec![])])
    };
    let rows = |items| {
        batch([
            ("driver_id", integers([1, 2, 3])),
            ("event_timestamp", days([1, 1, 1])),
            ("l", Arc::new(list(items)) as ArrayRef),
        ])
    };
    let feature = "{ name = \"l\", type = \"Array(Int64)\" }";
    let holed = rows(vec![Some(1), None, Some(3)]);
    let store = store(dir.path(), &holed, &definitions(INT64, feature, ""));
    let error = store.materialize(&[], at(0)..=at(2)).await.unwrap_err();
    assert!(
        matches!(&error, Error::InvalidValue { column, row: 0, .. } if column == "l"),
        "{error}"
    );
    write_parquet(
        &dir.path().join("s.parquet"),
        &[rows(vec![Some(1), Some(3)])],
        2,
    );
    store.materialize(&[], at(0)..=at(2)).await.unwrap();
    assert_eq!(online(&store, "v:l", json!(1)), json!([1, 3]));
    assert_eq!(online(&store, "v:l", json!(2)), Value::Null);
    assert_eq!(online(&store, "v:l", json!(3)), json!([]));
}

#[tokio::test]
async fn every_kind_of_time_comes_back_from_a_file_as_a_timestamp() {
    let dir = tempfile::tempdir().unwrap();
    let rows = batch([
        ("driver_id", integers([1])),
        ("event_timestamp", days([1])),
        ("x", floats([5.0])),
    ]);
    let store = store(dir.path(), &rows, &definitions(INT64, X, ""));
    let day: ArrayRef = Arc::new(Date32Array::from(vec![20]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1970-01-21"]));
    let cast = |to| btc_features::arrow::compute::cast(&day, &to).unwrap();
    let named = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    for times in [
        Arc::clone(&day),
        cast(DataType::Date64),
        cast(DataType::Timestamp(TimeUnit::Second, None)),
        cast(DataType::Timestamp(TimeUnit::Second, Some("+02:00".into()))),
        cast(DataType::Timestamp(TimeUnit::Millisecond, None)),
        cast(DataType::Timestamp(TimeUnit::Microsecond, None)),
        cast(DataType::Timestamp(TimeUnit::Nanosecond, None)),
        btc_features::arrow::compute::cast(&text, &named).unwrap(),
        text,
    ] {
        let given = times.data_type().clone();
        let other = cast(DataType::Date64);
        let rows = batch([
            ("driver_id", integers([1])),
            ("event_timestamp", times),
            ("opened", other),
        ]);
        let selection = FeatureSelection::features(["v:x"]);
        let frame = store.historical_features(rows, &selection).await.unwrap();
        let path = dir.path().join("out.parquet");
        btc_features::write_parquet(frame, &path).await.unwrap();
        // Without Arrow's hints, as other readers see the file.
        use btc_features::datafusion::parquet::arrow::arrow_reader::{
            ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
        };
        let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let file = std::fs::File::open(&path).unwrap();
        let reader = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options).unwrap();
        let read = reader.build().unwrap().next().unwrap().unwrap();
        for name in ["event_timestamp", "opened"] {
            let column = &read[name];
            assert!(
                matches!(column.data_type(), DataType::Timestamp(..)),
                "{given}: {column:?}"
            );
            let millis = DataType::Timestamp(TimeUnit::Millisecond, None);
            let millis = btc_features::arrow::compute::cast(column, &millis).unwrap();
            let millis = btc_features::arrow::compute::cast(&millis, &DataType::Int64).unwrap();
            let shifted = if given == DataType::Timestamp(TimeUnit::Second, Some("+02:00".into()))
                && name == "event_timestamp"
            {
                // A date is the day's start in the zone that it is cast to.
                2 * 3_600_000
            } else {
                0
            };
            assert_eq!(
                millis.as_primitive::<Int64Type>().value(0),
                20 * DAY * 1_000 - shifted,
                "{given}"
            );
        }
        assert_eq!(x(&read["x"]), [Some(5.0)]);
    }
}

#[tokio::test]
async fn two_columns_of_one_name_are_refused() {
    use btc_features::arrow::datatypes::{Field, Schema};
    let dir = tempfile::tempdir().unwrap();
    let schema = Schema::new(vec![
        Field::new("driver_id", DataType::Int64, true),
        Field::new(
            "event_timestamp",
            DataType::Timestamp(TimeUnit::Second, None),
            true,
        ),
        Field::new("x", DataType::Float64, true),
        Field::new("x", DataType::Float64, true),
    ]);
    let columns = vec![integers([1]), days([1]), floats([1.0]), floats([2.0])];
    let rows = RecordBatch::try_new(Arc::new(schema), columns).unwrap();
    write_parquet(&dir.path().join("s.parquet"), &[rows], 2);
    let mut store = FeatureStore::init(dir.path(), "shop").unwrap();
    let error = store.apply(&definitions(INT64, X, "")).unwrap_err();
    assert!(error.to_string().contains("two columns \"x\""), "{error}");
    // Or one of that name, and another that is mapped to it.
    let rows = batch([
        ("driver_id", integers([1])),
        ("event_timestamp", days([1])),
        ("x", floats([1.0])),
        ("y", floats([2.0])),
    ]);
    write_parquet(&dir.path().join("s.parquet"), &[rows], 2);
    let text = definitions(INT64, X, "").to_toml();
    let text = text.replace(
        "path = \"s.parquet\"",
        "path = \"s.parquet\"\nfield_mapping = { y = \"x\" }",
    );
    let error = store
        .apply(&Definitions::from_toml(&text).unwrap())
        .unwrap_err();
    assert!(
        error.to_string().contains("map it to another name"),
        "{error}"
    );
}

#[tokio::test]
async fn statistics_are_of_the_table_that_stands_in_for_the_files() {
    let dir = tempfile::tempdir().unwrap();
    let rows = |x: Vec<f64>| {
        let days = days((0..x.len()).map(|day| day as i64));
        batch([
            ("driver_id", integers(vec![1; x.len()])),
            ("event_timestamp", days),
            ("x", floats(x)),
        ])
    };
    let checks = "checks = { min = 0 }";
    let text = definitions(INT64, X, "").to_toml();
    let text = text.replace(
        "[[feature_view.features]]",
        &format!("{checks}\n[[feature_view.features]]"),
    );
    let text = if text.contains(checks) {
        text
    } else {
        text.replace("source = \"s\"", &format!("source = \"s\"\n{checks}"))
    };
    let definitions = Definitions::from_toml(&text).unwrap();
    let table = rows(vec![-1.0]);
    let table = MemTable::try_new(table.schema(), vec![vec![table]]).unwrap();
    let store =
        store(dir.path(), &rows(vec![5.0; 9]), &definitions).with_table("s", Arc::new(table));
    let all = store
        .statistics(&[], at(0)..=at(20), None, at(20))
        .await
        .unwrap();
    assert_eq!((all[0].rows, all[0].features[0].values), (1, 1));
    assert_eq!(all[0].features[0].numeric.as_ref().unwrap().max, -1.0);
    let broken = store.validate(&[], at(20)).await.unwrap();
    assert_eq!(broken.len(), 1, "{broken:?}");
    // Keys of a period and the online store see the table, too.
    let reports = store.materialize(&[], at(0)..=at(20)).await.unwrap();
    assert_eq!(reports[0].keys, 1);
    assert_eq!(online(&store, "v:x", json!(1)), json!(-1.0));
}

#[tokio::test]
async fn a_memory_limit_holds_for_statistics_and_for_the_keys_of_a_period() {
    let dir = tempfile::tempdir().unwrap();
    let count = 100_000;
    let rows = batch([
        ("driver_id", integers(0..count)),
        ("event_timestamp", days(vec![1; count as usize])),
        ("x", floats((0..count).map(|x| x as f64))),
    ]);
    let definitions = definitions(INT64, X, "");
    let path = dir.path().join("s.parquet");
    write_parquet(&path, &[rows], 50_000);
    let mut store = FeatureStore::init(dir.path(), "shop").unwrap();
    store.apply(&definitions).unwrap();
    let wide = store.with_memory_limit(100 << 20).unwrap();
    wide.statistics(&[], at(0)..=at(2), None, at(3))
        .await
        .unwrap();
    let tight = wide.with_memory_limit(100 << 10).unwrap();
    let error = tight
        .statistics(&[], at(0)..=at(2), None, at(3))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::MemoryLimit(_)), "{error:?}");
    let period = btc_features::EntityRows::between(at(0), at(2));
    let selection = FeatureSelection::features(["v:x"]);
    let error = tight
        .get_historical_features(period, &selection)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::MemoryLimit(_)), "{error:?}");
}

#[tokio::test]
async fn limits_leave_registered_tables_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let store = FeatureStore::init(dir.path(), "shop").unwrap();
    store
        .context()
        .register_batch("orders", batch([("x", floats([4.0]))]))
        .unwrap();
    let store = store
        .with_target_partitions(2)
        .unwrap()
        .with_memory_limit(1 << 20)
        .unwrap();
    let frame = store.context().sql("select x from orders").await.unwrap();
    let batches = frame.collect().await.unwrap();
    assert_eq!(x(batches[0].column(0)), [Some(4.0)]);
}

#[tokio::test]
async fn entity_rows_come_from_a_file_of_any_name_and_nothing_but_parquet() {
    let dir = tempfile::tempdir().unwrap();
    let rows = batch([
        ("driver_id", integers([1])),
        ("event_timestamp", days([1])),
        ("x", floats([5.0])),
    ]);
    let store = store(dir.path(), &rows, &definitions(INT64, X, ""));
    let selection = FeatureSelection::features(["v:x"]);
    for name in ["e.pq", "e", "e[1].parquet", "e*?.parquet", "e f%20.parquet"] {
        let path = dir.path().join(name);
        write_parquet(&path, &[entities(integers([1]))], 2);
        let joined = store
            .get_historical_features(path.as_path(), &selection)
            .await
            .unwrap();
        assert_eq!(x(&joined["x"]), [Some(5.0)], "{name}");
    }
    let csv = dir.path().join("e.csv");
    std::fs::write(&csv, "driver_id,event_timestamp\n1,2021-06-02\n").unwrap();
    let error = store
        .get_historical_features(csv.as_path(), &selection)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("is not a Parquet file"),
        "{error}"
    );
}

#[tokio::test]
async fn an_entity_without_a_type_has_that_of_its_column() {
    let dir = tempfile::tempdir().unwrap();
    let rows = batch([
        ("driver_id", integers([1001])),
        ("event_timestamp", days([1])),
        ("x", floats([1.0])),
    ]);
    let untyped = definitions("", X, "");
    let mut store = store(dir.path(), &rows, &untyped);
    assert_eq!(
        store.registry().definitions.entities["driver"].value_type,
        Some(ValueType::Int64)
    );
    assert!(
        store.apply(&untyped).unwrap().is_empty(),
        "a second apply changes nothing"
    );
    store.materialize(&[], at(0)..=at(2)).await.unwrap();
    assert_eq!(online(&store, "v:x", json!(1001)), json!(1.0));
    // A declared type that the column does not have is refused at apply.
    let text = batch([
        (
            "driver_id",
            Arc::new(StringArray::from(vec!["D1"])) as ArrayRef,
        ),
        ("event_timestamp", days([1])),
        ("x", floats([1.0])),
    ]);
    write_parquet(&dir.path().join("s.parquet"), &[text], 2);
    let error = store
        .apply(&definitions("value_type = \"Int32\"", X, ""))
        .unwrap_err();
    assert!(matches!(error, Error::SchemaMismatch { .. }), "{error:?}");
    assert!(error.to_string().contains("driver_id"), "{error}");
}

#[tokio::test]
async fn an_older_value_of_the_same_second_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let nanos = TimestampNanosecondArray::from(vec![86_400_200_000_000, 86_400_900_000_000]);
    let rows = batch([
        ("driver_id", integers([1, 1])),
        ("event_timestamp", Arc::new(nanos) as ArrayRef),
        ("x", floats([0.2, 0.9])),
    ]);
    let store = store(dir.path(), &rows, &definitions(INT64, X, ""));
    store.materialize(&[], at(0)..=at(2)).await.unwrap();
    let half = at(1) + chrono::TimeDelta::milliseconds(500);
    store.materialize(&[], at(0)..=half).await.unwrap();
    assert_eq!(online(&store, "v:x", json!(1)), json!(0.9));
}
