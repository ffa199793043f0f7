//! An interrupted search, resumed, is the search that was not interrupted.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use btc_pipeline::{
    Error, Event, Observer, SearchConfig, SearchOutcome, StudyConfig, TrainingFrame, open_study,
    search,
};
use btc_track::{ActiveRun, RunQuery, RunSpec, RunStatus, TrackingClient};
use btc_tune::{InMemoryStorage, Storage, TrialState};

use crate::{config, project, series, table};

/// Stops the search in an epoch of a trial.
struct StopAt {
    number: usize,
    epoch: usize,
    stop: Arc<AtomicBool>,
}

impl Observer for StopAt {
    fn event(&self, event: &Event<'_>) {
        if let Event::Epoch { number, epoch, .. } = event
            && (*number, *epoch) == (self.number, self.epoch)
        {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

struct Setting {
    client: TrackingClient,
    storage: Arc<dyn Storage>,
    frame: TrainingFrame,
    jobs: usize,
}

impl Setting {
    fn search(
        &self,
        n_trials: usize,
        stop_at: Option<(usize, usize)>,
    ) -> btc_pipeline::Result<SearchOutcome> {
        let experiment = self.client.get_or_create_experiment("search").unwrap();
        let study_config = StudyConfig {
            seed: 7,
            ..StudyConfig::default()
        };
        let study = open_study(self.storage.clone(), "search", &study_config).unwrap();
        let config = SearchConfig {
            jobs: NonZeroUsize::new(self.jobs).unwrap(),
            ..config(n_trials)
        };
        let (number, epoch) = stop_at.unwrap_or((usize::MAX, 0));
        let observer = StopAt {
            number,
            epoch,
            stop: config.stop.clone(),
        };
        search(
            &study,
            &self.client,
            &experiment.experiment_id,
            &self.frame,
            &config,
            &observer,
        )
    }

    /// The complete trials: parameters and value, in the order of the parameters.
    fn complete(&self) -> Vec<(String, u64)> {
        let study = open_study(self.storage.clone(), "search", &StudyConfig::default()).unwrap();
        let mut found: Vec<(String, u64)> = study
            .trials()
            .unwrap()
            .iter()
            .filter(|trial| trial.state == TrialState::Complete)
            .map(|trial| {
                let params: Vec<String> = trial
                    .params()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                (params.join(" "), trial.value().unwrap().to_bits())
            })
            .collect();
        found.sort();
        found
    }
}

fn check(jobs: usize) {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let frame = series(&table(&project));
    let setting = |name: &str| Setting {
        client: TrackingClient::in_memory(&folder.path().join(name)).unwrap(),
        storage: Arc::new(InMemoryStorage::new()),
        frame: frame.clone(),
        jobs,
    };
    let undisturbed = setting("undisturbed");
    undisturbed.search(4, None).unwrap();

    let disturbed = setting("disturbed");
    // With several jobs the other trial may or may not have ended by then.
    match disturbed.search(4, Some((1, 2))) {
        Ok(outcome) => assert!(outcome.stopped),
        Err(error) => assert!(matches!(error, Error::Interrupted), "{error}"),
    }
    let experiment = disturbed.client.experiment("search").unwrap();
    let query = RunQuery::new([experiment.experiment_id]);
    let runs = disturbed.client.tracking.search_runs(&query).unwrap().items;
    let killed = runs.iter().find(|run| run.info.run_name == "1").unwrap();
    assert_eq!(killed.info.status, RunStatus::Killed);
    assert_eq!(killed.tag("state"), Some("FAIL"));
    let bundle = btc_track::open_artifacts(&disturbed.client, killed, btc_pipeline::BUNDLE);
    assert!(
        bundle.unwrap().is_none(),
        "an interrupted trial left a bundle"
    );
    assert!(runs.iter().all(|run| run.info.status != RunStatus::Running));

    let left = 4 - disturbed.complete().len();
    disturbed.search(left, None).unwrap();
    assert_eq!(disturbed.complete(), undisturbed.complete());
}

#[test]
fn an_interrupted_trial_fails_and_its_parameters_are_tried_again() {
    check(1);
}

#[test]
fn so_it_is_with_several_jobs() {
    check(2);
}

#[test]
fn a_search_interrupted_before_a_trial_completed_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let setting = Setting {
        client: TrackingClient::in_memory(folder.path()).unwrap(),
        storage: Arc::new(InMemoryStorage::new()),
        frame: series(&table(&project)),
        jobs: 1,
    };
    assert!(matches!(
        setting.search(2, Some((0, 1))),
        Err(Error::Interrupted)
    ));
    assert!(setting.complete().is_empty());
}

#[test]
fn runs_of_trials_that_ended_without_them_are_ended_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let setting = Setting {
        client: TrackingClient::in_memory(folder.path()).unwrap(),
        storage: Arc::new(InMemoryStorage::new()),
        frame: series(&table(&project)),
        jobs: 1,
    };
    // The process of trial 0 died, and the study has failed it; that of trial 1 goes on elsewhere.
    let study = open_study(
        setting.storage.clone(),
        "search",
        &StudyConfig {
            pruner: btc_tune::PrunerKind::None,
            ..StudyConfig::default()
        },
    )
    .unwrap();
    let died = study.ask().unwrap();
    study.tell(&died, btc_tune::Outcome::Failed).unwrap();
    let goes_on = study.ask().unwrap();
    assert_eq!((died.number(), goes_on.number()), (0, 1));
    let experiment = setting.client.get_or_create_experiment("search").unwrap();
    let start = |tags: &[(&str, &str)]| {
        let tags = tags.iter().map(|(key, value)| (*key, (*value).to_owned()));
        let spec = RunSpec::named("of a process").with_tags(tags);
        let run = ActiveRun::start(&setting.client, &experiment.experiment_id, spec).unwrap();
        let id = run.id().to_owned();
        // A process that dies ends no run.
        std::mem::forget(run);
        id
    };
    let orphan = start(&[("study", "search"), ("number", "0")]);
    let others = [
        start(&[("study", "search"), ("number", "1")]),
        start(&[("study", "another"), ("number", "0")]),
        start(&[("study", "search"), ("number", "77")]),
        start(&[("study", "search")]),
        start(&[]),
    ];
    setting.search(1, None).unwrap();
    let ended = setting.client.run(&orphan).unwrap();
    assert_eq!(ended.info.status, RunStatus::Killed);
    assert_eq!(ended.tag("state"), Some("FAIL"));
    for other in others {
        let run = setting.client.run(&other).unwrap();
        assert_eq!(run.info.status, RunStatus::Running, "{:?}", run.data.tags);
    }
}
