//! A loss, a transform, a scaler, a target, an optimiser, a schedule, a callback and a metric of
//! one's own: `cargo run --example own_parts`.
#![allow(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::ops::ControlFlow;

use btc_models::backtest::{self, Metric, MetricSpec};
use btc_models::candle_core::{Device, Result as Tensors, Tensor};
use btc_models::*;
use serde::{Deserialize, Serialize};

/// The name under which each is stored in a bundle.
macro_rules! name {
    ($($type:ident),+) => {
        $(impl Named for $type {
            const NAME: &'static str = stringify!($type);
        })+
    };
}
name!(
    Asymmetric,
    Root,
    Asinh,
    Ratio,
    Lion,
    Warmup,
    Goal,
    WithinPercent
);

/// The squared error, `weight` times as large where the forecast is too high.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asymmetric {
    pub(crate) weight: f64,
}

impl LossSpec for Asymmetric {
    fn evaluate(&self, predictions: &[f32], targets: &[f32]) -> (f64, Vec<f32>) {
        let n = targets.len() as f64;
        let errors = predictions
            .iter()
            .zip(targets)
            .map(|(p, t)| f64::from(p - t));
        let weighted = errors.map(|e| (e, if 0.0 < e { self.weight } else { 1.0 }));
        let each = weighted.map(|(e, w)| (w * e * e / n, (2.0 * w * e / n) as f32));
        let (values, slopes): (Vec<f64>, Vec<f32>) = each.unzip();
        (values.iter().sum(), slopes)
    }
}

/// The signed root of a feature.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Root {}

impl TransformSpec for Root {
    fn lookback(&self) -> usize {
        0
    }

    fn apply(&self, values: &[f64]) -> Vec<f64> {
        values.iter().map(|x| x.signum() * x.abs().sqrt()).collect()
    }

    fn is_monotone(&self) -> bool {
        true
    }
}

/// The inverse hyperbolic sine of the distance from the median: nearly linear, with short tails.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Asinh {}

impl ScalerSpec for Asinh {
    fn fit(&self, values: &[f64]) -> Vec<f64> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let median = sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
        let size = sorted.iter().map(|x| (x - median).abs()).sum::<f64>();
        let size = size / sorted.len().max(1) as f64;
        vec![median, if 0.0 < size { size } else { 1.0 }]
    }

    fn apply(&self, fitted: &[f64], x: f64) -> f64 {
        ((x - fitted[0]) / fitted[1]).asinh()
    }

    fn invert(&self, fitted: &[f64], y: f64) -> f64 {
        y.sinh() * fitted[1] + fitted[0]
    }
}

/// The relative change.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ratio {}

impl TargetSpec for Ratio {
    fn forward(&self, last: f64, value: f64) -> Option<f64> {
        (0.0 < last).then(|| value / last - 1.0)
    }

    fn inverse(&self, last: f64, prediction: f64) -> Option<f64> {
        (0.0 < last).then_some(last * (1.0 + prediction))
    }
}

/// Steps of one size along the sign of a mean of gradients (Chen and others 2023).
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lion {
    pub(crate) beta: f64,
}

impl OptimizerSpec for Lion {
    fn state(&self) -> &'static [&'static str] {
        &["mean"]
    }

    fn step(
        &self,
        step: OptimizerStep,
        weight: &Tensor,
        gradient: &Tensor,
        state: &mut [Tensor],
    ) -> Tensors<Tensor> {
        state[0] = ((&state[0] * self.beta)? + (gradient * (1.0 - self.beta))?)?;
        weight - (state[0].sign()? * step.lr)?
    }
}

/// A rate that rises for some steps and stays.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Warmup {
    pub(crate) steps: usize,
}

impl ScheduleSpec for Warmup {
    fn rate(&self, lr: f64, progress: &TrainingProgress<'_>) -> f64 {
        lr * ((progress.step + 1) as f64 / self.steps as f64).min(1.0)
    }
}

/// Ends training at a score that is good enough.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Goal {
    pub(crate) score: f64,
}

impl CallbackSpec for Goal {
    fn start(&self) -> Box<dyn OnEpochEnd> {
        Box::new(self.clone())
    }
}

impl OnEpochEnd for Goal {
    fn on_epoch_end(&mut self, logs: &EpochLogs) -> Result<ControlFlow<()>, CallbackError> {
        Ok(match logs.score() < self.score {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        })
    }
}

/// The share of forecasts that are within so many percent.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WithinPercent {
    pub(crate) percent: f64,
}

impl MetricSpec for WithinPercent {
    fn evaluate(&self, actual: &[f64], points: &[f64], _naive: &[f64]) -> f64 {
        let pairs = actual.iter().zip(points);
        let within = pairs.filter(|(a, p)| 100.0 * (*p / *a - 1.0).abs() <= self.percent);
        within.count() as f64 / actual.len() as f64
    }

    fn lower_is_better(&self) -> bool {
        false
    }
}

/// A training with all of them.
pub(crate) fn config() -> btc_models::Result<TrainConfig> {
    Ok(TrainConfig::default()
        .with_epochs(30)
        .with_loss(Loss::custom(&Asymmetric { weight: 2.0 })?)
        .with_transform("volume", FeatureTransform::custom(&Root {})?)
        .with_scaler(ScalerKind::custom(&Asinh {})?)
        .with_target(Target::custom(&Ratio {})?)
        .with_optimizer(Optimizer::custom(&Lion { beta: 0.9 })?, 1e-3)
        .with_schedule(Schedule::custom(&Warmup { steps: 20 })?)
        .with_callback(Callback::custom(&Goal { score: 0.02 })?))
}

/// A wave that is easy to learn.
pub(crate) fn frame() -> btc_models::Result<SeriesFrame> {
    let start = chrono::DateTime::UNIX_EPOCH;
    let days = (0..300).map(|day| start + chrono::Days::new(day)).collect();
    let wave = |speed: f64| (0..300).map(move |day| (f64::from(day) * speed).sin());
    let close = wave(0.4).map(|x| 100.0 + 5.0 * x).collect();
    let volume = wave(0.9).map(|x| 3.0 * x).collect();
    SeriesFrame::new(days, [("close", close), ("volume", volume)], "close")
}

/// Trains with them, stores and loads the model, and compares it with naive.
pub(crate) fn run(dir: &std::path::Path) -> Result<(Forecaster, backtest::Report), Box<dyn Error>> {
    let (frame, config) = (frame()?, config()?);
    let network = NetworkConfig::new(ModelType::DLinear, &Hyperparameters::default());
    let training = frame.slice(0..200)?;
    let forecaster = fit(&network, &training, &config, &Device::Cpu, |_| {
        Ok(ControlFlow::Continue(()))
    })?;
    forecaster.save(dir)?;
    let forecaster = Forecaster::load(dir, &Device::Cpu)?;
    let metric = Metric::custom(&WithinPercent { percent: 1.0 })?;
    let comparison = backtest::Config::default()
        .with_origins(60)
        .with_refit_every(60)
        .with_metric(metric);
    let models: Vec<Box<dyn Model>> = vec![Box::new(NetworkModel::new("own", network, config))];
    let report = backtest::run(&models, &frame, &comparison, &|_| ControlFlow::Continue(()))?;
    Ok((forecaster, report))
}

fn main() -> Result<(), Box<dyn Error>> {
    let dir = std::env::temp_dir().join("btc-models-own-parts");
    let (forecaster, report) = run(&dir)?;
    println!("{} epochs", forecaster.history().len());
    for model in &report.models {
        println!(
            "{}: {:.0} % within 1 %",
            model.name,
            100.0 * model.metrics["WithinPercent"]
        );
    }
    Ok(())
}
