//! From forecasts to figures.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::{Config, Source};
use crate::baseline::variance::VarianceModel;
use crate::eval::metrics::{self, DirectionCount};
use crate::eval::stats::{diebold_mariano, direction_p_value, holm};
use crate::forecast::interval::{ErrorScale, LEVELS};
use crate::forecast::{Forecast, Quantiles};
use crate::series::{Frequency, SeriesFrame};
use crate::transform::Unused;
use crate::{Error, Result};

/// Forecasts of fewer values than this say little about which model is better.
pub(super) const ENOUGH: usize = 60;
/// Judged origins without which there is no p-value.
const LEAST_JUDGED: usize = 3;
/// Past forecasts without which a combination stays with naive.
const COMBINE_AFTER: usize = 10;

/// What a comparison found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// What a reader must know before the figures, most important first.
    pub notes: Vec<String>,
    /// The column that was forecast.
    pub target: String,
    /// When the first and the last forecast value was known.
    pub first_target: DateTime<Utc>,
    /// See `first_target`.
    pub last_target: DateTime<Utc>,
    /// Forecasts per model and seed that are scored.
    pub origins: usize,
    /// Origins whose target has no value, so that their forecasts are not scored.
    pub unscored: usize,
    /// Scored origins that the p-values rest on: those that are not marked.
    pub judged: usize,
    /// For each scored origin, whether some model's configuration was chosen on its target.
    pub marked: Vec<bool>,
    /// The step between rows.
    pub frequency: Frequency,
    /// Origins between two fits.
    pub refit_every: usize,
    /// Steps between an origin and its target.
    pub horizon: usize,
    /// Whether there are too few forecasts to compare models.
    pub too_small: bool,
    /// What looks too good to be true.
    pub alarms: Vec<String>,
    /// The models, naive first and the others in the order they were given.
    pub models: Vec<ModelScore>,
    /// Forecasts of the variance of the next change (horizon 1 only).
    pub variance: Vec<VarianceScore>,
    /// Features that carry no information before the first origin, and why.
    pub unused_features: BTreeMap<String, Unused>,
    /// Rows since each feature's last value, at the last row.
    pub staleness: BTreeMap<String, Option<usize>>,
    /// What was forecast, row by row.
    pub series: Series,
}

/// How one model did. Figures of several seeds are means over them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ModelScore {
    /// The model's name.
    pub name: String,
    /// The number of seeds.
    pub seeds: usize,
    /// Mean absolute percentage error, percent.
    pub mape: f64,
    /// Its standard deviation over seeds.
    pub mape_sd: Option<f64>,
    /// Mean absolute error, in the target's unit.
    pub mae: f64,
    /// Root of the mean squared error, in the target's unit.
    pub rmse: f64,
    /// Mean absolute error over the mean absolute change before the first origin.
    pub mase: f64,
    /// Mean absolute error over that of naive.
    pub relative_mae: f64,
    /// Its standard deviation over seeds.
    pub relative_mae_sd: Option<f64>,
    /// 1 - the sum of squared errors over that of naive.
    pub r2: f64,
    /// The share of right directions, of the mean forecast over seeds; none without direction.
    pub direction_accuracy: Option<f64>,
    /// The probability of as many if directions were guessed.
    pub direction_p: Option<f64>,
    /// Diebold and Mariano's statistic against naive, on absolute errors (mean over seeds).
    pub dm_absolute: Option<f64>,
    /// Its p-value.
    pub dm_absolute_p: Option<f64>,
    /// The p-value adjusted for the number of models compared.
    pub dm_absolute_p_holm: Option<f64>,
    /// Diebold and Mariano's statistic against naive, on squared errors (mean over seeds).
    pub dm_squared: Option<f64>,
    /// Its p-value.
    pub dm_squared_p: Option<f64>,
    /// The p-value adjusted for the number of models compared.
    pub dm_squared_p_holm: Option<f64>,
    /// Quality of the intervals, by level.
    pub intervals: Vec<LevelScore>,
    /// Mean absolute error over that of naive on the origins that are not marked, if some are.
    pub relative_mae_judged: Option<f64>,
    /// Measures of the caller's own, by name.
    pub metrics: BTreeMap<String, f64>,
    /// How each step ahead did, where several are forecast.
    pub steps: Vec<StepScore>,
    /// What its fits have to say.
    pub notes: Vec<String>,
}

/// How the forecasts of one step ahead did, over the origins where that step has a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StepScore {
    /// Steps after the origin.
    pub ahead: usize,
    /// The forecasts scored.
    pub forecasts: usize,
    /// Mean absolute error, in the target's unit.
    pub mae: f64,
    /// Mean absolute error over that of the last known value.
    pub relative_mae: f64,
}

/// How intervals of one level did.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LevelScore {
    /// The share of values that they promise to hold.
    pub level: f64,
    /// The share that they held.
    pub coverage: f64,
    /// Their mean width: in percent, as 100 times the logarithm of the ends' ratio, if all
    /// values are positive; otherwise in the target's unit.
    pub width: f64,
    /// Winkler's score in the same unit; lower is better.
    pub winkler: f64,
}

/// How one variance model did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct VarianceScore {
    /// The model's name.
    pub name: String,
    /// The quasi-likelihood loss; lower is better.
    pub qlike: f64,
}

/// What was forecast and what came.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Series {
    /// When each value was known.
    pub target_time: Vec<DateTime<Utc>>,
    /// The values.
    pub actual: Vec<f64>,
    /// The last value known at each origin.
    pub naive: Vec<f64>,
    /// Each model's points, in the order of `models`; means over seeds.
    pub points: Vec<Vec<f64>>,
    /// Each model's 90 % intervals; those of the first seed.
    pub intervals: Vec<Vec<(f64, f64)>>,
}

/// Forecasts by model and seed.
type Forecasts = Vec<(String, Vec<Vec<Forecast>>)>;

pub(super) fn report(
    mut forecasts: Forecasts,
    model_notes: Vec<(String, String)>,
    source: &Source<'_>,
    all_origins: Range<usize>,
    config: &Config,
    unused_features: BTreeMap<String, Unused>,
) -> Result<Report> {
    let frame = source.frame;
    let target = frame.target();
    let h = config.horizon;
    let scale = ErrorScale::of(target);
    // A forecast of a value that never came cannot be scored.
    let scored: Vec<usize> = all_origins
        .clone()
        .filter(|origin| frame.row_at(*origin, h).is_some())
        .collect();
    if scored.is_empty() {
        return Err(Error::series("no origin has a target with a value"));
    }
    let each = all_origins
        .clone()
        .map(|origin| frame.row_at(origin, h).is_some());
    let kept: Vec<bool> = each.collect();
    let steps: Vec<Vec<StepScore>> = forecasts
        .iter()
        .map(|(_, seeds)| step_scores(seeds, frame, all_origins.start))
        .collect();
    for seeds in forecasts.iter_mut().map(|(_, seeds)| seeds) {
        for own in seeds {
            let mut kept = kept.iter();
            own.retain(|_| kept.next().copied().unwrap_or(false));
        }
    }
    let outcome = |origin: &usize| frame.row_at(*origin, h).map(|row| target[row]);
    let actual: Vec<f64> = scored.iter().filter_map(outcome).collect();
    // What was known at the origin, which later revisions may have changed.
    let naive: Vec<f64> = match forecasts.first().and_then(|(_, seeds)| seeds.first()) {
        Some(own) => own.iter().map(Forecast::naive).collect(),
        None => scored.iter().map(|origin| target[*origin]).collect(),
    };
    let target_time: Vec<DateTime<Utc>> = scored
        .iter()
        .filter_map(|origin| Some(frame.known_at()[frame.row_at(*origin, h)?]))
        .collect();
    let marked: Vec<bool> = target_time
        .iter()
        .map(|time| config.is_marked(Some(*time)))
        .collect();
    let judged = marked.iter().filter(|marked| !**marked).count();
    let unscored = all_origins.len() - scored.len();
    if config.combine {
        let seeded = forecasts
            .iter()
            .filter(|(_, seeds)| seeds.iter().any(|own| !own.is_empty()));
        let combined: Forecasts = seeded
            .filter(|(name, _)| name != "naive")
            .map(|(name, seeds)| {
                let shrunk = seeds
                    .iter()
                    .map(|own| shrink(own, &actual, scale, h))
                    .collect();
                (format!("{name}+naive"), shrunk)
            })
            .collect();
        forecasts.extend(combined);
    }
    let judge = Judge {
        actual: &actual,
        naive: &naive,
        training: &target[..=all_origins.start],
        scale,
        horizon: h,
        marked: &marked,
        config,
    };
    let mut models: Vec<ModelScore> = forecasts
        .iter()
        .map(|(name, seeds)| judge.score(name, seeds))
        .collect();
    adjust(&mut models);
    for (model, steps) in models.iter_mut().zip(steps) {
        model.steps = steps;
    }
    for (name, note) in model_notes {
        if let Some(model) = models.iter_mut().find(|model| model.name == name) {
            model.notes.push(note);
        }
    }
    let mut variance = Vec::new();
    if h == 1 {
        let changes: Vec<f64> = naive
            .iter()
            .zip(&actual)
            .map(|(from, to)| scale.difference(*from, *to))
            .collect();
        for model in VarianceModel::ALL {
            if let Some(forecast) = model.forecast(target, all_origins.clone()) {
                let mut kept = kept.iter();
                let mut forecast = forecast;
                forecast.retain(|_| kept.next().copied().unwrap_or(false));
                let qlike = metrics::qlike(&changes, &forecast);
                variance.push(VarianceScore {
                    name: model.name().to_owned(),
                    qlike,
                });
            }
        }
    }
    Ok(Report {
        notes: notes(&models, &target_time, &marked, unscored, source),
        unscored,
        judged,
        frequency: frame.frequency(),
        target: frame.target_name().to_owned(),
        first_target: target_time[0],
        last_target: target_time[target_time.len() - 1],
        origins: scored.len(),
        refit_every: config.refit_every,
        horizon: h,
        too_small: judged < ENOUGH,
        alarms: Vec::new(),
        marked: marked.clone(),
        models,
        variance,
        unused_features,
        staleness: frame.staleness(),
        series: Series {
            target_time,
            points: forecasts
                .iter()
                .map(|(_, seeds)| mean_points(seeds))
                .collect(),
            intervals: forecasts
                .iter()
                .map(|(_, seeds)| at_level(&seeds[0], 0.9))
                .collect(),
            actual,
            naive,
        },
    })
}

struct Judge<'a> {
    actual: &'a [f64],
    naive: &'a [f64],
    training: &'a [f64],
    scale: ErrorScale,
    horizon: usize,
    marked: &'a [bool],
    config: &'a Config,
}

/// What a reader must know before the figures.
fn notes(
    models: &[ModelScore],
    target_time: &[DateTime<Utc>],
    marked: &[bool],
    unscored: usize,
    source: &Source<'_>,
) -> Vec<String> {
    let mut notes = Vec::new();
    let days: Vec<_> = target_time
        .iter()
        .zip(marked)
        .filter_map(|(time, marked)| marked.then_some(time.format("%Y-%m-%d")))
        .collect();
    if let (Some(first), Some(last)) = (days.first(), days.last()) {
        let mut note = format!(
            "{} of {} origins, with targets from {first} to {last}, are days on which the \
             configuration of a compared model was chosen; they are left out of p",
            days.len(),
            marked.len()
        );
        if marked.len() < days.len() + LEAST_JUDGED {
            note.push_str(", and too few are left for one");
        }
        notes.push(note);
    }
    if source.vintage.is_some() {
        notes.push(
            "each forecast is from the data as they were known at its origin; naive is the last \
             value known then, and what came is as it is known today"
                .to_owned(),
        );
    }
    if 0 < unscored {
        notes.push(format!(
            "{unscored} forecasts are not scored, as there is no value at their targets"
        ));
    }
    let each = models.iter().filter(|model| !model.notes.is_empty());
    notes.extend(each.map(|model| match model.notes.as_slice() {
        [only] => format!("{}, {only}", model.name),
        [first, others @ ..] => {
            format!("{}, {first}; and {} more fits", model.name, others.len())
        }
        [] => model.name.clone(),
    }));
    notes
}

/// What came, what was forecast, and what naive says.
type Triples = (Vec<f64>, Vec<f64>, Vec<f64>);

/// How each step did, where there are several.
fn step_scores(seeds: &[Vec<Forecast>], frame: &SeriesFrame, start: usize) -> Vec<StepScore> {
    let mut by_step: BTreeMap<usize, Triples> = BTreeMap::new();
    for own in seeds {
        for (origin, forecast) in (start..).zip(own) {
            for step in forecast.steps() {
                let scores = by_step.entry(step.ahead).or_default();
                if let Some(actual) = frame.target_at(origin, step.ahead) {
                    scores.0.push(actual);
                    scores.1.push(step.point);
                    scores.2.push(forecast.naive());
                }
            }
        }
    }
    if by_step.len() < 2 {
        return Vec::new();
    }
    by_step
        .into_iter()
        .map(|(ahead, (actual, points, naive))| StepScore {
            ahead,
            forecasts: actual.len(),
            mae: metrics::mae(&actual, &points),
            relative_mae: metrics::relative_mae(&actual, &points, &naive),
        })
        .collect()
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

fn mean_points(seeds: &[Vec<Forecast>]) -> Vec<f64> {
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

fn at_level(forecasts: &[Forecast], level: f64) -> Vec<(f64, f64)> {
    let ends = |forecast: &Forecast| match forecast.interval(level) {
        Some(interval) => (interval.low, interval.high),
        None => (f64::NAN, f64::NAN),
    };
    forecasts.iter().map(ends).collect()
}

impl Judge<'_> {
    fn score(&self, name: &str, seeds: &[Vec<Forecast>]) -> ModelScore {
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
                    let value = |p: &[f64]| metric.of(self.actual, p, self.naive);
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
fn adjust(models: &mut [ModelScore]) {
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

/// Shrinks forecasts towards naive by the weight that was best for those whose outcome was known
/// at each origin. Until there are a few of them, the weight is 0.
fn shrink(own: &[Forecast], actual: &[f64], scale: ErrorScale, horizon: usize) -> Vec<Forecast> {
    let moves: Vec<(f64, f64)> = own
        .iter()
        .zip(actual)
        .map(|(forecast, actual)| {
            let to = |to| scale.difference(forecast.naive(), to);
            (to(forecast.point()), to(*actual))
        })
        .collect();
    own.iter()
        .enumerate()
        .map(|(at, forecast)| {
            let known = &moves[..(at + 1).saturating_sub(horizon)];
            let product: f64 = known.iter().map(|(f, a)| f * a).sum();
            let square: f64 = known.iter().map(|(f, _)| f * f).sum();
            // As if a few more forecasts had been of no use.
            let prior = square * 20.0 / known.len().max(1) as f64;
            let weight = match known.len() {
                few if few < COMBINE_AFTER => 0.0,
                _ if square == 0.0 => 0.0,
                _ => (product / (square + prior)).clamp(0.0, 1.0),
            };
            let point = scale.shift(forecast.naive(), weight * moves[at].0);
            let by = scale.difference(forecast.point(), point);
            forecast.clone().map_steps(|mut step| {
                let knots = step.quantiles.knots().iter();
                let moved = knots.map(|(level, value)| (*level, scale.shift(*value, by)));
                step.quantiles = Quantiles::new(moved);
                step.point = scale.shift(step.point, by);
                step
            })
        })
        .collect()
}
