//! Features brought to one scale, and values brought back.

use serde::{Deserialize, Serialize};

/// How a column is brought to a common size, from its training rows alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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
}

/// A fitted scaler of one column: (x - offset) / scale.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Scaler {
    pub(crate) offset: f64,
    pub(crate) scale: f64,
}

impl Scaler {
    pub(crate) const IDENTITY: Self = Self {
        offset: 0.0,
        scale: 1.0,
    };

    /// Whether it is one that [`fit`](Self::fit) can have made.
    pub(crate) fn is_valid(&self) -> bool {
        self.offset.is_finite() && self.scale.is_finite() && 0.0 < self.scale
    }

    /// Fits to the finite values; a column without spread is only moved.
    pub(crate) fn fit(kind: ScalerKind, values: &[f64]) -> Self {
        let mut finite: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).collect();
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
            ScalerKind::Standard => {
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
        Self {
            offset,
            scale: if usable { scale } else { 1.0 },
        }
    }

    pub(crate) fn apply(&self, x: f64) -> f64 {
        (x - self.offset) / self.scale
    }

    pub(crate) fn invert(&self, x: f64) -> f64 {
        x * self.scale + self.offset
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
        let scaler = Scaler::fit(kind, values);
        assert!((scaler.offset - offset).abs() < 1e-12, "{scaler:?}");
        assert!((scaler.scale - scale).abs() < 1e-12, "{scaler:?}");
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
