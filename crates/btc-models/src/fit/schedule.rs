//! How the learning rate changes over training.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::EpochLogs;
use crate::registry::{Custom, Named, open_enum, registry, restored};
use crate::{Error, Result};

/// How far a training is.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct TrainingProgress<'a> {
    /// Steps that were taken.
    pub step: usize,
    /// Steps that there are if training is not ended early.
    pub steps: usize,
    /// What the epochs before came to, the first one first.
    pub history: &'a [EpochLogs],
}

impl<'a> TrainingProgress<'a> {
    /// A training after `step` of `steps` steps and the epochs of `history`.
    pub fn new(step: usize, steps: usize, history: &'a [EpochLogs]) -> Self {
        Self {
            step,
            steps,
            history,
        }
    }

    /// The fraction of all steps that were taken.
    pub fn fraction(&self) -> f64 {
        self.step as f64 / self.steps as f64
    }
}

/// What an own schedule is, see [`Schedule::custom`].
///
/// # Contract
///
/// The rate depends on the arguments alone, so that a training can be repeated; it is finite and
/// not negative. `conformance::check_schedule` checks it.
pub trait ScheduleSpec: Debug + Send + Sync {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    ///
    /// Settings that no schedule can have.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// The learning rate of the next step, where `lr` is the one of the configuration.
    fn rate(&self, lr: f64, progress: &TrainingProgress<'_>) -> f64;
}

registry! {
    /// Makes bundles with the schedule `C` loadable in this process.
    pub register_schedule, SCHEDULES: dyn ScheduleSpec, "schedule",
    ["constant", "cosine", "one_cycle", "plateau"]
}

/// How the learning rate changes over training.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum Schedule {
    /// It does not.
    #[default]
    Constant,
    /// Falls along half a cosine to this share of its start (Loshchilov and Hutter 2017).
    Cosine {
        /// The share that is left at the end.
        final_share: f64,
    },
    /// Rises from a 25th for this share of the steps, then falls towards nothing (Smith 2018).
    OneCycle {
        /// The share of the steps in which it rises.
        rise: f64,
    },
    /// Is multiplied by a factor whenever the validation loss has not fallen for some epochs.
    Plateau {
        /// The factor.
        factor: f64,
        /// The epochs to wait.
        patience: usize,
    },
    /// One that is registered under its name; see [`Schedule::custom`].
    #[serde(skip)]
    Custom(Custom<dyn ScheduleSpec>),
}

open_enum!(Schedule, SCHEDULES.own());

impl Schedule {
    /// A schedule of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + ScheduleSpec>(spec: &C) -> Result<Self> {
        Custom::register(&SCHEDULES, restored!(C, ScheduleSpec), spec).map(Self::Custom)
    }
}

/// An own schedule that is not registered passes no [`validate`](ScheduleSpec::validate), and its
/// rate is NaN.
impl ScheduleSpec for Schedule {
    fn rate(&self, lr: f64, progress: &TrainingProgress<'_>) -> f64 {
        let half_cosine = |from: f64, to: f64, at: f64| {
            to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * at).cos())
        };
        let at = progress.fraction();
        match self {
            Self::Constant => lr,
            Self::Cosine { final_share } => lr * half_cosine(1.0, *final_share, at),
            Self::OneCycle { rise } if at < *rise => lr * half_cosine(1.0 / 25.0, 1.0, at / rise),
            Self::OneCycle { rise } => {
                lr * half_cosine(1.0, 1.0 / 250_000.0, (at - rise) / (1.0 - rise))
            }
            Self::Plateau { factor, patience } => {
                after_plateaus(lr, *factor, *patience, progress.history)
            }
            Self::Custom(custom) => {
                let spec = custom.get(&SCHEDULES);
                spec.map_or(f64::NAN, |spec| spec.rate(lr, progress))
            }
        }
    }

    fn validate(&self) -> Result<()> {
        match self {
            Self::Cosine { final_share } if !(0.0..=1.0).contains(final_share) => Err(
                Error::invalid("final_share", final_share, "between 0 and 1"),
            ),
            Self::OneCycle { rise } if !(0.0 < *rise && *rise < 1.0) => {
                Err(Error::invalid("rise", rise, "between 0 and 1"))
            }
            Self::Plateau { factor, .. } if !(0.0 < *factor && *factor < 1.0) => {
                Err(Error::invalid("factor", factor, "between 0 and 1"))
            }
            Self::Custom(custom) => custom.get(&SCHEDULES)?.validate(),
            _ => Ok(()),
        }
    }
}

/// The rate after it was multiplied whenever more than `patience` epochs in a row had no better
/// score than an epoch before.
fn after_plateaus(mut lr: f64, factor: f64, patience: usize, history: &[EpochLogs]) -> f64 {
    let (mut lowest, mut waited) = (f64::INFINITY, 0);
    for logs in history {
        if logs.score() < lowest {
            (lowest, waited) = (logs.score(), 0);
        } else {
            waited += 1;
        }
        if patience < waited {
            lr *= factor;
            waited = 0;
        }
    }
    lr
}

#[cfg(test)]
mod tests {
    use super::*;

    fn factor(schedule: &Schedule, step: usize) -> f64 {
        schedule.rate(1.0, &TrainingProgress::new(step, 100, &[]))
    }

    #[test]
    fn schedules_start_and_end_where_they_say() {
        let cosine = Schedule::Cosine { final_share: 0.1 };
        assert_eq!(factor(&cosine, 0), 1.0);
        assert!((factor(&cosine, 100) - 0.1).abs() < 1e-12);
        let cycle = Schedule::OneCycle { rise: 0.25 };
        assert!((factor(&cycle, 0) - 0.04).abs() < 1e-12);
        assert!((factor(&cycle, 25) - 1.0).abs() < 1e-12);
        assert!(factor(&cycle, 100) < 1e-5);
    }

    #[test]
    fn a_plateau_lasts_longer_than_the_patience() {
        let losses = [1.0, 0.5, 0.6, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4];
        let logs = |(epoch, loss): (usize, &f64)| EpochLogs {
            epoch,
            loss: *loss,
            val_loss: None,
            val_relative_mae: None,
            seconds: 0.0,
        };
        let history: Vec<EpochLogs> = losses.iter().enumerate().map(logs).collect();
        let plateau = Schedule::Plateau {
            factor: 0.5,
            patience: 1,
        };
        let rate =
            |epochs: usize| plateau.rate(8.0, &TrainingProgress::new(0, 9, &history[..epochs]));
        let rates: Vec<f64> = (0..=9).map(rate).collect();
        // Two epochs without a better one than the second, then two and two after the fifth.
        assert_eq!(rates, [8.0, 8.0, 8.0, 8.0, 4.0, 4.0, 4.0, 2.0, 2.0, 1.0]);
    }
}
