//! The value of a season ago.

use std::ops::Range;

use super::{Fitted, Rule, check_length};
use crate::Result;
use crate::forecast::interval::ErrorScale;
use crate::forecast::{FitContext, FittedModel, Model};
use crate::series::{MAX_STEPS, SeriesFrame};
use crate::{Error, Frequency};

/// The value of a season ago.
///
/// Without a period given, the season is the shortest one of the series'
/// [frequency](Frequency::seasons); a series without one repeats its last value.
///
/// ```
/// use btc_models::{Model, SeasonalNaive};
///
/// assert_eq!(SeasonalNaive::default().name(), "seasonal-naive");
/// assert_eq!(SeasonalNaive::new(168)?.name(), "seasonal-naive-168");
/// # Ok::<(), btc_models::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeasonalNaive {
    name: String,
    period: Option<usize>,
}

impl Default for SeasonalNaive {
    fn default() -> Self {
        Self {
            name: "seasonal-naive".to_owned(),
            period: None,
        }
    }
}

impl SeasonalNaive {
    /// The value of `period` steps ago.
    ///
    /// # Errors
    ///
    /// A period that is not between 2 and [`MAX_STEPS`].
    pub fn new(period: usize) -> Result<Self> {
        if !(2..=MAX_STEPS).contains(&period) {
            return Err(Error::invalid("period", period, "between 2 and 100000"));
        }
        Ok(Self {
            name: format!("seasonal-naive-{period}"),
            period: Some(period),
        })
    }

    /// One for each season of a frequency, shortest first.
    pub fn of(frequency: Frequency) -> Vec<Self> {
        let seasons = frequency.seasons().into_iter();
        seasons
            .filter_map(|period| Self::new(period).ok())
            .collect()
    }
}

impl Model for SeasonalNaive {
    fn name(&self) -> &str {
        &self.name
    }

    fn fit(&self, frame: &SeriesFrame, context: &FitContext) -> Result<Box<dyn FittedModel>> {
        check_length(frame, context)?;
        let seasons = frame.frequency().seasons();
        let period = self.period.or(seasons.first().copied());
        let rule = Box::new(Season { period });
        let scale = ErrorScale::of(frame.target());
        Ok(Box::new(Fitted::new(rule, scale, frame, context)))
    }
}

#[derive(Debug)]
struct Season {
    period: Option<usize>,
}

impl Rule for Season {
    fn lookback(&self) -> usize {
        0
    }

    fn points(&self, frame: &SeriesFrame, rows: Range<usize>, ahead: usize) -> Result<Vec<f64>> {
        let target = frame.target();
        let Some(period) = self.period else {
            return Ok(target[rows].to_vec());
        };
        // So many steps before the row is the same season as `ahead` steps after it.
        let back = period * ahead.div_ceil(period) - ahead;
        Ok(rows
            .map(|row| {
                // Where that row is missing, the one of the season before it; without any, the
                // last value.
                let seasons = (0..3).map(|seasons| back + seasons * period);
                let mut earlier = seasons.filter_map(|back| frame.row_before(row, back));
                target[earlier.next().unwrap_or(row)]
            })
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::frame::tests::{daily_with_holes, frame};

    #[test]
    fn the_same_day_of_the_last_week_is_repeated() {
        let days: Vec<f64> = (0..60).map(|day| f64::from(day % 7)).collect();
        let frame = frame(&[("y", days.clone())]);
        for horizon in [1, 6, 7, 8, 15] {
            let context = FitContext::new(horizon, 0);
            let fitted = SeasonalNaive::default().fit(&frame, &context).unwrap();
            let found = fitted.forecast_at(&frame, 40..41).unwrap();
            assert_eq!(found[0].point(), days[(40 + horizon) % 7], "{horizon}");
        }
        let other = SeasonalNaive::new(5)
            .unwrap()
            .fit(&frame, &FitContext::new(1, 0));
        assert_eq!(
            other.unwrap().forecast_at(&frame, 40..41).unwrap()[0].point(),
            days[36 % 7]
        );
        assert!(SeasonalNaive::new(1).is_err() && SeasonalNaive::new(MAX_STEPS + 1).is_err());
    }

    #[test]
    fn a_season_is_counted_in_days_and_not_in_rows() {
        // Day 9 is missing; day 16 is a week after it, day 2 a week before it.
        let days: Vec<u64> = (0..16).filter(|day| *day != 9).collect();
        let frame = daily_with_holes(&days);
        let rule = Season { period: Some(7) };
        let last = frame.rows() - 1;
        assert_eq!(rule.points(&frame, last..last + 1, 1).unwrap(), [2.0]);
        assert_eq!(rule.points(&frame, last..last + 1, 2).unwrap(), [10.0]);
    }
}
