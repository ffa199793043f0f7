//! What makes two trials comparable: forecasts of the same days.
//!
//! Each trial records the window of days that it was judged on. Trials that were judged on other
//! days than today's are judged anew from their stored bundles, and what cannot be judged on
//! today's window is left out and counted; so a rank never depends on how calm the days of a
//! trial were.

use std::fmt;
use std::ops::Range;

use btc_models::candle_core::Device;
use btc_models::{Forecaster, SeriesFrame, Target};
use btc_track::{Direction, TrackingClient};
use chrono::{DateTime, Utc};
use rayon::prelude::*;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::describe;
use crate::instants::instant_text;
use crate::objective::{BUNDLE, FOLDS};
use crate::scores::{Outcomes, Scores, target_range};
use crate::{Error, Result, Split};

/// The user attribute of a study that names what its trials' values are.
pub(crate) const MEASURE_ATTR: &str = "measure";
/// What a trial's value is: MAE relative to naive over the trial's own window. Unlike a MAPE it can
/// be compared over windows, which is what a sampler that learns from all trials needs.
pub(crate) const MEASURE: &str = crate::scores::RELATIVE_MAE;
/// The user attribute of a trial that holds its window.
pub(crate) const WINDOW_ATTR: &str = "window";
/// The user attribute of a trial that holds its scores on that window.
pub(crate) const SCORES_ATTR: &str = "scores";
/// The tag of a run that says how many forecasts its scores are of.
pub(crate) const SELECTION_DAYS_TAG: &str = "selection_days";

/// The days that trials are compared on, and what is forecast there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window {
    /// The hash of the data's tables.
    pub data_hash: String,
    /// The first instant that is forecast.
    #[serde(serialize_with = "instant")]
    pub first_target: DateTime<Utc>,
    /// The last instant that is forecast.
    #[serde(serialize_with = "instant")]
    pub last_target: DateTime<Utc>,
    /// Rows between an origin and its target.
    pub horizon: usize,
    /// What the networks predict of the column.
    pub target: Target,
    /// The column that is forecast.
    pub target_column: String,
}

fn instant<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&instant_text(time))
}

impl Window {
    /// The window of the selection set of a frame.
    pub(crate) fn of_selection(
        frame: &SeriesFrame,
        split: &Split,
        target: &Target,
        data_hash: &str,
    ) -> Option<Self> {
        let (first_target, last_target) = target_range(frame, &split.selection, split.horizon)?;
        Some(Self {
            data_hash: data_hash.to_owned(),
            first_target,
            last_target,
            horizon: split.horizon,
            target: target.clone(),
            target_column: frame.target_name().to_owned(),
        })
    }

    /// Whether scores on one are scores on the other. What a network predicts, the change or the
    /// level, makes no difference to what its forecasts are judged by.
    pub(crate) fn is_comparable(&self, other: &Self) -> bool {
        let target = other.target.clone();
        Self {
            target,
            ..self.clone()
        } == *other
    }

    /// The window as tags of a run.
    pub(crate) fn tags(&self) -> [(&'static str, String); 6] {
        [
            ("data_hash", self.data_hash.clone()),
            ("first_target", instant_text(&self.first_target)),
            ("last_target", instant_text(&self.last_target)),
            ("horizon", self.horizon.to_string()),
            ("target", self.target.to_string()),
            ("target_column", self.target_column.clone()),
        ]
    }

    /// Reads the tags back; none if one is missing or not readable.
    pub(crate) fn from_tags<'a>(tag: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self {
            data_hash: tag("data_hash")?.to_owned(),
            first_target: tag("first_target")?.parse().ok()?,
            last_target: tag("last_target")?.parse().ok()?,
            horizon: tag("horizon")?.parse().ok()?,
            target: tag("target")?.parse().ok()?,
            target_column: tag("target_column")?.to_owned(),
        })
    }

    /// The window as an attribute of a trial.
    pub(crate) fn to_attr(&self) -> Value {
        let entries = self.tags().into_iter();
        Value::Object(
            entries
                .map(|(key, text)| (key.to_owned(), text.into()))
                .collect(),
        )
    }

    /// Reads the attribute back.
    pub(crate) fn from_attr(attrs: &Map<String, Value>) -> Option<Self> {
        let window = attrs.get(WINDOW_ATTR)?;
        Self::from_tags(|key| window.get(key)?.as_str())
    }

    /// The origins of the window in a frame.
    pub(crate) fn origins(&self, frame: &SeriesFrame) -> Range<usize> {
        let rows = frame.known_at();
        let row = |instant| rows.partition_point(|time| *time < instant);
        let first = row(self.first_target);
        let end = rows.partition_point(|time| *time <= self.last_target);
        first.saturating_sub(self.horizon)..end.saturating_sub(self.horizon)
    }
}

/// A trial or run that was not compared, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOut {
    /// The trial's number, which is the run's name.
    pub name: String,
    /// Its run, if it is known.
    pub run_id: Option<String>,
    /// Why it does not count.
    pub reason: Exclusion,
}

/// Why a trial cannot be compared on today's window.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Exclusion {
    /// Its run is not in the tracking store.
    NoRun,
    /// Its run has no bundle.
    NoBundle,
    /// Its bundle cannot be used.
    Unsound {
        /// What is wrong with it.
        problem: String,
    },
    /// It was trained on days that the window judges.
    TrainedInWindow {
        /// The instant up to which it was trained.
        until: DateTime<Utc>,
    },
    /// It forecasts another number of rows ahead.
    OtherHorizon {
        /// Its horizon.
        horizon: usize,
    },
    /// It forecasts another column.
    OtherColumn {
        /// Its column.
        column: String,
    },
    /// It cannot forecast from today's table, for example for want of a feature.
    NoForecast {
        /// The reason.
        problem: String,
    },
    /// It was measured on other days, and the metric cannot be measured anew.
    OtherDays,
    /// It has no value of the metric, or one that is not a number.
    NoValue,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRun => f.write_str("its run is not in the tracking store"),
            Self::NoBundle => f.write_str("its run has no bundle"),
            Self::Unsound { problem } => write!(f, "its bundle cannot be used: {problem}"),
            Self::TrainedInWindow { until } => write!(
                f,
                "it was trained until {}, on days that are judged",
                instant_text(until)
            ),
            Self::OtherHorizon { horizon } => write!(f, "it forecasts {horizon} rows ahead"),
            Self::OtherColumn { column } => write!(f, "it forecasts {column:?}"),
            Self::NoForecast { problem } => write!(f, "it cannot forecast: {problem}"),
            Self::OtherDays => f.write_str("the metric was measured on other days"),
            Self::NoValue => f.write_str("it has no value of the metric"),
        }
    }
}

impl Serialize for Exclusion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self {
            Self::NoRun => "no_run",
            Self::NoBundle => "no_bundle",
            Self::Unsound { .. } => "unsound",
            Self::TrainedInWindow { .. } => "trained_in_window",
            Self::OtherHorizon { .. } => "other_horizon",
            Self::OtherColumn { .. } => "other_column",
            Self::NoForecast { .. } => "no_forecast",
            Self::OtherDays => "other_days",
            Self::NoValue => "no_value",
        };
        let mut fields = serializer.serialize_struct("Exclusion", 2)?;
        fields.serialize_field("kind", kind)?;
        fields.serialize_field("message", &self.to_string())?;
        fields.end()
    }
}

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
        let bundles = stored_bundles(self.client, run)?;
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

/// What judging a candidate came to.
type Outcome<T> = Result<T, Unjudged>;

/// Why a candidate was not judged.
enum Unjudged {
    /// It does not count.
    LeftOut(Exclusion),
    /// The store failed, which says nothing of the candidate.
    Store(btc_track::Error),
}

impl From<Exclusion> for Unjudged {
    fn from(reason: Exclusion) -> Self {
        Self::LeftOut(reason)
    }
}

impl From<btc_track::Error> for Unjudged {
    fn from(error: btc_track::Error) -> Self {
        Self::Store(error)
    }
}

/// The models that a run holds, the newest fit first. Each bundle is read once.
fn stored_bundles(client: &TrackingClient, run_id: &str) -> Outcome<Vec<Forecaster>> {
    let run = match client.run(run_id) {
        Err(error) if error.is_not_found() => return Err(Exclusion::NoRun.into()),
        run => run?,
    };
    let load = |folder: &std::path::Path| {
        Forecaster::load(folder, &Device::Cpu).map_err(|error| Exclusion::Unsound {
            problem: describe(&error),
        })
    };
    let main = btc_track::open_artifacts(client, &run, BUNDLE)?.ok_or(Exclusion::NoBundle)?;
    let mut bundles = vec![load(main.path())?];
    if let Some(folds) = btc_track::open_artifacts(client, &run, FOLDS)? {
        for fold in 0.. {
            let folder = folds.path().join(fold.to_string());
            if !folder.is_dir() {
                break;
            }
            bundles.push(load(&folder)?);
        }
    }
    bundles.sort_by_key(|bundle| std::cmp::Reverse(bundle.training_range().end));
    Ok(bundles)
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

    use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
    use btc_models::{Hyperparameters, ModelType, NetworkConfig, TrainConfig, fit};
    use btc_track::{ActiveRun, RunSpec, RunStatus};
    use chrono::TimeDelta;
    use proptest::prelude::*;
    use std::sync::{Arc, OnceLock};

    use super::*;
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

    #[test]
    fn a_window_survives_tags_and_attributes() {
        let window = stored().window.clone();
        let tags = window.tags();
        let tag = |key: &str| {
            tags.iter()
                .find(|(known, _)| *known == key)
                .map(|(_, text)| text.as_str())
        };
        assert_eq!(Window::from_tags(tag), Some(window.clone()));
        let attrs = Map::from_iter([(WINDOW_ATTR.to_owned(), window.to_attr())]);
        assert_eq!(Window::from_attr(&attrs), Some(window.clone()));
        let level = Window {
            target: Target::Level,
            ..window.clone()
        };
        assert!(level.is_comparable(&window));
        let other = Window {
            data_hash: "yesterday".into(),
            ..window.clone()
        };
        assert!(!other.is_comparable(&window));
    }
}
