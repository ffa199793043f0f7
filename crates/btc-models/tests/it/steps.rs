//! One network that forecasts every step up to its horizon.

use std::ops::ControlFlow;

use btc_models::backtest::{Config, run};
use btc_models::{
    Error, Forecaster, Loss, Model, ModelType, NetworkModel, SeriesFrame, Target, TrainConfig,
};
use candle_core::Device;
use chrono::{DateTime, TimeDelta, Utc};

use crate::support::{network, normals, train};

const STEPS: usize = 24;

/// A load with the rhythm of a day and some noise, hour by hour.
fn hourly(seed: u64, rows: usize) -> SeriesFrame {
    let start: DateTime<Utc> = "2024-03-01T00:00:00Z".parse().unwrap();
    let known_at = (0..rows)
        .map(|n| start + TimeDelta::hours(n as i64))
        .collect();
    let rhythm = |n: usize| 10.0 * (n as f64 * std::f64::consts::TAU / 24.0).sin();
    let noise = normals(seed, rows);
    let load: Vec<f64> = (0..rows).map(|n| 50.0 + rhythm(n) + noise[n]).collect();
    SeriesFrame::new(known_at, [("load", load)], "load").unwrap()
}

fn config() -> TrainConfig {
    TrainConfig::default()
        .with_steps(STEPS)
        .with_timesteps(48)
        .with_target(Target::Difference)
        .with_loss(Loss::Pinball {
            quantiles: vec![0.05, 0.1, 0.5, 0.9, 0.95],
        })
        .with_optimizer(btc_models::Optimizer::Adam, 5e-3)
        .with_validation_fraction(0.2)
        .with_epochs(30)
        .with_seed(2)
}

#[test]
fn one_network_forecasts_every_step_with_its_quantiles() {
    let whole = hourly(1, 1000);
    let linear = network(ModelType::NLinear, true);
    let forecaster = train(&linear, &whole.slice(0..800).unwrap(), &config());
    let forecasts = forecaster.forecast_at(&whole, 800..976).unwrap();
    let (mut inside, mut error, mut naive) = (0, 0.0, 0.0);
    for (row, forecast) in (800..976).zip(&forecasts) {
        assert_eq!(
            (forecast.horizon(), forecast.steps().count()),
            (STEPS, STEPS)
        );
        assert_eq!(forecast.naive(), whole.target()[row]);
        for (ahead, step) in (1..).zip(forecast.steps()) {
            assert_eq!(step.ahead, ahead);
            assert_eq!(
                step.target_time,
                Some(whole.known_at()[row] + TimeDelta::hours(ahead as i64))
            );
            let quantile = |level| forecast.quantile(level, ahead).unwrap();
            let levels = [0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975];
            assert!(levels.map(quantile).is_sorted());
            let actual = whole.target()[row + ahead];
            error += (step.point - actual).abs();
            naive += (forecast.naive() - actual).abs();
            inside += usize::from(quantile(0.05) <= actual && actual <= quantile(0.95));
        }
    }
    // It knows the rhythm, at each step: repeating the last value does not.
    assert!(error < 0.4 * naive, "{error} of {naive}");
    let coverage = inside as f64 / (forecasts.len() * STEPS) as f64;
    assert!((coverage - 0.9).abs() < 0.08, "{coverage}");
    assert!(forecaster.metrics()["val_relative_mae"] < 0.5);
}

#[test]
fn steps_are_stored_and_know_nothing_of_later_rows() {
    let whole = hourly(2, 500);
    let training = whole.slice(0..400).unwrap();
    for (model, loss) in [
        (ModelType::Lstm, Loss::Mae),
        (ModelType::NLinear, Loss::GaussianNll),
    ] {
        let config = config().with_loss(loss).with_epochs(1);
        let forecaster = train(&network(model, true), &training, &config);
        let dir = tempfile::tempdir().unwrap();
        forecaster.save(dir.path()).unwrap();
        let loaded = Forecaster::load(dir.path(), &Device::Cpu).unwrap();
        let all = forecaster.forecast_at(&whole, 400..500).unwrap();
        assert_eq!(loaded.forecast_at(&whole, 400..500).unwrap(), all);
        assert_eq!(loaded.train_config().steps(), 1..STEPS + 1);
        for row in [400, 431, 499] {
            let cut = whole.slice(0..row + 1).unwrap();
            assert_eq!(forecaster.forecast(&cut).unwrap(), all[row - 400], "{row}");
        }
        assert!(matches!(
            forecaster.forecast_path(&whole, 2),
            Err(Error::InvalidConfig { .. })
        ));
    }
}

#[test]
fn a_back_test_scores_a_network_at_every_step() {
    let whole = hourly(3, 520);
    let config = config()
        .with_steps(3)
        .with_timesteps(24)
        .with_loss(Loss::Mse)
        .with_epochs(2);
    let model = NetworkModel::new("linear", network(ModelType::NLinear, true), config);
    let models: Vec<Box<dyn Model>> = vec![Box::new(model)];
    let config = Config::default()
        .with_origins(60)
        .with_refit_every(60)
        .with_horizon(3)
        .with_path();
    let report = run(&models, &whole, &config, &|_| ControlFlow::Continue(())).unwrap();
    let score = report.models.iter().find(|score| score.name == "linear");
    let score = score.unwrap();
    assert_eq!(score.steps.len(), 3);
    for (ahead, step) in (1..).zip(&score.steps) {
        assert_eq!(step.ahead, ahead);
        assert!(step.mae.is_finite());
    }
}
