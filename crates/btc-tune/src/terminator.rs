//! When a study has run long enough.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, TrialState};
use crate::sampler::gp_regret_bound;
use crate::study::{Callback, Study};

/// Ends a study when little more is to be gained.
///
/// ```
/// use std::sync::Arc;
/// use btc_tune::{InMemoryStorage, OptimizeOptions, Study, Terminator};
/// let study = Study::builder("t", Arc::new(InMemoryStorage::new())).create()?;
/// let options = OptimizeOptions {
///     n_trials: Some(500),
///     callbacks: vec![Terminator::Stagnation { trials: 20 }.callback()],
///     ..Default::default()
/// };
/// study.optimize_with(options, |trial| Ok(trial.suggest_int("n", 1..=3)? as f64))?;
/// assert!(study.trials()?.len() < 100);
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Terminator {
    /// After so many complete trials without a better value.
    Stagnation {
        /// Trials without a better value.
        trials: usize,
    },
    /// When the best value is, with high probability, within `error` of the best possible (Makarova
    /// et al. 2022). A Gaussian process judges that, so it takes some hundredths of a second.
    RegretBound {
        /// The difference that is not worth further trials.
        error: f64,
        /// Complete trials before the first judgement; at least 2.
        min_trials: usize,
    },
}

impl Terminator {
    /// Whether the study has run long enough.
    ///
    /// # Errors
    ///
    /// [`Error::SeveralObjectives`]; what the storage reports.
    pub fn should_terminate(&self, study: &Study) -> Result<bool> {
        let direction = study.need_one_objective("ending a study by its values")?;
        let trials = study.undisturbed(&study.trials()?);
        let complete: Vec<&Arc<FrozenTrial>> = trials
            .iter()
            .filter(|t| t.state == TrialState::Complete)
            .collect();
        match *self {
            Self::Stagnation { trials } => {
                let loss =
                    |trial: &FrozenTrial| direction.as_loss(trial.value().unwrap_or(f64::NAN));
                let mut best = (f64::INFINITY, 0);
                for (i, trial) in complete.iter().enumerate() {
                    if loss(trial) < best.0 {
                        best = (loss(trial), i);
                    }
                }
                Ok(complete.len() > best.1 + trials)
            }
            Self::RegretBound { error, min_trials } => {
                if complete.len() < min_trials.max(2) {
                    return Ok(false);
                }
                Ok(gp_regret_bound(study.view(&trials)).is_some_and(|bound| bound < error))
            }
        }
    }

    /// A callback for [`OptimizeOptions`](crate::OptimizeOptions) that ends the run in time.
    ///
    /// If the storage fails, the run goes on: the next trial will report it.
    pub fn callback<'a>(self) -> Callback<'a> {
        Box::new(move |study, _| match self.should_terminate(study) {
            Ok(true) => ControlFlow::Break(()),
            Ok(false) | Err(Error::Storage { .. }) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        })
    }
}
