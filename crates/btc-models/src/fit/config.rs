//! How a network is trained.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::callback::{Callback, CallbackSpec};
use super::schedule::{Schedule, ScheduleSpec};
use crate::forecast::MAX_HORIZON;
use crate::network::Hyperparameters;
use crate::nn::optimizer::{Optimizer, OptimizerSpec};
use crate::series::HolePolicy;
use crate::transform::{FeatureTransform, PanelScaling, PreprocessConfig, ScalerKind, Target};
use crate::{Error, Loss, Result};

/// How a network is trained.
///
/// ```
/// use btc_models::{Optimizer, TrainConfig};
///
/// let config = TrainConfig::default()
///     .with_seed(7)
///     .with_epochs(20)
///     .with_optimizer(Optimizer::AdamW { weight_decay: 0.01 }, 1e-3);
/// assert_eq!(config.timesteps, 10);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TrainConfig {
    /// Rows in a window.
    pub timesteps: usize,
    /// Steps of the series' frequency between the end of a window and its target.
    pub horizon: usize,
    /// Whether every step up to the horizon is forecast, not the one at the horizon alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub path: bool,
    /// What is done with windows that have a hole in them.
    #[serde(skip_serializing_if = "is_default")]
    pub holes: HolePolicy,
    /// Windows in a batch.
    pub batch_size: usize,
    /// Epochs at most.
    pub epochs: usize,
    /// How steps are taken.
    pub optimizer: Optimizer,
    /// The learning rate.
    pub lr: f64,
    /// How the learning rate changes.
    pub schedule: Schedule,
    /// The loss; the network's own if `None`.
    pub loss: Option<Loss>,
    /// What is predicted.
    pub target: Target,
    /// How features are scaled, and the target if it is a level.
    pub scaler: ScalerKind,
    /// What is made of features without an entry in `transforms`.
    pub transform: FeatureTransform,
    /// What is made of single features, by their names.
    pub transforms: BTreeMap<String, FeatureTransform>,
    /// Scaled features are cut to plus and minus this.
    pub clip: Option<f64>,
    /// Rows over which a missing feature keeps its last value.
    pub max_staleness: usize,
    /// The share of the windows, the last ones, that training does not see.
    pub validation_fraction: f64,
    /// The share of those windows, the last ones, that the choice of the epoch does not see
    /// either: the widths of intervals come from them. The epoch is the one that happened to do
    /// best on the windows that it was chosen by, so its errors there are too small. The default
    /// is a half: both the choice and the widths get better with the number of their windows.
    /// Without such windows, errors are taken to be as large as those of the last value.
    #[serde(skip_serializing_if = "is_default")]
    pub calibration_fraction: f64,
    /// The seed of initial weights, dropout and shuffling.
    pub seed: u64,
    /// Whether the training windows change their order from epoch to epoch. Validation windows
    /// are never among them.
    pub shuffle: bool,
    /// Epochs without a better validation loss after which training ends.
    pub patience: Option<usize>,
    /// By which rows the series of a panel are scaled.
    #[serde(skip_serializing_if = "is_default")]
    pub panel_scaling: PanelScaling,
    /// The norm to which gradients are cut.
    pub clip_norm: Option<f64>,
    /// What is told of each epoch, in order, and may end training.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub callbacks: Vec<Callback>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            timesteps: 10,
            horizon: 1,
            path: false,
            holes: HolePolicy::default(),
            batch_size: 32,
            epochs: 50,
            optimizer: Optimizer::Adam,
            lr: 1e-3,
            schedule: Schedule::Constant,
            loss: None,
            target: Target::LogReturn,
            scaler: ScalerKind::Standard,
            transform: FeatureTransform::Auto,
            transforms: BTreeMap::new(),
            clip: Some(5.0),
            max_staleness: 10,
            validation_fraction: 0.1,
            calibration_fraction: 0.5,
            seed: 0,
            shuffle: true,
            patience: None,
            panel_scaling: PanelScaling::default(),
            clip_norm: None,
            callbacks: Vec::new(),
        }
    }
}

impl TrainConfig {
    /// The defaults, with what `hyperparameters` says.
    pub fn new(hyperparameters: &Hyperparameters) -> Self {
        Self {
            timesteps: hyperparameters.timesteps,
            batch_size: hyperparameters.batch_size,
            epochs: hyperparameters.epochs,
            optimizer: hyperparameters.optimizer.clone(),
            lr: hyperparameters.lr,
            ..Self::default()
        }
    }

    /// The way that min-max scales levels and predicts a level, for comparison: networks trained
    /// so do not follow a trend beyond what they have seen.
    #[must_use]
    pub fn with_levels(mut self) -> Self {
        self.target = Target::Level;
        self.scaler = ScalerKind::MinMax;
        self.transform = FeatureTransform::Level;
        self.clip = None;
        self
    }

    /// Sets the rows in a window.
    #[must_use]
    pub fn with_timesteps(mut self, timesteps: usize) -> Self {
        self.timesteps = timesteps;
        self
    }

    /// Sets the steps between the end of a window and its target.
    #[must_use]
    pub fn with_horizon(mut self, horizon: usize) -> Self {
        self.horizon = horizon;
        self
    }

    /// Asks for every step from the next one up to `steps`, which is the horizon: one network
    /// forecasts them all.
    #[must_use]
    pub fn with_steps(mut self, steps: usize) -> Self {
        self.horizon = steps;
        self.path = true;
        self
    }

    /// Sets whether every step up to the horizon is forecast, not the one at the horizon alone.
    #[must_use]
    pub fn with_path(mut self, path: bool) -> Self {
        self.path = path;
        self
    }

    /// Sets what is done with windows that have a hole in them.
    #[must_use]
    pub fn with_holes(mut self, holes: HolePolicy) -> Self {
        self.holes = holes;
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

    /// Sets how steps are taken, and the learning rate.
    #[must_use]
    pub fn with_optimizer(mut self, optimizer: Optimizer, lr: f64) -> Self {
        self.optimizer = optimizer;
        self.lr = lr;
        self
    }

    /// Sets the learning rate.
    #[must_use]
    pub fn with_lr(mut self, lr: f64) -> Self {
        self.lr = lr;
        self
    }

    /// Sets how the learning rate changes.
    #[must_use]
    pub fn with_schedule(mut self, schedule: Schedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Sets the loss; `None` for the network's own.
    #[must_use]
    pub fn with_loss(mut self, loss: impl Into<Option<Loss>>) -> Self {
        self.loss = loss.into();
        self
    }

    /// Sets what is predicted.
    #[must_use]
    pub fn with_target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// Sets how features are scaled.
    #[must_use]
    pub fn with_scaler(mut self, scaler: ScalerKind) -> Self {
        self.scaler = scaler;
        self
    }

    /// Sets what is made of one feature before it is scaled.
    #[must_use]
    pub fn with_transform(mut self, feature: &str, transform: FeatureTransform) -> Self {
        self.transforms.insert(feature.to_owned(), transform);
        self
    }

    /// Sets what is made of single features, by their names, in place of what was set before.
    #[must_use]
    pub fn with_transforms(mut self, transforms: BTreeMap<String, FeatureTransform>) -> Self {
        self.transforms = transforms;
        self
    }

    /// Sets what is made of features that have no transform of their own.
    #[must_use]
    pub fn with_default_transform(mut self, transform: FeatureTransform) -> Self {
        self.transform = transform;
        self
    }

    /// Sets the share of windows that training does not see.
    #[must_use]
    pub fn with_validation_fraction(mut self, fraction: f64) -> Self {
        self.validation_fraction = fraction;
        self
    }

    /// Sets the share of those windows that the choice of the epoch does not see either.
    #[must_use]
    pub fn with_calibration_fraction(mut self, fraction: f64) -> Self {
        self.calibration_fraction = fraction;
        self
    }

    /// Cuts scaled features to plus and minus `limit`, or leaves them as they are.
    #[must_use]
    pub fn with_clip(mut self, limit: impl Into<Option<f64>>) -> Self {
        self.clip = limit.into();
        self
    }

    /// Sets the rows over which a missing feature keeps its last value.
    #[must_use]
    pub fn with_max_staleness(mut self, rows: usize) -> Self {
        self.max_staleness = rows;
        self
    }

    /// Sets whether the training windows change their order from epoch to epoch.
    #[must_use]
    pub fn with_shuffle(mut self, shuffle: bool) -> Self {
        self.shuffle = shuffle;
        self
    }

    /// Sets the seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the epochs without a better validation loss after which training ends; `None` if
    /// that is no reason to.
    #[must_use]
    pub fn with_patience(mut self, patience: impl Into<Option<usize>>) -> Self {
        self.patience = patience.into();
        self
    }

    /// Sets the norm to which gradients are cut; `None` to leave them as they are.
    #[must_use]
    pub fn with_clip_norm(mut self, norm: impl Into<Option<f64>>) -> Self {
        self.clip_norm = norm.into();
        self
    }

    /// Sets by which rows the series of a panel are scaled.
    #[must_use]
    pub fn with_panel_scaling(mut self, scaling: PanelScaling) -> Self {
        self.panel_scaling = scaling;
        self
    }

    /// Adds something that is told of each epoch and may end training.
    #[must_use]
    pub fn with_callback(mut self, callback: Callback) -> Self {
        self.callbacks.push(callback);
        self
    }

    /// The steps ahead that are forecast, in order.
    pub fn steps(&self) -> Range<usize> {
        let first = if self.path { 1 } else { self.horizon };
        first..self.horizon + 1
    }

    /// What of it concerns the features and the target alone.
    pub fn preprocess(&self) -> PreprocessConfig {
        let mut config = PreprocessConfig::default()
            .with_target(self.target.clone())
            .with_scaler(self.scaler.clone())
            .with_default_transform(self.transform.clone())
            .with_clip(self.clip)
            .with_max_staleness(self.max_staleness);
        config.transforms = self.transforms.clone();
        config
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let positive = |name, value: usize| {
            if value == 0 || 1_000_000 < value {
                return Err(Error::invalid(name, value, "between 1 and 1000000"));
            }
            Ok(())
        };
        if self.timesteps == 0 || 4096 < self.timesteps {
            return Err(Error::invalid(
                "timesteps",
                self.timesteps,
                "between 1 and 4096",
            ));
        }
        if self.horizon == 0 || MAX_HORIZON < self.horizon {
            let expected = "between 1 and 10000";
            return Err(Error::invalid("horizon", self.horizon, expected));
        }
        positive("batch_size", self.batch_size)?;
        positive("epochs", self.epochs)?;
        if !(0.0 < self.lr && self.lr.is_finite()) {
            return Err(Error::invalid("lr", self.lr, "positive"));
        }
        if !(0.0..1.0).contains(&self.validation_fraction) {
            let value = self.validation_fraction;
            return Err(Error::invalid(
                "validation_fraction",
                value,
                "at least 0 and below 1",
            ));
        }
        if !(0.0..1.0).contains(&self.calibration_fraction) {
            let (value, expected) = (self.calibration_fraction, "at least 0 and below 1");
            return Err(Error::invalid("calibration_fraction", value, expected));
        }
        let positive = |norm: &f64| 0.0 < *norm && norm.is_finite();
        if let Some(norm) = self.clip_norm.filter(|norm| !positive(norm)) {
            return Err(Error::invalid("clip_norm", norm, "positive"));
        }
        self.preprocess().validate()?;
        self.optimizer.validate()?;
        self.schedule.validate()?;
        self.callbacks.iter().try_for_each(Callback::validate)?;
        self.loss.as_ref().map_or(Ok(()), Loss::validate)
    }
}
