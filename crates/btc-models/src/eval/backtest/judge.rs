//! The figures of one model: errors, directions, tests against naive, intervals.

use super::report::{LevelScore, ModelScore};
use super::{Config, MetricSpec};
use crate::eval::metrics::{self, DirectionCount};
use crate::eval::stats::{diebold_mariano, direction_p_value, holm};
use crate::forecast::Forecast;
use crate::forecast::interval::{ErrorScale, LEVELS};

/// Judged origins without which there is no p-value.
pub(super) const LEAST_JUDGED: usize = 3;

/// What the forecasts of all models are judged by.
pub(super) struct Judge<'a> {
    pub(super) actual: &'a [f64],
    pub(super) naive: &'a [f64],
    pub(super) training: &'a [f64],
    pub(super) scale: ErrorScale,
    pub(super) horizon: usize,
    pub(super) marked: &'a [bool],
    pub(super) config: &'a Config,
}

impl Judge<'_> {
    /// The figures of one model.
    pub(super) fn score(&self, name: &str, seeds: &[Vec<Forecast>]) -> ModelScore {
        let each: Vec<Vec<f64>> = seeds.iter().map(|forecasts| points(forecasts)).collect();
        let over = |f: &dyn Fn(&[f64]) -> f64| -> Vec<f64> { each.iter().map(|p| f(p)).collect() };
        let mape = over(&|p| metrics::mape(self.actual, p));
        let relative = over(&|p| metrics::relative_mae(self.actual, p, self.naive));
        let judged = |values: &[f64]| -> Vec<f64> {
            let each = values.iter().zip(self.marked);
            each.filter_map(|(value, marked)| (!marked).then_some(*value))
                .collect()
        };
        let (actual, naive) = (judged(self.actual), judged(self.naive));
        let direction: DirectionCount =
            metrics::directions(&actual, &judged(&mean_of(&each)), &naive);
        // A model that only ever repeats the last value has nothing to be compared.
        let moves = each.iter().any(|p| p != self.naive);
        let test = |loss: &dyn Fn(f64) -> f64| {
            let losses = |p: &[f64]| -> Vec<f64> {
                let pairs = actual.iter().zip(p);
                pairs.map(|(actual, p)| loss(actual - p)).collect()
            };
            let own: Vec<Vec<f64>> = each.iter().map(|p| losses(&judged(p))).collect();
            moves.then(|| diebold_mariano(&mean_of(&own), &losses(&naive), self.horizon))?
        };
        let some_marked = !actual.is_empty() && actual.len() < self.actual.len();
        let absolute = test(&f64::abs);
        let squared = test(&|e| e * e);
        ModelScore {
            name: name.to_owned(),
            seeds: seeds.len(),
            mape: mean(&mape),
            mape_sd: sd(&mape),
            mae: mean(&over(&|p| metrics::mae(self.actual, p))),
            rmse: mean(&over(&|p| metrics::rmse(self.actual, p))),
            mase: mean(&over(&|p| metrics::mase(self.actual, p, self.training))),
            relative_mae: mean(&relative),
            relative_mae_sd: sd(&relative),
            r2: mean(&over(&|p| {
                metrics::r2_out_of_sample(self.actual, p, self.naive)
            })),
            direction_accuracy: (0 < direction.total).then(|| direction.accuracy()),
            direction_p: (LEAST_JUDGED <= actual.len())
                .then(|| direction_p_value(direction))
                .flatten(),
            dm_absolute: absolute.map(|result| result.statistic),
            dm_absolute_p: absolute.map(|result| result.p_value),
            dm_absolute_p_holm: None,
            dm_squared: squared.map(|result| result.statistic),
            dm_squared_p: squared.map(|result| result.p_value),
            dm_squared_p_holm: None,
            relative_mae_judged: some_marked.then(|| {
                mean(&over(&|p| {
                    metrics::relative_mae(&actual, &judged(p), &naive)
                }))
            }),
            metrics: self
                .config
                .metrics
                .iter()
                .map(|metric| {
                    let value = |p: &[f64]| metric.evaluate(self.actual, p, self.naive);
                    (metric.name().to_owned(), mean(&over(&value)))
                })
                .collect(),
            steps: Vec::new(),
            notes: Vec::new(),
            intervals: LEVELS
                .iter()
                .filter_map(|level| self.level(seeds, *level))
                .collect(),
        }
    }

    fn level(&self, seeds: &[Vec<Forecast>], level: f64) -> Option<LevelScore> {
        let value = |x: f64| match self.scale {
            ErrorScale::Log => 100.0 * x.ln(),
            ErrorScale::Absolute => x,
        };
        let actual: Vec<f64> = self.actual.iter().map(|x| value(*x)).collect();
        let scores: Vec<metrics::IntervalScore> = seeds
            .iter()
            .map(|forecasts| {
                let ends: Vec<(f64, f64)> = at_level(forecasts, level)
                    .into_iter()
                    .map(|(low, high)| (value(low), value(high)))
                    .collect();
                metrics::interval_score(&actual, &ends, level)
            })
            .collect();
        let over = |f: &dyn Fn(&metrics::IntervalScore) -> f64| {
            scores.iter().map(f).sum::<f64>() / scores.len() as f64
        };
        let width = over(&|score| score.width);
        width.is_finite().then(|| LevelScore {
            level,
            coverage: over(&|score| score.coverage),
            width,
            winkler: over(&|score| score.winkler),
        })
    }
}

/// Adjusts the p-values of all models together.
pub(super) fn adjust(models: &mut [ModelScore]) {
    let mut apply = |get: fn(&ModelScore) -> Option<f64>, set: fn(&mut ModelScore, f64)| {
        let tested: Vec<usize> = (0..models.len())
            .filter(|at| get(&models[*at]).is_some())
            .collect();
        let p_values: Vec<f64> = tested.iter().filter_map(|at| get(&models[*at])).collect();
        for (at, p) in tested.into_iter().zip(holm(&p_values)) {
            set(&mut models[at], p);
        }
    };
    apply(
        |model| model.dm_absolute_p,
        |model, p| model.dm_absolute_p_holm = Some(p),
    );
    apply(
        |model| model.dm_squared_p,
        |model, p| model.dm_squared_p_holm = Some(p),
    );
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn sd(values: &[f64]) -> Option<f64> {
    let centre = mean(values);
    let squares: f64 = values.iter().map(|x| (x - centre).powi(2)).sum();
    (1 < values.len()).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

fn points(forecasts: &[Forecast]) -> Vec<f64> {
    forecasts.iter().map(|forecast| forecast.point()).collect()
}

/// The mean points over seeds.
pub(super) fn mean_points(seeds: &[Vec<Forecast>]) -> Vec<f64> {
    let each: Vec<Vec<f64>> = seeds.iter().map(|forecasts| points(forecasts)).collect();
    mean_of(&each)
}

/// The mean of several series, value by value.
fn mean_of(series: &[Vec<f64>]) -> Vec<f64> {
    // One series stays what it is to the last bit.
    if let [only] = series {
        return only.clone();
    }
    (0..series[0].len())
        .map(|at| series.iter().map(|values| values[at]).sum::<f64>() / series.len() as f64)
        .collect()
}

/// The ends of the intervals of a level; NaN where there is none.
pub(super) fn at_level(forecasts: &[Forecast], level: f64) -> Vec<(f64, f64)> {
    let ends = |forecast: &Forecast| match forecast.interval(level) {
        Some(interval) => (interval.low, interval.high),
        None => (f64::NAN, f64::NAN),
    };
    forecasts.iter().map(ends).collect()
}
