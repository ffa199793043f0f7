//! The study of an experiment.

use std::sync::Arc;
use std::time::Duration;

use btc_tune::{AutoSampler, HeartbeatConfig, MedianPruner, Storage, Study, StudyDirection};

use crate::Result;

/// A trial whose process gave no sign of life for half a minute is failed and
/// tried once more.
const HEARTBEAT: HeartbeatConfig = HeartbeatConfig {
    interval: Duration::from_secs(10),
    grace: Duration::from_secs(30),
    max_retry: 1,
};

/// Opens the study called `name`, creating it if it is new.
///
/// Its trials are sampled from `seed` and their own numbers, so that a resumed
/// study goes on as an uninterrupted one would: by a Gaussian process, which
/// makes the most of few trials, as long as it suits, else by TPE. They are
/// pruned when their validation loss is worse than the median at the same epoch.
///
/// # Errors
///
/// [`crate::Error::Tune`] if the storage fails.
pub fn open_study(storage: Arc<dyn Storage>, name: &str, seed: u64) -> Result<Study> {
    Ok(Study::builder(name, storage)
        .direction(StudyDirection::Minimize)
        .sampler(AutoSampler::new(seed))
        .pruner(MedianPruner::default())
        .heartbeat(HEARTBEAT)
        .load_if_exists(true)
        .create()?)
}
