//! The search: every trial is a run.
//!
//! Tags, parameters and run names follow what Optuna's MLflow callback
//! writes, so that tools made for those find the same things here.

use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use btc_models::candle_core::Device;
use btc_models::{
    EpochLogs, Forecaster, Hyperparameters, ModelType, NetworkConfig, SeriesFrame, Target,
    TrainConfig, fit, metrics,
};
use btc_track::mlmodel::{Column, DataType, ModelFile, Signature};
use btc_track::{ActiveRun, RunQuery, RunSpec, RunStatus, TrackingClient};
use btc_tune::{ObjectiveError, OnFailure, OptimizeOptions, Study, Trial};
use serde::Serialize;

use crate::error::describe;
use crate::scores::Scores;
use crate::space::SearchSpace;
use crate::text::{distribution_text, plain};
use crate::{Error, Event, Observer, Result, Split};

/// The artifact folder of a run that holds the model bundle.
pub const BUNDLE: &str = "model";
/// The tag that tells a trial's run from other runs.
const TRIAL_STATE_TAG: &str = "state";

/// What a search is to do.
#[derive(Debug, Clone)]
pub struct SearchConfig {
    /// The networks and the window.
    pub space: SearchSpace,
    /// Trials to add to the study.
    pub n_trials: NonZeroUsize,
    /// Trials to run at the same time.
    pub jobs: NonZeroUsize,
    /// One-step forecasts in the selection set.
    pub prediction_length: usize,
    /// Days held out until registration.
    pub holdout: usize,
    /// What the networks forecast.
    pub target: Target,
    /// Seed of initial weights, dropout and batches; a trial adds its number.
    pub seed: u64,
    /// What the data is, for the record: the hash of its tables.
    pub data_hash: String,
    /// Set it to end the search after the running epochs.
    pub stop: Arc<AtomicBool>,
}

/// What a search did.
#[derive(Debug, Clone, Serialize)]
pub struct SearchOutcome {
    /// The study's name.
    pub study: String,
    /// The experiment that holds the runs.
    pub experiment: String,
    /// Trials in the study, earlier searches included.
    pub trials: usize,
    /// Number of the best trial.
    pub best_trial: usize,
    /// Its MAPE on the selection set, in percent.
    pub best_mape: f64,
    /// The naive forecast's MAPE on the same set, in percent.
    pub naive_mape: f64,
    /// Whether the search was ended before all trials were made.
    pub stopped: bool,
}

/// Adds trials to `study`, each a run of experiment `experiment_id`.
///
/// A trial fits one network on the training rows and is judged by the MAPE of
/// its one-step forecasts over the selection set. The hold-out rows are not
/// looked at.
///
/// # Errors
///
/// [`Error::TooShort`] if the frame cannot be split, [`Error::NoCompleteTrial`]
/// if no trial of the study has completed, and the stores' own errors. A trial
/// that fails is a failed run and does not end the search.
pub fn search(
    study: &Study,
    client: &TrackingClient,
    experiment_id: &str,
    frame: &SeriesFrame,
    config: &SearchConfig,
    observer: &dyn Observer,
) -> Result<SearchOutcome> {
    let window = config.space.longest_window();
    let split = Split::new(
        frame.rows(),
        config.prediction_length,
        config.holdout,
        window,
    )?;
    let training = frame.slice(split.training.clone())?;
    let judged = frame.slice(0..split.selection.end + 1)?;
    let context = Context {
        client,
        experiment_id,
        training: &training,
        judged: &judged,
        split: &split,
        config,
        observer,
        study: study.name(),
        store_failure: Mutex::new(None),
    };
    let options = OptimizeOptions {
        n_trials: Some(config.n_trials.get()),
        n_jobs: Some(config.jobs),
        stop: Some(config.stop.clone()),
        // A network that diverges is a failed trial; the search goes on.
        on_failure: OnFailure::Continue,
        ..OptimizeOptions::default()
    };
    study.fail_stale_trials()?;
    end_orphans(study, client, experiment_id)?;
    study.optimize_with(options, |trial: &mut Trial| context.objective(trial))?;
    if let Some(error) = context.store_failure.into_inner().ok().flatten() {
        return Err(error);
    }
    let trials = study.trials()?.len();
    let best = study.best_trial().map_err(|_| Error::NoCompleteTrial {
        study: study.name().to_owned(),
        trials,
    })?;
    Ok(SearchOutcome {
        study: study.name().to_owned(),
        experiment: experiment_id.to_owned(),
        trials,
        best_trial: best.number,
        best_mape: best.value().unwrap_or(f64::NAN),
        naive_mape: naive_mape(&judged, &split),
        stopped: config.stop.load(Ordering::Relaxed),
    })
}

/// Ends the runs of trials whose process died: the study has failed those
/// trials, and a run that goes on for ever would be a lie.
fn end_orphans(study: &Study, client: &TrackingClient, experiment_id: &str) -> Result<()> {
    let query = RunQuery::new([experiment_id]).with_filter("attributes.status = 'RUNNING'");
    let running = client.tracking.search_runs(&query)?.items;
    if running.is_empty() {
        return Ok(());
    }
    let trials = study.trials()?;
    for run in running
        .iter()
        .filter(|run| run.tag("study") == Some(study.name()))
    {
        let number = run
            .tag("number")
            .and_then(|text| text.parse::<usize>().ok());
        let trial = trials.iter().find(|trial| Some(trial.number) == number);
        if trial.is_some_and(|trial| trial.state.is_finished()) {
            let run = ActiveRun::resume(client, &run.info.run_id)?;
            run.set_tag(TRIAL_STATE_TAG, "FAIL")?;
            run.end(RunStatus::Killed)?;
        }
    }
    Ok(())
}

/// The MAPE, in percent, of repeating the last close over the selection set.
fn naive_mape(frame: &SeriesFrame, split: &Split) -> f64 {
    let price = frame.target();
    let (actual, naive): (Vec<f64>, Vec<f64>) = split
        .selection
        .clone()
        .filter_map(|origin| Some((frame.target_at(origin, 1)?, price[origin])))
        .unzip();
    metrics::mape(&actual, &naive)
}

struct Context<'a> {
    client: &'a TrackingClient,
    experiment_id: &'a str,
    /// Rows to fit on.
    training: &'a SeriesFrame,
    /// Rows up to the last selection target.
    judged: &'a SeriesFrame,
    split: &'a Split,
    config: &'a SearchConfig,
    observer: &'a dyn Observer,
    study: &'a str,
    /// A store that failed fails every later trial alike: tell its error, and stop.
    store_failure: Mutex<Option<Error>>,
}

impl Context<'_> {
    fn objective(&self, trial: &mut Trial) -> Result<f64, ObjectiveError> {
        match self.run_trial(trial) {
            Ok(Outcome::Complete(mape)) => Ok(mape),
            Ok(Outcome::Pruned) => Err(ObjectiveError::Pruned),
            Err(error) => {
                let text = describe(&error);
                if matches!(error, Error::Track(_) | Error::Tune(_) | Error::Io { .. }) {
                    self.config.stop.store(true, Ordering::Relaxed);
                    if let Ok(mut slot) = self.store_failure.lock() {
                        slot.get_or_insert(error);
                    }
                }
                self.observer.event(&Event::Warning(&format!(
                    "trial {}: {text}",
                    trial.number()
                )));
                Err(ObjectiveError::Failed(text.into()))
            }
        }
    }

    /// Fits, judges and records one trial. The run is ended in every case.
    fn run_trial(&self, trial: &mut Trial) -> Result<Outcome> {
        let number = trial.number();
        let spec = RunSpec::named(number.to_string())
            .with_tag("number", number.to_string())
            .with_tag("study", self.study)
            .with_tag("direction", "MINIMIZE")
            .with_tag("datetime_start", self.now())
            .with_tag("data_hash", &self.config.data_hash);
        let run = ActiveRun::start(self.client, self.experiment_id, spec)?;
        trial.set_system_attr("mlflow_run_id", run.id().to_string())?;
        let outcome = self.fit_and_judge(trial, &run);
        let (state, mape) = match &outcome {
            Ok(Outcome::Complete(mape)) => ("COMPLETE", Some(*mape)),
            Ok(Outcome::Pruned) => ("PRUNED", None),
            Err(_) => ("FAIL", None),
        };
        run.set_tag(TRIAL_STATE_TAG, state)?;
        run.set_tag("datetime_complete", self.now())?;
        if let Err(error) = &outcome {
            run.set_tag("fail_reason", describe(error))?;
        }
        // A pruned trial is a finished run, as Optuna's callback has it.
        run.end(if outcome.is_ok() {
            RunStatus::Finished
        } else {
            RunStatus::Failed
        })?;
        self.observer.event(&Event::TrialFinished {
            number,
            state,
            mape,
        });
        outcome
    }

    fn fit_and_judge(&self, trial: &mut Trial, run: &ActiveRun) -> Result<Outcome> {
        let (model_type, hyperparameters) = self.config.space.suggest(trial)?;
        let number = trial.number();
        let name = model_type.to_string();
        self.observer.event(&Event::TrialStarted {
            number,
            model_type: &name,
        });
        self.log_parameters(trial, run, model_type, &hyperparameters)?;

        let network = NetworkConfig::new(model_type, &hyperparameters);
        let seed = self.config.seed.wrapping_add(number as u64);
        let config = TrainConfig::new(&hyperparameters)
            .with_target(self.config.target)
            .with_seed(seed);
        let mut pruned = false;
        let epochs = hyperparameters.epochs;
        let fitted = fit(
            &network,
            self.training,
            &config,
            &Device::Cpu,
            |logs: &EpochLogs| {
                let EpochLogs { epoch, loss, .. } = *logs;
                let val_loss = logs.val_loss.unwrap_or(loss);
                run.log_metric("loss", loss, epoch as i64)?;
                run.log_metric("val_loss", val_loss, epoch as i64)?;
                trial.report(epoch as u64, val_loss)?;
                self.observer.event(&Event::Epoch {
                    number,
                    epoch,
                    epochs,
                    loss,
                    val_loss,
                });
                pruned = trial.should_prune()?;
                let stop = pruned || self.config.stop.load(Ordering::Relaxed);
                Ok(if stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            },
        );
        let forecaster = fitted?;
        if pruned {
            return Ok(Outcome::Pruned);
        }
        let forecasts = forecaster.forecast_at(self.judged, self.split.selection.clone())?;
        let scores = Scores::of(&forecasts, self.judged, self.split.selection.start);
        for (key, value) in scores.metrics("") {
            run.log_metric(&key, value, 0)?;
        }
        let mut forecaster = forecaster.with_data_hash(&self.config.data_hash);
        for (key, value) in scores.metrics("") {
            forecaster = forecaster.with_metric(key, value);
        }
        log_bundle(&forecaster, run)?;
        Ok(Outcome::Complete(scores.mape))
    }

    fn log_parameters(
        &self,
        trial: &Trial,
        run: &ActiveRun,
        model_type: ModelType,
        hyperparameters: &Hyperparameters,
    ) -> Result<()> {
        let mut params: Vec<(String, String)> = trial
            .params()
            .into_iter()
            .map(|(name, value)| (name, plain(&value)))
            .collect();
        // What a flag fixed is part of the record as much as what was searched.
        let fixed = [
            ("model_type", model_type.to_string()),
            ("timesteps", hyperparameters.timesteps.to_string()),
            (
                "prediction_length",
                self.config.prediction_length.to_string(),
            ),
            ("holdout", self.config.holdout.to_string()),
            ("target", self.config.target.to_string()),
            ("seed", self.config.seed.to_string()),
        ];
        for (name, value) in fixed {
            if !params.iter().any(|(known, _)| known == name) {
                params.push((name.to_owned(), value));
            }
        }
        run.log_params(params)?;
        for (name, distribution) in trial.frozen().distributions() {
            run.set_tag(
                &format!("{name}_distribution"),
                distribution_text(distribution),
            )?;
        }
        Ok(())
    }

    fn now(&self) -> String {
        self.client
            .now()
            .format("%Y-%m-%d %H:%M:%S%.6f")
            .to_string()
    }
}

enum Outcome {
    Complete(f64),
    Pruned,
}

/// Logs the bundle under [`BUNDLE`]; it appears whole or not at all.
fn log_bundle(forecaster: &Forecaster, run: &ActiveRun) -> Result<()> {
    let io = |source| Error::Io {
        action: "create",
        path: "a temporary folder".into(),
        source,
    };
    let folder = tempfile::tempdir().map_err(io)?;
    let bundle: &Path = folder.path();
    forecaster.save(bundle)?;
    run.log_model(bundle, BUNDLE, describe_model(forecaster))?;
    Ok(())
}

/// What MLflow's clients are told about the bundle.
fn describe_model(forecaster: &Forecaster) -> ModelFile {
    let column = |name: &str| Column::new(name, DataType::Double);
    let inputs = forecaster.feature_names().into_iter().map(column).collect();
    ModelFile::new(BUNDLE, 0)
        .with_btc_flavor(1, "weights.safetensors", "forecaster.json")
        .with_signature(Signature {
            inputs,
            outputs: vec![column("forecast")],
        })
}
