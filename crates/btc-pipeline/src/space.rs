//! What a search varies: a trait, the search space of the original project, and a closure.
//!
//! A study keeps one list of choices per name for ever, so a list never
//! depends on a flag: a value that is fixed by a flag is not suggested at all.

use std::fmt;

use btc_models::{Activation, Hyperparameters, ModelType, NetworkConfig, Optimizer, TrainConfig};
use btc_tune::{FloatDistribution, Trial};

use crate::Result;

/// What one trial is to fit.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The network.
    pub network: NetworkConfig,
    /// How it is trained. What is predicted, the horizon and the seed are those of the search.
    pub training: TrainConfig,
}

/// What a search may vary.
///
/// Trials call it from several threads at once. For one trial's values it must always ask for the
/// same names in the same order.
pub trait Space: fmt::Debug + Send + Sync {
    /// Asks `trial` for the values of one fit.
    ///
    /// # Errors
    ///
    /// [`crate::Error::Tune`] if the study's earlier trials contradict the space or its storage
    /// fails.
    fn propose(&self, trial: &mut Trial) -> Result<Proposal>;

    /// The rows of the longest window that it proposes.
    fn longest_window(&self) -> usize;
}

/// A space made of a function.
///
/// ```
/// use btc_models::{Hyperparameters, ModelType, NetworkConfig, TrainConfig};
/// use btc_pipeline::{Proposal, Space, SpaceFn};
///
/// let space = SpaceFn::new(24, |trial| {
///     let units = trial.suggest_categorical("units", &[8, 16])?;
///     let sizes = Hyperparameters::default().with_units(units).with_timesteps(24);
///     Ok(Proposal {
///         network: NetworkConfig::new(ModelType::Gru, &sizes),
///         training: TrainConfig::new(&sizes),
///     })
/// });
/// assert_eq!(space.longest_window(), 24);
/// ```
pub struct SpaceFn<F> {
    longest_window: usize,
    propose: F,
}

impl<F: Fn(&mut Trial) -> Result<Proposal> + Send + Sync> SpaceFn<F> {
    /// A space that asks for values by `propose`, with windows of at most `longest_window` rows.
    pub fn new(longest_window: usize, propose: F) -> Self {
        Self {
            longest_window,
            propose,
        }
    }
}

impl<F> fmt::Debug for SpaceFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpaceFn")
            .field("longest_window", &self.longest_window)
            .finish_non_exhaustive()
    }
}

impl<F: Fn(&mut Trial) -> Result<Proposal> + Send + Sync> Space for SpaceFn<F> {
    fn propose(&self, trial: &mut Trial) -> Result<Proposal> {
        (self.propose)(trial)
    }

    fn longest_window(&self) -> usize {
        self.longest_window
    }
}

/// The search space of the original project.
#[derive(Debug, Clone)]
pub struct SearchSpace {
    /// The networks to choose from; with exactly one there is nothing to choose.
    pub model_types: Vec<ModelType>,
    /// Rows of a window; `None` searches 5, 10, 20 and 30.
    pub timesteps: Option<usize>,
}

/// The choices of `timesteps` when it is not fixed.
pub const TIMESTEPS: [usize; 4] = [5, 10, 20, 30];
const BATCH_SIZES: [usize; 3] = [8, 16, 32];
const EPOCHS: [usize; 4] = [10, 20, 50, 100];
const ACTIVATIONS: [&str; 2] = ["tanh", "relu"];
const OPTIMIZERS: [&str; 1] = ["adam"];
const UNITS: [usize; 3] = [16, 32, 64];
const FILTERS: [usize; 2] = [40, 50];
/// Filters of the network whose number of filters is not searched.
const CNN_FILTERS: usize = 32;

impl Space for SearchSpace {
    fn propose(&self, trial: &mut Trial) -> Result<Proposal> {
        let (model_type, hyperparameters) = self.suggest(trial)?;
        Ok(Proposal {
            network: NetworkConfig::new(model_type, &hyperparameters),
            training: TrainConfig::new(&hyperparameters),
        })
    }

    fn longest_window(&self) -> usize {
        self.timesteps
            .unwrap_or_else(|| TIMESTEPS.into_iter().max().unwrap_or(1))
    }
}

impl SearchSpace {
    /// Asks `trial` for a network and its hyperparameters.
    ///
    /// # Errors
    ///
    /// [`btc_tune::Error`] if the study's earlier trials contradict the space
    /// or its storage fails.
    pub fn suggest(&self, trial: &mut Trial) -> Result<(ModelType, Hyperparameters)> {
        let model_type = match self.model_types.as_slice() {
            [only] => *only,
            several => {
                let all: &[ModelType] = if several.is_empty() {
                    &ModelType::ALL
                } else {
                    several
                };
                let names: Vec<String> = all.iter().map(ToString::to_string).collect();
                let name = trial.suggest_categorical("model_type", &names)?;
                name.parse()?
            }
        };
        let timesteps = match self.timesteps {
            Some(fixed) => fixed,
            None => trial.suggest_categorical("timesteps", &TIMESTEPS)?,
        };
        let batch_size = trial.suggest_categorical("batch_size", &BATCH_SIZES)?;
        let epochs = trial.suggest_categorical("epochs", &EPOCHS)?;
        let activation = match trial.suggest_categorical("activation_function", &ACTIVATIONS)? {
            "relu" => Activation::Relu,
            _ => Activation::Tanh,
        };
        trial.suggest_categorical("optimizer", &OPTIMIZERS)?;
        let lr = trial.suggest_float("adam_lr", FloatDistribution::log(1e-5, 1e-1)?)?;
        let units = match is_recurrent(model_type) {
            true => trial.suggest_categorical("units", &UNITS)?,
            false => UNITS[0],
        };
        let filters = match has_filters(model_type) {
            true => trial.suggest_categorical("filters", &FILTERS)?,
            false => CNN_FILTERS,
        };
        let hyperparameters = Hyperparameters::default()
            .with_timesteps(timesteps)
            .with_batch_size(batch_size)
            .with_epochs(epochs)
            .with_activation(activation)
            .with_optimizer(Optimizer::Adam, lr)
            .with_units(units)
            .with_filters(filters);
        Ok((model_type, hyperparameters))
    }
}

fn is_recurrent(model_type: ModelType) -> bool {
    matches!(
        model_type,
        ModelType::Lstm
            | ModelType::Gru
            | ModelType::CnnLstm
            | ModelType::Attention
            | ModelType::LstmEncoderDecoder
            | ModelType::ConvLstm2d
    )
}

fn has_filters(model_type: ModelType) -> bool {
    matches!(model_type, ModelType::CnnLstm | ModelType::Tcn)
}
