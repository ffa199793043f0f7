//! The search: trials are added to a study, and the best is the best on today's window.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use btc_models::SeriesFrame;
use btc_track::{ActiveRun, Direction, Run, RunQuery, RunStatus, TrackingClient};
use btc_tune::{FrozenTrial, OnFailure, OptimizeOptions, Study, Trial, TrialState};
use serde::Serialize;

use crate::comparable::{Candidate, Comparison, MEASURE, SCORES_ATTR, claim_measure};
use crate::exclusion::LeftOut;
use crate::frame::TrainingFrame;
use crate::objective::{Context, RUN_ID_ATTR, TRIAL_STATE_TAG};
use crate::search_config::SearchConfig;
use crate::window::Window;
use crate::{Error, Event, Observer, Result, Split};

/// What a search did. Every score in it stands on the one `window`.
#[derive(Debug, Clone, Serialize)]
pub struct SearchOutcome {
    /// The study's name.
    pub study: String,
    /// The experiment that holds the runs.
    pub experiment: String,
    /// Trials in the study, earlier searches included.
    pub trials: usize,
    /// Number of the best trial: the least MAE relative to naive on the window.
    pub best_trial: usize,
    /// Its MAPE on the window, in percent.
    pub best_mape: f64,
    /// The naive forecast's MAPE on the window, in percent.
    pub naive_mape: f64,
    /// The best trial's MAE relative to the naive forecast's on the window.
    pub relative_mae: f64,
    /// The days that the trials were compared on.
    pub window: Window,
    /// Complete trials that could not be judged on the window.
    pub left_out: usize,
    /// Which those are, and why.
    pub left_out_trials: Vec<LeftOut>,
    /// Complete trials of other days that were judged anew from their bundles.
    pub judged_anew: usize,
    /// Whether the search was ended before all trials were made.
    pub stopped: bool,
}

/// Adds trials to `study`, each a run of experiment `experiment_id`, and names the best.
///
/// A trial fits one network on the training rows, and on the rows before each later block of the
/// selection set; its value is the MAE of its forecasts over the selection set relative to that of
/// repeating the last value. The hold-out rows are not looked at. The best is the best on today's
/// selection set: complete trials that were judged on other days are judged anew from their stored
/// bundles, where those were not trained on days of the set.
///
/// # Errors
///
/// [`Error::TooShort`] if the frame cannot be split, [`Error::OtherMeasure`] if the study's trials
/// were measured in another way, [`Error::NoCompleteTrial`] if no trial of the study can be
/// compared, [`Error::Interrupted`] if that is so because the search was stopped, and the stores'
/// own errors. A trial that fails is a failed run and does not end the search.
pub fn search(
    study: &Study,
    client: &TrackingClient,
    experiment_id: &str,
    frame: &TrainingFrame,
    config: &SearchConfig,
    observer: &dyn Observer,
) -> Result<SearchOutcome> {
    for remark in frame.remarks() {
        observer.event(&Event::Warning(&remark));
    }
    let series = &frame.series;
    let split = Split::with_horizon(
        series.rows(),
        config.prediction_length,
        config.holdout,
        config.space.longest_window(),
        config.horizon,
    )?;
    let blocks = split.blocks(config.folds)?;
    let judged = series.slice(0..split.selection.end + split.horizon)?;
    let window = selection_window(&judged, &split, config)?;
    claim_measure(study)?;
    let context = Context {
        client,
        experiment_id,
        judged: &judged,
        blocks: &blocks,
        window: &window,
        unused: &frame.unused,
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
    outcome(study, client, experiment_id, &judged, window, config)
}

/// The window of the selection set, if there is something to forecast in it.
fn selection_window(judged: &SeriesFrame, split: &Split, config: &SearchConfig) -> Result<Window> {
    let too_short = || Error::TooShort {
        rows: judged.rows(),
        needed: judged.rows() + 1,
        holdout: config.holdout,
        selection: config.prediction_length,
        timesteps: config.space.longest_window(),
    };
    let window = Window::of_selection(judged, split, &config.target, &config.data_hash)
        .ok_or_else(too_short)?;
    let values = judged.target();
    let is_still = split
        .selection
        .clone()
        .all(|origin| values[origin + split.horizon] == values[origin]);
    match is_still {
        true => Err(Error::NothingToForecast {
            column: window.target_column,
            first_target: window.first_target,
            last_target: window.last_target,
        }),
        false => Ok(window),
    }
}

fn outcome(
    study: &Study,
    client: &TrackingClient,
    experiment_id: &str,
    judged: &SeriesFrame,
    window: Window,
    config: &SearchConfig,
) -> Result<SearchOutcome> {
    let stopped = config.stop.load(Ordering::Relaxed);
    let trials = study.trials()?;
    let complete: Vec<&FrozenTrial> = trials
        .iter()
        .map(|trial| &**trial)
        .filter(|trial| trial.state == TrialState::Complete)
        .collect();
    let candidates: Vec<Candidate> = complete.iter().map(|trial| candidate(trial)).collect();
    let comparison = Comparison {
        client,
        device: &config.device,
        frames: judged,
        window: &window,
        metric: MEASURE,
        direction: Direction::Minimize,
    };
    let ranking = comparison.rank(&candidates)?;
    let best = ranking
        .ranked
        .first()
        .and_then(|best| Some((complete[best.index].number, best.scores?)));
    let Some((best_trial, scores)) = best else {
        return Err(match stopped {
            true => Error::Interrupted,
            false => Error::NoCompleteTrial {
                study: study.name().to_owned(),
                trials: trials.len(),
                left_out: ranking.left_out,
            },
        });
    };
    Ok(SearchOutcome {
        study: study.name().to_owned(),
        experiment: experiment_id.to_owned(),
        trials: trials.len(),
        best_trial,
        best_mape: scores.mape,
        naive_mape: scores.naive_mape,
        relative_mae: scores.relative_mae,
        window,
        left_out: ranking.left_out.len(),
        left_out_trials: ranking.left_out,
        judged_anew: ranking.judged_anew,
        stopped,
    })
}

/// A complete trial as its attributes tell of it.
fn candidate(trial: &FrozenTrial) -> Candidate {
    let run_id = trial.system_attrs.get(RUN_ID_ATTR);
    Candidate {
        name: trial.number.to_string(),
        run_id: run_id.and_then(|id| id.as_str()).map(str::to_owned),
        window: Window::from_attr(&trial.user_attrs),
        scores: trial
            .user_attrs
            .get(SCORES_ATTR)
            .and_then(|scores| serde_json::from_value(scores.clone()).ok()),
        value: trial.value(),
    }
}

/// Ends the runs of trials whose process died: the study has failed those
/// trials, and a run that goes on for ever would be a lie.
fn end_orphans(study: &Study, client: &TrackingClient, experiment_id: &str) -> Result<()> {
    let running = running_runs(client, experiment_id)?;
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

fn running_runs(client: &TrackingClient, experiment_id: &str) -> Result<Vec<Run>> {
    let mut query = RunQuery::new([experiment_id]).with_filter("attributes.status = 'RUNNING'");
    let mut runs = Vec::new();
    loop {
        let page = client.tracking.search_runs(&query)?;
        runs.extend(page.items);
        match page.next_page_token {
            Some(token) => query.page_token = Some(token),
            None => return Ok(runs),
        }
    }
}
