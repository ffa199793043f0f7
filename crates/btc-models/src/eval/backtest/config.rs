//! How models are compared.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use chrono::{DateTime, Utc};

use super::metric::Metric;
use crate::forecast::MAX_HORIZON;
use crate::{Error, Result};

/// How models are compared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Config {
    /// Origins per model and seed; the last one's target is the last row.
    pub origins: usize,
    /// Origins between two fits.
    pub refit_every: usize,
    /// Steps of the frame's frequency between an origin and its target.
    pub horizon: usize,
    /// Whether every step up to the horizon is forecast and scored.
    pub path: bool,
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
    /// Closed ranges of target instants on which some model's configuration was chosen.
    pub chosen_on: Vec<(DateTime<Utc>, DateTime<Utc>)>,
    /// Measures beside those of this crate.
    pub metrics: Vec<Metric>,
    /// Where networks are trained and applied.
    #[cfg(feature = "nn")]
    pub device: candle_core::Device,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            origins: 200,
            refit_every: 20,
            horizon: 1,
            path: false,
            seeds: 1,
            seed: 0,
            jobs: NonZeroUsize::MIN,
            checkpoint: None,
            combine: false,
            chosen_on: Vec::new(),
            metrics: Vec::new(),
            #[cfg(feature = "nn")]
            device: candle_core::Device::Cpu,
        }
    }
}

impl Config {
    /// Sets the origins per model.
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

    /// Sets the steps between an origin and its target.
    #[must_use]
    pub fn with_horizon(mut self, horizon: usize) -> Self {
        self.horizon = horizon;
        self
    }

    /// Forecasts and scores every step up to the horizon.
    #[must_use]
    pub fn with_path(mut self) -> Self {
        self.path = true;
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

    /// Says that some model's configuration was chosen on the targets from the first to the last
    /// of these instants. Origins with such a target are forecast and shown, but left out of all
    /// tests, of every model, so that all p-values stand on the same origins.
    #[must_use]
    pub fn with_chosen_on(mut self, first: DateTime<Utc>, last: DateTime<Utc>) -> Self {
        self.chosen_on.push((first, last));
        self
    }

    /// Adds a measure of one's own, which the report has under its name.
    #[must_use]
    pub fn with_metric(mut self, metric: Metric) -> Self {
        self.metrics.push(metric);
        self
    }

    /// Sets where networks are trained and applied.
    #[cfg(feature = "nn")]
    #[must_use]
    pub fn with_device(mut self, device: candle_core::Device) -> Self {
        self.device = device;
        self
    }

    pub(super) fn validate(&self, rows: usize) -> Result<()> {
        for (name, value) in [
            ("origins", self.origins),
            ("refit_every", self.refit_every),
            ("seeds", self.seeds),
        ] {
            if value == 0 || 1_000_000 < value {
                return Err(Error::invalid(name, value, "between 1 and 1000000"));
            }
        }
        if self.horizon == 0 || MAX_HORIZON < self.horizon {
            let expected = "between 1 and 10000";
            return Err(Error::invalid("horizon", self.horizon, expected));
        }
        // Variance models need 60 rows before the first origin.
        let needed = self.origins + self.horizon + 61;
        if rows < needed {
            return Err(Error::SeriesTooShort { rows, needed });
        }
        Ok(())
    }

    pub(super) fn is_marked(&self, at: Option<DateTime<Utc>>) -> bool {
        let within = |(first, last): &(DateTime<Utc>, DateTime<Utc>)| {
            at.is_some_and(|at| *first <= at && at <= *last)
        };
        self.chosen_on.iter().any(within)
    }
}
