//! What breaks the rules for the data of a view.

use std::time::Duration;

use serde::Serialize;

use super::statistics::{FeatureStatistics, ViewStatistics};
use crate::definition::{Checks, duration};

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
