//! What every network must be able to do.

use btc_models::{Loss, ModelType, TrainConfig, metrics};

use crate::support::{frame, network, normals, prices, random_walk, train};

#[test]
fn every_network_learns_32_windows_by_heart() {
    // With more features than windows, even a linear map can tell all windows apart.
    let walk = random_walk(5, 43);
    let mut columns = vec![("close", walk.target().to_vec())];
    for (seed, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        columns.push((name, normals(seed as u64 + 40, 43)));
    }
    let frame = frame(&columns);
    for model in ModelType::ALL {
        let config = TrainConfig::default()
            .with_validation_fraction(0.0)
            .with_loss(Loss::Mse)
            .with_epochs(800)
            .with_batch_size(16)
            .with_optimizer(btc_models::Optimizer::Adam, 5e-3)
            .with_seed(1);
        let forecaster = train(&network(model, false), &frame, &config);
        let loss = forecaster.metrics()["loss"];
        assert!(loss < 1e-3, "{model}: {loss}");
    }
}

/// The next return is this one's opposite, or a feature's, plus noise.
fn planted(seed: u64, rows: usize, seasonal: bool) -> btc_models::SeriesFrame {
    let noise = normals(seed, rows);
    let signal = normals(seed + 77, rows);
    let returns: Vec<f64> = (0..rows - 1)
        .map(|t| {
            let planted = match seasonal {
                true => (std::f64::consts::TAU * t as f64 / 7.0).sin() * 1.4,
                false => signal[t],
            };
            0.02 * planted + 0.002 * noise[t]
        })
        .collect();
    let signal = signal.iter().map(|x| (0.1 * x).exp()).collect();
    frame(&[("close", prices(&returns)), ("signal", signal)])
}

#[test]
fn every_network_finds_planted_signals() {
    for seasonal in [false, true] {
        let frame = planted(11, 500, seasonal);
        for model in ModelType::ALL {
            let config = TrainConfig::default()
                .with_timesteps(10)
                .with_epochs(100)
                .with_optimizer(btc_models::Optimizer::Adam, 3e-3)
                .with_transform("signal", btc_models::FeatureTransform::Log)
                .with_seed(2);
            let training = frame.slice(0..400).unwrap();
            let forecaster = train(&network(model, true), &training, &config);
            let forecasts = forecaster.forecast_at(&frame, 400..499).unwrap();
            let price = frame.target();
            let points: Vec<f64> = forecasts.iter().map(|forecast| forecast.point()).collect();
            let relative = metrics::relative_mae(&price[401..500], &points, &price[400..499]);
            assert!(relative < 0.5, "{model}, seasonal {seasonal}: {relative}");
        }
    }
}

#[test]
fn every_network_takes_windows_of_any_size() {
    let frame = random_walk(9, 60);
    for model in ModelType::ALL {
        for timesteps in [1, 2, 3, 7] {
            let config = TrainConfig::default()
                .with_timesteps(timesteps)
                .with_epochs(1);
            let forecaster = train(&network(model, true), &frame, &config);
            assert!(
                forecaster.forecast(&frame).unwrap().point() > 0.0,
                "{model} {timesteps}"
            );
        }
    }
}

#[test]
fn every_loss_trains() {
    let frame = planted(11, 200, false);
    for loss in [
        Loss::LogCosh,
        Loss::Mse,
        Loss::Mae,
        Loss::Huber { delta: 1.0 },
        Loss::Pinball {
            quantiles: vec![0.05, 0.5, 0.95],
        },
        Loss::GaussianNll,
    ] {
        let config = TrainConfig::default()
            .with_loss(loss.clone())
            .with_epochs(10);
        let forecaster = train(&network(ModelType::Gru, true), &frame, &config);
        let history = forecaster.history();
        assert!(history[9].loss < history[0].loss, "{loss:?}: {history:?}");
    }
}
