//! What looks too good to be true.
//!
//! A series with a season can be forecast far better than by its last value, from its own past and
//! without any leak. A model is therefore held against the best of what sees nothing but that
//! past: naive, the seasonal naive forecasts of the frequency, and a ridge regression on the
//! target alone.

use std::collections::BTreeMap;
use std::ops::Range;

use super::part::Source;
use super::report::{ENOUGH, Report};
use super::{Baseline, Config, SeasonalNaive, parts_of};
use crate::Result;
use crate::eval::metrics;
use crate::forecast::Model;
use crate::series::SeriesFrame;

/// A model with less than this fraction of the best reference's error is one to look into.
const ERROR_FRACTION: f64 = 0.5;
/// A model that is wrong about the direction less than this fraction as often as the best
/// reference is one to look into: 0.7 of the half that guesses miss is 35 %.
const MISS_FRACTION: f64 = 0.7;
/// The p-value that directions must be below as well.
const SIGNIFICANT: f64 = 0.001;

/// How well the target's own past forecasts it.
struct Reference {
    name: String,
    mape: f64,
    /// The fraction of directions missed; that of guesses if it names none.
    missed: f64,
}

pub(super) fn alarms(
    report: &Report,
    source: &Source<'_>,
    origins: &Range<usize>,
    config: &Config,
) -> Result<Vec<String>> {
    let suspicious = |reference: &Reference| {
        let models = report.models.iter();
        models
            .filter_map(|model| complaint(report, model, reference))
            .collect::<Vec<_>>()
    };
    let naive = Reference {
        name: "naive".to_owned(),
        mape: report.models[0].mape,
        missed: 0.5,
    };
    if suspicious(&naive).is_empty() {
        return Ok(Vec::new());
    }
    let mut best = naive;
    let mut references: Vec<Box<dyn Model>> = vec![Box::new(Baseline::Ridge)];
    for season in SeasonalNaive::of(source.frame.frequency()) {
        references.push(Box::new(season));
    }
    let own_past = only_target(source.frame)?;
    let own = Source {
        frame: &own_past,
        vintage: None,
    };
    for model in references {
        // A reference that cannot be fitted says nothing.
        if let Ok(found) = reference(&*model, &own, origins, config) {
            if found.mape < best.mape {
                (best.name, best.mape) = (found.name, found.mape);
            }
            best.missed = best.missed.min(found.missed);
        }
    }
    Ok(suspicious(&best).into_iter().flatten().collect())
}

/// What is to be said of a model beside a reference, if anything.
fn complaint(
    report: &Report,
    model: &super::ModelScore,
    reference: &Reference,
) -> Option<Vec<String>> {
    let mut alarms = Vec::new();
    if model.mape < ERROR_FRACTION * reference.mape {
        alarms.push(format!(
            "{} has less than half the error of {} ({:.3} % against {:.3} %), the best forecast \
             from the target's own past: look for a feature that knows the future",
            model.name, reference.name, model.mape, reference.mape
        ));
    }
    if let (Some(accuracy), Some(p)) = (model.direction_accuracy, model.direction_p)
        && 1.0 - accuracy < MISS_FRACTION * reference.missed
        && ENOUGH <= report.judged
        && p < SIGNIFICANT
    {
        alarms.push(format!(
            "{} names the right direction {:.1} % of the time, the target's own past {:.1} %: \
             look for a feature that knows the future",
            model.name,
            100.0 * accuracy,
            100.0 * (1.0 - reference.missed)
        ));
    }
    (!alarms.is_empty()).then_some(alarms)
}

fn only_target(frame: &SeriesFrame) -> Result<SeriesFrame> {
    let column = (frame.target_name(), frame.target().to_vec());
    let known_at = frame.known_at().to_vec();
    SeriesFrame::of_frequency(frame.frequency(), known_at, [column], frame.target_name())
}

fn reference(
    model: &dyn Model,
    source: &Source<'_>,
    origins: &Range<usize>,
    config: &Config,
) -> Result<Reference> {
    let frame = source.frame;
    let mut points = BTreeMap::new();
    let mut at_horizon = config.clone();
    at_horizon.path = false;
    for part in parts_of(0, 0, origins, &at_horizon) {
        let outcome = part.run(model, source, &at_horizon)?;
        points.extend(part.origins.clone().zip(outcome.forecasts));
    }
    let (mut actual, mut predicted, mut naive) = (Vec::new(), Vec::new(), Vec::new());
    for (origin, forecast) in &points {
        if let Some(value) = frame.target_at(*origin, config.horizon) {
            actual.push(value);
            predicted.push(forecast.point());
            naive.push(forecast.naive());
        }
    }
    let direction = metrics::directions(&actual, &predicted, &naive);
    let missed = 1.0 - direction.accuracy();
    Ok(Reference {
        name: model.name().to_owned(),
        mape: metrics::mape(&actual, &predicted),
        missed: if missed.is_finite() { missed } else { 0.5 },
    })
}
