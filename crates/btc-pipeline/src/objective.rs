//! One trial: it is a run, fits a network for each block of the selection set, and is judged on
//! all of them.
//!
//! Tags, parameters and run names follow what Optuna's MLflow callback
//! writes, so that tools made for those find the same things here.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use btc_models::{EpochLogs, Forecaster, SeriesFrame, TrainConfig, Unused, fit};
use btc_track::mlmodel::{Column, DataType, ModelFile, PYTHON_FILES, Signature, Tensor};
use btc_track::{ActiveRun, RunSpec, RunStatus, TrackingClient};
use btc_tune::{ObjectiveError, Trial};

use crate::bundles::{BUNDLE, FOLDS};
use crate::comparable::{SCORES_ATTR, SELECTION_DAYS_TAG};
use crate::error::describe;
use crate::scores::{Outcomes, Scores};
use crate::search_config::SearchConfig;
use crate::space::Proposal;
use crate::tags::FREQUENCY_TAG;
use crate::text::{distribution_text, plain};
use crate::window::{WINDOW_ATTR, Window};
use crate::{Error, Event, Observer, Result};

/// The tag that tells a trial's run from other runs.
pub(crate) const TRIAL_STATE_TAG: &str = "state";
/// The system attribute of a trial that names its run, as Optuna's callback has it.
pub(crate) const RUN_ID_ATTR: &str = "mlflow_run_id";

/// What all trials of a search share.
pub(crate) struct Context<'a> {
    pub(crate) client: &'a TrackingClient,
    pub(crate) experiment_id: &'a str,
    /// Rows up to the last selection target.
    pub(crate) judged: &'a SeriesFrame,
    /// The origins of the selection set, block by block.
    pub(crate) blocks: &'a [Range<usize>],
    pub(crate) window: &'a Window,
    /// Columns that are no features.
    pub(crate) unused: &'a BTreeMap<String, Unused>,
    pub(crate) config: &'a SearchConfig,
    pub(crate) observer: &'a dyn Observer,
    pub(crate) study: &'a str,
    /// A store that failed fails every later trial alike: tell its error, and stop.
    pub(crate) store_failure: Mutex<Option<Error>>,
}

/// How a trial ended, if nothing failed.
enum Ending {
    Complete(Scores),
    Pruned,
}

/// Why training stopped before its last epoch.
#[derive(Clone, Copy, PartialEq)]
enum Break {
    Pruned,
    Interrupted,
}

impl Context<'_> {
    pub(crate) fn objective(&self, trial: &mut Trial) -> Result<f64, ObjectiveError> {
        match self.run_trial(trial) {
            Ok(Ending::Complete(scores)) => Ok(scores.relative_mae),
            Ok(Ending::Pruned) => Err(ObjectiveError::Pruned),
            Err(Error::Interrupted) => Err(ObjectiveError::Interrupted),
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
    fn run_trial(&self, trial: &mut Trial) -> Result<Ending> {
        let number = trial.number();
        let spec = RunSpec::named(number.to_string())
            .with_tag("number", number.to_string())
            .with_tag("study", self.study)
            .with_tag("direction", "MINIMIZE")
            .with_tag("datetime_start", self.now())
            .with_tag(FREQUENCY_TAG, self.judged.frequency().to_string())
            .with_tags(self.window.tags());
        let run = ActiveRun::start(self.client, self.experiment_id, spec)?;
        trial.set_system_attr(RUN_ID_ATTR, run.id().to_string())?;
        let ending = self.fit_and_judge(trial, &run);
        // A pruned trial is a finished run, as Optuna's callback has it.
        let (state, status) = match &ending {
            Ok(Ending::Complete(_)) => ("COMPLETE", RunStatus::Finished),
            Ok(Ending::Pruned) => ("PRUNED", RunStatus::Finished),
            Err(Error::Interrupted) => ("FAIL", RunStatus::Killed),
            Err(_) => ("FAIL", RunStatus::Failed),
        };
        run.set_tag(TRIAL_STATE_TAG, state)?;
        run.set_tag("datetime_complete", self.now())?;
        if let Err(error) = &ending {
            run.set_tag("fail_reason", describe(error))?;
        }
        run.end(status)?;
        self.observer.event(&Event::TrialFinished {
            number,
            state,
            scores: match &ending {
                Ok(Ending::Complete(scores)) => Some(*scores),
                _ => None,
            },
        });
        ending
    }

    fn fit_and_judge(&self, trial: &mut Trial, run: &ActiveRun) -> Result<Ending> {
        let Proposal { network, training } = self.config.space.propose(trial)?;
        let number = trial.number();
        let name = network.name().to_owned();
        self.observer.event(&Event::TrialStarted {
            number,
            model_type: &name,
        });
        // A trial that repeats an interrupted one has its ordinal, and so its seed.
        let seed = self.config.seed.wrapping_add(trial.ordinal() as u64);
        let training = training
            .with_target(self.config.target.clone())
            .with_horizon(self.config.horizon.get())
            .with_seed(seed);
        self.log_parameters(trial, run, &name, &training)?;

        let mut fits: Vec<Forecaster> = Vec::with_capacity(self.blocks.len());
        let mut forecasts = Vec::new();
        for (fold, block) in self.blocks.iter().enumerate() {
            let rows = self.judged.slice(0..block.start + 1)?;
            let mut ended = None;
            let fitted = fit(
                &network,
                &rows,
                &training,
                &self.config.device,
                |logs: &EpochLogs| {
                    ended = self.hear_epoch(trial, run, fold, training.epochs, logs)?;
                    Ok(match ended {
                        Some(_) => ControlFlow::Break(()),
                        None => ControlFlow::Continue(()),
                    })
                },
            );
            let forecaster = fitted.map_err(own_error)?;
            match ended {
                Some(Break::Interrupted) => return Err(Error::Interrupted),
                Some(Break::Pruned) => return Ok(Ending::Pruned),
                None => {}
            }
            forecasts.extend(forecaster.forecast_at(self.judged, block.clone())?);
            fits.push(forecaster);
        }
        let scores = Outcomes::of(&forecasts, self.judged).scores();
        let scores = scores.ok_or_else(|| Error::NothingToForecast {
            column: self.window.target_column.clone(),
            first_target: self.window.first_target,
            last_target: self.window.last_target,
        })?;
        for (key, value) in scores.metrics("") {
            run.log_metric(&key, value, 0)?;
        }
        run.set_tag(SELECTION_DAYS_TAG, scores.n)?;
        self.log_bundles(fits, &scores, run)?;
        // The attributes come last: a trial that has them has its bundles.
        trial.set_user_attr(WINDOW_ATTR, self.window.to_attr())?;
        if let Ok(value) = serde_json::to_value(scores) {
            trial.set_user_attr(SCORES_ATTR, value)?;
        }
        Ok(Ending::Complete(scores))
    }

    /// Records an epoch, and says whether training is to end with it. The pruner hears the first
    /// fit alone: the later ones are of other rows.
    fn hear_epoch(
        &self,
        trial: &mut Trial,
        run: &ActiveRun,
        fold: usize,
        epochs: usize,
        logs: &EpochLogs,
    ) -> Result<Option<Break>> {
        let EpochLogs { epoch, loss, .. } = *logs;
        let val_loss = logs.val_loss.unwrap_or(loss);
        self.observer.event(&Event::Epoch {
            number: trial.number(),
            epoch: fold * epochs + epoch,
            epochs: self.blocks.len() * epochs,
            loss,
            val_loss,
        });
        let mut is_pruned = false;
        if fold == 0 {
            run.log_metric("loss", loss, epoch as i64)?;
            run.log_metric("val_loss", val_loss, epoch as i64)?;
            // Networks train on losses of different units; this measure is the same for all.
            if let Some(relative) = logs.val_relative_mae {
                run.log_metric("val_relative_MAE", relative, epoch as i64)?;
                trial.report(epoch as u64, relative)?;
                is_pruned = trial.should_prune()?;
            }
        }
        // What was pruned stays pruned, whether or not the search is to stop as well.
        if is_pruned {
            return Ok(Some(Break::Pruned));
        }
        let stop = self.config.stop.load(Ordering::Relaxed);
        Ok(stop.then_some(Break::Interrupted))
    }

    fn log_parameters(
        &self,
        trial: &Trial,
        run: &ActiveRun,
        model_type: &str,
        training: &TrainConfig,
    ) -> Result<()> {
        let mut params: Vec<(String, String)> = trial
            .params()
            .into_iter()
            .map(|(name, value)| (name, plain(&value)))
            .collect();
        // What a setting fixed is part of the record as much as what was searched.
        let fixed = [
            ("model_type", model_type.to_owned()),
            ("timesteps", training.timesteps.to_string()),
            (
                "prediction_length",
                self.config.prediction_length.to_string(),
            ),
            ("folds", self.config.folds.to_string()),
            ("holdout", self.config.holdout.to_string()),
            ("horizon", self.config.horizon.to_string()),
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

    /// Logs the newest fit under [`BUNDLE`] and the earlier ones under [`FOLDS`]; each appears
    /// whole or not at all.
    fn log_bundles(&self, fits: Vec<Forecaster>, scores: &Scores, run: &ActiveRun) -> Result<()> {
        let last = fits.len().saturating_sub(1);
        for (fold, forecaster) in fits.into_iter().enumerate() {
            let mut forecaster = forecaster
                .with_data_hash(&self.config.data_hash)
                .with_unused(self.unused.clone());
            for (key, value) in scores.metrics("") {
                forecaster = forecaster.with_metric(key, value);
            }
            let folder = tempfile::tempdir().map_err(|source| Error::Io {
                action: "create",
                path: "a temporary folder".into(),
                source,
            })?;
            let bundle: &Path = folder.path();
            forecaster.save(bundle)?;
            if fold == last {
                run.log_model(bundle, BUNDLE, describe_model(&forecaster, bundle)?)?;
            } else {
                run.log_artifacts(bundle, &format!("{FOLDS}/{fold}"))?;
            }
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

/// An error of our own that came back through the callback of a fit.
fn own_error(error: btc_models::Error) -> Error {
    match error {
        btc_models::Error::Callback(source) => match source.downcast::<Error>() {
            Ok(error) => *error,
            Err(source) => btc_models::Error::Callback(source).into(),
        },
        other => other.into(),
    }
}

/// What MLflow's clients are told about the bundle in a folder, and how they forecast with it if
/// it has a graph of ONNX.
///
/// # Errors
///
/// The folder cannot be written to.
fn describe_model(forecaster: &Forecaster, folder: &Path) -> Result<ModelFile> {
    let file = ModelFile::new(BUNDLE, 0).with_btc_flavor(
        1,
        btc_models::WEIGHTS_FILE,
        btc_models::MANIFEST_FILE,
    );
    let names = forecaster.feature_names();
    if !folder.join(btc_models::ONNX_FILE).exists() {
        let column = |name: &str| Column::new(name, DataType::Double);
        let inputs = names.into_iter().map(column).collect();
        let signature = Signature::of_columns(inputs, vec![column("forecast")]);
        return Ok(file.with_signature(signature));
    }
    for (name, content) in PYTHON_FILES {
        let path = folder.join(name);
        btc_files::replace(&path, content.as_bytes()).map_err(|source| Error::Io {
            action: "write",
            path,
            source,
        })?;
    }
    let rows = Tensor::float64([-1, -1, names.len() as i64]);
    let point = Tensor::float64([-1, -1]).with_name("point");
    let quantiles = Tensor::float64([-1, -1, -1]).with_name("quantiles");
    let mut file = file.with_onnx_flavor(btc_models::ONNX_FILE);
    // What the rows of the array are.
    let facts = [
        ("features", serde_json::Value::from(names)),
        ("required_rows", forecaster.required_rows().into()),
    ];
    for (name, fact) in facts {
        file.metadata.insert(name.to_owned(), fact);
    }
    Ok(file.with_signature(Signature::of_tensors(vec![rows], vec![point, quantiles])))
}
