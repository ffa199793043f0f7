//! The best run becomes a registered version.

use arrow::array::RecordBatch;
use btc_models::{Device, Forecaster};
use btc_track::{ModelVersion, NewModelVersion, Run, RunQuery, Tag, TrackingClient};
use serde::Serialize;

use crate::objective::{BUNDLE, Scores};
use crate::table::frame_of;
use crate::{Error, Result};

/// Alias of the version that is meant to be used.
pub const CHAMPION: &str = "champion";
/// Forecasts below which two models cannot be told apart.
const FEWEST_TO_COMPARE: usize = 60;
/// Runs that are looked at for one with a sound bundle.
const MOST_CANDIDATES: usize = 1000;

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
            let few = if holdout.n < FEWEST_TO_COMPARE { ", too few to compare models" } else { "" };
            lines.push(format!(
                "hold-out of {} days{few}: MAPE {:.4} % (naive {:.4} %), MAE relative to naive {:.4}",
                holdout.n, holdout.mape, holdout.naive_mape, holdout.relative_mae
            ));
        }
        if let Some(version) = self.previous_champion {
            let mape = self.previous_holdout_mape;
            let mape = mape.map(|mape| format!(", hold-out MAPE {mape:.4} % when registered"));
            lines.push(format!("champion before: version {version}{}", mape.unwrap_or_default()));
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
/// [`Error::NotFound`] without a run to register, [`Error::WorseThanNaive`]
/// if the model is no better than repeating the last close and that is not
/// allowed, and the stores' own errors.
pub fn register_best(
    client: &TrackingClient,
    config: &RegisterConfig,
    table: &RecordBatch,
) -> Result<Registration> {
    let (run, forecaster) = best_run(client, config)?;
    let value = run.metric(&config.metric).unwrap_or(f64::NAN);
    let holdout = evaluate_holdout(&run, &forecaster, table)?;
    let worse_than_naive = match &holdout {
        Some(scores) => scores.is_worse_than_naive(),
        None => !run.metric("relative_MAE").is_some_and(|relative| relative < 1.0),
    };
    if worse_than_naive && !config.allow_worse_than_naive {
        return Err(Error::WorseThanNaive {
            run: run.info.run_name.clone(),
            relative_mae: holdout
                .map(|scores| scores.relative_mae)
                .or(run.metric("relative_MAE"))
                .unwrap_or(f64::NAN),
        });
    }
    let champion = client.registry.model_version_by_alias(&config.model_name, CHAMPION).ok();
    let mut tags = vec![
        Tag::new("model_type", forecaster.model_type().to_string()),
        Tag::new("metric", &config.metric),
        Tag::new(format!("selection_{}", config.metric), value.to_string()),
        Tag::new("experiment", &config.experiment),
        Tag::new("worse_than_naive", worse_than_naive.to_string()),
    ];
    for key in ["data_hash", "study", "number"] {
        tags.extend(run.tag(key).map(|value| Tag::new(key, value)));
    }
    if let Some(scores) = &holdout {
        tags.push(Tag::new("holdout_days", scores.n.to_string()));
        let metrics = scores.metrics("holdout_").into_iter();
        tags.extend(metrics.map(|(name, value)| Tag::new(name, value.to_string())));
    }
    // One transaction: no model without a version is left behind.
    let version = client.registry.create_model_version(&NewModelVersion {
        name: config.model_name.clone(),
        create_model: true,
        source: format!("{}/{BUNDLE}", run.info.artifact_uri),
        run_id: Some(run.info.run_id.clone()),
        tags,
        aliases: if worse_than_naive { Vec::new() } else { vec![CHAMPION.to_owned()] },
        ..NewModelVersion::default()
    })?;
    let holdout_mape = |version: &ModelVersion| version.tag("holdout_MAPE")?.parse().ok();
    Ok(Registration {
        model: version.name,
        version: version.version,
        run_id: run.info.run_id,
        run_name: run.info.run_name,
        model_type: forecaster.model_type().to_string(),
        metric: config.metric.clone(),
        value,
        holdout,
        worse_than_naive,
        previous_holdout_mape: champion.as_ref().and_then(holdout_mape),
        previous_champion: champion.map(|champion| champion.version),
    })
}

/// The best run with a sound bundle, and its model.
fn best_run(client: &TrackingClient, config: &RegisterConfig) -> Result<(Run, Forecaster)> {
    let experiment = client.experiment(&config.experiment).map_err(|error| {
        match error.is_not_found() {
            true => Error::NotFound { what: missing_experiment(client, &config.experiment) },
            false => error.into(),
        }
    })?;
    let direction = if config.maximize { "DESC" } else { "ASC" };
    let metric = &config.metric;
    let query = RunQuery::new([experiment.experiment_id.clone()])
        .with_filter("attributes.status = 'FINISHED' AND tags.state = 'COMPLETE'")
        .with_order(format!("metrics.`{metric}` {direction}"))
        .with_max_results(MOST_CANDIDATES);
    let candidates = client.tracking.search_runs(&query)?.items;
    let mut problem = None;
    for run in candidates {
        if !run.metric(metric).is_some_and(f64::is_finite) {
            continue;
        }
        let uri = format!("{}/{BUNDLE}", run.info.artifact_uri);
        let loaded = match client.artifacts.local_path(&uri) {
            Some(folder) => Forecaster::load(&folder, &Device::Cpu).map_err(Error::from),
            None => Err(Error::NotFound { what: format!("{uri} is not in the artifact store") }),
        };
        match loaded {
            Ok(forecaster) => return Ok((run, forecaster)),
            // A run whose bundle is gone or broken cannot be registered; the next best can.
            Err(error) => problem = problem.or(Some((run.info.run_name, error))),
        }
    }
    Err(Error::NotFound {
        what: match problem {
            Some((run, error)) => format!(
                "no run of experiment {:?} has a sound model; the best, {run}, does not: {error}",
                experiment.name
            ),
            None => format!(
                "no finished trial of experiment {:?} has a metric {metric:?}; \
                 run `btc tune run` first, or name another --metric",
                experiment.name
            ),
        },
    })
}

fn missing_experiment(client: &TrackingClient, name: &str) -> String {
    let known: Vec<String> = client
        .experiments()
        .map(|experiments| experiments.into_iter().map(|experiment| experiment.name).collect())
        .unwrap_or_default();
    match known.is_empty() {
        true => format!("there is no experiment {name:?}, and no other; run `btc tune run` first"),
        false => format!("there is no experiment {name:?}; there are: {}", known.join(", ")),
    }
}

/// Scores the model over the rows that its search held out: those after the
/// last one it was chosen by.
fn evaluate_holdout(
    run: &Run,
    forecaster: &Forecaster,
    table: &RecordBatch,
) -> Result<Option<Scores>> {
    let number = |name: &str| run.param(name).and_then(|text| text.parse::<usize>().ok());
    let (Some(holdout), Some(selection)) = (number("holdout"), number("prediction_length")) else {
        return Ok(None);
    };
    if holdout == 0 {
        return Ok(None);
    }
    let series = frame_of(table, forecaster.feature_names())?;
    // Found by time and not by counting back: the table may have grown since.
    let trained_until = forecaster.training_range().end;
    let last_trained = series.known_at().iter().rposition(|time| *time <= trained_until);
    let Some(last_trained) = last_trained else { return Ok(None) };
    let start = last_trained + selection;
    let end = (start + holdout).min(series.rows().saturating_sub(1));
    if start >= end {
        return Ok(None);
    }
    let forecasts = forecaster.forecast_at(&series, start..end)?;
    Ok(Some(Scores::of(&forecasts, &series, start)))
}
