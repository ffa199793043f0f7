//! How good forecasts are, beside those of repeating the last value.

use std::ops::Range;

use btc_models::stats::{TestResult, diebold_mariano};
use btc_models::{Forecast, SeriesFrame, metrics};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// The run metric that a registration chooses by unless told otherwise: percent, on the
/// column's own values, over the selection set.
pub const METRIC: &str = "MAPE";
/// The metric that says how a model stands beside the naive forecast.
pub(crate) const RELATIVE_MAE: &str = "relative_MAE";

/// How good a block of forecasts is, beside the naive ones of the same days.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Forecasts judged.
    pub n: usize,
    /// Mean absolute percentage error, percent.
    pub mape: f64,
    /// Mean absolute error, in the column's unit.
    pub mae: f64,
    /// Root of the mean squared error, in the column's unit.
    pub rmse: f64,
    /// The naive forecast's MAPE.
    pub naive_mape: f64,
    /// MAE relative to the naive forecast's.
    pub relative_mae: f64,
    /// Fraction of days whose direction was right.
    pub direction_accuracy: f64,
}

impl Scores {
    /// The scores by name, as runs and model versions carry them.
    pub fn metrics(&self, prefix: &str) -> Vec<(String, f64)> {
        NAMES
            .iter()
            .map(|(name, get)| (format!("{prefix}{name}"), get(self)))
            .collect()
    }

    /// The score that runs carry as the metric `name`.
    pub fn get(&self, name: &str) -> Option<f64> {
        let (_, get) = NAMES.iter().find(|(known, _)| *known == name)?;
        Some(get(self))
    }

    /// Whether forecasts can be judged anew by the metric `name`, from a bundle alone.
    pub(crate) fn has(name: &str) -> bool {
        NAMES.iter().any(|(known, _)| *known == name)
    }

    /// The scores that a run carries as metrics.
    pub(crate) fn from_metrics(n: usize, metric: impl Fn(&str) -> Option<f64>) -> Option<Self> {
        Some(Self {
            n,
            mape: metric(METRIC)?,
            mae: metric("MAE")?,
            rmse: metric("RMSE")?,
            naive_mape: metric("naive_MAPE")?,
            relative_mae: metric(RELATIVE_MAE)?,
            direction_accuracy: metric("direction_accuracy")?,
        })
    }
}

/// A score read from all of them.
type Get = fn(&Scores) -> f64;

/// The scores that runs carry, by the names of their metrics.
const NAMES: [(&str, Get); 6] = [
    (METRIC, |scores| scores.mape),
    ("MAE", |scores| scores.mae),
    ("RMSE", |scores| scores.rmse),
    ("naive_MAPE", |scores| scores.naive_mape),
    (RELATIVE_MAE, |scores| scores.relative_mae),
    ("direction_accuracy", |scores| scores.direction_accuracy),
];

/// Forecasts beside what came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcomes {
    actual: Vec<f64>,
    point: Vec<f64>,
    naive: Vec<f64>,
}

impl Outcomes {
    /// Puts each forecast beside the value of its target instant. A forecast whose target instant
    /// has no value is not judged.
    pub(crate) fn of(forecasts: &[Forecast], frame: &SeriesFrame) -> Self {
        let mut outcomes = Self::default();
        for forecast in forecasts {
            let row = forecast
                .target_time()
                .and_then(|time| frame.known_at().binary_search(&time).ok());
            if let Some(row) = row {
                outcomes.actual.push(frame.target()[row]);
                outcomes.point.push(forecast.point());
                outcomes.naive.push(forecast.naive());
            }
        }
        outcomes
    }

    /// The scores; none without a forecast that could be judged.
    pub(crate) fn scores(&self) -> Option<Scores> {
        let Self {
            actual,
            point,
            naive,
        } = self;
        (!actual.is_empty()).then(|| Scores {
            n: actual.len(),
            mape: metrics::mape(actual, point),
            mae: metrics::mae(actual, point),
            rmse: metrics::rmse(actual, point),
            naive_mape: metrics::mape(actual, naive),
            relative_mae: metrics::relative_mae(actual, point, naive),
            direction_accuracy: metrics::direction_accuracy(actual, point, naive),
        })
    }

    /// Diebold and Mariano's test of the absolute errors against those of the naive forecast; none
    /// where the two cannot be told apart at all. The statistic is negative if the forecasts are
    /// better.
    pub(crate) fn test(&self, horizon: usize) -> Option<TestResult> {
        let errors = |points: &[f64]| -> Vec<f64> {
            let pairs = self.actual.iter().zip(points);
            pairs
                .map(|(actual, point)| (actual - point).abs())
                .collect()
        };
        diebold_mariano(&errors(&self.point), &errors(&self.naive), horizon)
    }
}

/// The instants of the targets of some origins, first and last; none without an origin.
pub(crate) fn target_range(
    frame: &SeriesFrame,
    origins: &Range<usize>,
    horizon: usize,
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    if origins.is_empty() {
        return None;
    }
    let instant = |origin: usize| frame.known_at().get(origin + horizon).copied();
    Some((instant(origins.start)?, instant(origins.end - 1)?))
}
