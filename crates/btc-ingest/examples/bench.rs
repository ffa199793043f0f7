//! Times parsing and storing ten years of sixteen series, and tells the peak of memory.
//!
//! `cargo run --release -p btc-ingest --example bench`
//!
//! Each figure is the best of five runs. Without `--release` it still runs, slower.

use btc_ingest::{
    DEFAULT_CHARTS, Revisions, Table, alpha_vantage, blockchain, profile, pull_sample, read_table,
};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::json;
use std::path::Path;
use std::time::{Duration, Instant};

const DAYS: i64 = 3653;

fn best<T>(mut work: impl FnMut() -> T) -> Duration {
    let run = |_| {
        let start = Instant::now();
        std::hint::black_box(work());
        start.elapsed()
    };
    (0..5).map(run).min().unwrap_or_default()
}

/// The bodies of fifteen charts, each with a name, and of the prices.
fn bodies(first: NaiveDate) -> (Vec<(&'static str, String)>, String) {
    let days = || (0..DAYS).map(|day| (first + TimeDelta::days(day), 1.0 + day as f64 * 1.37));
    let chart = |place: usize| {
        let values: Vec<_> = days()
            .map(|(day, value)| {
                let stamp = day
                    .and_hms_opt(0, 0, 0)
                    .unwrap_or_default()
                    .and_utc()
                    .timestamp();
                json!({"x": stamp, "y": value * 1000.7f64.powi(place as i32 % 5)})
            })
            .collect();
        json!({"status": "ok", "unit": "u", "period": "day", "values": values}).to_string()
    };
    let charts = DEFAULT_CHARTS
        .iter()
        .enumerate()
        .map(|(i, name)| (*name, chart(i)))
        .collect();
    let text = |value: f64| format!("{value:.8}");
    let rows: serde_json::Map<_, _> = days()
        .map(|(day, value)| {
            let row = json!({"1. open": text(value), "2. high": text(value * 1.1),
                "3. low": text(value * 0.9), "4. close": text(value), "5. volume": text(value)});
            (day.to_string(), row)
        })
        .collect();
    (
        charts,
        json!({"Time Series (Digital Currency Daily)": rows}).to_string(),
    )
}

fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace()
        .nth(1)?
        .parse::<u64>()
        .ok()
        .map(|kib| kib / 1024)
}

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let last: NaiveDate = "2023-12-31".parse()?;
    let first = last - TimeDelta::days(DAYS - 1);
    let now: DateTime<Utc> = "2024-01-01T06:00:00Z".parse()?;
    let (charts, prices) = bodies(first);
    let size: usize = charts.iter().map(|(_, body)| body.len()).sum::<usize>() + prices.len();
    let parse = best(|| {
        let points: usize = charts
            .iter()
            .map(|(name, body)| {
                blockchain::parse_json(body.as_bytes(), name).map_or(0, |chart| chart.points.len())
            })
            .sum();
        points + alpha_vantage::parse(prices.as_bytes(), "USD").map_or(0, |p| p.bars.len())
    });
    let folder = tempfile::tempdir()?;
    let store = |path: &Path| pull_sample(path, 0, last, DAYS as usize, now);
    store(&folder.path().join("0"))?;
    let mut count = 0;
    let first_time = best(|| {
        count += 1;
        store(&folder.path().join(count.to_string())).map(|report| report.data_hash)
    });
    let data = folder.path().join("0");
    let again = best(|| store(&data).map(|report| report.data_hash));
    let read = best(|| {
        [Table::Ohlcv, Table::Blockchain]
            .map(|table| read_table(&data, table, Revisions::Latest).map_or(0, |t| t.num_rows()))
    });
    let page = best(|| profile(&data, now).map(|profile| profile.columns.len()));
    println!(
        "ten years ({DAYS} days) of sixteen series, {:.1} MB of JSON",
        size as f64 / 1e6
    );
    println!("  parse        {parse:>9.1?}");
    println!("  store        {first_time:>9.1?}  (make, merge, check, write, sync)");
    println!("  store again  {again:>9.1?}  (nothing is new)");
    println!("  read         {read:>9.1?}");
    println!("  draw         {page:>9.1?}");
    if let Some(peak) = peak_mib() {
        println!("peak memory {peak} MiB");
    }
    Ok(())
}
