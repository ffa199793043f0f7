//! What is told of each epoch, and may end training.

use std::fmt::Debug;
use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::EpochLogs;
use crate::registry::{Custom, Named, open_enum, registry, restored};
use crate::{Error, Result};

/// The error type of a callback.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

/// A callback of one training.
pub trait OnEpochEnd: Debug {
    /// Is told what an epoch came to; the weights of the best epoch are kept, whoever ends
    /// training.
    ///
    /// # Errors
    ///
    /// An error ends training as the source of [`Error::Callback`].
    fn on_epoch_end(&mut self, logs: &EpochLogs) -> Result<ControlFlow<()>, CallbackError>;
}

/// What an own callback is, see [`Callback::custom`]: settings from which each training gets a
/// callback that remembers nothing of another.
///
/// `conformance::check_callback` checks that.
pub trait CallbackSpec: Debug + Send + Sync {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    ///
    /// Settings that no callback can have.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// The callback of one training.
    fn start(&self) -> Box<dyn OnEpochEnd>;
}

registry! {
    /// Makes bundles of models that were trained with the callback `C` loadable in this process.
    pub register_callback, CALLBACKS: dyn CallbackSpec, "callback", ["early_stopping"]
}

/// What is told of each epoch, and may end training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum Callback {
    /// Ends training when the score has not fallen by more than `least` for `patience` epochs.
    EarlyStopping {
        /// The epochs to wait, at least 1.
        patience: usize,
        /// By how much a score must be lower than the best one to count, in units of the loss.
        least: f64,
    },
    /// One that is registered under its name; see [`Callback::custom`].
    #[serde(skip)]
    Custom(Custom<dyn CallbackSpec>),
}

open_enum!(Callback, CALLBACKS.own());

impl Callback {
    /// A callback of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + CallbackSpec>(spec: &C) -> Result<Self> {
        Custom::register(&CALLBACKS, restored!(C, CallbackSpec), spec).map(Self::Custom)
    }
}

/// An own callback that is not registered passes no [`validate`](CallbackSpec::validate), and what
/// it starts ends training with the error.
impl CallbackSpec for Callback {
    fn validate(&self) -> Result<()> {
        match self {
            Self::EarlyStopping { patience: 0, .. } => {
                Err(Error::invalid("patience", 0, "at least 1"))
            }
            Self::EarlyStopping { least, .. } if !(0.0 <= *least && least.is_finite()) => {
                Err(Error::invalid("least", least, "not negative"))
            }
            Self::EarlyStopping { .. } => Ok(()),
            Self::Custom(custom) => custom.get(&CALLBACKS)?.validate(),
        }
    }

    fn start(&self) -> Box<dyn OnEpochEnd> {
        match self {
            Self::EarlyStopping { patience, least } => Box::new(EarlyStopping {
                patience: *patience,
                least: *least,
                lowest: f64::INFINITY,
                waited: 0,
            }),
            Self::Custom(custom) => match custom.get(&CALLBACKS) {
                Ok(spec) => spec.start(),
                Err(error) => Box::new(Failed(error.to_string())),
            },
        }
    }
}

#[derive(Debug)]
struct EarlyStopping {
    patience: usize,
    least: f64,
    lowest: f64,
    waited: usize,
}

impl OnEpochEnd for EarlyStopping {
    fn on_epoch_end(&mut self, logs: &EpochLogs) -> Result<ControlFlow<()>, CallbackError> {
        if logs.score() < self.lowest - self.least {
            (self.lowest, self.waited) = (logs.score(), 0);
        } else {
            self.waited += 1;
        }
        Ok(match self.waited < self.patience {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        })
    }
}

/// A callback that there is none of.
#[derive(Debug)]
struct Failed(String);

impl OnEpochEnd for Failed {
    fn on_epoch_end(&mut self, _: &EpochLogs) -> Result<ControlFlow<()>, CallbackError> {
        Err(self.0.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn early_stopping_waits_for_a_score_that_is_low_enough() {
        let stop = Callback::EarlyStopping {
            patience: 2,
            least: 0.1,
        };
        let mut started = stop.start();
        let ended: Vec<bool> = [1.0, 0.95, 0.85, 0.8, 0.79]
            .into_iter()
            .enumerate()
            .map(|(epoch, loss)| {
                let logs = EpochLogs {
                    epoch,
                    loss: 0.0,
                    val_loss: Some(loss),
                    val_relative_mae: None,
                    seconds: 0.0,
                };
                started.on_epoch_end(&logs).unwrap().is_break()
            })
            .collect();
        assert_eq!(ended, [false, false, false, false, true]);
        let none = Callback::EarlyStopping {
            patience: 0,
            least: 0.0,
        };
        assert!(none.validate().is_err());
    }
}
