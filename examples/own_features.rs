//! Joins two daily series of one's own as of given instants.
//!
//! `cargo run -p btc-examples --example own_features`

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampNanosecondArray};
use arrow::util::pretty::pretty_format_batches;
use btc_features::{
    Definitions, FeatureSelection, FeatureStore, FeatureView, Field, FileSource, ValueType,
};

const DAY: i64 = 24 * 60 * 60 * 1_000_000_000;

fn series(first_day: i64, name: &str, values: &[f64]) -> Result<RecordBatch, Box<dyn Error>> {
    let days = (first_day..).take(values.len()).map(|day| day * DAY);
    let times = TimestampNanosecondArray::from_iter_values(days).with_timezone("UTC");
    let values = Float64Array::from(values.to_vec());
    Ok(RecordBatch::try_from_iter([
        ("event_timestamp", Arc::new(times) as ArrayRef),
        (name, Arc::new(values) as ArrayRef),
    ])?)
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows what it does")]
async fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let file = |name: &str| folder.path().join(name);
    let gold = series(20_000, "gold", &[2650.0, 2661.0, 2644.0])?;
    btc_ingest::write_parquet(file("gold.parquet"), &gold)?;
    btc_ingest::write_parquet(file("fear.parquet"), &series(20_001, "fear", &[71.0])?)?;

    let view = |name: &str| {
        FeatureView::new(name, name)
            .with_features([Field::new(name, ValueType::Float64)])
            .with_ttl(Duration::from_secs(24 * 60 * 60))
    };
    let source = |name: &str| FileSource::new(name, format!("{name}.parquet"), "event_timestamp");
    let definitions = Definitions::new()
        .with_source(source("gold"))
        .with_source(source("fear"))
        .with_feature_view(view("gold"))
        .with_feature_view(view("fear"));
    let mut store = FeatureStore::init(folder.path(), "own")?;
    println!("{}", store.apply(&definitions)?);

    // Half a day after each value was known, and once when one has expired.
    let instants = [20_000, 20_001, 20_002].map(|day| day * DAY + DAY / 2);
    let instants = TimestampNanosecondArray::from(instants.to_vec()).with_timezone("UTC");
    let entities =
        RecordBatch::try_from_iter([("event_timestamp", Arc::new(instants) as ArrayRef)])?;
    let selection = FeatureSelection::features(["gold:gold", "fear:fear"]);
    let joined = store.get_historical_features(entities, &selection).await?;
    println!("{}", pretty_format_batches(&[joined])?);
    Ok(())
}
