//! What is predicted, and how it follows from values and back.

use std::fmt::Debug;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::scaler::Scaler;
use super::{PreprocessConfig, TrainingPart};
use crate::registry::{Custom, Named, open_enum, registry, restored};
use crate::{Error, Result};

/// What an own target is, see [`Target::custom`].
///
/// # Contract
///
/// * [`inverse`](Self::inverse) takes [`forward`](Self::forward) back, after the same last value.
/// * Both rise with their second argument, so that quantiles keep their order.
/// * Both are finite, or none where the values have none.
///
/// `conformance::check_target` checks it.
pub trait TargetSpec: Debug + Send + Sync {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    ///
    /// Settings that no target can have.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// What is predicted where the series goes from `last` to `value`; none outside the domain.
    fn forward(&self, last: f64, value: f64) -> Option<f64>;

    /// The value that a `prediction` after `last` means; none outside the domain.
    fn inverse(&self, last: f64, prediction: f64) -> Option<f64>;

    /// Whether 0 means that the last value is repeated. A change is divided by its size and not
    /// moved; anything else is scaled as features are.
    fn is_change(&self) -> bool {
        true
    }
}

registry! {
    /// Makes bundles with the target `C` loadable in this process.
    pub register_target, TARGETS: dyn TargetSpec, "target", ["log-return", "difference", "level"]
}

/// What the network predicts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", remote = "Self")]
#[non_exhaustive]
pub enum Target {
    /// The logarithm of the value `horizon` steps later over the last known one. It needs positive
    /// values.
    #[default]
    LogReturn,
    /// The value `horizon` steps later less the last known one.
    Difference,
    /// The value `horizon` steps later.
    Level,
    /// One that is registered under its name; see [`Target::custom`].
    #[serde(skip)]
    Custom(Custom<dyn TargetSpec>),
}

open_enum!(Target, TARGETS.own());

impl Target {
    /// The crate's own, in order.
    pub const ALL: [Self; 3] = [Self::LogReturn, Self::Difference, Self::Level];

    /// A target of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + TargetSpec>(spec: &C) -> Result<Self> {
        Custom::register(&TARGETS, restored!(C, TargetSpec), spec).map(Self::Custom)
    }

    /// The name, as [`FromStr`](std::str::FromStr) takes it.
    pub fn name(&self) -> &str {
        match self {
            Self::LogReturn => "log-return",
            Self::Difference => "difference",
            Self::Level => "level",
            Self::Custom(custom) => custom.name(),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Target {
    type Err = Error;

    /// Takes the name of one of the crate's own, in capital or small letters, or that of one that
    /// is registered and needs no settings.
    fn from_str(name: &str) -> Result<Self> {
        let mut own = Self::ALL.into_iter();
        if let Some(own) = own.find(|target| target.name().eq_ignore_ascii_case(name)) {
            return Ok(own);
        }
        let custom = Custom::named(name);
        match custom.get(&TARGETS) {
            Ok(_) => Ok(Self::Custom(custom)),
            Err(_) => Err(Error::unknown("target", name, TARGETS.own())),
        }
    }
}

/// An own target that is not registered passes no [`validate`](TargetSpec::validate), and has no
/// values.
impl TargetSpec for Target {
    fn validate(&self) -> Result<()> {
        match self {
            Self::Custom(custom) => custom.get(&TARGETS)?.validate(),
            _ => Ok(()),
        }
    }

    fn forward(&self, last: f64, value: f64) -> Option<f64> {
        match self {
            Self::LogReturn => (0.0 < last && 0.0 < value).then(|| (value / last).ln()),
            Self::Difference => Some(value - last),
            Self::Level => Some(value),
            Self::Custom(custom) => custom.get(&TARGETS).ok()?.forward(last, value),
        }
    }

    fn inverse(&self, last: f64, prediction: f64) -> Option<f64> {
        match self {
            Self::LogReturn => (0.0 < last).then(|| last * prediction.exp()),
            Self::Difference => Some(last + prediction),
            Self::Level => Some(prediction),
            Self::Custom(custom) => custom.get(&TARGETS).ok()?.inverse(last, prediction),
        }
    }

    fn is_change(&self) -> bool {
        match self {
            Self::LogReturn | Self::Difference => true,
            Self::Level => false,
            Self::Custom(custom) => custom.get(&TARGETS).is_ok_and(TargetSpec::is_change),
        }
    }
}

/// How what is predicted follows from values and back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetScaler {
    pub(crate) target: Target,
    scaler: Scaler,
}

impl TargetScaler {
    /// Fits to the targets of the windows of all parts. A window whose target has no value in the
    /// rows of its part that are known is left out.
    ///
    /// Changes are divided by their root mean square and not moved: a network that returns 0
    /// repeats the last value.
    pub(crate) fn fit(
        parts: &[TrainingPart<'_>],
        horizon: usize,
        config: &PreprocessConfig,
    ) -> Result<Self> {
        for TrainingPart { frame, .. } in parts {
            let values = frame.target();
            if config.target == Target::LogReturn
                && let Some(row) = values.iter().position(|value| *value <= 0.0)
            {
                return Err(Error::NotPositive {
                    value: values[row],
                    at: frame.known_at()[row],
                });
            }
        }
        let identity = Self {
            target: config.target.clone(),
            scaler: Scaler::IDENTITY,
        };
        let predicted = || -> Result<Vec<f64>> {
            let mut predicted = Vec::new();
            for part in parts {
                let (values, known_at) = (part.frame.target(), part.frame.known_at());
                for end in part.ends.clone() {
                    let row = part.frame.row_at(end, horizon);
                    if let Some(row) = row.filter(|row| *row < part.known) {
                        let next = values[row];
                        predicted.push(identity.scaled(values[end], next, known_at[end])?);
                    }
                }
            }
            Ok(predicted)
        };
        let scaler = match &config.target {
            Target::Level => {
                let known = parts.iter().map(|part| &part.frame.target()[..part.known]);
                Scaler::fit(&config.scaler, &known.collect::<Vec<_>>().concat())
            }
            target if !target.is_change() => Scaler::fit(&config.scaler, &predicted()?),
            _ => {
                let changes = predicted()?;
                let square = changes.iter().map(|x| x * x).sum::<f64>() / changes.len() as f64;
                let scale = if 0.0 < square { square.sqrt() } else { 1.0 };
                Scaler::Linear { offset: 0.0, scale }
            }
        };
        Ok(Self {
            target: config.target.clone(),
            scaler,
        })
    }

    /// How the target is scaled.
    #[cfg(feature = "onnx")]
    pub(crate) fn scaler(&self) -> &Scaler {
        &self.scaler
    }

    /// Checks that it is one that [`fit`](Self::fit) can have made.
    ///
    /// # Errors
    ///
    /// The target or the scaler is not registered, or has settings or numbers that none has.
    pub(crate) fn validate(&self) -> Result<()> {
        self.target.validate()?;
        self.scaler.validate()
    }

    /// What the network is to predict where the target goes from `last`, which was known at `at`,
    /// to `next`.
    ///
    /// # Errors
    ///
    /// As [`value`](Self::value).
    pub(crate) fn scaled(&self, last: f64, next: f64, at: DateTime<Utc>) -> Result<f64> {
        let value = self.target.forward(last, next);
        let value = value.ok_or_else(|| self.undefined(last.min(next), at))?;
        Ok(self.scaler.apply(value))
    }

    /// The value that the network's `output` means after `last`, which was known at `at`.
    ///
    /// # Errors
    ///
    /// [`Error::NotPositive`] for a return on a value that has none; [`Error::InvalidSeries`] for
    /// a value that an own target is not defined for.
    pub(crate) fn value(&self, last: f64, output: f64, at: DateTime<Utc>) -> Result<f64> {
        let value = self.target.inverse(last, self.scaler.invert(output));
        value.ok_or_else(|| self.undefined(last, at))
    }

    fn undefined(&self, value: f64, at: DateTime<Utc>) -> Error {
        match &self.target {
            Target::LogReturn => Error::NotPositive { value, at },
            target => Error::series(format!(
                "the target {target:?} is not defined for the value {value}, known at {at}",
                target = target.name()
            )),
        }
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
        let known = values.len();
        let part = TrainingPart {
            frame: &frame(&[("y", values)]),
            ends: 0..known - 1,
            known,
        };
        TargetScaler::fit(&[part], 1, &config)
    }

    #[test]
    fn targets_go_there_and_back() {
        for target in Target::ALL {
            let scaler = fit(walk(40), target.clone()).unwrap();
            let at = DateTime::default();
            let output = scaler.scaled(110.0, 121.0, at).unwrap();
            let value = scaler.value(110.0, output, at).unwrap();
            assert!((value - 121.0).abs() < 1e-9, "{target}");
            assert!(scaler.validate().is_ok());
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
        let part = TrainingPart {
            frame: &frame,
            ends: 0..4,
            known: 5,
        };
        let scaler = TargetScaler::fit(&[part], 1, &config).unwrap();
        // All changes of one step are 1; that of a hundred does not count.
        assert_eq!(scaler.scaled(0.0, 1.0, DateTime::default()).unwrap(), 1.0);
    }

    #[test]
    fn a_scale_that_no_fit_gives_is_not_valid() {
        for scale in ["0.0", "-1.0", "1e999"] {
            let text =
                format!(r#"{{"target":"difference","scaler":{{"offset":0.0,"scale":{scale}}}}}"#);
            let valid =
                serde_json::from_str::<TargetScaler>(&text).is_ok_and(|s| s.validate().is_ok());
            assert!(!valid, "{scale}");
        }
    }
}
