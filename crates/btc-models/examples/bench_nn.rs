//! Times training: `cargo run --release --example bench_nn -- lstm|gru|conv|MODEL [EPOCHS] [UNITS]`.
//!
//! One epoch is 700 windows of 10 rows and 21 features in batches of 32, with Adam and the
//! squared error, on one thread.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::ops::ControlFlow;
use std::time::Instant;

use btc_models::candle_core::Device;
use btc_models::{
    Activation, CnnConfig, Forecaster, Hyperparameters, Loss, ModelType, NetworkConfig,
    SeriesFrame, TrainConfig, fit,
};
use chrono::{DateTime, Days};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

const FEATURES: usize = 21;
/// One row before the first window, 10 rows of it, and one after the last: 700 windows.
const ROWS: usize = 711;
const GROUPS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().unwrap_or_else(|| "lstm".into());
    let epochs: usize = arguments.next().map_or(Ok(10), |text| text.parse())?;
    let units: usize = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let hyperparameters = Hyperparameters::default().with_units(units);
    let network = match mode.as_str() {
        "conv" => NetworkConfig::Cnn(
            CnnConfig::default()
                .with_filters(32)
                .with_kernel(3)
                .with_activation(Activation::Relu),
        ),
        name => NetworkConfig::new(name.parse::<ModelType>()?, &hyperparameters),
    };
    let frame = series()?;
    let config = TrainConfig::default()
        .with_validation_fraction(0.0)
        .with_loss(Loss::Mse)
        .with_epochs(1 + GROUPS * epochs);
    let mut ends = Vec::new();
    let mut memory = Vec::new();
    let forecaster = fit(&network, &frame, &config, &Device::Cpu, |logs| {
        // Looking takes time, so it is not done between epochs that are timed.
        if [epochs + 1, 1 + GROUPS * epochs].contains(&(logs.epoch + 1)) {
            memory.extend(resident());
        }
        ends.push((logs.seconds, logs.loss));
        Ok(ControlFlow::Continue(()))
    })?;
    let (first, _) = ends[0];
    let group = |at: usize| (ends[(at + 1) * epochs].0 - ends[at * epochs].0) / epochs as f64;
    let best = (0..GROUPS).map(group).fold(f64::INFINITY, f64::min);
    println!("first epoch {:.1} ms", 1e3 * first);
    println!(
        "btc {mode} threads=1 H={units}: min wall {:.2} ms/epoch loss {:.5}",
        1e3 * best,
        ends[ends.len() - 1].1
    );

    if let [early, last] = memory[..] {
        println!(
            "memory after {} epochs {early} kB, at the end {last} kB",
            epochs + 1
        );
    }

    let dir = tempfile::tempdir()?;
    let bundle = dir.path().join("model");
    forecaster.save(&bundle)?;
    let began = Instant::now();
    let loaded = Forecaster::load(&bundle, &Device::Cpu)?;
    let load = 1e3 * began.elapsed().as_secs_f64();
    let mut times = Vec::new();
    for _ in 0..5 {
        let began = Instant::now();
        loaded.forecast(&frame)?;
        times.push(1e3 * began.elapsed().as_secs_f64());
    }
    println!(
        "loading the bundle {load:.2} ms, the first forecast {:.2} ms, the fifth {:.2} ms",
        times[0], times[4]
    );
    Ok(())
}

/// The memory in use in kB, where the system tells.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

fn series() -> Result<SeriesFrame, Box<dyn Error>> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let start = DateTime::from_timestamp(1_600_000_000, 0).ok_or("no such time")?;
    let values: Vec<f64> = (0..ROWS * FEATURES)
        .map(|_| 1.0 + random.random::<f64>())
        .collect();
    let days = (0..ROWS as u64).map(|day| start + Days::new(day)).collect();
    let column = |at: usize| values.iter().skip(at).step_by(FEATURES).copied().collect();
    let columns = (0..FEATURES).map(|at| (format!("x{at}"), column(at)));
    Ok(SeriesFrame::new(days, columns, "x0")?)
}
