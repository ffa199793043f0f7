//! The search space of the original project.
//!
//! A study keeps one list of choices per name for ever, so a list never
//! depends on a flag: a value that is fixed by a flag is not suggested at all.

use btc_models::{Activation, Hyperparameters, ModelType, Optimizer};
use btc_tune::{FloatDistribution, Trial};

use crate::Result;

/// What a search may vary, and what is fixed.
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

impl SearchSpace {
    /// The longest window the space holds, in rows.
    pub fn longest_window(&self) -> usize {
        self.timesteps
            .unwrap_or_else(|| TIMESTEPS.into_iter().max().unwrap_or(1))
    }

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
