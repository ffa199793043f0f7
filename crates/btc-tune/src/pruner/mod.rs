//! When a trial that goes badly ends early.

mod hyperband;
mod kind;
mod patient;
mod percentile;
mod successive_halving;
mod threshold;
mod wilcoxon;

use std::fmt::Debug;
use std::sync::Arc;

use serde_json::{Map, Value};

use crate::frozen::FrozenTrial;
use crate::sampler::StudyView;

pub use hyperband::{HyperbandConfig, HyperbandPruner};
pub use kind::PrunerKind;
pub use patient::PatientPruner;
pub use percentile::{MedianPruner, PercentileConfig, PercentilePruner, PrunedTrials};
pub use successive_halving::{SuccessiveHalvingConfig, SuccessiveHalvingPruner};
pub use threshold::ThresholdPruner;
pub use wilcoxon::WilcoxonPruner;

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

/// Whether a report is the first since the last step at which trials are judged.
fn is_due(trial: &FrozenTrial, step: u64, warmup: u64, interval: u64) -> bool {
    if step < warmup {
        return false;
    }
    let judged = (step - warmup) / interval * interval + warmup;
    let previous = trial.intermediate_values.range(..step).next_back();
    previous.is_none_or(|(previous, _)| *previous < judged)
}

#[cfg(test)]
mod golden;
