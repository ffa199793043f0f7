//! Rolling-origin comparison of models.
//!
//! At every origin a model forecasts with what was known then. It is refitted every few origins
//! on all rows up to the first of them, and gets rows up to the origin alone to forecast from;
//! that it uses nothing else is checked while it runs.
//!
//! ```
//! use btc_models::{Baseline, Model, SeriesFrame, backtest};
//! use chrono::{DateTime, Days};
//! use std::ops::ControlFlow;
//!
//! let start = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
//! let days = (0..300).map(|day| start + Days::new(day)).collect();
//! let close: Vec<f64> = (0..300).map(|day| 100.0 + f64::from(day * 37 % 11)).collect();
//! let frame = SeriesFrame::new(days, [("close", close)], "close")?;
//! let models: Vec<Box<dyn Model>> = vec![Box::new(Baseline::Ses)];
//! let config = backtest::Config::default().with_origins(100);
//! let report = backtest::run(&models, &frame, &config, &|_| ControlFlow::Continue(()))?;
//! assert_eq!(report.models[0].name, "naive"); // Always there, to compare with.
//! assert!(report.models[1].relative_mae < 1.0);
//! # Ok::<(), btc_models::Error>(())
//! ```

mod alarms;
mod checkpoint;
mod combine;
mod config;
mod html;
mod judge;
mod metric;
mod part;
mod report;
mod summary;

use std::ops::{ControlFlow, Range};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chrono::{DateTime, Utc};

use crate::baseline::{Baseline, SeasonalNaive};
use crate::forecast::Model;
use crate::series::SeriesFrame;
use crate::transform::{PanelScaling, PreprocessConfig, Preprocessor, TrainingPart};
use crate::{Error, Result};

use checkpoint::Checkpoint;
pub use config::Config;
pub use metric::{Metric, MetricSpec, register_metric};
use part::{Outcome, Part, Source};
pub use report::{LevelScore, ModelScore, Report, Series, StepScore, VarianceScore};

/// The frame as it was known at an instant: its last row is the one of that instant.
///
/// An error of it ends the comparison as the source of [`Error::Vintage`].
pub type Vintage<'a> = dyn Fn(DateTime<Utc>) -> Result<SeriesFrame, Box<dyn std::error::Error + Send + Sync>>
    + Sync
    + 'a;

/// How far a comparison is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The model of the part that was finished last.
    pub model: &'a str,
    /// Parts that are finished; a part is one fit and the forecasts from it.
    pub done: usize,
    /// All parts.
    pub total: usize,
}

/// Compares models over the last rows of the frame.
///
/// The naive forecast is always among them. Parts run on `jobs` threads and the result does not
/// depend on their number. After each part `on_progress` is called and may stop the comparison.
///
/// # Errors
///
/// A frame too short, two models of one name, a model that fails or that uses rows it must not
/// know, a checkpoint that cannot be written, [`Error::Stopped`].
pub fn run(
    models: &[Box<dyn Model>],
    frame: &SeriesFrame,
    config: &Config,
    on_progress: &(dyn Fn(Progress<'_>) -> ControlFlow<()> + Sync),
) -> Result<Report> {
    compare(
        models,
        &Source {
            frame,
            vintage: None,
        },
        config,
        on_progress,
    )
}

/// As [`run`], but models see the data as they were known at each origin.
///
/// `vintage` returns the frame of the rows up to an instant with the values as they were known
/// then; its last row must be that of the instant. A fit uses the vintage of its first origin, a
/// forecast the one of its own. What came is taken from `frame`, the naive forecast from the
/// vintage.
///
/// # Errors
///
/// As [`run`]; [`Error::Vintage`] for an error of `vintage` and for a frame that does not end with
/// the instant.
pub fn run_vintage(
    models: &[Box<dyn Model>],
    frame: &SeriesFrame,
    vintage: &Vintage<'_>,
    config: &Config,
    on_progress: &(dyn Fn(Progress<'_>) -> ControlFlow<()> + Sync),
) -> Result<Report> {
    let source = Source {
        frame,
        vintage: Some(vintage),
    };
    compare(models, &source, config, on_progress)
}

fn compare(
    models: &[Box<dyn Model>],
    source: &Source<'_>,
    config: &Config,
    on_progress: &(dyn Fn(Progress<'_>) -> ControlFlow<()> + Sync),
) -> Result<Report> {
    let frame = source.frame;
    config.validate(frame.rows())?;
    let naive = Baseline::Naive;
    let mut all: Vec<&dyn Model> = vec![&naive];
    all.extend(
        models
            .iter()
            .map(|model| &**model)
            .filter(|model| model.name() != naive.name()),
    );
    for (at, model) in all.iter().enumerate() {
        if all[..at].iter().any(|other| other.name() == model.name()) {
            return Err(Error::invalid("models", model.name(), "distinct names"));
        }
    }
    let last = frame.rows() - config.horizon;
    let origins = last - config.origins..last;
    // Features of no use are named before the work, not after it.
    let known = PreprocessConfig::default();
    let rows = [TrainingPart::rows(frame, origins.start + 1)];
    let (_, unused) = Preprocessor::fit(&rows, &known, PanelScaling::default())?;
    let mut parts = Vec::new();
    for (at, model) in all.iter().enumerate() {
        let seeds = if model.is_random() { config.seeds } else { 1 };
        for seed in 0..seeds {
            parts.extend(parts_of(at, seed, &origins, config));
        }
    }
    let finished = work(&all, &parts, source, config, on_progress)?;
    let mut notes = Vec::new();
    let mut forecasts = Vec::with_capacity(all.len());
    for (at, model) in all.iter().enumerate() {
        let mut by_seed: Vec<Vec<_>> = Vec::new();
        for (part, outcome) in parts.iter().zip(&finished) {
            if part.model != at {
                continue;
            }
            by_seed.resize_with(by_seed.len().max(part.seed + 1), Vec::new);
            by_seed[part.seed].extend(outcome.forecasts.iter().cloned());
            let from = frame.known_at()[part.origins.start];
            let each = outcome.notes.iter();
            notes.extend(each.map(|note| {
                let day = from.format("%Y-%m-%d %H:%M UTC");
                (model.name().to_owned(), format!("the fit of {day}: {note}"))
            }));
        }
        forecasts.push((model.name().to_owned(), by_seed));
    }
    let unused = unused.into_iter().collect();
    let mut report = summary::report(forecasts, notes, source, origins.clone(), config, unused)?;
    report.alarms = alarms::alarms(&report, source, &origins, config)?;
    Ok(report)
}

fn parts_of(model: usize, seed: usize, origins: &Range<usize>, config: &Config) -> Vec<Part> {
    let starts = origins.clone().step_by(config.refit_every);
    starts
        .map(|start| Part {
            model,
            seed,
            origins: start..(start + config.refit_every).min(origins.end),
        })
        .collect()
}

/// Runs the parts that are not in the checkpoint, and returns the forecasts of all.
fn work(
    models: &[&dyn Model],
    parts: &[Part],
    source: &Source<'_>,
    config: &Config,
    on_progress: &(dyn Fn(Progress<'_>) -> ControlFlow<()> + Sync),
) -> Result<Vec<Outcome>> {
    let keys = part::keys(parts, models, source, config)?;
    let checkpoint = Checkpoint::open(config.checkpoint.as_deref())?;
    let mut slots: Vec<Option<Outcome>> = keys
        .iter()
        .map(|key| checkpoint.get(key).cloned())
        .collect();
    let open: Vec<usize> = (0..parts.len()).filter(|at| slots[*at].is_none()).collect();
    let done = AtomicUsize::new(parts.len() - open.len());
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let checkpoint = Mutex::new(checkpoint);
    let results: Mutex<Vec<(usize, Result<Outcome>)>> = Mutex::default();
    let worker = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(&at) = open.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let part = &parts[at];
            let model = models[part.model];
            let result = part.run(model, source, config).and_then(|outcome| {
                let mut checkpoint = lock(&checkpoint);
                checkpoint.add(&keys[at], &outcome)?;
                Ok(outcome)
            });
            let failed = result.is_err();
            lock(&results).push((at, result));
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            let progress = Progress {
                model: model.name(),
                done,
                total: parts.len(),
            };
            if failed || on_progress(progress).is_break() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..config.jobs.get().min(open.len()) {
            scope.spawn(worker);
        }
        worker();
    });
    let mut results = results
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // The error of the first part in order, whichever thread came to its own first.
    results.sort_by_key(|(at, _)| *at);
    for (at, result) in results {
        slots[at] = Some(result?);
    }
    let total = slots.len();
    let finished: Vec<Outcome> = slots.into_iter().flatten().collect();
    if finished.len() < total {
        return Err(Error::Stopped {
            done: finished.len(),
            total,
        });
    }
    Ok(finished)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
