//! Rules for the data of a view, and what breaks them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::profile::{FeatureStatistics, ViewStatistics};
use crate::definition::duration;

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

/// A rule that the data of a view breaks.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Violation {
    /// The view.
    pub view: String,
    /// The feature, if the rule is about one.
    pub feature: Option<String>,
    /// The rule, as it is called in TOML.
    pub rule: &'static str,
    /// What was found and what was allowed.
    pub message: String,
}

/// The rules that a view's statistics break.
pub(super) fn violations(checks: &Checks, view: &ViewStatistics) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut add = |feature: Option<&FeatureStatistics>, rule: &'static str, message: String| {
        found.push(Violation {
            view: view.view.clone(),
            feature: feature.map(|feature| feature.name.clone()),
            rule,
            message,
        });
    };
    if let Some(allowed) = checks.max_age {
        match view.age_seconds {
            None => add(None, "max_age", "there is no row".into()),
            Some(age) if age > allowed.as_secs_f64() => {
                let age = Duration::from_secs(age as u64);
                add(
                    None,
                    "max_age",
                    format!(
                        "the latest row is {} old, {} is allowed",
                        duration::format_duration(age),
                        duration::format_duration(allowed)
                    ),
                );
            }
            Some(_) => {}
        }
    }
    if let Some(needed) = checks.min_rows.filter(|needed| view.rows < *needed) {
        add(
            None,
            "min_rows",
            format!("there are {} rows, {needed} are needed", view.rows),
        );
    }
    for feature in &view.features {
        if let Some(allowed) = checks.max_null_share.filter(|a| feature.null_share > *a) {
            let message = format!(
                "{:.4} of the values are null, {allowed} is allowed",
                feature.null_share
            );
            add(Some(feature), "max_null_share", message);
        }
        if let Some(numeric) = &feature.numeric {
            if let Some(allowed) = checks.min.filter(|allowed| numeric.min < *allowed) {
                let message = format!("the least value is {}, {allowed} is allowed", numeric.min);
                add(Some(feature), "min", message);
            }
            if let Some(allowed) = checks.max.filter(|allowed| numeric.max > *allowed) {
                let message = format!(
                    "the greatest value is {}, {allowed} is allowed",
                    numeric.max
                );
                add(Some(feature), "max", message);
            }
        }
        if let Some((drift, allowed)) = feature
            .drift
            .zip(checks.max_drift)
            .filter(|(drift, allowed)| drift > allowed)
        {
            add(
                Some(feature),
                "max_drift",
                format!("it is {drift:.3}, {allowed} is allowed"),
            );
        }
    }
    found
}
