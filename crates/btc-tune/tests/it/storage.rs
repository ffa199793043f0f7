//! Every storage keeps the same promises.

use btc_tune::{InMemoryStorage, JournalStorage, Storage, conformance};

#[test]
fn memory_conforms() {
    let open = || -> Box<dyn Storage> { Box::new(InMemoryStorage::new()) };
    conformance::check(open);
    conformance::check_heartbeats(open);
}

/// A new file for each case.
fn files() -> impl Fn(&str) -> std::path::PathBuf {
    let dir = tempfile::tempdir().unwrap();
    let count = std::cell::Cell::new(0);
    move |ending| {
        count.set(count.get() + 1);
        dir.path().join(format!("{}.{ending}", count.get()))
    }
}

#[test]
fn the_journal_conforms() {
    let file = files();
    conformance::check(|| Box::new(JournalStorage::open(file("log")).unwrap()));
}

#[cfg(feature = "sqlite")]
#[test]
fn sqlite_conforms() {
    use btc_tune::SqliteStorage;
    let file = files();
    let open = || -> Box<dyn Storage> { Box::new(SqliteStorage::open(file("db")).unwrap()) };
    conformance::check(open);
    conformance::check_heartbeats(open);
}

mod equal {
    use std::sync::Arc;

    use btc_tune::{
        AttrScope, Distribution, FloatDistribution, Heartbeat, InMemoryStorage, IntDistribution,
        JournalStorage, NewTrial, Param, Storage, StudyDirection, TrialState, TrialUpdate,
    };
    use proptest::prelude::*;

    /// A change, with the trial it is about as a number to be taken modulo how many there are.
    #[derive(Debug, Clone)]
    enum Change {
        Create(bool),
        Claim(usize),
        Param(usize, u8, f64),
        Report(usize, u64, f64),
        Attr(usize, bool, u8, String),
        Finish(usize, u8, f64),
    }

    fn change() -> impl Strategy<Value = Change> {
        let value = prop_oneof![
            any::<f64>(),
            Just(f64::NAN),
            Just(f64::INFINITY),
            -5.0..5.0_f64
        ];
        // SQLite keeps no sign of zero.
        let value = value.prop_map(|value| value + 0.0);
        let (a, b) = (value.clone(), value);
        prop_oneof![
            any::<bool>().prop_map(Change::Create),
            any::<usize>().prop_map(Change::Claim),
            (any::<usize>(), 0..3_u8, -5.0..5.0_f64).prop_map(|(t, k, v)| Change::Param(t, k, v)),
            (any::<usize>(), 0..4_u64, a).prop_map(|(t, s, v)| Change::Report(t, s, v)),
            (any::<usize>(), any::<bool>(), 0..3_u8, ".{0,12}")
                .prop_map(|(t, u, k, v)| Change::Attr(t, u, k, v)),
            (any::<usize>(), 0..3_u8, b).prop_map(|(t, s, v)| Change::Finish(t, s, v)),
        ]
    }

    fn now() -> chrono::DateTime<chrono::Utc> {
        chrono::DateTime::from_timestamp(1_700_000_000, 5_000).unwrap()
    }

    /// Applies changes; what a storage refuses is part of what it answers.
    fn apply(storage: &dyn Storage, changes: &[Change]) -> (Vec<bool>, String) {
        let study = storage
            .create_study("s", &[StudyDirection::Minimize])
            .unwrap();
        let mut ids = Vec::new();
        let mut accepted = Vec::new();
        for change in changes {
            let pick = |t: &usize| ids.get(t % ids.len().max(1)).copied();
            let update = match change {
                Change::Create(waiting) => {
                    let new = if *waiting {
                        NewTrial::waiting()
                    } else {
                        NewTrial::running(now())
                    };
                    ids.push(storage.create_trial(study, new).unwrap().id);
                    continue;
                }
                Change::Claim(t) => {
                    if let Some(id) = pick(t) {
                        accepted.push(storage.claim_trial(id, now(), Heartbeat::Off, &[]).unwrap());
                    }
                    continue;
                }
                Change::Param(t, kind, value) => {
                    let distribution: Distribution = match kind {
                        0 => FloatDistribution::new(-5.0, 5.0).unwrap().into(),
                        1 => FloatDistribution::new(-9.0, 9.0).unwrap().into(),
                        _ => IntDistribution::new(-5, 5).unwrap().into(),
                    };
                    // As above: rounding makes a negative zero of -0.4.
                    let internal = if *kind == 2 {
                        value.round() + 0.0
                    } else {
                        *value
                    };
                    let param = Param {
                        name: "x".into(),
                        distribution: Arc::new(distribution),
                        internal,
                    };
                    (t, TrialUpdate::Param(param))
                }
                Change::Report(t, step, value) => (
                    t,
                    TrialUpdate::Intermediate {
                        step: *step,
                        value: *value,
                    },
                ),
                Change::Attr(t, user, key, value) => {
                    let scope = if *user {
                        AttrScope::User
                    } else {
                        AttrScope::System
                    };
                    let (key, value) = (key.to_string(), value.as_str().into());
                    (t, TrialUpdate::Attr { scope, key, value })
                }
                Change::Finish(t, state, value) => {
                    let (state, values) = match state {
                        0 => (TrialState::Complete, vec![*value]),
                        1 => (TrialState::Pruned, vec![*value]),
                        _ => (TrialState::Fail, Vec::new()),
                    };
                    (
                        t,
                        TrialUpdate::Finish {
                            state,
                            values,
                            at: now(),
                        },
                    )
                }
            };
            if let Some(id) = pick(update.0) {
                accepted.push(storage.update_trial(id, &[update.1]).is_ok());
            }
        }
        // Debug prints NaN as equal to itself.
        let trials: Vec<NewTrial> = storage
            .trials(study)
            .unwrap()
            .iter()
            .map(|trial| NewTrial::from(&**trial))
            .collect();
        (accepted, format!("{trials:?}"))
    }

    proptest! {
        #![proptest_config(btc_testing::cases(40))]

        #[test]
        fn storages_cannot_be_told_apart(changes in proptest::collection::vec(change(), 1..60)) {
            let dir = tempfile::tempdir().unwrap();
            let expected = apply(&InMemoryStorage::new(), &changes);
            let log = dir.path().join("s.log");
            let journal = JournalStorage::open(&log).unwrap();
            prop_assert_eq!(&apply(&journal, &changes), &expected);
            let again = JournalStorage::open(&log).unwrap();
            let study = again.find_study("s").unwrap().unwrap();
            prop_assert_eq!(format!("{:?}", again.trials(study).unwrap()), format!("{:?}", journal.trials(study).unwrap()));
            #[cfg(feature = "sqlite")]
            {
                let file = dir.path().join("s.db");
                let sqlite = btc_tune::SqliteStorage::open(&file).unwrap();
                prop_assert_eq!(&apply(&sqlite, &changes), &expected);
                let again = btc_tune::SqliteStorage::open(&file).unwrap();
                let study = again.find_study("s").unwrap().unwrap();
                let (a, b) = (again.trials(study).unwrap(), sqlite.trials(study).unwrap());
                prop_assert_eq!(format!("{:?}", a), format!("{:?}", b));
            }
        }
    }
}

/// Closing waits for nobody: a reader of another process may stay for as long as it likes.
#[cfg(feature = "sqlite")]
#[test]
fn closing_does_not_wait_for_readers() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.db");
    let storage = btc_tune::SqliteStorage::open(&file).unwrap();
    let directions = [btc_tune::StudyDirection::Minimize];
    storage.create_study("a", &directions).unwrap();
    let reader = rusqlite::Connection::open(&file).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM studies")
        .unwrap();
    storage.create_study("b", &directions).unwrap();
    let (closed, is_closed) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(storage);
        closed.send(()).unwrap();
    });
    // The reader is still there when the storage is gone; the limit only ends a failing test.
    is_closed
        .recv_timeout(std::time::Duration::from_secs(40))
        .unwrap();
    reader.execute_batch("COMMIT").unwrap();
    drop(reader);
    let again = btc_tune::SqliteStorage::open(&file).unwrap();
    assert_eq!(again.study_ids().unwrap().len(), 2);
}
