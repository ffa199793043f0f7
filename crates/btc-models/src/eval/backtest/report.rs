//! What a comparison found: the figures, and what they are figures of.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::series::Frequency;
use crate::transform::Unused;

/// Forecasts of fewer values than this say little about which model is better.
pub(super) const ENOUGH: usize = 60;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What a reader must know before the figures, most important first.
    pub notes: Vec<String>,
    /// The column that was forecast.
    pub target: String,
    /// When the first and the last forecast value was known.
    pub first_target: DateTime<Utc>,
    /// See `first_target`.
    pub last_target: DateTime<Utc>,
    /// Forecasts per model and seed that are scored.
    pub origins: usize,
    /// Origins whose target has no value, so that their forecasts are not scored.
    pub unscored: usize,
    /// Scored origins that the p-values rest on: those that are not marked.
    pub judged: usize,
    /// For each scored origin, whether some model's configuration was chosen on its target.
    pub marked: Vec<bool>,
    /// The step between rows.
    pub frequency: Frequency,
    /// Origins between two fits.
    pub refit_every: usize,
    /// Steps between an origin and its target.
    pub horizon: usize,
    /// Whether there are too few forecasts to compare models.
    pub too_small: bool,
    /// What looks too good to be true.
    pub alarms: Vec<String>,
    /// The models, naive first and the others in the order they were given.
    pub models: Vec<ModelScore>,
    /// Forecasts of the variance of the next change (horizon 1 only).
    pub variance: Vec<VarianceScore>,
    /// Features that carry no information before the first origin, and why.
    pub unused_features: BTreeMap<String, Unused>,
    /// Rows since each feature's last value, at the last row.
    pub staleness: BTreeMap<String, Option<usize>>,
    /// What was forecast, row by row.
    pub series: Series,
}

/// How one model did. Figures of several seeds are means over them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelScore {
    /// The model's name.
    pub name: String,
    /// The number of seeds.
    pub seeds: usize,
    /// Mean absolute percentage error, percent.
    pub mape: f64,
    /// Its standard deviation over seeds.
    pub mape_sd: Option<f64>,
    /// Mean absolute error, in the target's unit.
    pub mae: f64,
    /// Root of the mean squared error, in the target's unit.
    pub rmse: f64,
    /// Mean absolute error over the mean absolute change before the first origin.
    pub mase: f64,
    /// Mean absolute error over that of naive.
    pub relative_mae: f64,
    /// Its standard deviation over seeds.
    pub relative_mae_sd: Option<f64>,
    /// 1 - the sum of squared errors over that of naive.
    pub r2: f64,
    /// The share of right directions, of the mean forecast over seeds; none without direction.
    pub direction_accuracy: Option<f64>,
    /// The probability of as many if directions were guessed.
    pub direction_p: Option<f64>,
    /// Diebold and Mariano's statistic against naive, on absolute errors (mean over seeds).
    pub dm_absolute: Option<f64>,
    /// Its p-value.
    pub dm_absolute_p: Option<f64>,
    /// The p-value adjusted for the number of models compared.
    pub dm_absolute_p_holm: Option<f64>,
    /// Diebold and Mariano's statistic against naive, on squared errors (mean over seeds).
    pub dm_squared: Option<f64>,
    /// Its p-value.
    pub dm_squared_p: Option<f64>,
    /// The p-value adjusted for the number of models compared.
    pub dm_squared_p_holm: Option<f64>,
    /// Quality of the intervals, by level.
    pub intervals: Vec<LevelScore>,
    /// Mean absolute error over that of naive on the origins that are not marked, if some are.
    pub relative_mae_judged: Option<f64>,
    /// Measures of the caller's own, by name.
    pub metrics: BTreeMap<String, f64>,
    /// How each step ahead did, where several are forecast.
    pub steps: Vec<StepScore>,
    /// What its fits have to say.
    pub notes: Vec<String>,
}

/// How the forecasts of one step ahead did, over the origins where that step has a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepScore {
    /// Steps after the origin.
    pub ahead: usize,
    /// The forecasts scored.
    pub forecasts: usize,
    /// Mean absolute error, in the target's unit.
    pub mae: f64,
    /// Mean absolute error over that of the last known value.
    pub relative_mae: f64,
}

/// How intervals of one level did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LevelScore {
    /// The share of values that they promise to hold.
    pub level: f64,
    /// The share that they held.
    pub coverage: f64,
    /// Their mean width: in percent, as 100 times the logarithm of the ends' ratio, if all
    /// values are positive; otherwise in the target's unit.
    pub width: f64,
    /// Winkler's score in the same unit; lower is better.
    pub winkler: f64,
}

/// How one variance model did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VarianceScore {
    /// The model's name.
    pub name: String,
    /// The quasi-likelihood loss; lower is better.
    pub qlike: f64,
}

/// What was forecast and what came.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Series {
    /// When each value was known.
    pub target_time: Vec<DateTime<Utc>>,
    /// The values.
    pub actual: Vec<f64>,
    /// The last value known at each origin.
    pub naive: Vec<f64>,
    /// Each model's points, in the order of `models`; means over seeds.
    pub points: Vec<Vec<f64>>,
    /// Each model's 90 % intervals; those of the first seed.
    pub intervals: Vec<Vec<(f64, f64)>>,
}
