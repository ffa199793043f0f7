//! A baseline's rule with the intervals that its past errors give.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::Rule;
use crate::forecast::interval::{ErrorScale, Spread, WARM_UP, intervals_of};
use crate::forecast::{FitContext, FittedModel, Forecast, Step};
use crate::series::{HolePolicy, SeriesFrame};
use crate::{Error, Result};

/// A rule with the intervals that its past errors give.
#[derive(Debug)]
pub(super) struct Fitted {
    rule: Box<dyn Rule>,
    scale: ErrorScale,
    /// The steps ahead that are forecast.
    steps: Range<usize>,
    target: String,
    /// What was computed for the frame that was forecast last.
    last: Mutex<Option<Arc<Past>>>,
}

/// All forecasts of a frame and how wrong they were. A row's depend on no row after it, so they
/// serve every part of the frame that begins where it begins.
#[derive(Debug)]
struct Past {
    frame: SeriesFrame,
    /// The first row with a forecast.
    from: usize,
    spread: Arc<Spread>,
    steps: Vec<StepPast>,
}

/// The forecasts of one step ahead.
#[derive(Debug)]
struct StepPast {
    points: Vec<f64>,
    /// The row in which the outcome was known, and the error in units of the deviation that was
    /// expected; both by the row of the forecast.
    known_in: Vec<usize>,
    scores: Vec<f64>,
}

impl Fitted {
    pub(super) fn new(
        rule: Box<dyn Rule>,
        scale: ErrorScale,
        frame: &SeriesFrame,
        context: &FitContext,
    ) -> Self {
        Self {
            rule,
            scale,
            steps: context.steps(),
            target: frame.target_name().to_owned(),
            last: Mutex::new(None),
        }
    }

    fn past(&self, frame: &SeriesFrame, from: usize) -> Result<Arc<Past>> {
        let whole = frame.to_its_end();
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(past) = &*last
            && past.from == from
            && past.frame.is_same(&whole)
        {
            return Ok(past.clone());
        }
        let spread = whole.spread();
        let step = |ahead| -> Result<StepPast> {
            let points = self.rule.points(&whole, from..whole.rows(), ahead)?;
            let (mut known_in, mut scores) = (Vec::new(), Vec::new());
            for (at, point) in points.iter().enumerate() {
                let Some(outcome) = whole.row_at(from + at, ahead) else {
                    continue;
                };
                let actual = whole.target()[outcome];
                let score = spread.score(self.scale, from + at, ahead, *point, actual);
                if let Some(score) = score.filter(|score| score.is_finite()) {
                    known_in.push(outcome);
                    scores.push(score);
                }
            }
            Ok(StepPast {
                points,
                known_in,
                scores,
            })
        };
        let steps = self.steps.clone().map(step).collect::<Result<_>>()?;
        let past = Arc::new(Past {
            frame: whole,
            from,
            spread,
            steps,
        });
        *last = Some(past.clone());
        Ok(past)
    }
}

impl FittedModel for Fitted {
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>> {
        if frame.target_name() != self.target {
            let found = frame.target_name().to_owned();
            return Err(Error::OtherTarget {
                expected: self.target.clone(),
                found,
            });
        }
        let first = self.rule.lookback();
        if origins.start < first || frame.rows() < origins.end {
            let rows = frame.rows().min(origins.start + 1);
            return Err(Error::SeriesTooShort {
                rows,
                needed: (first + 1).max(origins.end),
            });
        }
        let from = first.max(WARM_UP.min(origins.start));
        let past = self.past(frame, from)?;
        let mut scores = Vec::new();
        origins
            .map(|origin| {
                let mut steps = Vec::with_capacity(self.steps.len());
                for (ahead, step) in self.steps.clone().zip(&past.steps) {
                    let point = step.points[origin - from];
                    if !point.is_finite() {
                        return Err(Error::series(format!(
                            "the forecast from row {origin} is not finite"
                        )));
                    }
                    // Forecasts whose outcome was known at the origin.
                    let known = step.known_in.partition_point(|row| *row <= origin);
                    scores.clear();
                    scores.extend_from_slice(&step.scores[..known]);
                    let (scale, deviation) =
                        past.spread.deviation(self.scale, origin, ahead, &[point]);
                    let intervals = intervals_of(&mut scores, point, scale, deviation);
                    steps.push(
                        Step::new(ahead, frame.target_time(origin, ahead), point)
                            .with_intervals(&intervals),
                    );
                }
                // What it looked at, the changes that the intervals rest on among it.
                let window = WARM_UP.max(first) + 1;
                let missing = frame.missing_for_forecast(origin, window, HolePolicy::Flag)?;
                let mut steps = steps.into_iter();
                let first = steps.next().ok_or_else(|| {
                    Error::invalid("horizon", self.steps.end, "between 1 and 10000")
                })?;
                let forecast =
                    Forecast::new(frame.known_at()[origin], frame.target()[origin], first);
                Ok(steps
                    .fold(forecast, Forecast::with_step)
                    .with_missing(missing))
            })
            .collect()
    }
}
