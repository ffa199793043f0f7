//! Whatever can be fitted to a series and forecast it.

use std::fmt::Debug;
use std::ops::Range;

use super::forecast::Forecast;
use crate::Result;
use crate::series::SeriesFrame;

/// Something that can be fitted to a frame: a network or a baseline.
///
/// Fitting depends on the arguments alone and may run on several threads at once.
pub trait Model: Debug + Send + Sync {
    /// A short name, distinct among the models of a comparison.
    fn name(&self) -> &str;

    /// Fits to all rows of the frame, to forecast `horizon` rows ahead.
    ///
    /// # Errors
    ///
    /// A frame that is too short or otherwise of no use.
    fn fit(&self, frame: &SeriesFrame, horizon: usize, seed: u64) -> Result<Box<dyn FittedModel>>;

    /// Whether the seed makes a difference.
    fn is_random(&self) -> bool {
        false
    }

    /// Everything that the result depends on besides frame, horizon and seed.
    fn fingerprint(&self) -> String {
        self.name().to_owned()
    }
}

/// A model after fitting.
pub trait FittedModel: Debug + Send + Sync {
    /// Forecasts from each of the rows `origins`, with the rows up to it alone.
    ///
    /// # Errors
    ///
    /// A frame that lacks what the model was fitted to, or rows.
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>>;
}
