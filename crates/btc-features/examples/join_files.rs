//! Joins two views to a file of entity rows and says what that cost, in one
//! line of JSON: for timing beside other tools that read the same files.
//!
//! `cargo run --release -p btc-features --example join_files -- FOLDER ROWS [collect|explain]`
//!
//! FOLDER holds `view0.parquet` (`f0` to `f9`), `view1.parquet` (`g0` to `g9`)
//! and `ent_ROWS.parquet`, each with `driver_id` and `event_timestamp`. The
//! result is consumed as a stream, or collected first; `explain` prints the
//! plan and where its time went.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use btc_features::arrow::array::{Array as _, AsArray as _, RecordBatch};
use btc_features::arrow::datatypes::Float64Type;
use btc_features::{
    Definitions, Entity, FeatureSelection, FeatureStore, FeatureView, Field, FileSource, ValueType,
};
use futures::StreamExt as _;

const USAGE: &str = "usage: FOLDER ROWS [collect|explain]";

#[derive(Default)]
struct Totals {
    rows: usize,
    nulls: usize,
    sum: f64,
}

#[expect(clippy::print_stdout, reason = "the line of JSON is the result")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or(USAGE)?);
    let rows: usize = arguments.next().ok_or(USAGE)?.parse()?;
    let mode = arguments.next();
    let collect = mode.as_deref() == Some("collect");
    let repo = tempfile::tempdir()?;
    let mut store = FeatureStore::init(repo.path(), "bench")?;
    store.apply(&definitions(&std::path::absolute(&folder)?))?;
    let features = ["view0:f", "view1:g"]
        .iter()
        .flat_map(|prefix| (0..10).map(move |number| format!("{prefix}{number}")));
    let selection = FeatureSelection::features(features);
    let entity_rows = folder.join(format!("ent_{rows}.parquet"));

    let (start, cpu) = (Instant::now(), cpu_seconds());
    let frame = store
        .historical_features(entity_rows.as_path(), &selection)
        .await?;
    if mode.as_deref() == Some("explain") {
        frame.explain(false, true)?.show().await?;
        return Ok(());
    }
    let mut totals = Totals::default();
    if collect {
        let batches = frame.collect().await?;
        batches.iter().for_each(|batch| totals.add(batch));
    } else {
        let mut stream = frame.execute_stream().await?;
        while let Some(batch) = stream.next().await {
            totals.add(&batch?);
        }
    }
    println!(
        "{{\"engine\": \"btc-features {}\", \"query_s\": {:.3}, \"query_cpu_s\": {:.2}, \
         \"rows\": {}, \"nulls\": {}, \"sum\": {:.4}, \"rss_mb\": {}}}",
        if collect { "collect" } else { "stream" },
        start.elapsed().as_secs_f64(),
        cpu_seconds() - cpu,
        totals.rows,
        totals.nulls,
        totals.sum,
        peak_memory_mb(),
    );
    Ok(())
}

impl Totals {
    fn add(&mut self, batch: &RecordBatch) {
        self.rows += batch.num_rows();
        for column in batch.columns() {
            if let Some(column) = column.as_primitive_opt::<Float64Type>() {
                self.nulls += column.null_count();
                self.sum += btc_features::arrow::compute::sum(column).unwrap_or_default();
            }
        }
    }
}

fn definitions(folder: &Path) -> Definitions {
    let mut definitions = Definitions::new().with_entity(
        Entity::new("driver")
            .with_join_key("driver_id")
            .with_value_type(ValueType::Int64),
    );
    for (view, prefix) in [("view0", 'f'), ("view1", 'g')] {
        let path = folder.join(format!("{view}.parquet"));
        let features =
            (0..10).map(|number| Field::new(format!("{prefix}{number}"), ValueType::Float64));
        definitions = definitions
            .with_source(FileSource::new(
                view,
                path.to_string_lossy(),
                "event_timestamp",
            ))
            .with_feature_view(
                FeatureView::new(view, view)
                    .with_entities(["driver"])
                    .with_ttl(Duration::from_secs(10 * 86_400))
                    .with_features(features),
            );
    }
    definitions
}

/// The processor time of this process so far, where Linux tells.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks: f64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|t| t.parse::<f64>().ok())
        .sum();
    ticks / 100.0
}

/// The most memory that this process has held, where Linux tells.
fn peak_memory_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap_or_default();
    line.split_whitespace()
        .nth(1)
        .and_then(|kb| kb.parse::<u64>().ok())
        .unwrap_or(0)
        / 1_024
}
