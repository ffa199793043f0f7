//! The sizes that a study varies, whatever the network.

use serde::{Deserialize, Serialize};

use crate::nn::layers::Activation;
use crate::nn::optimizer::Optimizer;

/// What a study varies, whatever the network: a convenience from which the settings of any of the
/// crate's own networks follow, by [`NetworkConfig::new`](crate::NetworkConfig::new), and those of
/// its training, by [`TrainConfig::new`](crate::TrainConfig::new). It is stored nowhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Hyperparameters {
    /// Rows in a window.
    pub timesteps: usize,
    /// Windows in a batch.
    pub batch_size: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// The function between layers.
    pub activation: Activation,
    /// How steps are taken.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub lr: f64,
    /// The width of recurrent layers.
    pub units: usize,
    /// The number of filters of CNNLSTM and TCN; CNN has 32 and ConvLSTM2D 64.
    pub filters: usize,
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self {
            timesteps: 10,
            batch_size: 32,
            epochs: 50,
            activation: Activation::Tanh,
            optimizer: Optimizer::Adam,
            lr: 1e-3,
            units: 32,
            filters: 40,
        }
    }
}

impl Hyperparameters {
    /// Sets the rows in a window.
    #[must_use]
    pub fn with_timesteps(mut self, timesteps: usize) -> Self {
        self.timesteps = timesteps;
        self
    }

    /// Sets the windows in a batch.
    #[must_use]
    pub fn with_batch_size(mut self, batch_size: usize) -> Self {
        self.batch_size = batch_size;
        self
    }

    /// Sets the epochs at most.
    #[must_use]
    pub fn with_epochs(mut self, epochs: usize) -> Self {
        self.epochs = epochs;
        self
    }

    /// Sets the function between layers.
    #[must_use]
    pub fn with_activation(mut self, activation: Activation) -> Self {
        self.activation = activation;
        self
    }

    /// Sets the width of recurrent layers.
    #[must_use]
    pub fn with_units(mut self, units: usize) -> Self {
        self.units = units;
        self
    }

    /// Sets the number of filters of CNNLSTM and TCN.
    #[must_use]
    pub fn with_filters(mut self, filters: usize) -> Self {
        self.filters = filters;
        self
    }

    /// Sets how steps are taken, and the learning rate.
    #[must_use]
    pub fn with_optimizer(mut self, optimizer: Optimizer, lr: f64) -> Self {
        self.optimizer = optimizer;
        self.lr = lr;
        self
    }
}
