//! Training: reproducible, interruptible, and blind to what comes later.

use std::ops::ControlFlow;

use btc_models::{Error, ModelType, Schedule, TrainConfig, fit};
use candle_core::Device;

use crate::support::{frame, network, random_walk, train};

fn weights(forecaster: &btc_models::Forecaster) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    forecaster.save(&dir.path().join("m")).unwrap();
    std::fs::read(dir.path().join("m/weights.safetensors")).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let frame = random_walk(3, 120);
    for model in ModelType::ALL {
        let config = TrainConfig::default().with_epochs(2).with_seed(4);
        let run = |config: &TrainConfig| weights(&train(&network(model, true), &frame, config));
        let first = run(&config);
        assert_eq!(first, run(&config), "{model}");
        assert_ne!(first, run(&config.clone().with_seed(5)), "{model}");
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(16)
            .build()
            .unwrap();
        assert_eq!(
            first,
            pool.install(|| run(&config)),
            "{model} with 16 threads"
        );
    }
}

#[test]
fn training_ends_when_the_callback_says_so() {
    let frame = random_walk(3, 80);
    let network = network(ModelType::Cnn, true);
    let config = TrainConfig::default().with_epochs(50);
    let mut epochs = Vec::new();
    let forecaster = fit(&network, &frame, &config, &Device::Cpu, |logs| {
        epochs.push(logs.epoch);
        Ok(if logs.epoch == 2 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    })
    .unwrap();
    assert_eq!(epochs, [0, 1, 2]);
    assert_eq!(forecaster.history().len(), 3);

    let error = fit(&network, &frame, &config, &Device::Cpu, |_| {
        Err("disk full".into())
    });
    let error = error.unwrap_err();
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "disk full"
    );
}

#[test]
fn the_best_epoch_is_kept() {
    let frame = random_walk(8, 200);
    let config = TrainConfig::default().with_epochs(40).with_seed(1);
    let config = config.with_optimizer(btc_models::Optimizer::Adam, 1e-2);
    let forecaster = train(&network(ModelType::Lstm, true), &frame, &config);
    let best = forecaster.metrics()["best_epoch"] as usize;
    let lowest = forecaster
        .history()
        .iter()
        .filter_map(|logs| logs.val_loss)
        .min_by(f64::total_cmp);
    assert_eq!(forecaster.history()[best].val_loss, lowest);
    // Stopping there gives the same weights, as the order of random numbers is the same.
    let stopped = train(
        &network(ModelType::Lstm, true),
        &frame,
        &config.with_epochs(best + 1),
    );
    assert_eq!(weights(&forecaster), weights(&stopped));
}

#[test]
fn patience_ends_training_and_schedules_change_it() {
    let frame = random_walk(8, 200);
    let config = TrainConfig::default().with_epochs(200);
    let config = config.with_optimizer(btc_models::Optimizer::Adam, 1e-2);
    let short = train(
        &network(ModelType::Cnn, true),
        &frame,
        &config.clone().with_patience(5),
    );
    assert!(short.history().len() < 200);
    assert_eq!(
        short.metrics()["best_epoch"] as usize + 5 + 1,
        short.history().len()
    );

    let config = config.with_epochs(12);
    let plain = weights(&train(&network(ModelType::Cnn, true), &frame, &config));
    for schedule in [
        Schedule::Cosine { final_share: 0.0 },
        Schedule::OneCycle { rise: 0.3 },
    ] {
        let scheduled = config.clone().with_schedule(schedule).with_clip_norm(0.1);
        assert_ne!(
            plain,
            weights(&train(&network(ModelType::Cnn, true), &frame, &scheduled))
        );
    }
}

#[test]
fn divergence_is_an_error() {
    let frame = random_walk(8, 100);
    let config = TrainConfig::default()
        .with_optimizer(
            btc_models::Optimizer::Sgd {
                momentum: 0.9,
                nesterov: true,
            },
            1e6,
        )
        .with_loss(btc_models::Loss::Mse);
    let result = fit(
        &network(ModelType::NLinear, true),
        &frame,
        &config,
        &Device::Cpu,
        |_| Ok(ControlFlow::Continue(())),
    );
    assert!(matches!(result, Err(Error::Diverged { .. })), "{result:?}");
}

#[test]
fn a_series_too_short_is_an_error_that_says_how_long() {
    let network = network(ModelType::Lstm, true);
    let config = TrainConfig::default().with_epochs(1);
    let attempt = |rows| {
        fit(
            &network,
            &random_walk(1, rows),
            &config,
            &Device::Cpu,
            |_| Ok(ControlFlow::Continue(())),
        )
    };
    let Err(Error::SeriesTooShort { rows: 12, needed }) = attempt(12) else {
        panic!()
    };
    assert!(attempt(needed - 1).is_err());
    assert!(attempt(needed).is_ok());
}

#[test]
fn forecasts_know_nothing_of_later_rows() {
    let whole = random_walk(21, 160);
    let mut changed = whole.target().to_vec();
    changed[130..].iter_mut().for_each(|x| *x *= 2.0);
    let changed = frame(&[
        ("close", changed),
        ("volume", whole.column("volume").unwrap().to_vec()),
    ]);
    for model in ModelType::ALL {
        let config = TrainConfig::default().with_epochs(1);
        let forecaster = train(
            &network(model, true),
            &whole.slice(0..100).unwrap(),
            &config,
        );
        let all = forecaster.forecast_at(&whole, 100..160).unwrap();
        for row in [100, 117, 129] {
            let truncated = forecaster
                .forecast(&whole.slice(0..row + 1).unwrap())
                .unwrap();
            assert_eq!(
                truncated,
                all[row - 100],
                "{model}: rows after {row} were taken away"
            );
            let corrupted = forecaster.forecast_at(&changed, row..row + 1).unwrap();
            assert_eq!(
                corrupted[0],
                all[row - 100],
                "{model}: rows after 130 were changed"
            );
        }
    }
}

#[test]
fn a_frame_that_does_not_fit_the_model_is_an_error() {
    let whole = random_walk(2, 80);
    let forecaster = train(
        &network(ModelType::Cnn, true),
        &whole,
        &TrainConfig::default(),
    );
    let close = whole.target().to_vec();
    let only = frame(&[("close", close.clone())]);
    let missing = forecaster.forecast(&only).unwrap_err();
    assert!(matches!(missing, Error::MissingFeature { feature } if feature == "volume"));
    let other = frame(&[
        ("open", close.clone()),
        ("close", close.clone()),
        ("volume", close),
    ]);
    assert!(matches!(
        forecaster.forecast(&other).unwrap_err(),
        Error::OtherTarget { .. }
    ));
    let short = forecaster.forecast(&whole.slice(0..10).unwrap());
    assert!(matches!(
        short,
        Err(Error::SeriesTooShort {
            rows: 10,
            needed: 11
        })
    ));
    assert!(forecaster.forecast(&whole.slice(0..0).unwrap()).is_err());
    // The order of columns does not matter.
    let turned = [
        ("close", whole.target().to_vec()),
        ("volume", whole.column("volume").unwrap().to_vec()),
    ];
    let again = forecaster.forecast(&frame(&turned)).unwrap();
    assert_eq!(forecaster.forecast(&whole).unwrap(), again);
    assert!(again.intervals()[0].low < again.point() && again.point() < again.intervals()[0].high);
    assert_eq!(
        (again.target_time().unwrap() - again.known_until()).num_days(),
        1
    );
}

#[test]
fn quantile_heads_give_the_intervals_they_were_trained_for() {
    let whole = random_walk(31, 700);
    for loss in [
        btc_models::Loss::Pinball {
            quantiles: vec![0.05, 0.1, 0.5, 0.9, 0.95],
        },
        btc_models::Loss::GaussianNll,
    ] {
        let config = TrainConfig::default()
            .with_loss(loss.clone())
            .with_epochs(100)
            .with_optimizer(btc_models::Optimizer::Adam, 5e-3);
        let forecaster = train(
            &network(ModelType::NLinear, true),
            &whole.slice(0..500).unwrap(),
            &config,
        );
        let forecasts = forecaster.forecast_at(&whole, 500..699).unwrap();
        let price = whole.target();
        for (at, level) in [(0, 0.8), (1, 0.9)] {
            let held = forecasts.iter().enumerate().filter(|(row, forecast)| {
                let interval = forecast.intervals()[at];
                assert_eq!(interval.level, level);
                interval.low <= price[501 + row] && price[501 + row] <= interval.high
            });
            let coverage = held.count() as f64 / 199.0;
            assert!(
                (coverage - level).abs() < 0.12,
                "{loss:?}: {coverage} at {level}"
            );
        }
    }
}

#[test]
fn a_path_starts_with_the_forecast_and_widens() {
    let whole = random_walk(2, 120);
    let forecaster = train(
        &network(ModelType::Gru, true),
        &whole,
        &TrainConfig::default(),
    );
    let path = forecaster.forecast_path(&whole, 7).unwrap();
    assert_eq!(path[0], forecaster.forecast(&whole).unwrap());
    for (ahead, pair) in path.windows(2).enumerate() {
        assert_eq!(
            (pair[1].target_time().unwrap() - pair[0].target_time().unwrap()).num_days(),
            1
        );
        assert_eq!(pair[1].known_until(), pair[0].known_until());
        let width = |forecast: &btc_models::Forecast| {
            (forecast.intervals()[1].high / forecast.intervals()[1].low).ln()
        };
        let expected = ((ahead + 2) as f64 / (ahead + 1) as f64).sqrt();
        assert!((width(&pair[1]) / width(&pair[0]) - expected).abs() < 1e-9);
    }
    assert!(forecaster.forecast_path(&whole, 0).unwrap().is_empty());
    let config = TrainConfig::default().with_horizon(2).with_epochs(1);
    let direct = train(&network(ModelType::Gru, true), &whole, &config);
    assert_eq!(
        (direct.forecast(&whole).unwrap().target_time().unwrap() - path[0].known_until())
            .num_days(),
        2
    );
    assert!(matches!(
        direct.forecast_path(&whole, 2),
        Err(Error::InvalidConfig { .. })
    ));
}

/// Prints what the test below compares.
#[test]
fn weights_have_a_fingerprint() {
    let frame = random_walk(3, 150);
    let mut all = Vec::new();
    for model in ModelType::ALL {
        let config = TrainConfig::default()
            .with_timesteps(30)
            .with_epochs(2)
            .with_batch_size(64);
        all.extend(weights(&train(&network(model, true), &frame, &config)));
    }
    // FNV-1a.
    let hash = all.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    println!("fingerprint {hash:016x}.");
    assert!(!all.is_empty());
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads: &str| {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "training::weights_have_a_fingerprint",
                "--nocapture",
            ])
            .env("RAYON_NUM_THREADS", threads)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let at = text
            .find("fingerprint ")
            .unwrap_or_else(|| panic!("{text}"));
        text[at..].split('.').next().unwrap().to_owned()
    };
    let one = run("1");
    assert_eq!(one.len(), "fingerprint ".len() + 16);
    assert_eq!(one, run("2"));
    assert_eq!(one, run("16"));
}

#[test]
fn levels_can_be_predicted_as_such() {
    let whole = random_walk(2, 160);
    for scaler in [
        btc_models::ScalerKind::MinMax,
        btc_models::ScalerKind::Standard,
        btc_models::ScalerKind::Robust,
    ] {
        let config = TrainConfig::default()
            .with_levels()
            .with_scaler(scaler.clone())
            .with_epochs(60);
        let forecaster = train(&network(ModelType::NLinear, true), &whole, &config);
        let forecast = forecaster.forecast(&whole).unwrap();
        assert!(
            (forecast.point() / forecast.naive() - 1.0).abs() < 0.3,
            "{scaler:?}: {forecast:?}"
        );
    }
    let config = TrainConfig::default()
        .with_target(btc_models::Target::Difference)
        .with_epochs(2);
    let forecaster = train(&network(ModelType::NLinear, true), &whole, &config);
    let forecast = forecaster.forecast(&whole).unwrap();
    assert!(
        (forecast.point() / forecast.naive() - 1.0).abs() < 0.1,
        "{forecast:?}"
    );
}
