//! What is told of the values of a view.

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Statistics of the rows of a view.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ViewStatistics {
    /// The view.
    pub view: String,
    /// The number of rows in the period.
    pub rows: usize,
    /// The earliest event time in the period.
    pub first: Option<DateTime<Utc>>,
    /// The latest event time in the period.
    pub last: Option<DateTime<Utc>>,
    /// How old the latest row is, in seconds.
    pub age_seconds: Option<f64>,
    /// Whether the latest row is older than the time to live, so that a
    /// request made now would get nothing.
    pub stale: bool,
    /// The features that are columns of the source, in the order of the view;
    /// windowed aggregates are not described.
    pub features: Vec<FeatureStatistics>,
}

/// Statistics of one feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FeatureStatistics {
    /// The feature.
    pub name: String,
    /// The number of values that are not null.
    pub values: usize,
    /// The share of nulls, from 0 to 1; 0 without rows.
    pub null_share: f64,
    /// The latest event time with a value.
    pub last_value: Option<DateTime<Utc>>,
    /// How old the latest value is, in seconds.
    pub age_seconds: Option<f64>,
    /// The distribution, if the values are numbers.
    pub numeric: Option<NumericSummary>,
    /// The population stability index against the reference period, if there
    /// is one and both have numbers: below 0.1 nothing has changed, above 0.25
    /// much has.
    pub drift: Option<f64>,
}

/// The distribution of numbers. NaN counts as no number.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NumericSummary {
    /// The least.
    pub min: f64,
    /// A quarter is less.
    pub p25: f64,
    /// Half are less.
    pub median: f64,
    /// Three quarters are less.
    pub p75: f64,
    /// The greatest.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation of the sample; 0 for a single value.
    pub std: f64,
}
