//! Intervals by split conformal prediction, scaled by the recent variance.
//!
//! A score is a past forecast's absolute error in units of the standard deviation that was
//! expected at its origin. The interval at a new origin is the scores' quantile times the
//! deviation expected there (Papadopoulos, Gammerman and Vovk 2008; the deviation is that of
//! RiskMetrics, an exponentially weighted mean of squared changes).

use serde::{Deserialize, Serialize};

pub(crate) use super::spread::{Spread, ewma_variance};

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
    /// As differences of logarithms, for positive values.
    Log,
    /// As differences.
    Absolute,
}

impl ErrorScale {
    /// The scale for a series of values.
    pub(crate) fn of(target: &[f64]) -> Self {
        if target.iter().all(|value| 0.0 < *value) {
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

    /// The scores, increasing.
    pub(crate) fn scores(&self) -> &[f64] {
        &self.scores
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.scores.is_sorted()
            && self
                .scores
                .iter()
                .all(|score| 0.0 <= *score && score.is_finite())
    }

    /// The score that a fraction `level` of forecasts stays within: the quantile with the
    /// correction for a finite sample, or the largest score if there are too few.
    fn quantile(&self, level: f64) -> Option<f64> {
        self.scores.get(rank(self.scores.len(), level)).copied()
    }

    /// The levels that there are intervals of, with their scores.
    #[cfg(feature = "onnx")]
    pub(crate) fn levels(&self) -> Vec<(f64, f64)> {
        LEVELS
            .iter()
            .filter_map(|level| Some((*level, self.quantile(*level)?)))
            .collect()
    }

    /// Intervals around `point` where a standard deviation of `deviation` is expected on `scale`.
    pub(crate) fn intervals(&self, point: f64, scale: ErrorScale, deviation: f64) -> Vec<Interval> {
        around(point, scale, deviation, |level| self.quantile(level))
    }
}

/// The place of the score that a fraction `level` of `n` stays within.
fn rank(n: usize, level: f64) -> usize {
    let rank = ((n + 1) as f64 * level).ceil() as usize;
    rank.clamp(1, n.max(1)) - 1
}

fn around(
    point: f64,
    scale: ErrorScale,
    deviation: f64,
    mut quantile: impl FnMut(f64) -> Option<f64>,
) -> Vec<Interval> {
    LEVELS
        .iter()
        .filter_map(|&level| {
            let half = quantile(level)? * deviation;
            Some(Interval {
                level,
                low: scale.shift(point, -half),
                high: scale.shift(point, half),
            })
        })
        .collect()
}

/// The intervals of [`Conformal::intervals`] for scores in any order, without sorting all of
/// them. The scores are those that are finite.
pub(crate) fn intervals_of(
    scores: &mut [f64],
    point: f64,
    scale: ErrorScale,
    deviation: f64,
) -> Vec<Interval> {
    around(point, scale, deviation, |level| {
        let rank = rank(scores.len(), level);
        (rank < scores.len()).then(|| *scores.select_nth_unstable_by(rank, f64::total_cmp).1)
    })
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
        let intervals = conformal.intervals(100.0, ErrorScale::Absolute, 2.0);
        assert_eq!((intervals[0].low, intervals[0].high), (68.0, 132.0));
        let none = Conformal::new(ErrorScale::Log, vec![]);
        assert!(none.intervals(1.0, ErrorScale::Log, 1.0).is_empty());
        // Scores in any order give the same.
        let mut mixed: Vec<f64> = (1..=19).map(|i| f64::from(i * 7 % 20)).collect();
        let found = intervals_of(&mut mixed, 100.0, ErrorScale::Absolute, 2.0);
        assert_eq!(found, intervals);
        assert!(intervals_of(&mut [], 100.0, ErrorScale::Log, 2.0).is_empty());
    }
}
