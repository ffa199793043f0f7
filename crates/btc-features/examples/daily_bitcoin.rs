//! From definitions to features, past and present: declares daily prices and
//! chain metrics, joins them as of some times, puts the newest values online
//! and writes a registry that Feast can open.
//!
//! Run with `cargo run -p btc-features --example daily_bitcoin [FOLDER]`.

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use btc_features::arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
use btc_features::arrow::util::pretty::pretty_format_batches;
use btc_features::datafusion::parquet::arrow::ArrowWriter;
use btc_features::{
    Definitions, FeatureSelection, FeatureService, FeatureStore, FeatureView, Field, FileSource,
    OnDemandFeature, OnDemandFeatureView, OnlineRequest, ValueType,
};
use chrono::{DateTime, Utc};

const DAY: i64 = 86_400;
/// 2022-01-01, in days since 1970.
const START: i64 = 18_993;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[expect(clippy::print_stdout, reason = "an example shows what it did")]
#[tokio::main]
async fn main() -> Result<()> {
    let temporary = tempfile::tempdir()?;
    let folder = std::env::args()
        .nth(1)
        .map_or(temporary.path().to_path_buf(), Into::into);
    std::fs::create_dir_all(folder.join("data"))?;
    // Made-up values: the price climbs, and a chain metric comes every other day.
    write(
        &folder.join("data/ohlcv.parquet"),
        0..60,
        1,
        "close",
        |day| 40_000.0 + 100.0 * day,
    )?;
    write(
        &folder.join("data/chain.parquet"),
        0..60,
        2,
        "hash_rate",
        |day| 180.0 + day,
    )?;

    let mut store = FeatureStore::init(folder.join("features"), "bitcoin")?;
    let plan = store.apply(&definitions())?;
    println!("applied:\n{plan}");

    let entity_rows = RecordBatch::try_from_iter([("event_timestamp", days([10, 20, 59, 90]))])?;
    let selection = FeatureSelection::service("daily_bitcoin_v1");
    let frame = store.historical_features(entity_rows, &selection).await?;
    println!(
        "known then:\n{}",
        pretty_format_batches(&frame.collect().await?)?
    );

    for report in store.materialize_incremental(&[], at(60)).await? {
        println!("materialized {}: {} keys", report.view, report.keys);
    }
    let request: OnlineRequest =
        serde_json::from_str(r#"{"feature_service": "daily_bitcoin_v1"}"#)?;
    let answer = store.get_online_features(&request, at(60))?;
    println!("known now: {}", serde_json::to_string_pretty(&answer)?);

    let registry = folder.join("registry.db");
    for note in store.export_feast(&registry, at(60))? {
        println!("not exported: {note}");
    }
    println!("Feast can open {}", registry.display());
    Ok(())
}

fn definitions() -> Definitions {
    let view = |name: &str, source: &str, feature: &str| {
        FeatureView::new(name, source)
            .with_ttl(Duration::from_secs(3 * DAY.unsigned_abs()))
            .with_features([Field::new(feature, ValueType::Float64)])
    };
    Definitions::new()
        .with_source(FileSource::new(
            "ohlcv",
            "../data/ohlcv.parquet",
            "event_timestamp",
        ))
        .with_source(FileSource::new(
            "chain",
            "../data/chain.parquet",
            "event_timestamp",
        ))
        .with_feature_view(view("ohlcv", "ohlcv", "close"))
        .with_feature_view(view("blockchain", "chain", "hash_rate"))
        .with_on_demand_feature_view(
            OnDemandFeatureView::new("ratios")
                .with_sources(["ohlcv", "blockchain"])
                .with_features([OnDemandFeature::new(
                    "price_per_hash",
                    ValueType::Float64,
                    "ohlcv.close / blockchain.hash_rate",
                )]),
        )
        .with_feature_service(FeatureService::new(
            "daily_bitcoin_v1",
            ["ohlcv", "blockchain", "ratios"],
        ))
}

fn at(day: i64) -> DateTime<Utc> {
    DateTime::from_timestamp((START + day) * DAY, 0).unwrap_or_default()
}

fn days(days: impl IntoIterator<Item = i64>) -> ArrayRef {
    let seconds = days.into_iter().map(|day| (START + day) * DAY);
    Arc::new(TimestampSecondArray::from_iter_values(seconds).with_timezone("UTC"))
}

fn write(
    path: &Path,
    range: Range<i64>,
    step: usize,
    name: &str,
    value: impl Fn(f64) -> f64,
) -> Result<()> {
    let values: ArrayRef = Arc::new(Float64Array::from_iter_values(
        range.clone().step_by(step).map(|day| value(day as f64)),
    ));
    let batch = RecordBatch::try_from_iter([
        ("event_timestamp", days(range.step_by(step))),
        (name, values),
    ])?;
    let mut writer = ArrowWriter::try_new(File::create(path)?, batch.schema(), None)?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(())
}
