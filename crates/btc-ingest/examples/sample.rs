//! Makes up a market, stores it, and reads it back.
//!
//! `cargo run -p btc-ingest --example sample`

use btc_ingest::arrow::util::pretty::pretty_format_batches;
use btc_ingest::{Revisions, SAMPLE_DAYS, Table, pull_sample, read_table};

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
    println!(
        "{}",
        pretty_format_batches(&[prices.slice(prices.num_rows() - 5, 5)])?
    );
    Ok(())
}
