//! What is predicted, and how it follows from values and back.

use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::PreprocessConfig;
use super::scaler::Scaler;
use crate::series::SeriesFrame;
use crate::{Error, Result};

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The logarithm of the value `horizon` steps later over the last known one. It needs positive
    /// values.
    #[default]
    LogReturn,
    /// The value `horizon` steps later less the last known one.
    Difference,
    /// The value `horizon` steps later.
    Level,
}

named!(Target, "target", {
    LogReturn => "log-return",
    Difference => "difference",
    Level => "level",
});

/// How what is predicted follows from values and back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetScaler {
    pub(crate) target: Target,
    scaler: Scaler,
}

impl TargetScaler {
    /// Fits to the targets of the windows that end in `ends`. A window whose target has no value
    /// is left out.
    ///
    /// Changes are divided by their standard deviation and not moved: a network that returns 0
    /// repeats the last value.
    pub(crate) fn fit(
        frame: &SeriesFrame,
        ends: Range<usize>,
        horizon: usize,
        config: &PreprocessConfig,
    ) -> Result<Self> {
        let values = frame.target();
        if config.target == Target::LogReturn
            && let Some(row) = values.iter().position(|value| *value <= 0.0)
        {
            return Err(Error::NotPositive {
                value: values[row],
                at: frame.known_at()[row],
            });
        }
        let scaler = match config.target {
            Target::Level => {
                let end = (ends.end + horizon).min(values.len());
                Scaler::fit(config.scaler, &values[..end])
            }
            target => {
                let raw = Self {
                    target,
                    scaler: Scaler::IDENTITY,
                };
                let changes: Vec<f64> = ends
                    .filter_map(|end| Some(raw.scaled(values[end], frame.target_at(end, horizon)?)))
                    .collect();
                let square = changes.iter().map(|x| x * x).sum::<f64>() / changes.len() as f64;
                let scale = if 0.0 < square { square.sqrt() } else { 1.0 };
                Scaler { offset: 0.0, scale }
            }
        };
        Ok(Self {
            target: config.target,
            scaler,
        })
    }

    /// How the target is scaled.
    #[cfg(feature = "onnx")]
    pub(crate) fn scaler(&self) -> Scaler {
        self.scaler
    }

    /// Whether it is one that [`fit`](Self::fit) can have made.
    pub(crate) fn is_valid(&self) -> bool {
        self.scaler.is_valid()
    }

    /// What the network is to predict where the target goes from `last` to `next`.
    pub(crate) fn scaled(&self, last: f64, next: f64) -> f64 {
        self.scaler.apply(match self.target {
            Target::LogReturn => (next / last).ln(),
            Target::Difference => next - last,
            Target::Level => next,
        })
    }

    /// The value that the network's `output` means after `last`, which was known at `at`.
    ///
    /// # Errors
    ///
    /// [`Error::NotPositive`] for a return on a value that has none.
    pub(crate) fn value(&self, last: f64, output: f64, at: DateTime<Utc>) -> Result<f64> {
        let value = self.scaler.invert(output);
        Ok(match self.target {
            Target::LogReturn if last <= 0.0 => {
                return Err(Error::NotPositive { value: last, at });
            }
            Target::LogReturn => last * value.exp(),
            Target::Difference => last + value,
            Target::Level => value,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::frame::tests::{daily_with_holes, frame};

    fn walk(rows: usize) -> Vec<f64> {
        (0..rows)
            .map(|i| 100.0 + ((i * 7919) % 23) as f64)
            .collect()
    }

    fn fit(values: Vec<f64>, target: Target) -> Result<TargetScaler> {
        let config = PreprocessConfig::default().with_target(target);
        let end = values.len() - 1;
        TargetScaler::fit(&frame(&[("y", values)]), 0..end, 1, &config)
    }

    #[test]
    fn targets_go_there_and_back() {
        for target in Target::ALL {
            let scaler = fit(walk(40), target).unwrap();
            let output = scaler.scaled(110.0, 121.0);
            let value = scaler.value(110.0, output, DateTime::default()).unwrap();
            assert!((value - 121.0).abs() < 1e-9, "{target}");
            assert!(scaler.is_valid());
        }
    }

    #[test]
    fn a_return_on_a_value_that_has_none_is_an_error_and_a_difference_is_not() {
        let refused = |result| matches!(result, Err(Error::NotPositive { .. }));
        assert!(refused(
            fit(vec![1.0, -1.0, 2.0], Target::LogReturn).map(|_| 0.0)
        ));
        let scaler = fit(walk(40), Target::LogReturn).unwrap();
        for last in [0.0, -3.0] {
            assert!(refused(scaler.value(last, 0.1, DateTime::default())));
            let scaler = fit(walk(40), Target::Difference).unwrap();
            let value = scaler.value(last, 0.1, DateTime::default()).unwrap();
            assert!(value.is_finite() && last < value);
        }
    }

    #[test]
    fn a_window_before_a_hole_has_no_target() {
        let frame = daily_with_holes(&[0, 1, 2, 102, 103]);
        let config = PreprocessConfig::default().with_target(Target::Difference);
        let scaler = TargetScaler::fit(&frame, 0..4, 1, &config).unwrap();
        // All changes of one step are 1; that of a hundred does not count.
        assert_eq!(scaler.scaled(0.0, 1.0), 1.0);
    }

    #[test]
    fn a_scale_that_no_fit_gives_is_not_valid() {
        for scale in ["0.0", "-1.0", "1e999"] {
            let text =
                format!(r#"{{"target":"difference","scaler":{{"offset":0.0,"scale":{scale}}}}}"#);
            let valid = serde_json::from_str::<TargetScaler>(&text).is_ok_and(|s| s.is_valid());
            assert!(!valid, "{scale}");
        }
    }
}
