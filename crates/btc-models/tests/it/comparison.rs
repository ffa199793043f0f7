//! Rolling-origin comparisons.

use std::num::NonZeroUsize;
use std::ops::{ControlFlow, Range};

use btc_models::backtest::{Config, Report, run};
use btc_models::{
    Baseline, Error, FitContext, FittedModel, Forecast, Model, ModelType, NetworkModel, Result,
    SeriesFrame, Step, TrainConfig,
};

use crate::support::{frame, network, normals, prices, random_walk};

fn go(models: &[Box<dyn Model>], frame: &SeriesFrame, config: &Config) -> Result<Report> {
    run(models, frame, config, &|_| ControlFlow::Continue(()))
}

fn baselines() -> Vec<Box<dyn Model>> {
    Baseline::ALL
        .into_iter()
        .map(|baseline| Box::new(baseline) as Box<dyn Model>)
        .collect()
}

fn small_network(model: ModelType) -> Box<dyn Model> {
    let config = TrainConfig::default().with_epochs(2);
    Box::new(NetworkModel::new(
        model.name(),
        network(model, true),
        config,
    ))
}

fn all() -> Vec<Box<dyn Model>> {
    let mut models = baselines();
    models.extend(ModelType::ALL.into_iter().map(small_network));
    models
}

#[test]
fn the_result_depends_neither_on_threads_nor_on_an_interruption() {
    let frame = random_walk(6, 220);
    let config = Config::default()
        .with_origins(70)
        .with_refit_every(25)
        .with_seeds(3, 2);
    let report = go(&all(), &frame, &config).unwrap();
    assert_eq!(
        report.models.len(),
        Baseline::ALL.len() + ModelType::ALL.len()
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("checkpoint.jsonl");
    let config = config
        .with_jobs(NonZeroUsize::new(3).unwrap())
        .with_checkpoint(&file);
    let stopped = run(&all(), &frame, &config, &|progress| {
        if 20 <= progress.done {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    let Err(Error::Stopped { done, total }) = stopped else {
        panic!("{stopped:?}")
    };
    assert!(20 <= done && done < total);
    // The last line was being written when the lights went out.
    let mut text = std::fs::read_to_string(&file).unwrap();
    text.truncate(text.len() - 100);
    std::fs::write(&file, text).unwrap();
    let mut first = None;
    let resumed = run(&all(), &frame, &config, &|progress| {
        // Calls of several threads may come in any order.
        assert!(done <= progress.done);
        ControlFlow::Continue(())
    });
    assert_eq!(resumed.unwrap(), report);
    let again = std::sync::Mutex::new(&mut first);
    let whole = run(&all(), &frame, &config, &|progress| {
        **again.lock().unwrap() = Some(progress.done);
        ControlFlow::Continue(())
    });
    assert_eq!(whole.unwrap(), report);
    assert_eq!(first, None, "everything was in the checkpoint");
    // Another seed is another question.
    let other = go(&all(), &frame, &config.with_seeds(4, 2)).unwrap();
    assert_ne!(other, report);
}

/// A model that looks at the next row if there is one.
#[derive(Debug)]
struct Prophet;

impl Model for Prophet {
    fn name(&self) -> &str {
        "prophet"
    }

    fn fit(&self, _: &SeriesFrame, _: &FitContext) -> Result<Box<dyn FittedModel>> {
        Ok(Box::new(Self))
    }
}

impl FittedModel for Prophet {
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>> {
        let price = frame.target();
        Ok(origins
            .map(|row| {
                let point = frame.target_at(row, 1).unwrap_or(price[row]);
                let step = Step::new(1, frame.target_time(row, 1), point);
                Forecast::new(frame.known_at()[row], price[row], step)
            })
            .collect())
    }
}

#[test]
fn a_model_that_looks_ahead_is_found_out() {
    let config = Config::default().with_origins(40);
    let result = go(&[Box::new(Prophet)], &random_walk(6, 200), &config);
    assert!(
        matches!(result, Err(Error::LookAhead { row: 159, .. })),
        "{result:?}"
    );
}

#[test]
fn a_feature_that_knows_the_future_raises_the_alarm() {
    let returns: Vec<f64> = normals(3, 399).iter().map(|x| 0.03 * x).collect();
    // The next return as a feature: not the price itself, so no scan finds it.
    let mut leak: Vec<f64> = returns.iter().map(|r| r.exp()).collect();
    leak.push(1.0);
    let mut level = 1.0;
    let leak = leak.iter().map(|r| {
        level *= r;
        level
    });
    let frame = frame(&[("close", prices(&returns)), ("leak", leak.collect())]);
    let report = go(&baselines(), &frame, &Config::default().with_origins(100)).unwrap();
    assert_eq!(report.alarms.len(), 2, "{:?}", report.alarms);
    assert!(
        report
            .alarms
            .iter()
            .all(|alarm| alarm.starts_with("ridge "))
    );
    assert!(!report.too_small);
}

#[test]
fn nothing_beats_a_random_walk() {
    let frame = random_walk(17, 500);
    let mut models = baselines();
    for model in ModelType::ALL {
        let config = TrainConfig::default().with_epochs(3);
        models.push(Box::new(NetworkModel::new(
            model.name(),
            network(model, true),
            config,
        )));
    }
    let config = Config::default()
        .with_refit_every(100)
        .with_seeds(0, 5)
        .with_jobs(NonZeroUsize::new(2).unwrap())
        .with_combinations();
    let report = go(&models, &frame, &config).unwrap();
    for model in &report.models {
        let better = model.dm_absolute.is_some_and(|statistic| statistic < 0.0);
        let significant = model.dm_absolute_p_holm.is_some_and(|p| p < 0.05);
        assert!(!(better && significant), "{model:?}");
    }
    assert!(report.alarms.is_empty(), "{:?}", report.alarms);
    let find = |name: &str| {
        report
            .models
            .iter()
            .find(|model| model.name == name)
            .unwrap()
    };
    // Intervals hold about what they promise.
    for level in &find("naive").intervals {
        assert!((level.coverage - level.level).abs() < 0.06, "{level:?}");
    }
    // Shrinking towards naive loses nothing much.
    for model in ModelType::ALL {
        assert!(find(&format!("{model}+naive")).relative_mae < 1.02);
        assert_eq!(find(model.name()).seeds, 5);
    }
}

#[test]
fn the_page_shows_every_model_and_loads_nothing() {
    let mut series = random_walk(6, 200);
    let volume = series.column("volume").unwrap().to_vec();
    series = frame(&[
        ("a<b", series.target().to_vec()),
        ("volume", volume),
        ("flat", vec![1.0; 200]),
    ]);
    let report = go(&baselines(), &series, &Config::default().with_origins(50)).unwrap();
    let html = report.to_html();
    for baseline in Baseline::ALL {
        assert!(html.contains(&format!("<td>{}</td>", baseline.name())));
    }
    assert!(html.contains("Backtest of a&lt;b") && !html.contains("a<b"));
    assert!(html.contains("flat: it does not vary") && html.contains("Too few forecasts"));
    for forbidden in ["http", "<script", "src=", "NaN", "inf"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn a_comparison_that_cannot_be_made_is_an_error() {
    let frame = random_walk(6, 100);
    let twice: Vec<Box<dyn Model>> = vec![Box::new(Baseline::Ses), Box::new(Baseline::Ses)];
    let config = Config::default().with_origins(20);
    assert!(matches!(
        go(&twice, &frame, &config),
        Err(Error::InvalidConfig { .. })
    ));
    let long = Config::default().with_origins(100);
    let error = go(&baselines(), &frame, &long).unwrap_err();
    assert!(
        matches!(
            error,
            Error::SeriesTooShort {
                rows: 100,
                needed: 162
            }
        ),
        "{error}"
    );
    let nowhere = config.with_checkpoint("/nonexistent/folder/file");
    assert!(matches!(
        go(&baselines(), &frame, &nowhere),
        Err(Error::Io { .. })
    ));
}

#[test]
fn longer_horizons_are_judged_like_short_ones() {
    let frame = random_walk(6, 260);
    let mut models = baselines();
    models.push(small_network(ModelType::Gru));
    let config = Config::default().with_origins(80).with_horizon(5);
    let report = go(&models, &frame, &config).unwrap();
    assert_eq!(report.last_target, frame.known_at()[259]);
    let naive = &report.models[0];
    assert!(
        naive.intervals[1].width > 1.5 * 4.0,
        "five days spread more than one: {naive:?}"
    );
    assert!(report.variance.is_empty());
}
