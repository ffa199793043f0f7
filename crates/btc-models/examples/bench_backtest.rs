//! Times a back-test of the baselines: `cargo run --release --example bench_backtest -- [ROWS ...]`.
//!
//! 200 origins with a refit every 20, on a random walk with four features, one thread.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use btc_models::{Baseline, Frequency, Model, SeriesFrame, backtest};
use chrono::{DateTime, TimeDelta};

fn main() -> Result<(), Box<dyn Error>> {
    let mut sizes = Vec::new();
    for argument in std::env::args().skip(1) {
        sizes.push(argument.parse()?);
    }
    if sizes.is_empty() {
        sizes = vec![1_000, 10_000, 100_000];
    }
    let models: Vec<Box<dyn Model>> = Baseline::ALL
        .into_iter()
        .map(|baseline| Box::new(baseline) as Box<dyn Model>)
        .collect();
    for rows in sizes {
        let frame = series(rows)?;
        let began = Instant::now();
        let config = backtest::Config::default();
        let report = backtest::run(&models, &frame, &config, &|_| ControlFlow::Continue(()))?;
        println!(
            "{rows} rows, {} origins, {} models: {:.2} s",
            report.origins,
            report.models.len(),
            began.elapsed().as_secs_f64()
        );
        for model in &report.models {
            println!(
                "  {:15} {:.17} {:.17}",
                model.name, model.mae, model.intervals[1].winkler
            );
        }
    }
    Ok(())
}

/// Numbers between 0 and 1 by a multiplicative generator, so that no feature is needed.
fn series(rows: usize) -> Result<SeriesFrame, Box<dyn Error>> {
    let mut state: u64 = 1;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut log = 0.0;
    let mut columns: Vec<(String, Vec<f64>)> = vec![("y".into(), Vec::with_capacity(rows))];
    for at in 0..4 {
        columns.push((
            format!("x{at}"),
            (0..rows).map(|_| 1.0 + random()).collect(),
        ));
    }
    for _ in 0..rows {
        log += 0.03 * (random() + random() - 1.0);
        columns[0].1.push(100.0 * f64::exp(log));
    }
    let start = DateTime::from_timestamp(1_000_000_000, 0).ok_or("no such time")?;
    let hours = (0..rows as i64)
        .map(|hour| start + TimeDelta::hours(hour))
        .collect();
    Ok(SeriesFrame::of_frequency(
        Frequency::hours(1),
        hours,
        columns,
        "y",
    )?)
}
