//! Compares models on a series: `cargo run --example backtest -- [FILE.csv PRICE [MODEL ...]
//! [seeds=N] [origins=N] [calibration=FRACTION]]`.
//!
//! The first column of the file is a day, the others are numbers that are known when that day is
//! over; one of them is the price. Without a file, a random walk is forecast, which nothing can
//! forecast better than its last value.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;

use btc_models::{
    Baseline, Hyperparameters, Model, ModelType, NetworkConfig, NetworkModel, SeriesFrame,
    TrainConfig, backtest,
};
use chrono::{DateTime, Days, NaiveDate};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let frame = match arguments.as_slice() {
        [] => random_walk()?,
        [file, price, ..] => read(&std::fs::read_to_string(file)?, price)?,
        _ => return Err("name a file and its price column".into()),
    };
    let names = match arguments.get(2..) {
        Some(names) if !names.is_empty() => names.to_vec(),
        _ => ["drift", "ses", "ets", "ridge", "NLinear"]
            .map(str::to_owned)
            .to_vec(),
    };
    let mut models: Vec<Box<dyn Model>> = Vec::new();
    let (options, names): (Vec<String>, Vec<String>) =
        names.into_iter().partition(|name| name.contains('='));
    let (mut seeds, mut origins) = (1, 200);
    let mut fraction = TrainConfig::default().calibration_fraction;
    for option in &options {
        match option.split_once('=') {
            Some(("seeds", number)) => seeds = number.parse()?,
            Some(("origins", number)) => origins = number.parse()?,
            Some(("calibration", number)) => fraction = number.parse()?,
            _ => return Err(format!("no option {option}").into()),
        }
    }
    for name in &names {
        if let Ok(baseline) = name.parse::<Baseline>() {
            models.push(Box::new(baseline));
        } else {
            let hyperparameters = Hyperparameters::default().with_epochs(20);
            let network = NetworkConfig::new(name.parse::<ModelType>()?, &hyperparameters);
            let config = TrainConfig::new(&hyperparameters).with_calibration_fraction(fraction);
            models.push(Box::new(NetworkModel::new(name, network, config)));
        }
    }
    let jobs = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let config = backtest::Config::default()
        .with_jobs(jobs)
        .with_origins(origins)
        .with_seeds(0, seeds);
    let report = backtest::run(&models, &frame, &config, &|_| ControlFlow::Continue(()))?;

    println!(
        "{} forecasts of {}, up to {}",
        report.origins, report.target, report.last_target
    );
    println!(
        "| model | MAPE % | ± | relative MAE | p | p (Holm) | held by 90 % | width | Winkler |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let optional = |value: Option<f64>, digits: usize| {
        value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
    };
    for model in &report.models {
        let interval = model.intervals.iter().find(|score| score.level == 0.9);
        println!(
            "| {} | {:.4} | {} | {:.4} | {} | {} | {} | {} | {} |",
            model.name,
            model.mape,
            optional(model.mape_sd, 4),
            model.relative_mae,
            optional(model.dm_absolute_p, 3),
            optional(model.dm_absolute_p_holm, 3),
            optional(interval.map(|score| 100.0 * score.coverage), 1),
            optional(interval.map(|score| score.width), 2),
            optional(interval.map(|score| score.winkler), 2)
        );
    }
    for score in &report.variance {
        println!("variance {:12} QLIKE {:.4}", score.name, score.qlike);
    }
    Ok(())
}

fn random_walk() -> btc_models::Result<SeriesFrame> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(1);
    let start = DateTime::from_timestamp(1_600_000_000, 0).unwrap_or_default();
    let mut log = 0.0;
    let (close, volume): (Vec<f64>, Vec<f64>) = (0..400)
        .map(|_| {
            log += 0.03 * (random.random::<f64>() + random.random::<f64>() - 1.0);
            (10_000.0 * f64::exp(log), 1.0 + random.random::<f64>())
        })
        .unzip();
    let days = (0..400).map(|day| start + Days::new(day)).collect();
    SeriesFrame::new(days, [("close", close), ("volume", volume)], "close")
}

fn read(text: &str, price: &str) -> Result<SeriesFrame, Box<dyn Error>> {
    let mut lines = text.lines();
    let header = lines.next().ok_or("the file is empty")?;
    let names: Vec<String> = header.split(',').skip(1).map(str::to_owned).collect();
    let mut known_at = Vec::new();
    let mut columns = vec![Vec::new(); names.len()];
    for line in lines {
        let mut fields = line.split(',');
        let day: NaiveDate = fields.next().unwrap_or_default().parse()?;
        let over = day.and_hms_opt(0, 0, 0).ok_or("no such day")?.and_utc() + Days::new(1);
        known_at.push(over);
        for column in &mut columns {
            let field = fields.next().unwrap_or_default();
            column.push(field.parse().unwrap_or(f64::NAN));
        }
    }
    Ok(SeriesFrame::new(
        known_at,
        names.into_iter().zip(columns),
        price,
    )?)
}
