//! Can the selection set tell models apart? The rank correlation between the selection score and
//! the score on later days, over networks, lengths of the selection set and numbers of folds.
//!
//! `cargo run --release -p btc-pipeline --example selection -- PRICES.csv`
//!
//! The file has a header, one row a day in ascending order, a column of days (`--date date`), the
//! column to forecast (`--target close`) and any other numeric columns, which are features.
//! `--cutoffs 4 --later 180 --train 700 --epochs 8` set the size; the result is a Markdown table and
//! depends on the file and these numbers alone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::error::Error;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
use btc_models::candle_core::Device;
use btc_models::{
    Forecaster, Hyperparameters, ModelType, NetworkConfig, Optimizer, SeriesFrame, TrainConfig,
    fit, metrics,
};
use btc_pipeline::{EVENT_TIMESTAMP, Split, frame_for};
use chrono::{NaiveDate, NaiveTime};
use rayon::prelude::*;

const LENGTHS: [usize; 5] = [5, 10, 30, 60, 120];
const FOLDS: [usize; 3] = [1, 2, 4];
const NETWORKS: [ModelType; 6] = [
    ModelType::NLinear,
    ModelType::DLinear,
    ModelType::Cnn,
    ModelType::Tcn,
    ModelType::Gru,
    ModelType::Lstm,
];
const RATES: [f64; 3] = [1e-4, 1e-3, 1e-2];

type Failure = Box<dyn Error + Send + Sync>;

struct Settings {
    path: String,
    date: String,
    target: String,
    cutoffs: usize,
    later: usize,
    train: usize,
    epochs: usize,
}

impl Settings {
    fn from_args() -> Result<Self, Failure> {
        let mut settings = Self {
            path: String::new(),
            date: "date".into(),
            target: "close".into(),
            cutoffs: 4,
            later: 180,
            train: 700,
            epochs: 8,
        };
        let mut args = std::env::args().skip(1);
        while let Some(arg) = args.next() {
            let Some(flag) = arg.strip_prefix("--") else {
                settings.path = arg;
                continue;
            };
            let value = args.next().ok_or(format!("--{flag} needs a value"))?;
            match flag {
                "date" => settings.date = value,
                "target" => settings.target = value,
                "cutoffs" => settings.cutoffs = value.parse()?,
                "later" => settings.later = value.parse()?,
                "train" => settings.train = value.parse()?,
                "epochs" => settings.epochs = value.parse()?,
                _ => return Err(format!("there is no --{flag}").into()),
            }
        }
        match settings.path.is_empty() {
            true => Err("name a CSV file of prices".into()),
            false => Ok(settings),
        }
    }
}

/// The numeric columns of the file; a row is known when its day has closed.
fn read(settings: &Settings) -> Result<SeriesFrame, Failure> {
    let mut reader = csv::Reader::from_path(&settings.path)?;
    let names: Vec<String> = reader.headers()?.iter().map(str::to_owned).collect();
    let mut columns: Vec<Vec<Option<f64>>> = vec![Vec::new(); names.len()];
    let mut times = Vec::new();
    for record in reader.records() {
        for (at, text) in record?.iter().enumerate() {
            if names[at] == settings.date {
                let day: NaiveDate = text.get(..10).unwrap_or(text).parse()?;
                times.push(day.and_time(NaiveTime::MIN).and_utc().timestamp() + 86_400);
            }
            columns[at].push(text.parse().ok());
        }
    }
    let mut batch: Vec<(String, ArrayRef)> = vec![(
        EVENT_TIMESTAMP.into(),
        Arc::new(TimestampSecondArray::from(times)),
    )];
    for (name, values) in names.into_iter().zip(columns) {
        if values.iter().any(Option::is_some) && name != settings.date {
            batch.push((name, Arc::new(Float64Array::from(values))));
        }
    }
    let table = RecordBatch::try_from_iter(batch)?;
    Ok(frame_for(&table, &settings.target, 0)?.series)
}

/// The networks that are compared: each type at each learning rate.
fn candidates(epochs: usize) -> Vec<(NetworkConfig, TrainConfig)> {
    let each = NETWORKS
        .iter()
        .flat_map(|network| RATES.map(|lr| (*network, lr)));
    each.map(|(model_type, lr)| {
        let sizes = Hyperparameters::default()
            .with_timesteps(10)
            .with_epochs(epochs)
            .with_batch_size(32)
            .with_units(16)
            .with_optimizer(Optimizer::Adam, lr);
        (
            NetworkConfig::new(model_type, &sizes),
            TrainConfig::new(&sizes),
        )
    })
    .collect()
}

/// MAE relative to naive of points forecast from consecutive origins.
fn relative(values: &[f64], start: usize, points: &[f64]) -> f64 {
    let end = start + points.len();
    metrics::relative_mae(&values[start + 1..=end], points, &values[start..end])
}

/// The ranks of values, those of equals shared.
fn ranks(values: &[f64]) -> Vec<f64> {
    let rank = |value: &f64| {
        let below = values.iter().filter(|other| *other < value).count();
        let equal = values.iter().filter(|other| *other == value).count();
        below as f64 + (equal as f64 - 1.0) / 2.0
    };
    values.iter().map(rank).collect()
}

/// Spearman's rank correlation.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 - 1.0) / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    product(&a, &b) / (product(&a, &a) * product(&b, &b)).sqrt()
}

/// What one candidate scores at one cut-off: selection score and later score by length and folds.
fn score(
    frame: &SeriesFrame,
    values: &[f64],
    settings: &Settings,
    cut: usize,
    (network, training): &(NetworkConfig, TrainConfig),
) -> Result<Vec<(f64, f64)>, Failure> {
    let mut fits: BTreeMap<usize, Forecaster> = BTreeMap::new();
    let mut scores = Vec::new();
    for length in LENGTHS {
        for folds in FOLDS {
            let rows = cut + 1;
            let split = Split::new(rows, length, 0, training.timesteps)?;
            let blocks = split.blocks(NonZeroUsize::new(folds).ok_or("no folds")?)?;
            let mut points = Vec::new();
            let mut newest = split.selection.start;
            for block in blocks {
                newest = block.start;
                let fitted = match fits.entry(newest) {
                    Entry::Occupied(fitted) => fitted.into_mut(),
                    Entry::Vacant(place) => {
                        let first = (newest + 1).saturating_sub(settings.train);
                        let rows = frame.slice(first..newest + 1)?;
                        place.insert(fit(network, &rows, training, &Device::Cpu, |_| {
                            Ok(ControlFlow::Continue(()))
                        })?)
                    }
                };
                let made = fitted.forecast_at(frame, block)?;
                points.extend(made.iter().map(|forecast| forecast.point()));
            }
            let selected = relative(values, split.selection.start, &points);
            let made = fits[&newest].forecast_at(frame, cut..cut + settings.later)?;
            let later: Vec<f64> = made.iter().map(|forecast| forecast.point()).collect();
            scores.push((selected, relative(values, cut, &later)));
        }
    }
    Ok(scores)
}

#[expect(clippy::print_stdout, reason = "an example shows what it finds")]
fn main() -> Result<(), Failure> {
    let settings = Settings::from_args()?;
    let frame = read(&settings)?;
    let values = frame.column(&settings.target).unwrap_or_default();
    let candidates = candidates(settings.epochs);
    let last = frame.rows() - settings.later - 1;
    let first = settings.train + LENGTHS[LENGTHS.len() - 1];
    let steps = settings.cutoffs.max(2) - 1;
    let cuts: Vec<usize> = (0..settings.cutoffs)
        .map(|at| first + (last - first) * at / steps)
        .collect();
    let work: Vec<(usize, usize)> = cuts
        .iter()
        .flat_map(|cut| (0..candidates.len()).map(|candidate| (*cut, candidate)))
        .collect();
    let found: Vec<Vec<(f64, f64)>> = work
        .par_iter()
        .map(|(cut, candidate)| score(&frame, values, &settings, *cut, &candidates[*candidate]))
        .collect::<Result<_, _>>()?;
    println!(
        "{} rows, {} candidates, {} cut-offs, {} later days\n",
        frame.rows(),
        candidates.len(),
        cuts.len(),
        settings.later
    );
    println!("| days | folds | rank correlation (mean) | lowest | later score of the chosen |");
    println!("|---|---|---|---|---|");
    for (at, length) in LENGTHS.iter().enumerate() {
        for (fold, folds) in FOLDS.iter().enumerate() {
            let cell = at * FOLDS.len() + fold;
            let per_cut: Vec<(f64, f64)> = found
                .chunks(candidates.len())
                .map(|rows| {
                    let (selected, later): (Vec<f64>, Vec<f64>) =
                        rows.iter().map(|scores| scores[cell]).unzip();
                    let chosen = (0..selected.len())
                        .min_by(|a, b| selected[*a].total_cmp(&selected[*b]))
                        .unwrap_or(0);
                    (correlation(&selected, &later), later[chosen])
                })
                .collect();
            let mean = |get: fn(&(f64, f64)) -> f64| {
                per_cut.iter().map(get).sum::<f64>() / per_cut.len() as f64
            };
            let lowest = per_cut
                .iter()
                .map(|(r, _)| *r)
                .fold(f64::INFINITY, f64::min);
            println!(
                "| {length} | {folds} | {:.2} | {lowest:.2} | {:.4} |",
                mean(|(r, _)| *r),
                mean(|(_, later)| *later)
            );
        }
    }
    Ok(())
}
