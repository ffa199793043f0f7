//! The sampler that suits the study.

use super::{GpSampler, RelativeSample, Sampler, StudyView, TpeSampler};
use crate::best::is_feasible;
use crate::distribution::Distribution;
use crate::error::Result;
use crate::frozen::{FrozenTrial, TrialState};

/// Complete trials from which on the tree-structured Parzen estimator takes over: the Gaussian process
/// has found what there is to find, and its work grows with the cube of the trials.
const MANY: usize = 200;

/// Begins with a Gaussian process and goes on with the tree-structured Parzen estimator.
///
/// The process makes the most of few trials but takes some hundredths of a second for each: right for
/// objectives that take seconds or longer. It is passed over where it has nothing to say: with several
/// objectives, violated constraints, parameters not all trials have, or more trials pruned than
/// complete.
#[derive(Debug)]
pub struct AutoSampler {
    gp: GpSampler,
    tpe: TpeSampler,
}

impl AutoSampler {
    /// Creates a sampler; the same seed and history give the same values.
    pub fn new(seed: u64) -> Self {
        Self {
            gp: GpSampler::new(seed),
            tpe: TpeSampler::new(seed),
        }
    }

    fn suits_gp(study: StudyView<'_>) -> bool {
        let complete = || {
            study
                .trials
                .iter()
                .filter(|t| t.state == TrialState::Complete)
        };
        let count = complete().count();
        let pruned = study
            .trials
            .iter()
            .filter(|t| t.state == TrialState::Pruned)
            .count();
        let mut sizes = complete().map(|trial| trial.parameters.len());
        let first = sizes.next();
        study.directions.len() == 1
            && count <= MANY
            && pruned <= count
            && sizes.all(|size| Some(size) == first)
            && complete().all(|trial| is_feasible(trial))
    }
}

impl Sampler for AutoSampler {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        if Self::suits_gp(study) {
            self.gp.sample_relative(study, trial)
        } else {
            self.tpe.sample_relative(study, trial)
        }
    }

    fn sample_independent(
        &self,
        study: StudyView<'_>,
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        self.tpe
            .sample_independent(study, trial, name, distribution)
    }
}
