//! The study of an experiment.

use std::sync::Arc;
use std::time::Duration;

use btc_tune::{
    HeartbeatConfig, PercentileConfig, PrunedTrials, PrunerKind, SamplerKind, Storage, Study,
    StudyDirection,
};

use crate::Result;

/// A trial whose process gave no sign of life for half a minute is failed and
/// tried once more.
const HEARTBEAT: HeartbeatConfig = HeartbeatConfig {
    interval: Duration::from_secs(10),
    grace: Duration::from_secs(30),
    max_retry: 1,
};

/// Validation errors go up and down from epoch to epoch, and a median of few
/// trials says little. Judged this rarely, a search finds what it finds without
/// pruning in half the epochs (`docs/pruning.md`).
const MEDIAN: PercentileConfig = PercentileConfig {
    n_startup_trials: 8,
    n_warmup_steps: 0,
    interval_steps: 5,
    n_min_trials: 1,
    pruned: PrunedTrials::Worse,
};

/// How a study chooses values, and which trials it ends early.
///
/// ```
/// use btc_pipeline::StudyConfig;
/// use btc_tune::PrunerKind;
///
/// let config = StudyConfig { pruner: "hyperband".parse()?, ..StudyConfig::default() };
/// assert_eq!(config.pruner, PrunerKind::Hyperband);
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StudyConfig {
    /// The seed of the sampler.
    pub seed: u64,
    /// How values are chosen.
    pub sampler: SamplerKind,
    /// Which trials end early, by their validation MAE relative to naive after each epoch. The
    /// median is looked at every fifth epoch, once eight trials are complete.
    pub pruner: PrunerKind,
}

/// Opens the study called `name`, creating it if it is new.
///
/// Its trials are sampled from the seed and their own numbers, so that a
/// resumed study goes on as an uninterrupted one would.
///
/// # Errors
///
/// [`crate::Error::Tune`] if the storage fails.
pub fn open_study(storage: Arc<dyn Storage>, name: &str, config: &StudyConfig) -> Result<Study> {
    let builder = Study::builder(name, storage)
        .direction(StudyDirection::Minimize)
        .heartbeat(HEARTBEAT)
        .load_if_exists(true);
    let builder = builder
        .shared_sampler(config.sampler.build(config.seed)?)
        .shared_pruner(config.pruner.build(MEDIAN)?);
    Ok(builder.create()?)
}
