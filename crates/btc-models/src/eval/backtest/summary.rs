//! From forecasts to a report.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, Utc};

use super::combine::shrink;
use super::judge::{Judge, LEAST_JUDGED, adjust, at_level, mean_points};
use super::report::{ENOUGH, ModelScore, Report, Series, StepScore, VarianceScore};
use super::{Config, Source};
use crate::baseline::variance::VarianceModel;
use crate::eval::metrics;
use crate::forecast::Forecast;
use crate::forecast::interval::ErrorScale;
use crate::series::SeriesFrame;
use crate::transform::Unused;
use crate::{Error, Result};

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
