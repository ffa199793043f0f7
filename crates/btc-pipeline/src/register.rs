//! The best run becomes a registered version.

use std::cell::RefCell;
use std::path::Path;

use arrow::array::RecordBatch;
use btc_models::Forecaster;
use btc_models::candle_core::Device;
use btc_track::{Direction, NaiveRule, RegisterBest, Run, Tag, TrackingClient, Verdict};
use serde::Serialize;

use crate::error::describe;
use crate::scores::{RELATIVE_MAE, Scores};
use crate::table::frame_of;
use crate::{Error, Result};

/// Alias of the version that is meant to be used.
pub const CHAMPION: &str = "champion";
/// Forecasts below which two models cannot be told apart.
const FEWEST_TO_COMPARE: usize = 60;

/// Which run to register, and under which name.
#[derive(Debug, Clone)]
pub struct RegisterConfig {
    /// The experiment, by name or id.
    pub experiment: String,
    /// The run metric to choose by.
    pub metric: String,
    /// Whether the largest value is the best.
    pub maximize: bool,
    /// The registered model's name.
    pub model_name: String,
    /// Whether to register a model that is no better than the naive forecast.
    pub allow_worse_than_naive: bool,
}

/// What was registered, and how good it is.
#[derive(Debug, Clone, Serialize)]
pub struct Registration {
    /// The registered model's name.
    pub model: String,
    /// The new version.
    pub version: u64,
    /// The run it comes from.
    pub run_id: String,
    /// The run's name: the trial's number.
    pub run_name: String,
    /// The network.
    pub model_type: String,
    /// The metric the run was chosen by.
    pub metric: String,
    /// Its value.
    pub value: f64,
    /// How good the model is over the hold-out; none if nothing was held out.
    pub holdout: Option<Scores>,
    /// Whether the naive forecast does as well or better.
    pub worse_than_naive: bool,
    /// The version that was champion before, if there was one.
    pub previous_champion: Option<u64>,
    /// Its hold-out MAPE, as recorded when it was registered.
    pub previous_holdout_mape: Option<f64>,
}

impl Registration {
    /// The registration for a person, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "registered {} version {}: {} of run {} with {} {:.4}",
            self.model, self.version, self.model_type, self.run_name, self.metric, self.value
        )];
        if let Some(holdout) = &self.holdout {
            let few = if holdout.n < FEWEST_TO_COMPARE {
                ", too few to compare models"
            } else {
                ""
            };
            lines.push(format!(
                "hold-out of {} days{few}: MAPE {:.4} % (naive {:.4} %), MAE relative to naive {:.4}",
                holdout.n, holdout.mape, holdout.naive_mape, holdout.relative_mae
            ));
        }
        if let Some(version) = self.previous_champion {
            let mape = self.previous_holdout_mape;
            let mape = mape.map(|mape| format!(", hold-out MAPE {mape:.4} % when registered"));
            lines.push(format!(
                "champion before: version {version}{}",
                mape.unwrap_or_default()
            ));
        }
        lines
    }
}

/// Registers the best run of an experiment whose bundle is there and sound.
///
/// Only finished runs of completed trials count. The hold-out, the rows that
/// lie after everything the model was chosen by, is evaluated here and only
/// here; its scores become tags of the version. A version that beats the naive
/// forecast becomes champion. Nothing is left behind when this fails.
///
/// # Errors
///
/// [`Error::NotFound`] without the experiment or a run to register,
/// [`Error::WorseThanNaive`] if the model is no better than repeating the last
/// close and that is not allowed, and the stores' own errors.
pub fn register_best(
    client: &TrackingClient,
    config: &RegisterConfig,
    table: &RecordBatch,
) -> Result<Registration> {
    // The closure is called until a bundle is sound; what it found is kept for the report.
    let judged: RefCell<Option<Judged>> = RefCell::default();
    let validate = |run: &Run, bundle: &Path| {
        let found = judge(run, bundle, table).map_err(|error| describe(&error))?;
        let verdict = found.verdict(run);
        judged.replace(Some(found));
        Ok(verdict)
    };
    let mut request = RegisterBest::new(&config.experiment, &config.metric, &config.model_name)
        .with_naive(NaiveRule::relative(RELATIVE_MAE))
        .with_alias(CHAMPION);
    if config.maximize {
        request.direction = Direction::Maximize;
    }
    request.allow_worse_than_naive = config.allow_worse_than_naive;
    let registered = btc_track::register_best(client, &request, &validate)
        .map_err(|error| explain(error, client, config))?;
    let judged = judged.into_inner();
    let champion = registered.champion;
    Ok(Registration {
        model: registered.version.name,
        version: registered.version.version,
        run_id: registered.run.info.run_id,
        run_name: registered.run.info.run_name,
        model_type: judged
            .as_ref()
            .map(|one| one.model_type.clone())
            .unwrap_or_default(),
        metric: config.metric.clone(),
        value: registered.value,
        holdout: judged.and_then(|one| one.holdout),
        worse_than_naive: registered.worse_than_naive,
        previous_holdout_mape: champion
            .as_ref()
            .and_then(|champion| champion.version.tag("holdout_MAPE")?.parse().ok()),
        previous_champion: champion.map(|champion| champion.version.version),
    })
}

/// What a look at a run's bundle found.
struct Judged {
    model_type: String,
    holdout: Option<Scores>,
}

impl Judged {
    fn verdict(&self, run: &Run) -> Verdict {
        let mut tags = vec![Tag::new("model_type", &self.model_type)];
        for key in ["data_hash", "study", "number"] {
            tags.extend(run.tag(key).map(|value| Tag::new(key, value)));
        }
        let selection = ["MAPE", "naive_MAPE"].into_iter();
        tags.extend(selection.filter_map(|name| {
            Some(Tag::new(
                format!("selection_{name}"),
                run.metric(name)?.to_string(),
            ))
        }));
        if let Some(scores) = &self.holdout {
            tags.push(Tag::new("holdout_days", scores.n.to_string()));
            let metrics = scores.metrics("holdout_").into_iter();
            tags.extend(metrics.map(|(name, value)| Tag::new(name, value.to_string())));
        }
        Verdict {
            tags,
            relative_to_naive: self.holdout.map(|scores| scores.relative_mae),
        }
    }
}

/// Loads a bundle and scores it over the rows that its search held out: those
/// after the last one it was chosen by.
fn judge(run: &Run, bundle: &Path, table: &RecordBatch) -> Result<Judged> {
    let forecaster = Forecaster::load(bundle, &Device::Cpu)?;
    let model_type = forecaster.model_type().to_string();
    let number = |name: &str| run.param(name).and_then(|text| text.parse::<usize>().ok());
    let (Some(holdout), Some(selection)) = (number("holdout"), number("prediction_length")) else {
        return Ok(Judged {
            model_type,
            holdout: None,
        });
    };
    let series = frame_of(table, &forecaster.feature_names())?;
    // Found by time and not by counting back: the table may have grown since.
    let trained_until = forecaster.training_range().end;
    let last_trained = series
        .known_at()
        .iter()
        .rposition(|time| *time <= trained_until);
    let start = last_trained.map_or(usize::MAX, |last| last.saturating_add(selection));
    let end = start
        .saturating_add(holdout)
        .min(series.rows().saturating_sub(1));
    if start >= end {
        return Ok(Judged {
            model_type,
            holdout: None,
        });
    }
    let forecasts = forecaster.forecast_at(&series, start..end)?;
    Ok(Judged {
        model_type,
        holdout: Some(Scores::of(&forecasts, &series, start)),
    })
}

/// Says what there is where the name that was asked for is not.
fn explain(error: btc_track::Error, client: &TrackingClient, config: &RegisterConfig) -> Error {
    if error.is_not_found() && client.experiment(&config.experiment).is_err() {
        return Error::NotFound {
            what: missing_experiment(client, &config.experiment),
        };
    }
    match error {
        btc_track::Error::NoCandidate { experiment, reason } => Error::NotFound {
            what: format!(
                "experiment {experiment:?} has nothing to register: {reason}; \
                 run `btc tune run` first, or name another --metric"
            ),
        },
        btc_track::Error::WorseThanNaive { run, value, .. } => Error::WorseThanNaive {
            run: client.run(&run).map_or(run, |run| run.info.run_name),
            relative_mae: value,
        },
        other => other.into(),
    }
}

fn missing_experiment(client: &TrackingClient, name: &str) -> String {
    let known: Vec<String> = client
        .experiments()
        .map(|experiments| {
            experiments
                .into_iter()
                .map(|experiment| experiment.name)
                .collect()
        })
        .unwrap_or_default();
    match known.is_empty() {
        true => format!("there is no experiment {name:?}, and no other; run `btc tune run` first"),
        false => format!(
            "there is no experiment {name:?}; there are: {}",
            known.join(", ")
        ),
    }
}
