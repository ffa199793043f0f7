//! Training on a series with holes: nothing is made of rows that only seem to be neighbours.

use std::ops::ControlFlow;

use btc_models::{
    Error, Forecaster, Frequency, HolePolicy, ModelType, NetworkConfig, Result, SeriesFrame,
    Target, TrainConfig, fit,
};
use candle_core::Device;
use chrono::{DateTime, TimeDelta, Utc};

use crate::support::{network, normals, train};

fn hour(n: usize) -> DateTime<Utc> {
    let start: DateTime<Utc> = "2024-03-01T00:00:00Z".parse().unwrap();
    start + TimeDelta::hours(n as i64)
}

/// The hours of `values` for which `kept` is true.
fn hourly(values: &[f64], kept: impl Fn(usize) -> bool) -> SeriesFrame {
    let hours: Vec<usize> = (0..values.len()).filter(|n| kept(*n)).collect();
    let known_at = hours.iter().map(|n| hour(*n)).collect();
    let load = hours.iter().map(|n| values[*n]).collect::<Vec<f64>>();
    SeriesFrame::of_frequency(Frequency::hours(1), known_at, [("load", load)], "load").unwrap()
}

fn config() -> TrainConfig {
    TrainConfig::default()
        .with_timesteps(6)
        .with_target(Target::Difference)
        .with_epochs(20)
        .with_seed(3)
}

fn linear() -> NetworkConfig {
    network(ModelType::NLinear, false)
}

fn attempt(frame: &SeriesFrame, config: &TrainConfig) -> Result<Forecaster> {
    fit(&linear(), frame, config, &Device::Cpu, |_| {
        Ok(ControlFlow::Continue(()))
    })
}

// What lies behind a hole jumps by 1000. Were a window or a target across it trained on, the
// scale of the target would be far above that of the changes of an hour, and so would the loss.
#[test]
fn no_window_and_no_target_reaches_across_a_hole() {
    let noise = normals(5, 400);
    let jumping: Vec<f64> = (0..400)
        .map(|n| noise[n] + 1000.0 * (n / 50) as f64)
        .collect();
    let steady: Vec<f64> = (0..400).map(|n| noise[n] + 3500.0).collect();
    let kept = |n: usize| 10 <= n % 50;
    let (jumping, steady) = (hourly(&jumping, kept), hourly(&steady, kept));
    let config = config().with_scaler(btc_models::ScalerKind::Robust);
    let (one, other) = (
        attempt(&jumping, &config).unwrap(),
        attempt(&steady, &config).unwrap(),
    );
    for (one, other) in one.history().iter().zip(other.history()) {
        assert!(one.loss.is_finite() && (one.loss / other.loss - 1.0).abs() < 0.05);
        let relative = one.val_relative_mae.unwrap();
        assert!((relative / other.val_relative_mae.unwrap() - 1.0).abs() < 0.05);
    }
    let (jumping, steady) = (
        one.forecast(&jumping).unwrap(),
        other.forecast(&steady).unwrap(),
    );
    let change = |forecast: &btc_models::Forecast| forecast.point() - forecast.naive();
    assert!((change(&jumping) - change(&steady)).abs() < 0.2);
}

#[test]
fn a_window_whose_target_has_no_value_is_left_out() {
    // Every 20th hour is missing, so that some target of each long window is.
    let frame = hourly(&normals(6, 500), |n| n % 20 != 19);
    for config in [config().with_horizon(3), config().with_steps(3)] {
        let forecaster = attempt(&frame, &config).unwrap();
        assert!(
            forecaster
                .history()
                .iter()
                .all(|logs| logs.loss.is_finite())
        );
    }
    // No window of 25 hours is without a hole.
    let error = attempt(&frame, &config().with_timesteps(24)).unwrap_err();
    let Error::Holes { count, missing, .. } = error else {
        panic!("{error}")
    };
    assert_eq!((count, missing[0]), (24, hour(19)));
}

#[test]
fn a_forecast_across_a_hole_carries_the_missing_instants_or_is_refused() {
    let frame = hourly(&normals(7, 300), |n| n != 290 && n != 291);
    let flagging = train(&linear(), &frame, &config());
    let forecast = flagging.forecast(&frame.slice(0..293).unwrap()).unwrap();
    assert_eq!(forecast.missing(), [hour(290), hour(291)]);
    assert!(flagging.forecast(&frame).unwrap().missing().is_empty());
    assert_eq!(forecast.target_time(), Some(hour(295)));
    let path = flagging.forecast_path(&frame.slice(0..293).unwrap(), 3);
    assert_eq!(path.unwrap()[2].missing().len(), 2);

    let skipping = train(&linear(), &frame, &config().with_holes(HolePolicy::Skip));
    let error = skipping
        .forecast(&frame.slice(0..293).unwrap())
        .unwrap_err();
    assert!(matches!(error, Error::Holes { missing, .. } if missing == [hour(290), hour(291)]));
    assert!(skipping.forecast(&frame).is_ok());

    let refused = attempt(&frame, &config().with_holes(HolePolicy::Refuse)).unwrap_err();
    assert!(matches!(refused, Error::Holes { missing, .. } if missing[0] == hour(290)));
    // The setting is stored with the model.
    let dir = tempfile::tempdir().unwrap();
    skipping.save(dir.path()).unwrap();
    let loaded = Forecaster::load(dir.path(), &Device::Cpu).unwrap();
    assert_eq!(loaded.train_config().holes, HolePolicy::Skip);
}
