//! Several series in one model.

use std::ops::ControlFlow;

use btc_models::{
    Error, FeatureTransform, Forecaster, ModelType, Panel, PanelForecaster, PanelScaling,
    SeriesFrame, Split, Target, TrainConfig, fit_panel,
};
use candle_core::Device;
use chrono::{DateTime, Days, Utc};
use proptest::prelude::*;

use crate::support::{network, normals, random_walk, train};

fn day(n: usize) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + Days::new(n as u64)
}

/// A walk of prices with a feature, from the day `first` on.
fn walk(seed: u64, first: usize, rows: usize, size: f64) -> SeriesFrame {
    let noise = normals(seed, 2 * rows);
    let mut log = 0.0;
    let price = noise[..rows].iter().map(|x| {
        log += 0.03 * x;
        size * f64::exp(log)
    });
    let price: Vec<f64> = price.collect();
    let volume = noise[rows..].iter().map(|x| x.exp()).collect();
    let days = (first..first + rows).map(day).collect();
    SeriesFrame::new(days, [("close", price), ("volume", volume)], "close").unwrap()
}

fn trained(panel: &Panel, config: &TrainConfig) -> PanelForecaster {
    let network = network(ModelType::NLinear, true);
    fit_panel(&network, panel, config, &Device::Cpu, |_| {
        Ok(ControlFlow::Continue(()))
    })
    .unwrap()
}

fn weights(model: &PanelForecaster) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    std::fs::read(dir.path().join("weights.safetensors")).unwrap()
}

#[test]
fn a_panel_of_one_series_is_that_series() {
    let frame = random_walk(5, 120);
    for scaling in PanelScaling::ALL {
        let config = TrainConfig::default()
            .with_epochs(3)
            .with_panel_scaling(scaling);
        let alone = train(&network(ModelType::NLinear, true), &frame, &config);
        let panel = Panel::new([("only", frame.clone())]).unwrap();
        let model = trained(&panel, &config);
        let own: &Forecaster = model.series("only").unwrap();
        assert_eq!(own.metrics(), alone.metrics());
        assert_eq!(
            own.forecast(&frame).unwrap(),
            alone.forecast(&frame).unwrap()
        );
    }
}

#[test]
fn a_panel_is_stored_with_its_weights_once_and_loads_as_it_was() {
    let panel = Panel::new([
        ("a/b \u{e9}", walk(1, 0, 90, 1.0)),
        ("late", walk(2, 30, 60, 500.0)),
    ])
    .unwrap();
    let config = TrainConfig::default().with_epochs(2).with_steps(3);
    let model = trained(&panel, &config);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model");
    model.save(&path).unwrap();
    let files = std::fs::read_dir(&path).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["panel.json", "weights.safetensors"]);
    let loaded = PanelForecaster::load(&path, &Device::Cpu).unwrap();
    assert_eq!(
        loaded.forecast(&panel).unwrap(),
        model.forecast(&panel).unwrap()
    );
    for (name, forecaster) in loaded.iter() {
        let frame = panel.series(name).unwrap();
        assert_eq!(forecaster.training_range().rows, frame.rows());
    }
    // Written again, it is the same.
    let again = dir.path().join("again");
    loaded.save(&again).unwrap();
    let text = |dir: &std::path::Path| std::fs::read_to_string(dir.join("panel.json")).unwrap();
    assert_eq!(text(&again), text(&path));

    let other = Panel::new([("lat", walk(1, 0, 90, 1.0))]).unwrap();
    let error = loaded.forecast(&other).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownName { suggestion, .. } if suggestion.as_deref() == Some("late")),
        "{error}"
    );
    let changed = text(&path).replacen("\"seed\": 0", "\"seed\": 1", 1);
    std::fs::write(path.join("panel.json"), changed).unwrap();
    let error = PanelForecaster::load(&path, &Device::Cpu).unwrap_err();
    assert!(matches!(error, Error::InPanel { .. }), "{error}");
    let newer = text(&again).replacen("\"panel_version\": 1", "\"panel_version\": 2", 1);
    std::fs::write(again.join("panel.json"), newer).unwrap();
    let error = PanelForecaster::load(&again, &Device::Cpu).unwrap_err();
    assert!(error.to_string().contains("version 2"), "{error}");
}

#[test]
fn what_is_wrong_with_one_series_names_it() {
    let fit = |other: SeriesFrame| {
        let panel = Panel::new([("good", walk(1, 0, 90, 1.0)), ("bad", other)]).unwrap();
        let network = network(ModelType::NLinear, true);
        let config = TrainConfig::default().with_epochs(1);
        let model = fit_panel(&network, &panel, &config, &Device::Cpu, |_| {
            Ok(ControlFlow::Continue(()))
        });
        match model.unwrap_err() {
            Error::InPanel { series, source } if series == "bad" => *source,
            error => panic!("{error}"),
        }
    };
    let short = fit(walk(2, 0, 8, 1.0));
    assert!(
        matches!(short, Error::SeriesTooShort { rows: 8, .. }),
        "{short}"
    );
    // It begins when training is over.
    let late = fit(walk(2, 88, 16, 1.0));
    assert!(matches!(late, Error::SeriesTooShort { .. }), "{late}");
    let negative = fit(walk(2, 0, 90, -1.0));
    assert!(matches!(negative, Error::NotPositive { .. }), "{negative}");
}

/// The first rows of a series tell nothing of its errors, and a young one has no others.
#[test]
fn a_young_series_has_the_intervals_of_the_others() {
    let panel = Panel::new([
        ("old", walk(1, 0, 120, 1.0)),
        ("young", walk(2, 85, 35, 9.0)),
    ]);
    let panel = panel.unwrap();
    let config = TrainConfig::default().with_epochs(1).with_steps(2);
    let forecasts = trained(&panel, &config).forecast(&panel).unwrap();
    for (name, forecast) in forecasts {
        for step in forecast.steps() {
            let intervals = step.quantiles.intervals();
            assert!(!intervals.is_empty(), "{name}");
            let around = |i: &btc_models::Interval| i.low < step.point && step.point < i.high;
            assert!(intervals.iter().all(around), "{name}: {intervals:?}");
        }
    }
}

/// Each series goes on in its own way, and only what never changes says in which.
#[test]
fn what_never_changes_tells_the_series_apart() {
    let series = |code: u32, slope: f64| {
        let values = normals(7, 150).into_iter().enumerate();
        let values = values
            .map(|(row, x)| 10.0 + slope * row as f64 + 0.2 * x)
            .collect();
        let words = vec!["up".to_owned(), "down".to_owned()];
        SeriesFrame::new((0..150).map(day).collect(), [("y", values)], "y")
            .unwrap()
            .with_static_category("way", code, words)
            .unwrap()
    };
    let panel = Panel::new([("one", series(0, 1.0)), ("two", series(1, -1.0))]).unwrap();
    let config = TrainConfig::default()
        .with_target(Target::Difference)
        .with_default_transform(FeatureTransform::ZScore { window: 3 })
        .with_panel_scaling(PanelScaling::Shared)
        .with_optimizer(btc_models::Optimizer::Adam, 1e-2)
        .with_epochs(40);
    let model = trained(&panel, &config);
    for (name, sign) in [("one", 1.0), ("two", -1.0)] {
        let frame = panel.series(name).unwrap();
        let forecast = model.series(name).unwrap().forecast(frame).unwrap();
        let change = sign * (forecast.point() - forecast.naive());
        assert!(0.3 < change, "{name}: {change}");
    }
}

proptest! {
    #![proptest_config(btc_testing::cases(16))]

    /// Whatever any series does after the last target of training, the weights of the first epoch
    /// are the same bits.
    #[test]
    fn the_future_of_no_series_reaches_the_training_of_any(
        firsts in prop::collection::vec(0..30usize, 2..4),
        horizon in 1..4usize,
        shared in any::<bool>(),
        levels in any::<bool>(),
        changed in 0..4usize,
        factor in 1.1..3.0,
    ) {
        let timesteps = 4;
        let lengths = [90, 70, 55];
        let frames: Vec<SeriesFrame> = firsts
            .iter()
            .zip(lengths)
            .enumerate()
            .map(|(seed, (first, rows))| walk(seed as u64, *first, rows, 10.0))
            .collect();
        let named = |frames: Vec<SeriesFrame>| {
            let names = ["a", "b", "c"].into_iter();
            Panel::new(names.zip(frames)).unwrap()
        };
        let panel = named(frames.clone());
        let mut config = TrainConfig::default()
            .with_timesteps(timesteps)
            .with_horizon(horizon)
            .with_validation_fraction(0.3)
            .with_epochs(1)
            .with_panel_scaling(if shared { PanelScaling::Shared } else { PanelScaling::PerSeries });
        let mut first = timesteps;
        if levels {
            config = config.with_levels();
            first -= 1;
        }
        let instants = panel.instants();
        let split = Split::new(instants.len(), first, horizon, 0.3).unwrap();
        let last = instants[split.train.end - 1 + horizon];
        let at = changed % frames.len();
        let change = |frame: &SeriesFrame, from: &dyn Fn(DateTime<Utc>) -> bool| {
            let columns = frame.names().iter().map(|name| {
                let values = frame.known_at().iter().zip(frame.column(name).unwrap());
                let values = values.map(|(time, x)| if from(*time) { factor * x } else { *x });
                (name.clone(), values.collect::<Vec<f64>>())
            });
            SeriesFrame::new(frame.known_at().to_vec(), columns, "close").unwrap()
        };
        let mut later = frames.clone();
        later[at] = change(&frames[at], &|time| last < time);
        let bits = weights(&trained(&panel, &config));
        prop_assert!(bits == weights(&trained(&named(later), &config)));
        // What is known by then does reach it.
        let mut known = frames.clone();
        let row = known[at].known_at().iter().filter(|time| **time <= last).count() / 2;
        let middle = known[at].known_at()[row];
        known[at] = change(&frames[at], &|time| time == middle);
        prop_assert!(bits != weights(&trained(&named(known), &config)));
    }
}
