//! Times the SQLite store at sizes that hurt: many runs, long curves.
//!
//! ```text
//! cargo run --release -p btc-track --example bench_store -- 100000 1000000
//! ```
//!
//! The first number is how many runs are searched, the second how many values
//! a curve has; the defaults are small.

use std::io::Write;
use std::time::{Duration, Instant};

use btc_track::{Batch, Metric, NewRun, Param, RunQuery, TrackingClient};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| match arguments.next() {
        Some(text) => text.parse(),
        None => Ok(default),
    };
    let (runs, points) = (number(2_000)?, number(100_000)?);
    let mut out = std::io::stdout().lock();
    let folder = tempfile::tempdir()?;
    let client = TrackingClient::open(&folder.path().join("track.db"), folder.path())?;
    let experiment = client.get_or_create_experiment("bench")?.experiment_id;
    let new = NewRun {
        experiment_id: experiment.clone(),
        ..NewRun::default()
    };

    let run = client.tracking.create_run(&new)?.info.run_id;
    let n = 5_000;
    let start = Instant::now();
    for i in 0..n {
        let metrics = vec![Metric::new("m", i as f64, i, i)];
        client.tracking.log_batch(
            &run,
            &Batch {
                metrics,
                ..Batch::default()
            },
        )?;
    }
    let each = start.elapsed() / n as u32;
    writeln!(out, "log one metric: {each:?}")?;

    let start = Instant::now();
    for chunk in (0..points as i64).collect::<Vec<_>>().chunks(1_000) {
        let metrics = chunk
            .iter()
            .map(|&i| Metric::new("curve", (i % 997) as f64, i, i))
            .collect();
        client.tracking.log_batch(
            &run,
            &Batch {
                metrics,
                ..Batch::default()
            },
        )?;
    }
    let rate = points as f64 / start.elapsed().as_secs_f64();
    writeln!(out, "log batches of 1000: {rate:.0} metrics/s")?;
    let buckets = client.tracking.metric_buckets(&run, "curve", 1_000)?.len();
    let time = median(|| {
        client
            .tracking
            .metric_buckets(&run, "curve", 1_000)
            .map(|_| ())
    })?;
    writeln!(out, "{points} values in {buckets} buckets: {time:?}")?;
    let time = median(|| {
        client
            .tracking
            .metric_history(&run, "curve", 10_000, None)
            .map(|_| ())
    })?;
    writeln!(out, "10,000 values of the history: {time:?}")?;

    let start = Instant::now();
    for i in 0..runs {
        let run = client.tracking.create_run(&new)?.info.run_id;
        let hashed = |j: usize| ((i * 10 + j) * 7_919 % 100_003) as f64;
        let metrics = (0..10)
            .map(|j| Metric::new(format!("m{j}"), hashed(j), 0, 0))
            .collect();
        let params = (0..10)
            .map(|j| Param::new(format!("p{j}"), (i % 7).to_string()))
            .collect();
        client.tracking.log_batch(
            &run,
            &Batch {
                metrics,
                params,
                ..Batch::default()
            },
        )?;
    }
    let rate = runs as f64 / start.elapsed().as_secs_f64();
    writeln!(
        out,
        "create runs with 10 metrics and 10 parameters: {rate:.0} runs/s"
    )?;
    for (filter, order) in [
        ("", "metrics.m0 ASC"),
        ("", "metrics.m0 DESC"),
        ("metrics.m1 < 30000 AND params.p0 = '3'", "metrics.m0 ASC"),
        ("", "start_time DESC"),
        ("metrics.m1 < 1000", "start_time DESC"),
        ("params.p0 = 'none'", "metrics.m0"),
    ] {
        let query = RunQuery::new([&experiment])
            .with_filter(filter)
            .with_order(order)
            .with_max_results(100);
        let time = median(|| client.tracking.search_runs(&query).map(|_| ()))?;
        writeln!(out, "100 of {runs} runs, {filter:?} by {order:?}: {time:?}")?;
    }
    Ok(())
}

/// The median of seven runs after one to warm up.
fn median<E>(mut run: impl FnMut() -> Result<(), E>) -> Result<Duration, E> {
    run()?;
    let mut times = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed());
    }
    times.sort();
    Ok(times[times.len() / 2])
}
