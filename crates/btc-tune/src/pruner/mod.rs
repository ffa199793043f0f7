//! When a trial that goes badly ends early.

mod percentile;

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::frozen::FrozenTrial;
use crate::sampler::StudyView;

pub use percentile::{MedianPruner, PercentileConfig, PercentilePruner};

/// What a pruner decided.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Whether the trial should end now.
    pub prune: bool,
    /// System attributes to keep with the trial.
    pub system_attrs: Map<String, Value>,
}

impl From<bool> for Verdict {
    fn from(prune: bool) -> Self {
        Self {
            prune,
            system_attrs: Map::new(),
        }
    }
}

/// Decides whether a trial should end early.
///
/// Like a sampler, a pruner keeps no state: its verdict depends on its settings and what it is shown.
pub trait Pruner: Debug + Send + Sync {
    /// Judges a running trial of a study with one objective by what it reported so far.
    fn prune(&self, study: StudyView<'_>, trial: &FrozenTrial) -> Verdict;

    /// Returns the trials the sampler should learn from for trial number `trial`; `None` for all.
    fn relevant_trials(&self, study: StudyView<'_>, trial: usize) -> Option<Vec<Arc<FrozenTrial>>> {
        let _ = (study, trial);
        None
    }
}

/// Never ends a trial early.
#[derive(Debug, Clone, Copy, Default)]
pub struct NopPruner;

impl Pruner for NopPruner {
    fn prune(&self, _study: StudyView<'_>, _trial: &FrozenTrial) -> Verdict {
        Verdict::default()
    }
}
