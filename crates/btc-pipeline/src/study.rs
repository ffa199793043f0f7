//! The study of an experiment.

use std::sync::Arc;

use btc_tune::{MedianPruner, Storage, Study, StudyDirection, TpeSampler};

use crate::Result;

/// Opens the study called `name`, creating it if it is new.
///
/// Its trials are sampled by TPE from `seed` and their own numbers, so that a
/// resumed study goes on as an uninterrupted one would, and pruned when their
/// validation loss is worse than the median at the same epoch.
///
/// # Errors
///
/// [`crate::Error::Tune`] if the storage fails.
pub fn open_study(storage: Arc<dyn Storage>, name: &str, seed: u64) -> Result<Study> {
    Ok(Study::builder(name, storage)
        .direction(StudyDirection::Minimize)
        .sampler(TpeSampler::new(seed))
        .pruner(MedianPruner::default())
        .load_if_exists(true)
        .create()?)
}
