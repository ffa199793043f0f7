//! The cases every [`Storage`] passes.
//!
//! Call [`check`] from a test of your storage:
//!
//! ```
//! use btc_tune::{InMemoryStorage, conformance};
//! conformance::check(|| Box::new(InMemoryStorage::new()));
//! ```

#![expect(clippy::unwrap_used, reason = "a failing case is meant to panic")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::{
    AttrScope, CategoricalDistribution, Choice, Distribution, Error, FloatDistribution,
    FrozenTrial, Heartbeat, IntDistribution, NewTrial, Param, Storage, StudyDirection, StudyId,
    TrialId, TrialState, TrialUpdate,
};

/// Runs all cases, each on a new, empty storage.
///
/// # Panics
///
/// If the storage fails a case.
pub fn check(open: impl Fn() -> Box<dyn Storage>) {
    studies_have_unique_names(&*open());
    attributes_are_replaced(&*open());
    trials_are_numbered_within_their_study(&*open());
    a_number_is_taken_once(&*open());
    everything_a_trial_has_comes_back(&*open());
    finished_trials_never_change(&*open());
    updates_happen_together_or_not_at_all(&*open());
    distributions_must_fit_those_used_before(&*open());
    outcomes_must_fit_the_study(&*open());
    a_queued_trial_is_taken_once(&*open());
    threads_lose_nothing(&*open());
    deleting_takes_all_trials(&*open());
    unknown_things_are_errors(&*open());
    summaries_name_the_best(&*open());
}

/// Runs the cases about heartbeats, for storages that keep them.
///
/// # Panics
///
/// If the storage fails a case.
pub fn check_heartbeats(open: impl Fn() -> Box<dyn Storage>) {
    let storage = open();
    let study = study(&*storage, "s");
    let silent = storage
        .create_trial(study, NewTrial::running(at(0)))
        .unwrap();
    let alive = storage
        .create_trial(study, NewTrial::running(at(0)))
        .unwrap();
    let dead = NewTrial {
        heartbeat: Some(at(0)),
        ..NewTrial::running(at(0))
    };
    let dead = storage.create_trial(study, dead).unwrap();
    let queued = storage.create_trial(study, NewTrial::waiting()).unwrap();
    storage.record_heartbeat(alive.id, at(0)).unwrap();
    storage.record_heartbeat(alive.id, at(100)).unwrap();
    assert!(
        storage
            .claim_trial(queued.id, at(0), Heartbeat::On, &[])
            .unwrap()
    );
    assert_eq!(
        storage.stale_trials(study, at(50)).unwrap(),
        [dead.id, queued.id]
    );
    let _ = silent;
    storage
        .update_trial(dead.id, &[finish(TrialState::Fail, &[])])
        .unwrap();
    assert_eq!(storage.stale_trials(study, at(50)).unwrap(), [queued.id]);
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 123_456_000).unwrap() + TimeDelta::seconds(seconds)
}

fn study(storage: &dyn Storage, name: &str) -> StudyId {
    storage
        .create_study(name, &[StudyDirection::Minimize])
        .unwrap()
}

fn running(storage: &dyn Storage, study: StudyId) -> TrialId {
    storage
        .create_trial(study, NewTrial::running(at(0)))
        .unwrap()
        .id
}

fn finish(state: TrialState, values: &[f64]) -> TrialUpdate {
    TrialUpdate::Finish {
        state,
        values: values.to_vec(),
        at: at(9),
    }
}

fn param(name: &str, distribution: impl Into<Distribution>, internal: f64) -> Param {
    Param {
        name: name.into(),
        distribution: Arc::new(distribution.into()),
        internal,
    }
}

fn studies_have_unique_names(storage: &dyn Storage) {
    let directions = [StudyDirection::Minimize, StudyDirection::Maximize];
    let a = storage
        .create_study("ä \"quoted\" name", &directions)
        .unwrap();
    let again = storage.create_study("ä \"quoted\" name", &directions);
    assert!(matches!(again, Err(Error::DuplicatedStudy { .. })));
    let b = study(storage, "b");
    assert_eq!(storage.find_study("ä \"quoted\" name").unwrap(), Some(a));
    assert_eq!(storage.find_study("none").unwrap(), None);
    assert_eq!(storage.study_ids().unwrap(), [a, b]);
    assert_eq!(storage.study(a).unwrap().directions, directions);
    assert!(storage.create_study("no direction", &[]).is_err());
    assert!(storage.create_study(&"x".repeat(513), &directions).is_err());
}

fn attributes_are_replaced(storage: &dyn Storage) {
    let id = study(storage, "s");
    let long = json!({"nested": [1, 2.5, null, true, "é\n"], "text": "x".repeat(5000)});
    storage
        .set_study_attr(id, AttrScope::User, "k", &json!(1))
        .unwrap();
    storage
        .set_study_attr(id, AttrScope::User, "k", &long)
        .unwrap();
    storage
        .set_study_attr(id, AttrScope::System, "k", &json!("other"))
        .unwrap();
    let frozen = storage.study(id).unwrap();
    assert_eq!(
        (&frozen.user_attrs["k"], &frozen.system_attrs["k"]),
        (&long, &json!("other"))
    );
    let trial = running(storage, id);
    let set = |scope, value: Value| TrialUpdate::Attr {
        scope,
        key: "k".to_owned(),
        value,
    };
    storage
        .update_trial(trial, &[set(AttrScope::User, json!(1))])
        .unwrap();
    storage
        .update_trial(
            trial,
            &[
                set(AttrScope::User, json!([2])),
                set(AttrScope::System, json!(3)),
            ],
        )
        .unwrap();
    let frozen = storage.trial(trial).unwrap();
    assert_eq!(
        (&frozen.user_attrs["k"], &frozen.system_attrs["k"]),
        (&json!([2]), &json!(3))
    );
}

fn trials_are_numbered_within_their_study(storage: &dyn Storage) {
    let (a, b) = (study(storage, "a"), study(storage, "b"));
    for _ in 0..3 {
        running(storage, a);
        running(storage, b);
    }
    for id in [a, b] {
        let trials = storage.trials(id).unwrap();
        assert_eq!(
            trials.iter().map(|t| t.number).collect::<Vec<_>>(),
            [0, 1, 2]
        );
        assert!(trials.windows(2).all(|pair| pair[0].id < pair[1].id));
    }
    let ids = |id| {
        storage
            .trials(id)
            .unwrap()
            .iter()
            .map(|t| t.id)
            .collect::<Vec<_>>()
    };
    assert!(
        ids(a).iter().all(|id| !ids(b).contains(id)),
        "identifiers are global"
    );
}

fn a_number_is_taken_once(storage: &dyn Storage) {
    let id = study(storage, "s");
    let create = |number| {
        storage
            .create_trial_numbered(id, number, NewTrial::running(at(0)))
            .unwrap()
    };
    assert!(create(1).is_none());
    assert_eq!(create(0).unwrap().number, 0);
    assert!(create(0).is_none());
    assert_eq!(create(1).unwrap().number, 1);
}

/// A trial with everything in it.
fn full() -> NewTrial {
    let choices = [
        Choice::Null,
        Choice::Bool(true),
        Choice::Int(-3),
        Choice::Float(2.5),
        Choice::Str("é".to_owned()),
    ];
    let mut new = NewTrial {
        state: TrialState::Complete,
        values: vec![-0.1],
        parameters: vec![
            param("z", FloatDistribution::log(1e-5, 1.0).unwrap(), 0.1 + 0.2),
            param("a", IntDistribution::stepped(0, 8, 2).unwrap(), 4.0),
            param("c", CategoricalDistribution::new(choices).unwrap(), 4.0),
        ],
        intermediate_values: vec![
            (0, f64::NAN),
            (1, f64::INFINITY),
            (2, f64::NEG_INFINITY),
            (1_000_000_000_000, 1e-300),
        ],
        datetime_complete: Some(at(7)),
        ..NewTrial::running(at(1))
    };
    new.user_attrs
        .insert("u".to_owned(), json!({"deep": [null]}));
    new.system_attrs.insert("s".to_owned(), json!("text"));
    new
}

/// Equal in all that is stored; NaN equals NaN.
fn assert_same(actual: &FrozenTrial, expected: &NewTrial) {
    let plain = |trial: &NewTrial| {
        let mut trial = trial.clone();
        for (_, value) in &mut trial.intermediate_values {
            *value = if value.is_nan() { 12345.0 } else { *value };
        }
        trial.heartbeat = None;
        trial
    };
    assert_eq!(plain(&NewTrial::from(actual)), plain(expected));
}

fn everything_a_trial_has_comes_back(storage: &dyn Storage) {
    let id = study(storage, "s");
    let whole = full();
    let created = storage.create_trial(id, whole.clone()).unwrap();
    assert_same(&created, &whole);
    assert_same(&storage.trial(created.id).unwrap(), &whole);

    let trial = running(storage, id);
    let mut updates: Vec<TrialUpdate> = whole
        .parameters
        .iter()
        .cloned()
        .map(TrialUpdate::Param)
        .collect();
    updates.extend(whole.intermediate_values.iter().map(|(step, value)| {
        TrialUpdate::Intermediate {
            step: *step,
            value: *value,
        }
    }));
    for update in &updates {
        storage
            .update_trial(trial, std::slice::from_ref(update))
            .unwrap();
    }
    storage
        .update_trial(trial, &[finish(TrialState::Pruned, &[f64::INFINITY])])
        .unwrap();
    let expected = NewTrial {
        state: TrialState::Pruned,
        values: vec![f64::INFINITY],
        user_attrs: Default::default(),
        system_attrs: Default::default(),
        datetime_start: Some(at(0)),
        datetime_complete: Some(at(9)),
        ..whole
    };
    assert_same(&storage.trials(id).unwrap()[1], &expected);
}

fn finished_trials_never_change(storage: &dyn Storage) {
    let id = study(storage, "s");
    for (state, values) in [
        (TrialState::Complete, &[1.0][..]),
        (TrialState::Pruned, &[]),
        (TrialState::Fail, &[]),
    ] {
        let trial = running(storage, id);
        storage
            .update_trial(trial, &[finish(state, values)])
            .unwrap();
        let before = storage.trial(trial).unwrap();
        for update in [
            TrialUpdate::Intermediate {
                step: 0,
                value: 1.0,
            },
            TrialUpdate::Param(param("x", FloatDistribution::new(0.0, 1.0).unwrap(), 0.5)),
            TrialUpdate::Attr {
                scope: AttrScope::User,
                key: "k".to_owned(),
                value: Value::Null,
            },
            finish(TrialState::Complete, &[0.0]),
        ] {
            let error = storage.update_trial(trial, &[update]).unwrap_err();
            assert!(matches!(error, Error::TrialFinished { .. }), "{error}");
        }
        assert!(
            !storage
                .claim_trial(trial, at(1), Heartbeat::Off, &[])
                .unwrap()
        );
        assert_eq!(storage.trial(trial).unwrap(), before);
    }
}

fn updates_happen_together_or_not_at_all(storage: &dyn Storage) {
    let id = study(storage, "s");
    let trial = running(storage, id);
    let report = TrialUpdate::Intermediate {
        step: 3,
        value: 1.0,
    };
    let wrong = finish(TrialState::Complete, &[1.0, 2.0]);
    assert!(
        storage
            .update_trial(trial, &[report.clone(), wrong])
            .is_err()
    );
    let frozen = storage.trial(trial).unwrap();
    assert!(frozen.intermediate_values.is_empty() && frozen.state == TrialState::Running);
    storage
        .update_trial(trial, &[report, finish(TrialState::Complete, &[1.0])])
        .unwrap();
    let frozen = storage.trial(trial).unwrap();
    assert_eq!(
        (frozen.intermediate_values[&3], frozen.value()),
        (1.0, Some(1.0))
    );
    assert_eq!(frozen.datetime_complete, Some(at(9)));
}

fn distributions_must_fit_those_used_before(storage: &dyn Storage) {
    let (id, other) = (study(storage, "s"), study(storage, "t"));
    let set = |study, distribution: Distribution| {
        let trial = running(storage, study);
        storage.update_trial(trial, &[TrialUpdate::Param(param("x", distribution, 1.0))])
    };
    set(id, FloatDistribution::new(0.0, 1.0).unwrap().into()).unwrap();
    set(id, FloatDistribution::new(-1.0, 2.0).unwrap().into()).unwrap();
    for distribution in [
        Distribution::from(FloatDistribution::log(0.5, 1.0).unwrap()),
        IntDistribution::new(0, 1).unwrap().into(),
        CategoricalDistribution::new(["a", "b"]).unwrap().into(),
    ] {
        let error = set(id, distribution.clone()).unwrap_err();
        assert!(
            matches!(error, Error::IncompatibleDistribution { .. }),
            "{error}"
        );
        let new = NewTrial {
            parameters: vec![param("x", distribution, 1.0)],
            ..NewTrial::waiting()
        };
        assert!(storage.create_trial(id, new).is_err());
    }
    set(other, IntDistribution::new(0, 1).unwrap().into()).unwrap();
}

fn outcomes_must_fit_the_study(storage: &dyn Storage) {
    let two = storage
        .create_study("two", &[StudyDirection::Minimize, StudyDirection::Maximize])
        .unwrap();
    let trial = running(storage, two);
    for update in [
        finish(TrialState::Complete, &[1.0]),
        finish(TrialState::Complete, &[1.0, f64::NAN]),
        finish(TrialState::Fail, &[1.0]),
        finish(TrialState::Running, &[]),
    ] {
        assert!(storage.update_trial(trial, &[update]).is_err());
    }
    storage
        .update_trial(
            trial,
            &[finish(TrialState::Complete, &[f64::NEG_INFINITY, 2.0])],
        )
        .unwrap();
    assert_eq!(
        storage.trial(trial).unwrap().values,
        [f64::NEG_INFINITY, 2.0]
    );
}

fn a_queued_trial_is_taken_once(storage: &dyn Storage) {
    let id = study(storage, "s");
    let queued = storage.create_trial(id, NewTrial::waiting()).unwrap();
    assert_eq!(
        (queued.state, queued.datetime_start),
        (TrialState::Waiting, None)
    );
    let taken: usize = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    storage
                        .claim_trial(queued.id, at(3), Heartbeat::Off, &[])
                        .unwrap()
                })
            })
            .collect();
        workers
            .into_iter()
            .map(|worker| usize::from(worker.join().unwrap()))
            .sum()
    });
    assert_eq!(taken, 1);
    let trial = storage.trial(queued.id).unwrap();
    assert_eq!(
        (trial.state, trial.datetime_start),
        (TrialState::Running, Some(at(3)))
    );
}

fn threads_lose_nothing(storage: &dyn Storage) {
    const EACH: usize = 15;
    let id = study(storage, "s");
    std::thread::scope(|scope| {
        for worker in 0..4 {
            scope.spawn(move || {
                for i in 0..EACH {
                    let trial = running(storage, id);
                    let distribution = FloatDistribution::new(0.0, 100.0).unwrap();
                    let value = (worker * EACH + i) as f64;
                    let update = TrialUpdate::Param(param("x", distribution, value));
                    storage.update_trial(trial, &[update]).unwrap();
                    storage
                        .update_trial(trial, &[finish(TrialState::Complete, &[value])])
                        .unwrap();
                }
            });
        }
    });
    let trials = storage.trials(id).unwrap();
    let mut values: Vec<f64> = trials.iter().filter_map(|trial| trial.value()).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, (0..4 * EACH).map(|i| i as f64).collect::<Vec<_>>());
    for (number, trial) in trials.iter().enumerate() {
        assert_eq!(trial.number, number);
        assert_eq!(trial.parameters[0].internal, trial.values[0]);
    }
}

fn deleting_takes_all_trials(storage: &dyn Storage) {
    let (a, b) = (study(storage, "a"), study(storage, "b"));
    let gone = storage.create_trial(a, full()).unwrap();
    let kept = storage.create_trial(b, full()).unwrap();
    storage.delete_study(a).unwrap();
    assert!(matches!(storage.trials(a), Err(Error::UnknownStudy { .. })));
    assert!(matches!(
        storage.delete_study(a),
        Err(Error::UnknownStudy { .. })
    ));
    assert!(matches!(
        storage.trial(gone.id),
        Err(Error::UnknownTrial { .. })
    ));
    assert_same(&storage.trial(kept.id).unwrap(), &full());
    let a = study(storage, "a");
    assert!(storage.trials(a).unwrap().is_empty());
}

fn unknown_things_are_errors(storage: &dyn Storage) {
    let (study, trial) = (StudyId(4711), TrialId(4711));
    assert!(matches!(
        storage.study(study),
        Err(Error::UnknownStudy { .. })
    ));
    assert!(matches!(
        storage.trials(study),
        Err(Error::UnknownStudy { .. })
    ));
    let created = storage.create_trial(study, NewTrial::waiting());
    assert!(matches!(created, Err(Error::UnknownStudy { .. })));
    let set = storage.set_study_attr(study, AttrScope::User, "k", &Value::Null);
    assert!(matches!(set, Err(Error::UnknownStudy { .. })));
    assert!(matches!(
        storage.trial(trial),
        Err(Error::UnknownTrial { .. })
    ));
    assert!(matches!(
        storage.update_trial(trial, &[]),
        Err(Error::UnknownTrial { .. })
    ));
    let claimed = storage.claim_trial(trial, at(0), Heartbeat::Off, &[]);
    assert!(matches!(claimed, Err(Error::UnknownTrial { .. })));
}

fn summaries_name_the_best(storage: &dyn Storage) {
    let id = storage
        .create_study("s", &[StudyDirection::Maximize])
        .unwrap();
    let summary = storage.studies().unwrap().remove(0);
    assert_eq!(
        (summary.n_trials, summary.best_value, summary.datetime_start),
        (0, None, None)
    );
    for value in [1.0, 3.0, 2.0] {
        let trial = running(storage, id);
        storage
            .update_trial(trial, &[finish(TrialState::Complete, &[value])])
            .unwrap();
    }
    let pruned = running(storage, id);
    storage
        .update_trial(pruned, &[finish(TrialState::Pruned, &[9.0])])
        .unwrap();
    let summary = storage.studies().unwrap().remove(0);
    assert_eq!(
        (summary.id, summary.name.as_str(), summary.n_trials),
        (id, "s", 4)
    );
    assert_eq!(
        (summary.best_value, summary.datetime_start),
        (Some(3.0), Some(at(0)))
    );
    assert_eq!(summary.best_trial.map(|trial| trial.number), Some(1));
}
