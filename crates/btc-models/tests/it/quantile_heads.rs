//! Quantiles that were trained come back, and intervals are nested.

use btc_models::{Forecast, Forecaster, Loss, ModelType, Target, TrainConfig};

use crate::support::{frame, network, normals, random_walk, train};

fn nested(forecast: &Forecast) {
    let intervals = forecast.intervals();
    for pair in intervals.windows(2) {
        assert!(pair[0].level < pair[1].level, "{intervals:?}");
        assert!(
            pair[1].low <= pair[0].low && pair[0].high <= pair[1].high,
            "{intervals:?}"
        );
    }
    for level in [0.8, 0.9, 0.95] {
        assert!(forecast.interval(level).is_some(), "{level}");
    }
}

fn quantiles_of(forecaster: &Forecaster, levels: &[f64]) {
    let whole = random_walk(31, 260);
    for forecast in forecaster.forecast_at(&whole, 200..260).unwrap() {
        nested(&forecast);
        let found: Vec<f64> = levels
            .iter()
            .map(|level| forecast.quantile(*level, 1).unwrap())
            .collect();
        assert!(found.is_sorted(), "{found:?}");
        assert!(found[0] < found[levels.len() - 1]);
    }
}

#[test]
fn every_trained_quantile_comes_back_and_none_cross() {
    let levels = vec![0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99];
    let config = TrainConfig::default().with_loss(Loss::Pinball {
        quantiles: levels.clone(),
    });
    let training = random_walk(31, 200);
    let lstm = network(ModelType::Lstm, true);
    // Hardly trained, so that quantiles do cross before they are put in order; and trained.
    for (epochs, lr) in [(1, 1e-3), (15, 5e-3)] {
        let config = config
            .clone()
            .with_epochs(epochs)
            .with_optimizer(btc_models::Optimizer::Adam, lr);
        quantiles_of(&train(&lstm, &training, &config), &levels);
    }
}

#[test]
fn the_quantiles_of_a_normal_distribution_come_back() {
    let config = TrainConfig::default()
        .with_loss(Loss::GaussianNll)
        .with_epochs(3);
    let forecaster = train(
        &network(ModelType::Gru, true),
        &random_walk(31, 200),
        &config,
    );
    quantiles_of(
        &forecaster,
        &[0.01, 0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975, 0.99],
    );
}

// A power price that was below zero once: 48 rows later intervals are finite, and so they are if
// that happens after the model was trained.
#[test]
fn one_negative_value_leaves_all_intervals_finite() {
    let mut load: Vec<f64> = normals(9, 400).iter().map(|x| 60.0 + 5.0 * x).collect();
    load[300] = -3.0;
    let whole = frame(&[("load", load)]);
    for rows in [250, 350] {
        let config = TrainConfig::default()
            .with_target(Target::Difference)
            .with_epochs(3);
        let training = whole.slice(0..rows).unwrap();
        let forecaster = train(&network(ModelType::NLinear, true), &training, &config);
        for forecast in forecaster.forecast_at(&whole, 298..400).unwrap() {
            assert_eq!(forecast.intervals().len(), 3);
            nested(&forecast);
            for interval in forecast.intervals() {
                assert!(interval.low.is_finite() && interval.high.is_finite());
                assert!(interval.low < interval.high && interval.high - interval.low < 500.0);
            }
        }
    }
}
