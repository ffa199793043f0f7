//! How a column is brought to a common size.

use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use crate::Result;
use crate::registry::{Custom, Named, open_enum, registry, restored};

/// What an own scaler is, see [`ScalerKind::custom`].
///
/// # Contract
///
/// * What [`fit`](Self::fit) returns is all that a fitted scaler is: the same numbers scale the
///   same way in another process.
/// * [`apply`](Self::apply) never falls where its argument rises, and gives a finite number for a
///   finite one; [`invert`](Self::invert) takes it back.
///
/// `conformance::check_scaler` checks it.
pub trait ScalerSpec: Debug + Send + Sync {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    ///
    /// Settings that no scaler can have.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// What is known of a column from the finite values of its training rows, of which there may
    /// be none: finite numbers, which travel in the bundle.
    fn fit(&self, values: &[f64]) -> Vec<f64>;

    /// A value scaled by what was fitted.
    fn apply(&self, fitted: &[f64], x: f64) -> f64;

    /// The value that is scaled to `y`.
    fn invert(&self, fitted: &[f64], y: f64) -> f64;
}

registry! {
    /// Makes bundles with the scaler `C` loadable in this process.
    pub register_scaler, SCALERS: dyn ScalerSpec, "scaler", ["min_max", "standard", "robust"]
}

/// How a column is brought to a common size, from its training rows alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum ScalerKind {
    /// The training rows' minimum becomes 0, their maximum 1.
    MinMax,
    /// The training rows' mean becomes 0, their standard deviation 1.
    #[default]
    Standard,
    /// The training rows' median becomes 0; the distance of their quartiles becomes what it is
    /// for a standard normal distribution.
    Robust,
    /// One that is registered under its name; see [`ScalerKind::custom`].
    #[serde(skip)]
    Custom(Custom<dyn ScalerSpec>),
}

open_enum!(ScalerKind, SCALERS.own());

impl ScalerKind {
    /// A scaler of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + ScalerSpec>(spec: &C) -> Result<Self> {
        Custom::register(&SCALERS, restored!(C, ScalerSpec), spec).map(Self::Custom)
    }
}

/// An own scaler that is not registered passes no [`validate`](ScalerSpec::validate), and makes
/// NaN of everything.
impl ScalerSpec for ScalerKind {
    fn validate(&self) -> Result<()> {
        match self {
            Self::Custom(custom) => custom.get(&SCALERS)?.validate(),
            _ => Ok(()),
        }
    }

    fn fit(&self, values: &[f64]) -> Vec<f64> {
        match Scaler::fit(self, values) {
            Scaler::Linear { offset, scale } => vec![offset, scale],
            Scaler::Custom { fitted, .. } => fitted,
        }
    }

    fn apply(&self, fitted: &[f64], x: f64) -> f64 {
        match (self, fitted) {
            (Self::Custom(custom), _) => match custom.get(&SCALERS) {
                Ok(spec) => spec.apply(fitted, x),
                Err(_) => f64::NAN,
            },
            (_, &[offset, scale]) => (x - offset) / scale,
            _ => f64::NAN,
        }
    }

    fn invert(&self, fitted: &[f64], y: f64) -> f64 {
        match (self, fitted) {
            (Self::Custom(custom), _) => match custom.get(&SCALERS) {
                Ok(spec) => spec.invert(fitted, y),
                Err(_) => f64::NAN,
            },
            (_, &[offset, scale]) => y * scale + offset,
            _ => f64::NAN,
        }
    }
}

/// A fitted scaler of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Scaler {
    /// (x - offset) / scale.
    Linear { offset: f64, scale: f64 },
    /// What an own scaler made of the training rows.
    Custom {
        scaler: Custom<dyn ScalerSpec>,
        fitted: Vec<f64>,
    },
}

impl Scaler {
    pub(crate) const IDENTITY: Self = Self::Linear {
        offset: 0.0,
        scale: 1.0,
    };

    /// Checks that it is one that [`fit`](Self::fit) can have made.
    ///
    /// # Errors
    ///
    /// The scaler is not registered, or its settings or numbers are no scaler's.
    pub(crate) fn validate(&self) -> Result<()> {
        let valid = match self {
            Self::Linear { offset, scale } => {
                offset.is_finite() && scale.is_finite() && 0.0 < *scale
            }
            Self::Custom { scaler, fitted } => {
                scaler.get(&SCALERS)?.validate()?;
                fitted.iter().all(|x| x.is_finite())
            }
        };
        match valid {
            true => Ok(()),
            false => Err(crate::Error::series(format!("the scaler {self:?} is none"))),
        }
    }

    /// Offset and scale of one of the crate's own.
    #[cfg(feature = "onnx")]
    pub(crate) fn linear(&self) -> Result<(f64, f64)> {
        match self {
            Self::Linear { offset, scale } => Ok((*offset, *scale)),
            Self::Custom { scaler, .. } => Err(crate::Error::NotExportable {
                reason: format!("its scaler {:?} is the program's own", scaler.name()),
            }),
        }
    }

    /// Fits to the finite values; a column without spread is only moved.
    pub(crate) fn fit(kind: &ScalerKind, values: &[f64]) -> Self {
        let mut finite: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
        if let ScalerKind::Custom(scaler) = kind {
            let fitted = match scaler.get(&SCALERS) {
                Ok(spec) => spec.fit(&finite),
                Err(_) => vec![f64::NAN],
            };
            let scaler = scaler.clone();
            return Self::Custom { scaler, fitted };
        }
        if finite.is_empty() {
            return Self::IDENTITY;
        }
        finite.sort_by(f64::total_cmp);
        let n = finite.len() as f64;
        let (offset, scale) = match kind {
            ScalerKind::MinMax => {
                let (min, max) = (finite[0], finite[finite.len() - 1]);
                (min, max - min)
            }
            ScalerKind::Standard | ScalerKind::Custom(_) => {
                let mean = finite.iter().sum::<f64>() / n;
                let variance = finite.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n;
                (mean, variance.sqrt())
            }
            ScalerKind::Robust => {
                let spread = quantile(&finite, 0.75) - quantile(&finite, 0.25);
                (quantile(&finite, 0.5), spread / 1.348_979_500_392_163_5)
            }
        };
        let usable = scale.is_finite() && offset.abs() * 1e-12 < scale;
        Self::Linear {
            offset,
            scale: if usable { scale } else { 1.0 },
        }
    }

    pub(crate) fn apply(&self, x: f64) -> f64 {
        match self {
            Self::Linear { offset, scale } => (x - offset) / scale,
            Self::Custom { scaler, fitted } => match scaler.get(&SCALERS) {
                Ok(spec) => spec.apply(fitted, x),
                Err(_) => f64::NAN,
            },
        }
    }

    pub(crate) fn invert(&self, y: f64) -> f64 {
        match self {
            Self::Linear { offset, scale } => y * scale + offset,
            Self::Custom { scaler, fitted } => match scaler.get(&SCALERS) {
                Ok(spec) => spec.invert(fitted, y),
                Err(_) => f64::NAN,
            },
        }
    }
}

/// The quantile `q` of sorted values, interpolated between neighbours; NaN without values.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    if sorted.is_empty() {
        return f64::NAN;
    }
    let at = q * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ScalerKind, values: &[f64], offset: f64, scale: f64) {
        let scaler = Scaler::fit(&kind, values);
        let fitted = kind.fit(values);
        assert!((fitted[0] - offset).abs() < 1e-12, "{scaler:?}");
        assert!((fitted[1] - scale).abs() < 1e-12, "{scaler:?}");
        assert_eq!(kind.apply(&fitted, 7.0), scaler.apply(7.0));
        assert!((scaler.invert(scaler.apply(7.0)) - 7.0).abs() < 1e-12);
    }

    // Expected values by hand; the spread of the quartiles of 1, 2, 3, 4, 5 is 2.
    #[test]
    fn scalers_follow_their_definitions() {
        let values = [1.0, 2.0, f64::NAN, 3.0, 4.0, 5.0];
        check(ScalerKind::MinMax, &values, 1.0, 4.0);
        check(ScalerKind::Standard, &values, 3.0, 2f64.sqrt());
        check(
            ScalerKind::Robust,
            &values,
            3.0,
            2.0 / 1.348_979_500_392_163_5,
        );
    }

    #[test]
    fn a_column_without_spread_or_values_is_not_divided() {
        check(ScalerKind::Standard, &[2.0, 2.0], 2.0, 1.0);
        check(ScalerKind::MinMax, &[], 0.0, 1.0);
    }
}
