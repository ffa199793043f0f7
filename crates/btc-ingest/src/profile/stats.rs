//! Figures of one series and of pairs.

use crate::source::DayValue;
use chrono::NaiveDate;
use serde::Serialize;
use std::collections::BTreeMap;

/// Where the values of a series lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// The smallest value.
    pub min: f64,
    /// The median.
    pub median: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The largest value.
    pub max: f64,
    /// The value of the last day.
    pub last: f64,
}

impl Summary {
    pub(super) fn of(values: &[DayValue]) -> Option<Self> {
        let mut sorted: Vec<f64> = values.iter().map(|(_, value)| *value).collect();
        let last = *sorted.last()?;
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            min: sorted[0],
            median: 0.5 * (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]),
            mean: mean(&sorted),
            max: sorted[sorted.len() - 1],
            last,
        })
    }
}

/// How a series changes from one day to the next.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Moments {
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation of the population.
    pub deviation: f64,
    /// The third standardised moment.
    pub skewness: f64,
    /// The fourth standardised moment less three.
    pub excess_kurtosis: f64,
    /// The correlation of each value with the one before.
    pub autocorrelation: f64,
}

impl Moments {
    /// `None` with fewer than three values, or if all are equal.
    pub(super) fn of(values: &[f64]) -> Option<Self> {
        if values.len() < 3 {
            return None;
        }
        let mean = mean(values);
        let moment = |power: i32| {
            values
                .iter()
                .map(|value| (value - mean).powi(power))
                .sum::<f64>()
                / values.len() as f64
        };
        let variance = moment(2);
        if variance <= 0.0 {
            return None;
        }
        Some(Self {
            mean,
            deviation: variance.sqrt(),
            skewness: moment(3) / variance.powf(1.5),
            excess_kurtosis: moment(4) / (variance * variance) - 3.0,
            autocorrelation: correlation(&values[1..], &values[..values.len() - 1])?,
        })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The logarithm of each day's value over that of the day before, where both are above zero.
pub(super) fn changes(values: &[DayValue]) -> BTreeMap<NaiveDate, f64> {
    values
        .windows(2)
        .filter(|pair| pair[0].0.succ_opt() == Some(pair[1].0))
        .filter(|pair| pair[0].1 > 0.0 && pair[1].1 > 0.0)
        .map(|pair| (pair[1].0, (pair[1].1 / pair[0].1).ln()))
        .collect()
}

/// Pearson's correlation; `None` with fewer than three pairs, or if one side does not vary.
pub(super) fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    if a.len() < 3 {
        return None;
    }
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        ab += (a - mean_a) * (b - mean_b);
        aa += (a - mean_a) * (a - mean_a);
        bb += (b - mean_b) * (b - mean_b);
    }
    let scale = (aa * bb).sqrt();
    (scale > 0.0).then(|| (ab / scale).clamp(-1.0, 1.0))
}

/// The correlation over the days that both have.
pub(super) fn paired_correlation(
    a: &BTreeMap<NaiveDate, f64>,
    b: &BTreeMap<NaiveDate, f64>,
) -> Option<f64> {
    let pairs = a.iter().filter_map(|(day, a)| Some((*a, *b.get(day)?)));
    let (a, b): (Vec<f64>, Vec<f64>) = pairs.unzip();
    correlation(&a, &b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_a_small_sample() {
        let day = |day| NaiveDate::from_ymd_opt(2021, 1, day).unwrap();
        let values: Vec<DayValue> = [4.0, 1.0, 3.0, 2.0]
            .into_iter()
            .zip(1..)
            .map(|(v, d)| (day(d), v))
            .collect();
        let expected = Summary {
            min: 1.0,
            median: 2.5,
            mean: 2.5,
            max: 4.0,
            last: 2.0,
        };
        assert_eq!(Summary::of(&values), Some(expected));
        assert_eq!(Summary::of(&[]), None);
        // By hand: deviations -2, -1, 0, 1, 2; second moment 2, fourth 6.8.
        let moments = Moments::of(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        assert_eq!(moments.deviation, 2.0f64.sqrt());
        assert!(moments.skewness.abs() < 1e-12);
        assert!((moments.excess_kurtosis - (6.8 / 4.0 - 3.0)).abs() < 1e-12);
        assert!((moments.autocorrelation - 1.0).abs() < 1e-12);
        assert_eq!(Moments::of(&[1.0; 9]), None);
    }

    #[test]
    fn a_change_spans_neighbouring_days_only() {
        let day = |day| NaiveDate::from_ymd_opt(2021, 1, day).unwrap();
        let changes = changes(&[(day(1), 1.0), (day(2), 2.0), (day(4), 4.0), (day(5), 0.0)]);
        assert_eq!(
            changes.into_iter().collect::<Vec<_>>(),
            [(day(2), 2.0f64.ln())]
        );
    }

    #[test]
    fn correlation_is_over_common_days() {
        let day = |day| NaiveDate::from_ymd_opt(2021, 1, day).unwrap();
        let map = |values: &[(u32, f64)]| values.iter().map(|(d, v)| (day(*d), *v)).collect();
        let a: BTreeMap<_, _> = map(&[(1, 1.0), (2, 2.0), (3, 3.0), (4, 99.0)]);
        let b = map(&[(1, -1.0), (2, -2.0), (3, -3.0), (5, 99.0)]);
        assert_eq!(paired_correlation(&a, &b), Some(-1.0));
        assert_eq!(paired_correlation(&a, &map(&[(1, 1.0)])), None);
    }
}
