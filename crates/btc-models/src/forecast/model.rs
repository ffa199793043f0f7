//! Whatever can be fitted to a series and forecast it.

use std::fmt::Debug;
use std::ops::Range;

use super::path::Forecast;
use crate::Result;
use crate::series::SeriesFrame;

/// The most steps ahead that a model forecasts.
pub const MAX_HORIZON: usize = 10_000;

/// What a fit is for and with what it works.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FitContext {
    /// Steps of the frame's frequency between an origin and its target.
    pub horizon: usize,
    /// Whether every step up to the horizon is wanted, not the one at the horizon alone.
    pub path: bool,
    /// The seed of everything that is random.
    pub seed: u64,
    /// Where networks are trained and applied.
    #[cfg(feature = "nn")]
    pub device: candle_core::Device,
}

impl FitContext {
    /// A fit to forecast `horizon` steps ahead, on the CPU.
    pub fn new(horizon: usize, seed: u64) -> Self {
        Self {
            horizon,
            path: false,
            seed,
            #[cfg(feature = "nn")]
            device: candle_core::Device::Cpu,
        }
    }

    /// Asks for every step up to the horizon.
    #[must_use]
    pub fn with_path(mut self) -> Self {
        self.path = true;
        self
    }

    /// Sets where networks are trained and applied.
    #[cfg(feature = "nn")]
    #[must_use]
    pub fn with_device(mut self, device: candle_core::Device) -> Self {
        self.device = device;
        self
    }

    /// The steps ahead that are wanted, in order.
    pub fn steps(&self) -> Range<usize> {
        let first = if self.path { 1 } else { self.horizon };
        first..self.horizon + 1
    }
}

/// Something that can be fitted to a frame: a network, a baseline, or a model of one's own.
///
/// # Contract
///
/// * Fitting depends on the arguments alone, so that the same arguments give the same forecasts,
///   and may run on several threads at once.
/// * A model that does not use the context's seed has [`is_random`](Self::is_random) `false`.
/// * Two models that may forecast differently have different [`fingerprint`](Self::fingerprint)s.
///
/// `conformance::check_model` (feature `conformance`) checks a
/// model for it.
pub trait Model: Debug + Send + Sync {
    /// A short name, distinct among the models of a comparison.
    fn name(&self) -> &str;

    /// Fits to all rows of the frame.
    ///
    /// # Errors
    ///
    /// A frame that is too short or otherwise of no use.
    fn fit(&self, frame: &SeriesFrame, context: &FitContext) -> Result<Box<dyn FittedModel>>;

    /// Whether the seed makes a difference.
    fn is_random(&self) -> bool {
        false
    }

    /// Everything that the result depends on besides frame and context.
    fn fingerprint(&self) -> String {
        self.name().to_owned()
    }
}

/// A model after fitting.
///
/// # Contract
///
/// * A forecast from a row is the same, bit for bit, if all rows after it are changed or taken
///   away, and if other rows are forecast from in the same call.
/// * There is one forecast for each origin, in order; its last step is the horizon of the fit.
/// * Values are finite.
pub trait FittedModel: Debug + Send + Sync {
    /// Forecasts from each of the rows `origins`, with the rows up to it alone.
    ///
    /// # Errors
    ///
    /// A frame that lacks what the model was fitted to, or rows.
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>>;

    /// What a reader of its forecasts should know about the fit, such as that it had to be tried
    /// twice.
    fn notes(&self) -> Vec<String> {
        Vec::new()
    }
}
