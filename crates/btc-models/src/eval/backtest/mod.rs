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

mod checkpoint;
mod html;
mod part;
mod report;

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::baseline::Baseline;
use crate::forecast::Forecast;
use crate::forecast::Model;
use crate::series::SeriesFrame;
use crate::transform::{PreprocessConfig, Preprocessor};
use crate::{Error, Result};

use checkpoint::Checkpoint;
use part::Part;
pub use report::{LevelScore, ModelScore, Report, Series, VarianceScore};

/// How models are compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Forecasts per model and seed; the last one's target is the last row.
    pub origins: usize,
    /// Origins between two fits.
    pub refit_every: usize,
    /// Rows between an origin and its target.
    pub horizon: usize,
    /// Seeds per model that depends on one.
    pub seeds: usize,
    /// The first seed; the others follow it.
    pub seed: u64,
    /// Fits at the same time.
    pub jobs: NonZeroUsize,
    /// A file to note finished parts in, and to go on from.
    pub checkpoint: Option<PathBuf>,
    /// Whether to also report each seeded model shrunk towards naive.
    pub combine: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: 200,
            refit_every: 20,
            horizon: 1,
            seeds: 1,
            seed: 0,
            jobs: NonZeroUsize::MIN,
            checkpoint: None,
            combine: false,
        }
    }
}

impl Config {
    /// Sets the forecasts per model.
    #[must_use]
    pub fn with_origins(mut self, origins: usize) -> Self {
        self.origins = origins;
        self
    }

    /// Sets the origins between two fits.
    #[must_use]
    pub fn with_refit_every(mut self, origins: usize) -> Self {
        self.refit_every = origins;
        self
    }

    /// Sets the rows between an origin and its target.
    #[must_use]
    pub fn with_horizon(mut self, horizon: usize) -> Self {
        self.horizon = horizon;
        self
    }

    /// Sets the first seed and the number of seeds.
    #[must_use]
    pub fn with_seeds(mut self, seed: u64, seeds: usize) -> Self {
        self.seed = seed;
        self.seeds = seeds;
        self
    }

    /// Sets the fits at the same time.
    #[must_use]
    pub fn with_jobs(mut self, jobs: NonZeroUsize) -> Self {
        self.jobs = jobs;
        self
    }

    /// Sets the file to note finished parts in.
    #[must_use]
    pub fn with_checkpoint(mut self, path: impl Into<PathBuf>) -> Self {
        self.checkpoint = Some(path.into());
        self
    }

    /// Also reports each seeded model shrunk towards naive.
    #[must_use]
    pub fn with_combinations(mut self) -> Self {
        self.combine = true;
        self
    }

    fn validate(&self, rows: usize) -> Result<()> {
        for (name, value) in [
            ("origins", self.origins),
            ("refit_every", self.refit_every),
            ("horizon", self.horizon),
            ("seeds", self.seeds),
        ] {
            if value == 0 || 1_000_000 < value {
                return Err(Error::invalid(name, value, "between 1 and 1000000"));
            }
        }
        // Variance models need 60 rows before the first origin.
        let needed = self.origins + self.horizon + 61;
        if rows < needed {
            return Err(Error::SeriesTooShort { rows, needed });
        }
        Ok(())
    }
}

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
    // What is wrong with the features is told before the work, not after it.
    let known = PreprocessConfig::default();
    let (_, unused) = Preprocessor::fit(frame, origins.start + 1, &known)?;
    let mut parts = Vec::new();
    for (model, &it) in all.iter().enumerate() {
        let seeds = if it.is_random() { config.seeds } else { 1 };
        for seed in 0..seeds {
            for start in origins.clone().step_by(config.refit_every) {
                let end = (start + config.refit_every).min(origins.end);
                parts.push(Part {
                    model,
                    seed,
                    origins: start..end,
                });
            }
        }
    }
    let finished = work(&all, &parts, frame, config, on_progress)?;
    let forecasts = all
        .iter()
        .enumerate()
        .map(|(model, it)| {
            let seeds = if it.is_random() { config.seeds } else { 1 };
            let of = |seed| {
                let own = parts.iter().zip(&finished);
                let own = own.filter(|(part, _)| (part.model, part.seed) == (model, seed));
                own.flat_map(|(_, forecasts)| forecasts.iter().cloned())
                    .collect()
            };
            (it.name().to_owned(), (0..seeds).map(of).collect())
        })
        .collect();
    let unused = unused.into_iter().collect();
    report::report(forecasts, frame, origins, config, unused)
}

/// Runs the parts that are not in the checkpoint, and returns the forecasts of all.
fn work(
    models: &[&dyn Model],
    parts: &[Part],
    frame: &SeriesFrame,
    config: &Config,
    on_progress: &(dyn Fn(Progress<'_>) -> ControlFlow<()> + Sync),
) -> Result<Vec<Vec<Forecast>>> {
    let data = part::data_hash(frame);
    let keys: Vec<String> = parts
        .iter()
        .map(|part| part.key(models[part.model], config, &data))
        .collect();
    let checkpoint = Checkpoint::open(config.checkpoint.as_deref())?;
    let mut slots: Vec<Option<Vec<Forecast>>> = keys
        .iter()
        .map(|key| checkpoint.get(key).cloned())
        .collect();
    let open: Vec<usize> = (0..parts.len()).filter(|at| slots[*at].is_none()).collect();
    let done = AtomicUsize::new(parts.len() - open.len());
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let checkpoint = Mutex::new(checkpoint);
    let results: Mutex<Vec<(usize, Result<Vec<Forecast>>)>> = Mutex::default();
    let worker = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(&at) = open.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let part = &parts[at];
            let model = models[part.model];
            let result = part.run(model, frame, config).and_then(|forecasts| {
                let mut checkpoint = lock(&checkpoint);
                checkpoint.add(&keys[at], &forecasts)?;
                Ok(forecasts)
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
    let finished: Vec<Vec<Forecast>> = slots.into_iter().flatten().collect();
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
