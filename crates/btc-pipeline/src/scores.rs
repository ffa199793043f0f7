//! How good forecasts are.

use btc_models::{Forecast, SeriesFrame, metrics};
use serde::Serialize;

/// The run metric trials are compared by: percent, on prices, selection set.
pub const METRIC: &str = "MAPE";
/// The metric that says how a model stands beside the naive forecast.
pub(crate) const RELATIVE_MAE: &str = "relative_MAE";

/// How good a block of one-step forecasts is, beside the naive ones.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Scores {
    /// Forecasts judged.
    pub n: usize,
    /// Mean absolute percentage error, percent.
    pub mape: f64,
    /// Mean absolute error, in the price's unit.
    pub mae: f64,
    /// Root of the mean squared error, in the price's unit.
    pub rmse: f64,
    /// The naive forecast's MAPE.
    pub naive_mape: f64,
    /// MAE relative to the naive forecast's.
    pub relative_mae: f64,
    /// Share of days whose direction was right.
    pub direction_accuracy: f64,
}

impl Scores {
    /// Judges forecasts made from consecutive origins, the first being `start`.
    pub fn of(forecasts: &[Forecast], frame: &SeriesFrame, start: usize) -> Self {
        // A day without a price has nothing to judge a forecast by.
        let judged: Vec<(f64, f64, f64)> = (start..)
            .zip(forecasts)
            .filter_map(|(origin, forecast)| {
                let actual = frame.target_at(origin, forecast.horizon())?;
                Some((actual, forecast.point(), forecast.naive()))
            })
            .collect();
        let actual: Vec<f64> = judged.iter().map(|(actual, _, _)| *actual).collect();
        let point: Vec<f64> = judged.iter().map(|(_, point, _)| *point).collect();
        let naive: Vec<f64> = judged.iter().map(|(_, _, naive)| *naive).collect();
        Self {
            n: judged.len(),
            mape: metrics::mape(&actual, &point),
            mae: metrics::mae(&actual, &point),
            rmse: metrics::rmse(&actual, &point),
            naive_mape: metrics::mape(&actual, &naive),
            relative_mae: metrics::relative_mae(&actual, &point, &naive),
            direction_accuracy: metrics::direction_accuracy(&actual, &point, &naive),
        }
    }

    /// The scores by name, as runs and model versions carry them.
    pub fn metrics(&self, prefix: &str) -> Vec<(String, f64)> {
        [
            (METRIC, self.mape),
            ("MAE", self.mae),
            ("RMSE", self.rmse),
            ("naive_MAPE", self.naive_mape),
            (RELATIVE_MAE, self.relative_mae),
            ("direction_accuracy", self.direction_accuracy),
        ]
        .map(|(name, value)| (format!("{prefix}{name}"), value))
        .into()
    }
}
