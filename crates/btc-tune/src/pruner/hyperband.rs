//! Hyperband (Li et al. 2018, JMLR 18:1-52) over brackets of successive halving.

use std::sync::Arc;

use super::{Pruner, SuccessiveHalvingConfig, SuccessiveHalvingPruner, Verdict};
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, TrialState};
use crate::sampler::StudyView;

/// Settings of [`HyperbandPruner`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HyperbandConfig {
    /// Steps every trial may take; at least 1.
    pub min_resource: u64,
    /// Steps of a full trial; `None` derives it from the longest complete trial.
    pub max_resource: Option<u64>,
    /// One in so many trials passes each rung; at least 2.
    pub reduction_factor: u64,
    /// Trials that must reach a rung before any passes it.
    pub bootstrap_count: usize,
}

impl Default for HyperbandConfig {
    fn default() -> Self {
        Self {
            min_resource: 1,
            max_resource: None,
            reduction_factor: 3,
            bootstrap_count: 0,
        }
    }
}

/// Spreads trials over brackets of successive halving that begin to prune earlier or later.
///
/// Samplers learn from the trials of the same bracket only.
#[derive(Debug, Clone)]
pub struct HyperbandPruner {
    config: HyperbandConfig,
}

impl HyperbandPruner {
    /// Creates a pruner.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if `min_resource` is zero, `max_resource` is below it,
    /// `reduction_factor` is below 2, or `bootstrap_count` is set while `max_resource` is derived.
    pub fn new(config: HyperbandConfig) -> Result<Self> {
        let invalid = |reason: &str| {
            Err(Error::InvalidSetting {
                reason: reason.to_owned(),
            })
        };
        if config.min_resource == 0 {
            return invalid("min_resource is at least 1");
        }
        if config
            .max_resource
            .is_some_and(|max| max < config.min_resource)
        {
            return invalid("max_resource is not below min_resource");
        }
        if config.reduction_factor < 2 {
            return invalid("reduction_factor is at least 2");
        }
        if config.bootstrap_count > 0 && config.max_resource.is_none() {
            return invalid("bootstrap_count needs a fixed max_resource");
        }
        Ok(Self { config })
    }

    /// The share of trials each bracket gets; empty while the longest trial is unknown.
    fn budgets(&self, study: StudyView<'_>) -> Vec<u64> {
        let longest = || {
            let complete = study
                .trials
                .iter()
                .filter(|t| t.state == TrialState::Complete);
            complete
                .filter_map(|trial| trial.last_step())
                .max()
                .map(|last| last + 1)
        };
        let Some(max) = self.config.max_resource.or_else(longest) else {
            return Vec::new();
        };
        let (min, factor) = (
            self.config.min_resource as f64,
            self.config.reduction_factor as f64,
        );
        // Python's math.log(x, base) is this quotient, rounding included.
        let count = (((max as f64 / min).ln() / factor.ln()).floor() + 1.0).max(1.0) as u64;
        (0..count)
            .map(|bracket| {
                let s = count - 1 - bracket;
                let trials = count as f64 * factor.powi(i32::try_from(s).unwrap_or(i32::MAX));
                (trials / (s + 1) as f64).ceil() as u64
            })
            .collect()
    }

    fn bracket(&self, budgets: &[u64], study: &str, trial: usize) -> usize {
        let total: u64 = budgets.iter().sum();
        if total == 0 {
            return 0;
        }
        let mut rest = u64::from(crc32(format!("{study}_{trial}").as_bytes())) % total;
        for (bracket, budget) in budgets.iter().enumerate() {
            if rest < *budget {
                return bracket;
            }
            rest -= budget;
        }
        0
    }

    fn of_bracket(
        &self,
        study: StudyView<'_>,
        budgets: &[u64],
        bracket: usize,
    ) -> Vec<Arc<FrozenTrial>> {
        let same =
            |trial: &&Arc<FrozenTrial>| self.bracket(budgets, study.name, trial.number) == bracket;
        study.trials.iter().filter(same).cloned().collect()
    }
}

impl Pruner for HyperbandPruner {
    fn prune(&self, study: StudyView<'_>, trial: &FrozenTrial) -> Verdict {
        let budgets = self.budgets(study);
        if budgets.is_empty() {
            return Verdict::default();
        }
        let bracket = self.bracket(&budgets, study.name, trial.number);
        let rivals = self.of_bracket(study, &budgets, bracket);
        let halving = SuccessiveHalvingPruner::new(SuccessiveHalvingConfig {
            min_resource: Some(self.config.min_resource),
            reduction_factor: self.config.reduction_factor,
            min_early_stopping_rate: u32::try_from(bracket).unwrap_or(u32::MAX),
            bootstrap_count: self.config.bootstrap_count,
        });
        match halving {
            Ok(halving) => halving.judge(
                &rivals,
                study.directions.first().copied().unwrap_or_default(),
                trial,
            ),
            // `new` has checked the same settings.
            Err(_) => Verdict::default(),
        }
    }

    fn relevant_trials(&self, study: StudyView<'_>, trial: usize) -> Option<Vec<Arc<FrozenTrial>>> {
        let budgets = self.budgets(study);
        let bracket = self.bracket(&budgets, study.name, trial);
        Some(self.of_bracket(study, &budgets, bracket))
    }
}

/// The checksum of zlib, by which a trial finds its bracket in every implementation.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frozen::{StudyDirection, StudyId};
    use crate::golden::{cases, list};

    #[test]
    fn the_checksum_is_that_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn trials_fall_into_the_brackets_optuna_puts_them_in() {
        for case in list(&cases("pruner.json"), "cases") {
            if case["pruner"]["kind"] != "hyperband" || case["max_resource"] == "auto" {
                continue;
            }
            let config = HyperbandConfig {
                min_resource: case["pruner"]["params"]["min_resource"].as_u64().unwrap(),
                max_resource: case["max_resource"].as_u64(),
                reduction_factor: case["pruner"]["params"]["reduction_factor"]
                    .as_u64()
                    .unwrap(),
                bootstrap_count: 0,
            };
            let pruner = HyperbandPruner::new(config).unwrap();
            let name = case["study_name"].as_str().unwrap();
            let directions = [StudyDirection::Minimize];
            let view = StudyView {
                id: StudyId(0),
                name,
                directions: &directions,
                trials: &[],
            };
            let budgets = pruner.budgets(view);
            let expected: Vec<u64> = list(case, "budgets")
                .iter()
                .map(|b| b.as_u64().unwrap())
                .collect();
            assert_eq!(budgets, expected, "{}", case["name"]);
            for (trial, bracket) in list(case, "brackets").iter().enumerate() {
                assert_eq!(
                    pruner.bracket(&budgets, name, trial) as u64,
                    bracket.as_u64().unwrap()
                );
            }
        }
    }
}
