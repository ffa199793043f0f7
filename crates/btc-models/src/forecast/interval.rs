//! Intervals by split conformal prediction, scaled by the recent variance.
//!
//! A score is a past forecast's absolute error in units of the standard deviation that was
//! expected at its origin. The interval at a new origin is the scores' quantile times the
//! deviation expected there (Papadopoulos, Gammerman and Vovk 2008; the deviation is that of
//! RiskMetrics, an exponentially weighted mean of squared changes).

use serde::{Deserialize, Serialize};

/// The weight of the past in the running variance.
pub(crate) const DECAY: f64 = 0.94;
/// Changes of which the running variance starts as the mean square.
pub(crate) const WARM_UP: usize = 30;
/// The levels of the intervals that a forecast carries.
pub(crate) const LEVELS: [f64; 3] = [0.80, 0.90, 0.95];

/// A range that holds the value with a probability of about `level`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The probability, between 0 and 1.
    pub level: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// How errors and changes are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ErrorScale {
    /// As differences of logarithms, for positive prices.
    Log,
    /// As differences.
    Absolute,
}

impl ErrorScale {
    /// The scale for a series of prices.
    pub(crate) fn of(price: &[f64]) -> Self {
        if price.iter().all(|price| 0.0 < *price) {
            Self::Log
        } else {
            Self::Absolute
        }
    }

    pub(crate) fn difference(self, from: f64, to: f64) -> f64 {
        match self {
            Self::Log => to.ln() - from.ln(),
            Self::Absolute => to - from,
        }
    }

    pub(crate) fn shift(self, from: f64, by: f64) -> f64 {
        match self {
            Self::Log => from * by.exp(),
            Self::Absolute => from + by,
        }
    }
}

/// For each row, the variance of the next change as expected from the changes up to that row.
///
/// It is the mean square of the changes until there are 30 of them, and an exponentially
/// weighted one from then on. Without any change it is 0.
pub(crate) fn ewma_variance(price: &[f64], scale: ErrorScale) -> Vec<f64> {
    let mut variance = 0.0;
    let mut variances = Vec::with_capacity(price.len());
    for i in 0..price.len() {
        if 0 < i {
            let square = scale.difference(price[i - 1], price[i]).powi(2);
            if i <= WARM_UP {
                variance += (square - variance) / i as f64;
            } else {
                variance = DECAY * variance + (1.0 - DECAY) * square;
            }
        }
        variances.push(variance);
    }
    variances
}

/// Scores of past forecasts, from which intervals follow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conformal {
    pub(crate) scale: ErrorScale,
    /// Increasing.
    scores: Vec<f64>,
}

impl Conformal {
    pub(crate) fn new(scale: ErrorScale, mut scores: Vec<f64>) -> Self {
        scores.retain(|score| score.is_finite());
        scores.sort_by(f64::total_cmp);
        Self { scale, scores }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.scores.is_sorted()
            && self
                .scores
                .iter()
                .all(|score| 0.0 <= *score && score.is_finite())
    }

    /// The score that a share `level` of forecasts stays within: the quantile with the
    /// correction for a finite sample, or the largest score if there are too few.
    fn quantile(&self, level: f64) -> Option<f64> {
        let n = self.scores.len();
        let rank = ((n + 1) as f64 * level).ceil() as usize;
        self.scores.get(rank.clamp(1, n.max(1)) - 1).copied()
    }

    /// Intervals around `point` where a standard deviation of `deviation` is expected.
    pub(crate) fn intervals(&self, point: f64, deviation: f64) -> Vec<Interval> {
        LEVELS
            .iter()
            .filter_map(|&level| {
                let half = self.quantile(level)? * deviation;
                Some(Interval {
                    level,
                    low: self.scale.shift(point, -half),
                    high: self.scale.shift(point, half),
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quantile_is_corrected_for_a_finite_sample() {
        let scores = (1..=19).map(f64::from).collect();
        let conformal = Conformal::new(ErrorScale::Absolute, scores);
        // ceil(20 * 0.8) = 16, ceil(20 * 0.95) = 19.
        assert_eq!(conformal.quantile(0.80), Some(16.0));
        assert_eq!(conformal.quantile(0.95), Some(19.0));
        assert_eq!(conformal.quantile(0.99), Some(19.0));
        let interval = conformal.intervals(100.0, 2.0)[0];
        assert_eq!((interval.low, interval.high), (68.0, 132.0));
        assert!(
            Conformal::new(ErrorScale::Log, vec![])
                .intervals(1.0, 1.0)
                .is_empty()
        );
    }

    #[test]
    fn the_running_variance_knows_no_later_change() {
        let price: Vec<f64> = (0..60).map(|i| 100.0 + f64::from(i * 37 % 11)).collect();
        let whole = ewma_variance(&price, ErrorScale::Log);
        for rows in 1..price.len() {
            assert_eq!(
                ewma_variance(&price[..rows], ErrorScale::Log),
                whole[..rows]
            );
        }
        assert_eq!(
            ewma_variance(&[1.0, 3.0, 2.0], ErrorScale::Absolute),
            [0.0, 4.0, 2.5]
        );
    }
}
