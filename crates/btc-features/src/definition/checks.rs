//! Rules for the data of a view, as they are declared beside it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::duration;

/// Rules for the rows of a view, declared beside it. What is not set is not
/// checked.
///
/// ```
/// # use btc_features::Definitions;
/// let definitions = Definitions::from_toml(r#"
///     [[source]]
///     name = "ohlcv"
///     path = "data"
///
///     [[feature_view]]
///     name = "ohlcv"
///     source = "ohlcv"
///     features = [{ name = "close", type = "Float64" }]
///     checks = { max_age = "2d", max_null_share = 0.01, window = "90d", max_drift = 0.25 }
/// "#)?;
/// let checks = definitions.feature_view("ohlcv")?.checks.as_ref().unwrap();
/// assert_eq!(checks.max_null_share, Some(0.01));
/// # Ok::<(), btc_features::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct Checks {
    /// How old the latest row may be.
    #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Duration>,
    /// The number of rows that there must be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_rows: Option<usize>,
    /// The share of nulls that a feature may have, from 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_null_share: Option<f64>,
    /// The least number that a feature may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// The greatest number that a feature may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// The population stability index that a feature may have; needs `window`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_drift: Option<f64>,
    /// The time back from now that is looked at; all of it, without one. Drift
    /// is measured against what was before.
    #[serde(with = "duration", skip_serializing_if = "Option::is_none")]
    pub window: Option<Duration>,
}

impl Eq for Checks {}

impl Checks {
    /// Says what is wrong with the rules themselves, if something is.
    pub(crate) fn problem(&self) -> Option<String> {
        let numbers = [self.max_null_share, self.min, self.max, self.max_drift];
        if numbers.into_iter().flatten().any(f64::is_nan) {
            return Some("a bound is not a number".into());
        }
        if self
            .max_null_share
            .is_some_and(|share| !(0.0..=1.0).contains(&share))
        {
            return Some("max_null_share is a share: between 0 and 1".into());
        }
        if self.max_drift.is_some() && self.window.is_none() {
            return Some(
                "max_drift needs a window: drift is measured against what was before".into(),
            );
        }
        None
    }
}
