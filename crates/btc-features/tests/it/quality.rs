//! Statistics and rules.

use std::path::Path;
use std::sync::Arc;

use btc_features::arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
use btc_features::{Definitions, Error, FeatureStore};
use chrono::{DateTime, Utc};

use crate::support::write_parquet;

fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(day * 86_400, 0).unwrap()
}

/// A value a day for a hundred days: `day`, every tenth null; from day 80 on
/// ten times as much.
fn store(dir: &Path, checks: &str) -> FeatureStore {
    let days: ArrayRef = Arc::new(TimestampSecondArray::from_iter_values(
        (0..100).map(|day| day * 86_400),
    ));
    let close: Float64Array = (0..100)
        .map(|day| (day % 10 != 0).then_some(f64::from(if day < 80 { day } else { 10 * day })))
        .collect();
    let close: ArrayRef = Arc::new(close);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("event_timestamp", days, false),
        ("close", close, true),
    ])
    .unwrap();
    write_parquet(&dir.join("data.parquet"), &[batch], 16);
    let text = format!(
        "[[source]]\nname = \"s\"\npath = \"data.parquet\"\n\
         [[feature_view]]\nname = \"ohlcv\"\nsource = \"s\"\nttl = \"3d\"\n{checks}\n\
         features = [{{ name = \"close\", type = \"Float64\" }}]\n"
    );
    let mut store = FeatureStore::init(dir, "bitcoin").unwrap();
    store
        .apply(&Definitions::from_toml(&text).unwrap())
        .unwrap();
    store
}

#[tokio::test]
async fn statistics_are_of_the_period() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "");
    let all = store
        .statistics(&[], at(0)..=at(20), None, at(22))
        .await
        .unwrap();
    let view = &all[0];
    assert_eq!(
        (view.rows, view.first, view.last),
        (21, Some(at(0)), Some(at(20)))
    );
    assert_eq!(
        (view.age_seconds, view.stale),
        (Some(2.0 * 86_400.0), false)
    );
    let close = &view.features[0];
    assert_eq!((close.values, close.last_value), (18, Some(at(19))));
    assert!((close.null_share - 3.0 / 21.0).abs() < 1e-12);
    // 1 to 9 and 11 to 19: by hand.
    let numeric = close.numeric.as_ref().unwrap();
    assert_eq!(
        (numeric.min, numeric.median, numeric.max),
        (1.0, 10.0, 19.0)
    );
    assert_eq!(
        (numeric.p25, numeric.p75, numeric.mean),
        (5.25, 14.75, 10.0)
    );
    // Nine deviations on either side: 2 * (1 + 4 + ... + 81) = 570.
    assert!(
        (numeric.std - (570.0_f64 / 17.0).sqrt()).abs() < 1e-12,
        "{}",
        numeric.std
    );
    let later = store
        .statistics(&["ohlcv"], at(0)..=at(99), None, at(103))
        .await
        .unwrap();
    assert!(later[0].stale);
    let none = store
        .statistics(&[], at(500)..=at(501), None, at(502))
        .await
        .unwrap();
    assert_eq!((none[0].rows, none[0].last, none[0].stale), (0, None, true));
    assert!(none[0].features[0].numeric.is_none());
}

#[tokio::test]
async fn drift_is_seen_between_periods() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), "");
    let drift = |from: i64, to: i64| {
        let store = &store;
        async move {
            let reference = Some(at(0)..=at(79));
            let all = store
                .statistics(&[], at(from)..=at(to), reference, at(100))
                .await
                .unwrap();
            all[0].features[0].drift.unwrap()
        }
    };
    assert!(drift(0, 79).await.abs() < 1e-12);
    assert!(1.0 < drift(80, 99).await);
}

#[tokio::test]
async fn broken_rules_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let checks = "checks = { max_age = \"1d\", min_rows = 30, max_null_share = 0.05, min = 900, \
                  max = 950, window = \"20d\", max_drift = 0.25 }";
    let store = store(dir.path(), checks);
    let broken = store.validate(&[], at(101)).await.unwrap();
    let rules: Vec<&str> = broken.iter().map(|violation| violation.rule).collect();
    assert_eq!(
        rules,
        [
            "max_age",
            "min_rows",
            "max_null_share",
            "min",
            "max",
            "max_drift"
        ]
    );
    assert_eq!(broken[0].message, "the latest row is 2d old, 1d is allowed");
    assert_eq!(broken[1].feature, None);
    assert_eq!(broken[5].feature.as_deref(), Some("close"));
}

#[tokio::test]
async fn kept_rules_say_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(
        dir.path(),
        "checks = { max_age = \"1d\", min_rows = 100, max_null_share = 0.1 }",
    );
    assert_eq!(store.validate(&["ohlcv"], at(100)).await.unwrap(), []);
}

#[test]
fn rules_that_cannot_be_are_refused() {
    for checks in [
        "{ max_null_share = 1.5 }",
        "{ max_drift = 0.1 }",
        "{ min = nan }",
    ] {
        let text = format!(
            "[[source]]\nname = \"s\"\npath = \"d\"\n[[feature_view]]\nname = \"v\"\n\
             source = \"s\"\nchecks = {checks}\nfeatures = [{{ name = \"x\", type = \"Int64\" }}]"
        );
        let definitions = Definitions::from_toml(&text).unwrap();
        let error = definitions.validate().unwrap_err();
        assert!(matches!(error, Error::InvalidDefinition { .. }), "{error}");
    }
}
