//! What a model says about the values to come.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::interval::Interval;
use super::quantiles::Quantiles;

/// What is forecast of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// Steps after the last known row.
    pub ahead: usize,
    /// When the value is expected; none in an irregular series.
    pub target_time: Option<DateTime<Utc>>,
    /// The value expected, in the target's unit.
    pub point: f64,
    /// The value's quantiles.
    pub quantiles: Quantiles,
}

impl Step {
    /// A step `ahead` of the last known row, of which `point` is expected.
    pub fn new(ahead: usize, target_time: Option<DateTime<Utc>>, point: f64) -> Self {
        Self {
            ahead,
            target_time,
            point,
            quantiles: Quantiles::default(),
        }
    }

    /// Sets the quantiles.
    #[must_use]
    pub fn with_quantiles(mut self, quantiles: Quantiles) -> Self {
        self.quantiles = quantiles;
        self
    }

    /// Sets the quantiles to the ends of intervals, and their median to the point.
    #[must_use]
    pub fn with_intervals(mut self, intervals: &[Interval]) -> Self {
        self.quantiles = Quantiles::reconcile([], self.point, intervals);
        self
    }

    /// The ranges whose ends are known, from the narrowest to the widest.
    pub fn intervals(&self) -> Vec<Interval> {
        self.quantiles.intervals()
    }
}

/// A forecast of the target from one row: of one step, or of several.
///
/// [`point`](Self::point), [`target_time`](Self::target_time) and [`intervals`](Self::intervals)
/// are those of the last step; [`steps`](Self::steps) are all of them.
///
/// ```
/// use btc_models::{Forecast, Interval, Step};
/// use chrono::DateTime;
///
/// let now = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
/// let range = Interval { level: 0.8, low: 9.0, high: 12.0 };
/// let forecast = Forecast::new(now, 10.0, Step::new(1, None, 10.5).with_intervals(&[range]))
///     .with_step(Step::new(2, None, 11.0));
/// assert_eq!((forecast.point(), forecast.horizon()), (11.0, 2));
/// assert_eq!(forecast.quantile(0.1, 1), Some(9.0));
/// assert_eq!(forecast.quantile(0.5, 1), Some(10.5));
/// assert_eq!(forecast.quantile(0.1, 2), None);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    known_until: DateTime<Utc>,
    naive: f64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    missing: Vec<DateTime<Utc>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Step>,
    last: Step,
}

impl Forecast {
    /// A forecast of one step from a row that is known at `known_until` and has the value `naive`.
    pub fn new(known_until: DateTime<Utc>, naive: f64, step: Step) -> Self {
        Self {
            known_until,
            naive,
            missing: Vec::new(),
            earlier: Vec::new(),
            last: step,
        }
    }

    /// Adds a step; steps are kept in order, and a later one replaces one as far ahead.
    #[must_use]
    pub fn with_step(mut self, step: Step) -> Self {
        let mut steps = std::mem::take(&mut self.earlier);
        steps.push(self.last);
        steps.retain(|other| other.ahead != step.ahead);
        let at = steps.partition_point(|other| other.ahead < step.ahead);
        self.last = match at == steps.len() {
            true => step,
            false => {
                let last = steps.remove(steps.len() - 1);
                steps.insert(at, step);
                last
            }
        };
        self.earlier = steps;
        self
    }

    /// Sets the instants of which the model should have had a value and had none.
    #[must_use]
    pub fn with_missing(mut self, missing: Vec<DateTime<Utc>>) -> Self {
        self.missing = missing;
        self
    }

    /// Nothing that became known after this was used.
    pub fn known_until(&self) -> DateTime<Utc> {
        self.known_until
    }

    /// The last known value: what a forecast without any skill would be.
    pub fn naive(&self) -> f64 {
        self.naive
    }

    /// The instants of which the model should have had a value and had none: the holes in what it
    /// looked at. At most [`MAX_MISSING`](crate::MAX_MISSING).
    pub fn missing(&self) -> &[DateTime<Utc>] {
        &self.missing
    }

    /// The steps ahead of the last step.
    pub fn horizon(&self) -> usize {
        self.last.ahead
    }

    /// The value expected at the last step, in the target's unit.
    pub fn point(&self) -> f64 {
        self.last.point
    }

    /// When the last step's value is expected; none in an irregular series.
    pub fn target_time(&self) -> Option<DateTime<Utc>> {
        self.last.target_time
    }

    /// The last step's ranges, from the narrowest to the widest; each holds those before it.
    pub fn intervals(&self) -> Vec<Interval> {
        self.last.intervals()
    }

    /// The range that the last step's value is in with the probability `level`.
    pub fn interval(&self, level: f64) -> Option<Interval> {
        self.last.quantiles.interval(level)
    }

    /// The steps, nearest first.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.earlier.iter().chain([&self.last])
    }

    /// What is forecast `ahead` steps after the last known row.
    pub fn step(&self, ahead: usize) -> Option<&Step> {
        self.steps().find(|step| step.ahead == ahead)
    }

    /// The value that the target is below with the probability `level`, `step` steps ahead; none
    /// if that is not forecast.
    pub fn quantile(&self, level: f64, step: usize) -> Option<f64> {
        self.step(step)?.quantiles.get(level)
    }

    /// The forecast with each step changed.
    pub(crate) fn map_steps(mut self, change: impl Fn(Step) -> Step) -> Self {
        self.earlier = self.earlier.into_iter().map(&change).collect();
        self.last = change(self.last);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_kept_in_order() {
        let now = DateTime::from_timestamp(0, 0).unwrap();
        let step = |ahead| Step::new(ahead, None, ahead as f64);
        let forecast = Forecast::new(now, 0.0, step(3))
            .with_step(step(1))
            .with_step(step(2))
            .with_step(Step::new(1, None, 7.0));
        let points: Vec<f64> = forecast.steps().map(|step| step.point).collect();
        assert_eq!(points, [7.0, 2.0, 3.0]);
        assert_eq!((forecast.horizon(), forecast.point()), (3, 3.0));
        let text = serde_json::to_string(&forecast).unwrap();
        assert_eq!(serde_json::from_str::<Forecast>(&text).unwrap(), forecast);
    }
}
