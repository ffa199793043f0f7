//! Makes up a market, stores it, and reads it back.
//!
//! `cargo run -p btc-ingest --example sample [-- PAGE.html]` also draws it, where a figures is named.

use btc_ingest::arrow::util::pretty::pretty_format_batches;
use btc_ingest::{Revisions, SAMPLE_DAYS, Table, profile, pull_sample, read_table};

#[expect(clippy::print_stdout, reason = "an example shows what it does")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let (last_day, now) = ("2024-01-01".parse()?, "2024-01-02T06:00:00Z".parse()?);
    let report = pull_sample(folder.path(), 7, last_day, SAMPLE_DAYS, now)?;
    println!(
        "{} series, data {}",
        report.series.len(),
        &report.data_hash[..12]
    );
    let prices = read_table(folder.path(), Table::Ohlcv, Revisions::Latest)?;
    // Day, open, high, low and close of the last days.
    let last_days = prices
        .slice(prices.num_rows() - 5, 5)
        .project(&[0, 3, 4, 5, 6])?;
    println!("{}", pretty_format_batches(&[last_days])?);
    if let Some(figures) = std::env::args().nth(1) {
        let profile = profile(folder.path(), now)?;
        std::fs::write(figures, serde_json::to_string_pretty(&profile)?)?;
    }
    Ok(())
}
