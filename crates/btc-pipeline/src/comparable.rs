//! What makes two trials comparable: forecasts of the same days.
//!
//! Each trial records the window of days that it was judged on. Trials that were judged on other
//! days than today's are judged anew from their stored bundles, and what cannot be judged on
//! today's window is left out and counted; so a rank never depends on how calm the days of a
//! trial were.

use btc_models::candle_core::Device;
use btc_models::{Forecaster, SeriesFrame};
use btc_track::{Direction, TrackingClient};
use rayon::prelude::*;
use serde_json::Value;

use crate::bundles::{Outcome, Unjudged, stored_bundles};
use crate::error::describe;
use crate::exclusion::{Exclusion, LeftOut};
use crate::scores::{Outcomes, Scores};
use crate::window::Window;
use crate::{Error, Result};

/// The user attribute of a study that names what its trials' values are.
pub(crate) const MEASURE_ATTR: &str = "measure";
/// What a trial's value is: MAE relative to naive over the trial's own window. Unlike a MAPE it can
/// be compared over windows, which is what a sampler that learns from all trials needs.
pub(crate) const MEASURE: &str = crate::scores::RELATIVE_MAE;
/// The tag of a run that says how many forecasts its scores are of.
pub(crate) const SELECTION_DAYS_TAG: &str = "selection_days";

/// The user attribute of a trial that holds its scores on that window.
pub(crate) const SCORES_ATTR: &str = "scores";
/// A complete trial, as far as it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) run_id: Option<String>,
    /// The window it was judged on when it ended.
    pub(crate) window: Option<Window>,
    /// Its scores on that window.
    pub(crate) scores: Option<Scores>,
    /// A value that only its run carries.
    pub(crate) value: Option<f64>,
}

/// A candidate with its value on the one window.
#[derive(Debug, Clone)]
pub(crate) struct Ranked {
    /// Its place among the candidates.
    pub(crate) index: usize,
    pub(crate) value: f64,
    /// Its scores on the window; none if only its run carries the value.
    pub(crate) scores: Option<Scores>,
}

/// Candidates, the best first, and those that do not count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ranking {
    pub(crate) ranked: Vec<Ranked>,
    pub(crate) left_out: Vec<LeftOut>,
    /// Candidates that were judged anew from their bundles.
    pub(crate) judged_anew: usize,
}

/// The tables that a stored model forecasts from.
pub(crate) trait Frames: Sync {
    /// The frame with the features of `forecaster`.
    fn frame_for(&self, forecaster: &Forecaster) -> Result<SeriesFrame>;
}

/// One frame, whatever the model.
impl Frames for SeriesFrame {
    fn frame_for(&self, _: &Forecaster) -> Result<SeriesFrame> {
        Ok(self.clone())
    }
}

/// Judges candidates on one window.
pub(crate) struct Comparison<'a> {
    pub(crate) client: &'a TrackingClient,
    /// Where models are applied.
    pub(crate) device: &'a Device,
    pub(crate) frames: &'a dyn Frames,
    pub(crate) window: &'a Window,
    pub(crate) metric: &'a str,
    pub(crate) direction: Direction,
}

/// Whether a candidate was judged anew, and its value of the metric with its scores.
type Judged = (bool, Outcome<(f64, Option<Scores>)>);

impl Comparison<'_> {
    /// Ranks the candidates by the metric on the window; of equals, the first given comes first.
    ///
    /// Those recorded on exactly this window rank by their recorded scores. The others are judged
    /// anew, each from its own bundles, several at a time; the result does not depend on how many.
    ///
    /// # Errors
    ///
    /// The tracking store's own, the first in the order of the candidates.
    pub(crate) fn rank(&self, candidates: &[Candidate]) -> Result<Ranking> {
        let judged: Vec<Judged> = candidates
            .par_iter()
            .map(|candidate| self.judge(candidate))
            .collect();
        let mut ranking = Ranking::default();
        for (index, (is_new, outcome)) in judged.into_iter().enumerate() {
            ranking.judged_anew += usize::from(is_new && outcome.is_ok());
            match outcome {
                Ok((value, scores)) => ranking.ranked.push(Ranked {
                    index,
                    value,
                    scores,
                }),
                Err(Unjudged::LeftOut(reason)) => ranking.left_out.push(LeftOut {
                    name: candidates[index].name.clone(),
                    run_id: candidates[index].run_id.clone(),
                    reason,
                }),
                Err(Unjudged::Store(error)) => return Err(error.into()),
            }
        }
        // The sort is stable: equals stay in their order.
        ranking.ranked.sort_by(|a, b| match self.direction {
            Direction::Minimize => a.value.total_cmp(&b.value),
            Direction::Maximize => b.value.total_cmp(&a.value),
        });
        Ok(ranking)
    }

    /// Whether it was judged anew, and what it came to.
    fn judge(&self, candidate: &Candidate) -> Judged {
        let window = candidate.window.as_ref();
        let is_here = window.is_some_and(|window| window.is_comparable(self.window));
        let finite = |value: Option<f64>| match value {
            Some(value) if value.is_finite() => Ok(value),
            _ => Err(Unjudged::from(Exclusion::NoValue)),
        };
        if !Scores::has(self.metric) {
            let value = match is_here {
                true => finite(candidate.value),
                false => Err(Exclusion::OtherDays.into()),
            };
            return (false, value.map(|value| (value, candidate.scores)));
        }
        let (is_new, scores) = match candidate.scores.filter(|_| is_here) {
            Some(scores) => (false, Ok(scores)),
            None => (true, self.judge_anew(candidate)),
        };
        let outcome = scores.and_then(|scores| {
            let value = finite(scores.get(self.metric))?;
            Ok((value, Some(scores)))
        });
        (is_new, outcome)
    }

    fn judge_anew(&self, candidate: &Candidate) -> Outcome<Scores> {
        let run = candidate.run_id.as_deref().ok_or(Exclusion::NoRun)?;
        let bundles = stored_bundles(self.client, run, self.device)?;
        let newest = bundles.first().ok_or(Exclusion::NoBundle)?;
        if newest.horizon() != self.window.horizon {
            return Err(Unjudged::LeftOut(Exclusion::OtherHorizon {
                horizon: newest.horizon(),
            }));
        }
        if newest.target_name() != self.window.target_column {
            return Err(Unjudged::LeftOut(Exclusion::OtherColumn {
                column: newest.target_name().to_owned(),
            }));
        }
        let no_forecast = |error: &dyn std::error::Error| Exclusion::NoForecast {
            problem: describe(error),
        };
        let frame = self
            .frames
            .frame_for(newest)
            .map_err(|error| no_forecast(&error))?;
        let origins = self.window.origins(&frame);
        // Each origin has the newest of the fits that had ended by then, as it would have had.
        let fits: Vec<usize> = origins
            .clone()
            .filter_map(|origin| {
                let known = frame.known_at()[origin];
                bundles
                    .iter()
                    .position(|bundle| bundle.training_range().end <= known)
            })
            .collect();
        if fits.len() < origins.len() {
            let oldest = bundles.last().unwrap_or(newest);
            return Err(Unjudged::LeftOut(Exclusion::TrainedInWindow {
                until: oldest.training_range().end,
            }));
        }
        let mut forecasts = Vec::with_capacity(fits.len());
        let mut start = origins.start;
        for block in fits.chunk_by(|a, b| a == b) {
            let made = bundles[block[0]]
                .forecast_at(&frame, start..start + block.len())
                .map_err(|error| no_forecast(&error))?;
            forecasts.extend(made);
            start += block.len();
        }
        let scores = Outcomes::of(&forecasts, &frame).scores();
        Ok(scores.ok_or(Exclusion::NoValue)?)
    }
}

/// Refuses a study whose trials were measured in another way, and notes the measure in a new one.
pub(crate) fn claim_measure(study: &btc_tune::Study) -> Result<()> {
    let attrs = study.user_attrs()?;
    let found = attrs.get(MEASURE_ATTR).and_then(Value::as_str);
    if found == Some(MEASURE) {
        return Ok(());
    }
    let trials = study.trials()?;
    let is_measured = trials
        .iter()
        .any(|trial| !trial.values.is_empty() || !trial.intermediate_values.is_empty());
    if is_measured {
        return Err(Error::OtherMeasure {
            study: study.name().to_owned(),
            found: found.map(str::to_owned),
            expected: MEASURE,
        });
    }
    Ok(study.set_user_attr(MEASURE_ATTR, MEASURE)?)
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::{Arc, OnceLock};

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
    use btc_models::{Hyperparameters, ModelType, NetworkConfig, Target, TrainConfig, fit};
    use btc_track::{ActiveRun, RunSpec, RunStatus};
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::bundles::BUNDLE;
    use crate::columns::{EVENT_TIMESTAMP, PRICE};
    use crate::frame::frame;

    /// Three stored models and a window that begins where their training ended.
    struct Stored {
        client: TrackingClient,
        _folder: tempfile::TempDir,
        frame: SeriesFrame,
        window: Window,
        runs: Vec<String>,
    }

    fn stored() -> &'static Stored {
        static STORED: OnceLock<Stored> = OnceLock::new();
        STORED.get_or_init(|| {
            let times = TimestampSecondArray::from_iter_values((1..=120).map(|day| 86_400 * day));
            let price = (0..120_u32).map(|day| 100.0 + f64::from(day * 37 % 11));
            let columns: [(&str, ArrayRef); 2] = [
                (EVENT_TIMESTAMP, Arc::new(times)),
                (PRICE, Arc::new(Float64Array::from_iter_values(price))),
            ];
            let table = RecordBatch::try_from_iter(columns).unwrap();
            let frame = frame(&table, 0).unwrap().series;
            let folder = tempfile::tempdir().unwrap();
            let client = TrackingClient::in_memory(folder.path()).unwrap();
            let runs = (0..3).map(|seed| {
                let sizes = Hyperparameters::default();
                let config = TrainConfig::new(&sizes)
                    .with_epochs(2)
                    .with_timesteps(5)
                    .with_seed(seed);
                let network = NetworkConfig::new(ModelType::NLinear, &sizes);
                let training = frame.slice(0..100).unwrap();
                let fitted = fit(&network, &training, &config, &Device::Cpu, |_| {
                    Ok(ControlFlow::Continue(()))
                });
                let bundle = tempfile::tempdir().unwrap();
                fitted.unwrap().save(bundle.path()).unwrap();
                let run = ActiveRun::start(&client, "0", RunSpec::default()).unwrap();
                run.log_artifacts(bundle.path(), BUNDLE).unwrap();
                let id = run.id().to_owned();
                run.end(RunStatus::Finished).unwrap();
                id
            });
            let runs = runs.collect();
            let window = Window {
                data_hash: "today".into(),
                first_target: frame.known_at()[100],
                last_target: frame.known_at()[119],
                horizon: 1,
                target: Target::LogReturn,
                target_column: PRICE.into(),
            };
            Stored {
                client,
                _folder: folder,
                frame,
                window,
                runs,
            }
        })
    }

    /// The order of the runs, and their scores on the window, given what they scored on others.
    fn ranked(recorded: &[Option<(i64, f64)>]) -> Vec<(usize, Scores)> {
        let stored = stored();
        let candidates: Vec<Candidate> = stored
            .runs
            .iter()
            .zip(recorded)
            .map(|(run, earlier)| Candidate {
                name: run.clone(),
                run_id: Some(run.clone()),
                window: earlier.map(|(days, _)| Window {
                    first_target: stored.window.first_target - TimeDelta::days(days),
                    last_target: stored.window.last_target - TimeDelta::days(days),
                    ..stored.window.clone()
                }),
                scores: earlier.map(|(_, storm)| Scores {
                    n: 20,
                    mape: storm,
                    mae: storm,
                    rmse: storm,
                    naive_mape: storm,
                    relative_mae: storm,
                    direction_accuracy: 0.5,
                }),
                value: None,
            })
            .collect();
        let comparison = Comparison {
            client: &stored.client,
            device: &Device::Cpu,
            frames: &stored.frame,
            window: &stored.window,
            metric: MEASURE,
            direction: Direction::Minimize,
        };
        let ranking = comparison.rank(&candidates).unwrap();
        assert!(ranking.left_out.is_empty());
        ranking
            .ranked
            .into_iter()
            .map(|one| (one.index, one.scores.unwrap()))
            .collect()
    }

    proptest! {
        #![proptest_config(btc_testing::cases(24))]
        #[test]
        fn calm_or_stormy_days_of_the_past_change_no_order(
            recorded in prop::collection::vec(prop::option::of((1i64..400, 1e-3f64..1e3)), 3),
        ) {
            prop_assert_eq!(ranked(&recorded), ranked(&[None, None, None]));
        }
    }
}
