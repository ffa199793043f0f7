//! One quantile function of a value to come, from whatever is known of its quantiles.
//!
//! Quantiles that are estimated one by one may cross. Sorting their values gives quantiles that do
//! not, and that are nowhere further from the true ones (Chernozhukov, Fernández-Val and Galichon
//! 2010, the rearrangement). What other sources say of further levels is then moved no more than
//! it takes to lie between its neighbours.

use serde::{Deserialize, Serialize};

use super::interval::Interval;

/// Two levels nearer than this are one.
pub(crate) const SAME_LEVEL: f64 = 1e-9;

/// The quantiles of a value to come at some levels, which do not cross.
///
/// ```
/// use btc_models::Quantiles;
///
/// let quantiles = Quantiles::new([(0.1, 9.0), (0.5, 12.0), (0.9, 11.0)]);
/// assert_eq!(quantiles.get(0.5), Some(11.0)); // The values were sorted.
/// assert_eq!(quantiles.get(0.3), Some(10.0)); // Interpolated.
/// assert_eq!(quantiles.get(0.95), None); // Beyond what is known.
/// assert_eq!(quantiles.interval(0.8).map(|i| (i.low, i.high)), Some((9.0, 12.0)));
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(f64, f64)>", into = "Vec<(f64, f64)>")]
pub struct Quantiles {
    /// Level and value, both increasing.
    knots: Vec<(f64, f64)>,
}

impl From<Vec<(f64, f64)>> for Quantiles {
    fn from(knots: Vec<(f64, f64)>) -> Self {
        Self::new(knots)
    }
}

impl From<Quantiles> for Vec<(f64, f64)> {
    fn from(quantiles: Quantiles) -> Self {
        quantiles.knots
    }
}

impl Quantiles {
    /// The quantiles of these levels, between 0 and 1, and values. The values are sorted if they
    /// cross; a level outside, one that comes again, and a value that is not finite are left out.
    pub fn new(knots: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut knots: Vec<(f64, f64)> = knots
            .into_iter()
            .filter(|(level, value)| 0.0 < *level && *level < 1.0 && value.is_finite())
            .collect();
        knots.sort_by(|a, b| a.0.total_cmp(&b.0));
        knots.dedup_by(|next, kept| (next.0 - kept.0).abs() < SAME_LEVEL);
        let mut values: Vec<f64> = knots.iter().map(|(_, value)| *value).collect();
        values.sort_by(f64::total_cmp);
        for (knot, value) in knots.iter_mut().zip(values) {
            knot.1 = value;
        }
        Self { knots }
    }

    /// The quantiles of `trained`, and of further levels what `point`, as the median, and
    /// `intervals` say, as far as that lies between the trained ones.
    pub fn reconcile(
        trained: impl IntoIterator<Item = (f64, f64)>,
        point: f64,
        intervals: &[Interval],
    ) -> Self {
        let trained = Self::new(trained);
        let ends = intervals.iter().flat_map(|interval| {
            let tail = 0.5 * (1.0 - interval.level);
            [(tail, interval.low), (1.0 - tail, interval.high)]
        });
        let others = Self::new(ends.chain([(0.5, point)]));
        let mut knots = trained.knots.clone();
        for (level, value) in others.knots {
            let after = trained.knots.partition_point(|(known, _)| *known < level);
            let before = after.checked_sub(1).map(|at| trained.knots[at]);
            let after = trained.knots.get(after).copied();
            let same = |other: Option<(f64, f64)>| {
                other.is_some_and(|(known, _)| (known - level).abs() < SAME_LEVEL)
            };
            if same(before) || same(after) {
                continue;
            }
            let at_least = before.map_or(value, |(_, low)| value.max(low));
            knots.push((
                level,
                after.map_or(at_least, |(_, high)| at_least.min(high)),
            ));
        }
        Self::new(knots)
    }

    /// The levels and their values, both in increasing order.
    pub fn knots(&self) -> &[(f64, f64)] {
        &self.knots
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.knots.is_empty()
    }

    /// The value that the quantity is below with the probability `level`, interpolated between
    /// known levels; none beyond them.
    pub fn get(&self, level: f64) -> Option<f64> {
        let after = self
            .knots
            .partition_point(|(known, _)| *known < level - SAME_LEVEL);
        let (high, to) = *self.knots.get(after)?;
        if (high - level).abs() <= SAME_LEVEL {
            return Some(to);
        }
        let (low, from) = self.knots[after.checked_sub(1)?];
        let value = from + (to - from) * (level - low) / (high - low);
        // Rounding must not take it past its neighbours.
        Some(value.clamp(from, to))
    }

    /// The range that holds the value with the probability `level`, with equal tails; none if a
    /// tail is beyond what is known.
    pub fn interval(&self, level: f64) -> Option<Interval> {
        let tail = 0.5 * (1.0 - level);
        Some(Interval {
            level,
            low: self.get(tail)?,
            high: self.get(1.0 - tail)?,
        })
    }

    /// The intervals both ends of which are known without interpolation, from the narrowest to
    /// the widest: each holds the ones before it.
    pub fn intervals(&self) -> Vec<Interval> {
        let known = |level: f64| {
            let same = |knot: &&(f64, f64)| (knot.0 - level).abs() < SAME_LEVEL;
            self.knots.iter().find(same).map(|(_, value)| *value)
        };
        let low = self
            .knots
            .iter()
            .rev()
            .filter(|(level, _)| *level < 0.5 - SAME_LEVEL);
        low.filter_map(|(tail, low)| {
            Some(Interval {
                // 0.8, where the tail is (1 - 0.8) / 2 in floating point.
                level: ((1.0 - 2.0 * tail) * 1e9).round() / 1e9,
                low: *low,
                high: known(1.0 - tail)?,
            })
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn conformal(point: f64, halves: [f64; 3]) -> Vec<Interval> {
        let mut halves = halves;
        halves.sort_by(f64::total_cmp);
        [0.8, 0.9, 0.95]
            .into_iter()
            .zip(halves)
            .map(|(level, half)| Interval {
                level,
                low: point - half,
                high: point + half,
            })
            .collect()
    }

    // The levels of the reproduction: 80 % came out wider than 90 %.
    #[test]
    fn trained_quantiles_come_back_and_other_levels_lie_between() {
        let trained = [
            (0.01, 44.0),
            (0.1, 48.95),
            (0.25, 49.5),
            (0.5, 50.1),
            (0.75, 50.4),
            (0.9, 50.77),
            (0.99, 55.0),
        ];
        let quantiles = Quantiles::reconcile(trained, 50.1, &conformal(50.2, [0.3, 0.47, 0.59]));
        for (level, value) in trained {
            assert_eq!(quantiles.get(level), Some(value));
        }
        let levels: Vec<f64> = quantiles.intervals().iter().map(|i| i.level).collect();
        assert_eq!(levels, [0.5, 0.8, 0.9, 0.95, 0.98]);
        let wide = quantiles.interval(0.9).unwrap();
        assert_eq!((wide.low, wide.high), (48.95, 50.77));
        let wider = Quantiles::reconcile(
            [(0.1, 2140.0), (0.5, 2400.0), (0.9, 2660.0)],
            2400.0,
            &conformal(2388.0, [90.0, 106.0, 130.0]),
        );
        assert_eq!(wider.interval(0.9).unwrap().low, 2140.0);
    }

    #[test]
    fn conformal_intervals_alone_stay_as_they_are() {
        let given = conformal(100.0, [1.0, 2.0, 3.0]);
        assert_eq!(Quantiles::reconcile([], 100.0, &given).intervals(), given);
    }

    proptest! {
        #![proptest_config(btc_testing::cases(256))]

        #[test]
        fn intervals_are_nested_whatever_was_trained(
            trained in prop::collection::vec((0.0..1.0f64, -1e3..1e3f64), 0..12),
            point in -1e3..1e3f64,
            centre in -1e3..1e3f64,
            halves in prop::array::uniform3(0.0..1e3f64),
            levels in prop::collection::vec(0.0..1.0f64, 1..20),
        ) {
            let quantiles = Quantiles::reconcile(trained.clone(), point, &conformal(centre, halves));
            prop_assert!(quantiles.knots().is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1));
            // The trained values are all still there, at their levels.
            for knot in Quantiles::new(trained).knots() {
                prop_assert!(quantiles.knots().contains(knot));
            }
            let mut levels = levels;
            levels.sort_by(f64::total_cmp);
            let found: Vec<_> = levels.iter().filter_map(|level| quantiles.interval(*level)).collect();
            for pair in found.windows(2).chain(quantiles.intervals().windows(2)) {
                prop_assert!(pair[0].low <= pair[0].high);
                prop_assert!(pair[1].low <= pair[0].low && pair[0].high <= pair[1].high);
            }
        }
    }
}
