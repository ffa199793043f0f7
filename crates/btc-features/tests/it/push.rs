//! Pushed rows: offline and online at once, checked before they are written.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use btc_features::arrow::array::{
    ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, TimestampSecondArray,
};
use btc_features::arrow::datatypes::{Float64Type, Int64Type};
use btc_features::{
    Aggregate, AggregateFunction, Definitions, Entity, EntityRows, Error, FeatureSelection,
    FeatureService, FeatureStore, FeatureView, Field, FileSource, ObjectKind, OnlineRequest,
    PushTo, ValueType,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::write_parquet;

fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(day * 86_400, 0).unwrap()
}

/// Rows of drivers: id, day and trips.
fn rows(rows: &[(i64, i64, i64)]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)));
    let days: ArrayRef = Arc::new(TimestampSecondArray::from_iter_values(
        rows.iter().map(|row| row.1 * 86_400),
    ));
    let trips: ArrayRef = Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.2)));
    RecordBatch::try_from_iter([
        ("driver_id", ids),
        ("event_timestamp", days),
        ("trips", trips),
    ])
    .unwrap()
}

fn store(dir: &Path, path: &str, created: bool) -> FeatureStore {
    let mut source = FileSource::new("stats", path, "event_timestamp");
    if created {
        source = source.with_created_timestamp_column("created");
    }
    let week = Duration::from_secs(7 * 86_400);
    let mut store = FeatureStore::init(dir, "taxi").unwrap();
    store
        .apply(
            &Definitions::new()
                .with_entity(
                    Entity::new("driver")
                        .with_join_key("driver_id")
                        .with_value_type(ValueType::Int64),
                )
                .with_source(source)
                .with_feature_view(
                    FeatureView::new("stats", "stats")
                        .with_entities(["driver"])
                        .with_features([
                            Field::new("trips", ValueType::Int64).with_tag("unit", "trips"),
                            Field::new("trips_7d", ValueType::Int64).with_aggregate(
                                Aggregate::new(AggregateFunction::Sum, "trips", week),
                            ),
                        ]),
                )
                .with_feature_service(FeatureService::new("daily", ["stats"])),
        )
        .unwrap();
    store
}

/// Trips and their sum of a week, for drivers 1 and 2 at the start of a day:
/// joined, and read online.
async fn both(store: &FeatureStore, day: i64) -> (Vec<[Option<i64>; 2]>, Vec<[Option<i64>; 2]>) {
    let days: ArrayRef = Arc::new(TimestampSecondArray::from(vec![day * 86_400; 2]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let asked =
        RecordBatch::try_from_iter([("driver_id", ids), ("event_timestamp", days)]).unwrap();
    let joined = store
        .get_historical_features(asked, &FeatureSelection::service("daily"))
        .await
        .unwrap();
    let column = |name: &str| -> Vec<Option<i64>> {
        joined[name].as_primitive::<Int64Type>().iter().collect()
    };
    let joined = column("trips").into_iter().zip(column("trips_7d"));
    let request: OnlineRequest = serde_json::from_value(
        json!({ "feature_service": "daily", "entities": { "driver_id": [1, 2] } }),
    )
    .unwrap();
    let answer = store.get_online_features(&request, at(day)).unwrap();
    let online = |row: usize| {
        let value = |column: usize| answer.results[column].values[row].as_i64();
        [value(1), value(2)]
    };
    (
        joined.map(|(a, b)| [a, b]).collect(),
        vec![online(0), online(1)],
    )
}

#[tokio::test]
async fn what_is_pushed_is_joined_and_served_at_once() {
    for (path, created) in [
        ("stats.parquet", false),
        ("stats.parquet", true),
        ("stats", false),
        ("stats", true),
    ] {
        for present in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let store = store(dir.path(), path, created);
            let first = [(1, 1, 5), (2, 1, 7)];
            if present {
                let place = dir.path().join(path);
                let place = if path == "stats" {
                    place.join("z.parquet")
                } else {
                    place
                };
                let mut batch = rows(&first);
                if created {
                    let columns = ["driver_id", "event_timestamp", "trips"];
                    let mut columns: Vec<(&str, ArrayRef)> =
                        columns.map(|name| (name, batch[name].clone())).into();
                    columns.push(("created", batch["event_timestamp"].clone()));
                    batch = RecordBatch::try_from_iter(columns).unwrap();
                }
                write_parquet(&place, &[batch], 10);
            } else {
                store
                    .push("stats", rows(&first), PushTo::default(), at(1))
                    .await
                    .unwrap();
            }
            let push = |day, rows| store.push("stats", rows, PushTo::default(), at(day));
            // Twice the same driver, the newer row first; and an older row late.
            let report = push(3, rows(&[(1, 3, 20), (1, 2, 10)])).await.unwrap();
            assert_eq!((report.rows, report.keys), (2, 1));
            assert!(report.file.is_some_and(|file| file.is_file()));
            let context = format!("{path}, created {created}, present {present}");
            let (joined, online) = both(&store, 3).await;
            assert_eq!(
                joined,
                [[Some(20), Some(35)], [Some(7), Some(7)]],
                "{context}"
            );
            // What lies in the files and was never materialized is not online,
            // but for windows, which are whole.
            assert_eq!(online[0], [Some(20), Some(35)], "{context}");
            push(3, rows(&[(2, 0, 100)])).await.unwrap();
            push(4, rows(&[(2, 4, 1)])).await.unwrap();
            let (joined, online) = both(&store, 4).await;
            assert_eq!(
                joined,
                [[Some(20), Some(35)], [Some(1), Some(108)]],
                "{context}"
            );
            assert_eq!(online, joined, "{context}");
            // A correction of the same instant: the last one counts, also where a file
            // whose name comes late was there before.
            push(4, rows(&[(2, 4, 2)])).await.unwrap();
            let (joined, online) = both(&store, 4).await;
            let sum = if created { 109 } else { 110 };
            assert_eq!(
                joined,
                [[Some(20), Some(35)], [Some(2), Some(sum)]],
                "{context}"
            );
            assert_eq!(online, joined, "{context}");
            // The next materialization finds what is there.
            store.materialize_incremental(&[], at(5)).await.unwrap();
            let (joined, online) = both(&store, 5).await;
            assert_eq!(online, joined, "{context}");
            // Days later rows have left the window, without another push: those of
            // seven days ago are the last to go.
            let (joined, online) = both(&store, 9).await;
            assert_eq!(online, joined, "{context}");
            assert_eq!(joined[0], [Some(20), Some(20)], "{context}");
            // Small pushes share a file.
            let files = std::fs::read_dir(dir.path().join("stats"));
            let files = files.map_or(1, Iterator::count);
            assert_eq!(
                files,
                1 + usize::from(present && path == "stats"),
                "{context}"
            );
        }
    }
}

#[tokio::test]
async fn rows_that_do_not_fit_are_named_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "stats", false);
    let good = rows(&[(1, 1, 5), (2, 1, 7)]);
    let with = |name: &str, column: ArrayRef| {
        let mut columns: Vec<(String, ArrayRef)> = good
            .schema()
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .zip(good.columns().iter().cloned())
            .collect();
        match columns.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = column,
            None => columns.push((name.to_owned(), column)),
        }
        RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .unwrap()
    };
    let floats =
        |values: [f64; 2]| -> ArrayRef { Arc::new(Float64Array::from_iter_values(values)) };
    for (bad, why) in [
        (
            with("trips", floats([1.0, 1.5])),
            vec!["trips", "row 1", "1.5"],
        ),
        (
            with("driver_id", Arc::new(Int64Array::from(vec![Some(1), None]))),
            vec!["driver_id", "row 1", "null"],
        ),
        (
            with(
                "event_timestamp",
                Arc::new(TimestampSecondArray::from(vec![None, Some(1)])),
            ),
            vec!["event_timestamp", "row 0", "null"],
        ),
        (
            with(
                "event_timestamp",
                Arc::new(TimestampSecondArray::from(vec![253_402_300_799, 0])),
            ),
            vec!["event_timestamp", "row 0", "1677 to 2262"],
        ),
        (
            with("trips", Arc::new(StringArray::from(vec!["1", "2"]))),
            vec!["trips", "Utf8", "the pushed rows"],
        ),
        (
            with("tripss", floats([1.0, 2.0])),
            vec!["tripss", "did you mean \"trips\""],
        ),
        (
            good.project(&[0, 1]).unwrap(),
            vec!["trips", "the pushed rows"],
        ),
        (good.project(&[1, 2]).unwrap(), vec!["driver_id"]),
    ] {
        let error = store
            .push("stats", bad, PushTo::default(), at(2))
            .await
            .unwrap_err();
        let text = error.to_string();
        assert!(
            why.iter().all(|part| text.contains(part)),
            "{why:?}: {text}"
        );
        assert!(!dir.path().join("stats").exists() && !dir.path().join("online_store.db").exists());
    }
    let error = store
        .push("statts", good.clone(), PushTo::default(), at(2))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::UnknownObject { .. }), "{error:?}");
    // Of no rows nothing becomes of.
    let report = store
        .push("stats", good.slice(0, 0), PushTo::default(), at(2))
        .await
        .unwrap();
    assert_eq!((report.rows, report.file), (0, None));
}

#[tokio::test]
async fn a_pattern_and_a_table_take_no_rows_offline() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "stats/*.parquet", false);
    write_parquet(
        &dir.path().join("stats/1.parquet"),
        &[rows(&[(1, 1, 5)])],
        10,
    );
    let error = store
        .push("stats", rows(&[(1, 2, 6)]), PushTo::default(), at(2))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("pattern"), "{error}");
    // Online alone works, windows and all.
    store
        .push("stats", rows(&[(1, 2, 6)]), PushTo::Online, at(2))
        .await
        .unwrap();
    let (joined, online) = both(&store, 2).await;
    assert_eq!(joined[0], [Some(5), Some(5)]);
    assert_eq!(online[0], [Some(6), Some(11)]);
    // Offline alone leaves the online store as it is.
    let table = store
        .context()
        .read_batch(rows(&[(1, 1, 5)]))
        .unwrap()
        .into_view();
    let store = store.with_table("stats", table);
    let error = store
        .push("stats", rows(&[(1, 3, 6)]), PushTo::Offline, at(3))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("registered table"), "{error}");
}

#[tokio::test]
async fn many_pushes_make_few_files_and_a_file_of_one_s_own_stays_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "stats", false);
    let many: Vec<_> = (0..6_000).map(|n| (n, 1, n)).collect();
    write_parquet(
        &dir.path().join("stats/~~.parquet"),
        &[rows(&[(1, 1, 5)])],
        10,
    );
    // No name comes after that one.
    let error = store
        .push("stats", rows(&many), PushTo::Offline, at(1))
        .await
        .unwrap_err();
    assert!(error.to_string().contains("rename"), "{error}");
    std::fs::rename(
        dir.path().join("stats/~~.parquet"),
        dir.path().join("stats/a.parquet"),
    )
    .unwrap();
    let mut files = Vec::new();
    for _ in 0..3 {
        let report = store
            .push("stats", rows(&many), PushTo::Offline, at(1))
            .await
            .unwrap();
        files.push(report.file.unwrap());
    }
    // Two of 6,000 rows are more than share a file.
    files.dedup();
    assert_eq!(files.len(), 3);
    let report = store
        .push("stats", rows(&[(1, 2, 9)]), PushTo::Offline, at(2))
        .await
        .unwrap();
    assert_eq!(report.file.as_ref(), files.last());
    let (joined, online) = both(&store, 2).await;
    assert_eq!(joined[0][0], Some(9));
    assert_eq!(online, [[None, None], [None, None]]);
}

#[tokio::test]
async fn rows_in_json_keep_the_fraction_of_their_second() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "stats", false);
    let push = |df: Value| {
        let request = json!({ "push_source_name": "stats", "df": df, "to": "online_and_offline" });
        let request = serde_json::from_value(request).unwrap();
        let store = &store;
        async move { store.push_json(&request, at(20_000)).await }
    };
    let report = push(json!({
        "driver_id": [1, "1", 1],
        "event_timestamp": ["2022-06-01T12:00:00.5Z", "2022-06-01 12:00:00.25", 1_654_084_800],
        "trips": [3, 2, 1],
    }))
    .await
    .unwrap();
    assert_eq!((report.rows, report.keys), (3, 1));
    let instant = |nanos| DateTime::from_timestamp(1_654_084_800, nanos).unwrap();
    let request: OnlineRequest = serde_json::from_value(
        json!({ "features": ["stats:trips"], "entities": { "driver_id": [1] } }),
    )
    .unwrap();
    let answer = store.get_online_features(&request, instant(0)).unwrap();
    assert_eq!(answer.results[1].values, [json!(3)]);
    for (df, why) in [
        (
            json!({ "driver_id": [1], "event_timestamp": ["yesterday"], "trips": [1] }),
            "yesterday",
        ),
        (
            json!({ "driver_id": [1], "event_timestamp": [1, 2], "trips": [1] }),
            "length",
        ),
        (
            json!({ "driver_id": 1, "event_timestamp": [1], "trips": [1] }),
            "list",
        ),
        (
            json!({ "driver_id": [1], "event_timestamp": [1], "trips": [1.5] }),
            "row 0",
        ),
        (
            json!({ "driver_id": [1], "event_timestamp": [1], "rides": [1] }),
            "rides",
        ),
    ] {
        let error = push(df.clone()).await.unwrap_err().to_string();
        assert!(error.contains(why), "{df}: {error}");
    }
}

#[tokio::test]
async fn what_a_change_breaks_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), "stats", false);
    store
        .push("stats", rows(&[(1, 1, 5)]), PushTo::Offline, at(1))
        .await
        .unwrap();
    let selection = FeatureSelection::service("daily");
    let asked = EntityRows::between(at(0), at(2));
    let path = dir.path().join("set.parquet");
    store
        .save_dataset("train", asked, &selection, &path, at(3))
        .await
        .unwrap();
    let asked = EntityRows::between(at(0), at(2));
    let list = FeatureSelection::features(["stats:trips"]);
    store
        .save_dataset("list", asked, &list, &path, at(3))
        .await
        .unwrap();
    let names = |kind, name: &str| -> Vec<String> {
        let users = store.registry().dependents(kind, name);
        users.into_iter().map(|user| user.name).collect()
    };
    assert_eq!(
        names(ObjectKind::Entity, "driver"),
        ["stats", "daily", "list", "train"]
    );
    assert_eq!(
        names(ObjectKind::Source, "stats"),
        ["stats", "daily", "list", "train"]
    );
    assert_eq!(
        names(ObjectKind::FeatureView, "stats"),
        ["daily", "list", "train"]
    );
    assert_eq!(names(ObjectKind::FeatureService, "daily"), ["train"]);
    assert!(names(ObjectKind::SavedDataset, "train").is_empty());
    let changed = FeatureView::new("stats", "stats")
        .with_entities(["driver"])
        .with_features([Field::new("trips", ValueType::Float64)]);
    let plan = store
        .plan(&Definitions::new().with_feature_view(changed))
        .unwrap();
    let note = "feature view \"stats\" is used by feature service \"daily\", saved data set \
                \"list\", saved data set \"train\"";
    assert!(
        plan.notes.iter().any(|told| told == note),
        "{:?}",
        plan.notes
    );
    let joined = store
        .get_historical_features(EntityRows::between(at(0), at(2)), &list)
        .await
        .unwrap();
    assert!(joined["trips"].as_primitive_opt::<Float64Type>().is_none());
}
