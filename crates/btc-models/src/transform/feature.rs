//! What is made of a feature before it is scaled.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::registry::{Custom, Named, open_enum, registry, restored};
use crate::{Error, Result};

/// The most rows that a transform may look back.
pub(crate) const MAX_LOOKBACK: usize = 1_000_000;

/// What an own transform of a feature is, see [`FeatureTransform::custom`].
///
/// # Contract
///
/// * [`apply`](Self::apply) gives one number for each row, which depends on the row and at most
///   [`lookback`](Self::lookback) rows before it, and on nothing else.
/// * It is finite, or NaN where it or a row it needs is missing or outside its domain.
///
/// `conformance::check_transform` checks it.
pub trait TransformSpec: Debug + Send + Sync {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    ///
    /// Settings that no transform can have.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Rows before a row that are needed, at most 1,000,000.
    fn lookback(&self) -> usize;

    /// Transforms a column; NaN where it or a row it needs is missing.
    fn apply(&self, values: &[f64]) -> Vec<f64>;

    /// Whether a row's number never falls where its value rises and the rows before stay.
    fn is_monotone(&self) -> bool {
        false
    }
}

registry! {
    /// Makes bundles with the transform `C` loadable in this process.
    pub register_transform, TRANSFORMS: dyn TransformSpec, "transform",
    ["auto", "level", "log", "difference", "log_difference", "z_score"]
}

/// What is made of a feature before it is scaled.
///
/// Networks do not extrapolate: a level that trends leaves the range seen in training. Changes
/// of it do not. Every transform uses the row itself and rows before it, never one after it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum FeatureTransform {
    /// [`LogDifference`](Self::LogDifference) if all training values are positive, otherwise
    /// [`Difference`](Self::Difference); [`Level`](Self::Level) if the target is a level.
    #[default]
    Auto,
    /// The value itself.
    Level,
    /// Its logarithm.
    Log,
    /// Its change from the row before.
    Difference,
    /// The change of its logarithm.
    LogDifference,
    /// Its distance from the mean of the last rows in standard deviations of these.
    ZScore {
        /// The number of rows, at least 2, the row itself among them.
        window: usize,
    },
    /// One that is registered under its name; see [`FeatureTransform::custom`].
    #[serde(skip)]
    Custom(Custom<dyn TransformSpec>),
}

open_enum!(FeatureTransform, TRANSFORMS.own());

impl FeatureTransform {
    /// A transform of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + TransformSpec>(spec: &C) -> Result<Self> {
        Custom::register(&TRANSFORMS, restored!(C, TransformSpec), spec).map(Self::Custom)
    }
}

/// An own transform that is not registered passes no [`validate`](TransformSpec::validate), and
/// makes NaN of everything.
impl TransformSpec for FeatureTransform {
    fn validate(&self) -> Result<()> {
        match self {
            Self::Custom(custom) => {
                let spec = custom.get(&TRANSFORMS)?;
                spec.validate()?;
                match spec.lookback() {
                    rows if MAX_LOOKBACK < rows => {
                        Err(Error::invalid("lookback", rows, "at most 1000000"))
                    }
                    _ => Ok(()),
                }
            }
            Self::ZScore { window } if *window < 2 || MAX_LOOKBACK < *window => {
                Err(Error::invalid("window", window, "between 2 and 1000000"))
            }
            _ => Ok(()),
        }
    }

    fn lookback(&self) -> usize {
        match self {
            Self::Custom(custom) => custom.get(&TRANSFORMS).map_or(0, TransformSpec::lookback),
            Self::Auto | Self::Difference | Self::LogDifference => 1,
            Self::Level | Self::Log => 0,
            Self::ZScore { window } => window.saturating_sub(1),
        }
    }

    fn apply(&self, values: &[f64]) -> Vec<f64> {
        let ln = |x: f64| if 0.0 < x { x.ln() } else { f64::NAN };
        let change = |f: &dyn Fn(f64) -> f64| {
            (0..values.len())
                .map(|i| {
                    if i == 0 {
                        f64::NAN
                    } else {
                        f(values[i]) - f(values[i - 1])
                    }
                })
                .collect()
        };
        match self {
            Self::Level => values.to_vec(),
            Self::Log => values.iter().map(|x| ln(*x)).collect(),
            Self::Auto | Self::Difference => change(&|x| x),
            Self::LogDifference => change(&ln),
            Self::ZScore { window } => (0..values.len())
                .map(|i| match (i + 1).checked_sub(*window) {
                    Some(start) => z_score(&values[start..=i]),
                    None => f64::NAN,
                })
                .collect(),
            Self::Custom(custom) => match custom.get(&TRANSFORMS) {
                Ok(spec) => spec.apply(values),
                Err(_) => vec![f64::NAN; values.len()],
            },
        }
    }

    fn is_monotone(&self) -> bool {
        match self {
            Self::Custom(custom) => {
                let spec = custom.get(&TRANSFORMS);
                spec.is_ok_and(TransformSpec::is_monotone)
            }
            // A z-score too: the last value moves mean and deviation as well, but its distance
            // from the mean grows faster than the deviation.
            _ => true,
        }
    }
}

/// The last value's distance from the mean; 0 if all are equal.
fn z_score(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
    let distance = values[values.len() - 1] - mean;
    if variance == 0.0 {
        0.0
    } else {
        distance / variance.sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(transform: FeatureTransform, values: &[f64], expected: &[f64]) {
        let found = transform.apply(values);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            let same = (found - expected).abs() < 1e-12 || (found.is_nan() && expected.is_nan());
            assert!(same, "{transform:?}: {found} instead of {expected}");
        }
    }

    #[test]
    fn transforms_use_the_row_and_rows_before_it() {
        let nan = f64::NAN;
        check(FeatureTransform::Level, &[1.0, nan], &[1.0, nan]);
        check(FeatureTransform::Log, &[1.0, -1.0], &[0.0, nan]);
        check(
            FeatureTransform::Difference,
            &[1.0, 4.0, nan, 2.0],
            &[nan, 3.0, nan, nan],
        );
        check(
            FeatureTransform::LogDifference,
            &[1.0, 2.0],
            &[nan, 2f64.ln()],
        );
        let z = FeatureTransform::ZScore { window: 2 };
        check(z, &[1.0, 3.0, 3.0, nan], &[nan, 1.0, 0.0, nan]);
    }
}
