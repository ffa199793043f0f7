//! What a search is to do.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use btc_models::Target;
use btc_models::candle_core::Device;

use crate::space::{SearchSpace, Space};
use crate::split::DEFAULT_HOLDOUT;

/// Forecasts in the selection set unless told otherwise (`docs/selection.md`).
pub const DEFAULT_PREDICTION_LENGTH: usize = 60;
/// Blocks that the selection set is cut into unless told otherwise (`docs/selection.md`).
pub const DEFAULT_FOLDS: NonZeroUsize = NonZeroUsize::MIN;

/// What a search is to do.
///
/// ```
/// use btc_pipeline::{SearchConfig, SearchSpace};
/// use std::sync::Arc;
///
/// let space = SearchSpace { model_types: vec!["LSTM".parse()?], timesteps: Some(10) };
/// let config = SearchConfig { space: Arc::new(space), seed: 1, ..SearchConfig::default() };
/// assert_eq!(config.holdout, 60);
/// # Ok::<(), btc_models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct SearchConfig {
    /// What is varied: the networks, their training and the window.
    pub space: Arc<dyn Space>,
    /// Trials to add to the study.
    pub n_trials: NonZeroUsize,
    /// Trials to run at the same time.
    pub jobs: NonZeroUsize,
    /// Forecasts in the selection set.
    pub prediction_length: usize,
    /// Blocks that the selection set is cut into; each is forecast by a model fitted on every row
    /// before it.
    pub folds: NonZeroUsize,
    /// Days held out until registration.
    pub holdout: usize,
    /// Rows between an origin and its target.
    pub horizon: NonZeroUsize,
    /// What the networks predict of the column.
    pub target: Target,
    /// Seed of initial weights, dropout and batches; a trial adds its ordinal.
    pub seed: u64,
    /// Where networks are fitted.
    pub device: Device,
    /// What the data is, for the record: the hash of its tables.
    pub data_hash: String,
    /// Set it to end the search after the running epochs; the running trials are failed, and
    /// their parameters queued again.
    pub stop: Arc<AtomicBool>,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self {
            space: Arc::new(SearchSpace {
                model_types: Vec::new(),
                timesteps: None,
            }),
            n_trials: NonZeroUsize::MIN,
            jobs: NonZeroUsize::MIN,
            prediction_length: DEFAULT_PREDICTION_LENGTH,
            folds: DEFAULT_FOLDS,
            holdout: DEFAULT_HOLDOUT,
            horizon: NonZeroUsize::MIN,
            target: Target::default(),
            seed: 0,
            device: Device::Cpu,
            data_hash: String::new(),
            stop: Arc::default(),
        }
    }
}
