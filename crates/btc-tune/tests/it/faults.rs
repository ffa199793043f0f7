//! What happens when files are broken, foreign, or change behind our back.

use std::io::Write as _;

use btc_tune::{Error, JournalStorage, NewTrial, Storage, StudyDirection};

fn now() -> chrono::DateTime<chrono::Utc> {
    chrono::DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

const ONE: [StudyDirection; 1] = [StudyDirection::Minimize];

#[test]
fn a_torn_line_of_a_journal_is_cut_off_by_the_next_writer() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("studies.log");
    let storage = JournalStorage::open(&path).unwrap();
    let study = storage.create_study("s", &ONE).unwrap();
    storage
        .create_trial(study, NewTrial::running(now()))
        .unwrap();
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&path)
        .unwrap();
    file.write_all(br#"{"op_code":4,"worker_id":"x","stu"#)
        .unwrap();
    drop(file);
    assert_eq!(
        JournalStorage::open(&path)
            .unwrap()
            .trials(study)
            .unwrap()
            .len(),
        1
    );
    storage
        .create_trial(study, NewTrial::running(now()))
        .unwrap();
    assert_eq!(
        JournalStorage::open(&path)
            .unwrap()
            .trials(study)
            .unwrap()
            .len(),
        2
    );
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3);
    assert!(!dir.path().join("studies.log.lock").exists());
}

#[test]
fn a_broken_line_of_a_journal_is_named() {
    for line in [
        "no json",
        "{}",
        r#"{"op_code":77,"worker_id":"x"}"#,
        r#"{"op_code":5,"worker_id":"x","trial_id":0}"#,
        r#"{"op_code":7,"worker_id":"x","trial_id":0,"step":-1,"intermediate_value":NaN}"#,
        "\u{0}\u{ff}",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("studies.log");
        let first = r#"{"op_code":0,"worker_id":"x","study_name":"s","directions":[1]}"#;
        std::fs::write(&path, format!("{first}\n{line}\n{first}\n")).unwrap();
        let error = JournalStorage::open(&path).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
        assert!(error.to_string().contains("line 2 of the log"), "{error}");
    }
}

#[test]
fn what_the_rules_forbid_has_no_effect_in_a_journal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("studies.log");
    let lines = [
        r#"{"op_code":0,"worker_id":"x","study_name":"s","directions":[2]}"#,
        r#"{"op_code":0,"worker_id":"y","study_name":"s","directions":[1]}"#,
        r#"{"op_code":4,"worker_id":"x","study_id":0,"datetime_start":"2026-01-02T03:04:05.000006+00:00"}"#,
        r#"{"op_code":4,"worker_id":"x","study_id":9,"datetime_start":null}"#,
        r#"{"op_code":6,"worker_id":"x","trial_id":0,"state":1,"values":[1.5],"datetime_complete":"2026-01-02T03:04:06.000006+00:00"}"#,
        r#"{"op_code":6,"worker_id":"y","trial_id":0,"state":3,"values":null,"datetime_complete":"2026-01-02T03:04:07.000006+00:00"}"#,
        r#"{"op_code":10,"worker_id":"y","anything":1}"#,
    ];
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let storage = JournalStorage::open(&path).unwrap();
    let study = storage.find_study("s").unwrap().unwrap();
    assert_eq!(
        storage.study(study).unwrap().directions,
        [StudyDirection::Maximize]
    );
    let trials = storage.trials(study).unwrap();
    assert_eq!((trials.len(), trials[0].value()), (1, Some(1.5)));
}

#[cfg(feature = "sqlite")]
mod sqlite {
    use std::path::Path;
    use std::sync::Arc;

    use super::{ONE, now};
    use btc_tune::{Error, NewTrial, SqliteStorage, Storage, Study};
    use rusqlite::Connection;

    fn sql(path: &Path, statements: &str) {
        Connection::open(path)
            .unwrap()
            .execute_batch(statements)
            .unwrap();
    }

    #[test]
    fn what_is_no_database_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notes.txt");
        std::fs::write(
            &path,
            "no database, just some text that is long enough to be read\n".repeat(20),
        )
        .unwrap();
        let error = SqliteStorage::open(&path).unwrap_err();
        assert!(matches!(error, Error::Storage { .. }) && error.to_string().contains("notes.txt"));
        assert!(SqliteStorage::open(dir.path().join("no/such/folder.db")).is_err());
    }

    #[test]
    fn other_versions_of_the_tables_are_refused_with_advice() {
        for (version, advice) in [
            ("v3.0.0.d", "optuna storage upgrade"),
            ("v9.0.0.a", "newer version"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("studies.db");
            drop(SqliteStorage::open(&path).unwrap());
            sql(
                &path,
                &format!("UPDATE alembic_version SET version_num = '{version}'"),
            );
            let error = SqliteStorage::open(&path).unwrap_err();
            assert!(matches!(error, Error::SchemaVersion { .. }));
            let text = error.to_string();
            assert!(text.contains(version) && text.contains(advice), "{text}");
            sql(&path, "DELETE FROM alembic_version");
            assert!(
                SqliteStorage::open(&path).is_ok(),
                "as other writers leave it"
            );
        }
    }

    #[test]
    fn the_file_alone_is_complete_when_the_storage_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("studies.db");
        let storage = SqliteStorage::open(&path).unwrap();
        let study = storage.create_study("s", &ONE).unwrap();
        for _ in 0..50 {
            storage
                .create_trial(study, NewTrial::running(now()))
                .unwrap();
        }
        drop(storage);
        let copy = dir.path().join("copy.db");
        std::fs::copy(&path, &copy).unwrap();
        assert_eq!(
            SqliteStorage::open(&copy)
                .unwrap()
                .trials(study)
                .unwrap()
                .len(),
            50
        );
    }

    #[test]
    fn garbage_in_a_table_is_an_error() {
        for statement in [
            "UPDATE trial_params SET distribution_json = '{\"name\": \"X\", \"attributes\": {}}'",
            "UPDATE trials SET state = 'DREAMING'",
            "UPDATE trials SET datetime_start = 'yesterday'",
            "UPDATE trials SET number = -1",
            "UPDATE trial_values SET value_type = 'LARGE'",
            "UPDATE trial_values SET objective = 99999999",
            "UPDATE trial_user_attributes SET value_json = '{'",
            "UPDATE study_directions SET direction = 'SIDEWAYS'",
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("studies.db");
            let storage = Arc::new(SqliteStorage::open(&path).unwrap());
            let study = Study::builder("s", storage).create().unwrap();
            let mut trial = study.ask().unwrap();
            trial.suggest_float("x", 0.0..=1.0).unwrap();
            trial.set_user_attr("k", 1).unwrap();
            study.tell(&trial, 1.0).unwrap();
            let id = study.id();
            drop((trial, study));
            sql(&path, statement);
            let error = SqliteStorage::open(&path).unwrap().trials(id).unwrap_err();
            assert!(
                matches!(error, Error::Malformed { .. }),
                "{statement}: {error}"
            );
        }
    }

    #[test]
    fn a_study_made_anew_under_the_same_identifier_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("studies.db");
        let (mine, other) = (
            SqliteStorage::open(&path).unwrap(),
            SqliteStorage::open(&path).unwrap(),
        );
        let fill = |storage: &SqliteStorage, name: &str, seconds: i64| {
            let study = storage.create_study(name, &ONE).unwrap();
            let mut new = NewTrial::complete(Vec::new(), [seconds as f64]);
            new.datetime_start = Some(now() + chrono::TimeDelta::seconds(seconds));
            new.datetime_complete = new.datetime_start;
            for _ in 0..3 {
                storage.create_trial(study, new.clone()).unwrap();
            }
            study
        };
        let first = fill(&mine, "s", 1);
        assert_eq!(mine.trials(first).unwrap()[2].value(), Some(1.0));
        other.delete_study(first).unwrap();
        assert!(matches!(
            mine.trials(first),
            Err(Error::UnknownStudy { .. })
        ));
        let second = fill(&other, "s", 2);
        assert_eq!(second, first, "SQLite gives the identifier again");
        assert_eq!(mine.trials(second).unwrap()[2].value(), Some(2.0));
        other.delete_study(second).unwrap();
        fill(&other, "s", 3);
        assert_eq!(mine.trials(second).unwrap()[2].value(), Some(3.0));
    }

    #[test]
    fn two_storages_on_one_file_see_each_others_trials() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("studies.db");
        let (a, b) = (
            SqliteStorage::open(&path).unwrap(),
            SqliteStorage::open(&path).unwrap(),
        );
        let study = a.create_study("s", &ONE).unwrap();
        for i in 0..20 {
            let (writer, reader) = if i % 3 == 0 { (&a, &b) } else { (&b, &a) };
            let trial = writer
                .create_trial(study, NewTrial::running(now()))
                .unwrap();
            assert_eq!(trial.number, i);
            let seen = reader.trials(study).unwrap();
            assert_eq!(seen.len(), i + 1);
            assert_eq!(*seen[i], *writer.trial(trial.id).unwrap());
        }
    }
}

/// A study of another program that cannot be read hides no other, whatever the storage.
#[test]
fn one_unreadable_study_does_not_hide_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let too_wide = r#"{"name": "IntDistribution", "attributes": {"log": false, "step": 1, "low": 0, "high": 18446744073709551615}}"#;
    let log = dir.path().join("s.log");
    let journal = JournalStorage::open(&log).unwrap();
    let (first, big) = (
        journal.create_study("first", &ONE).unwrap(),
        journal.create_study("big", &ONE).unwrap(),
    );
    let trial = journal.create_trial(big, NewTrial::running(now())).unwrap();
    let line = |op: u8, rest: &str| {
        let distribution = serde_json::Value::from(too_wide);
        let line = format!(r#"{{"op_code":{op},"worker_id":"x",{rest}"#)
            .replace("DISTRIBUTION", &distribution.to_string());
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        writeln!(file, "{line}").unwrap();
    };
    line(
        5,
        &format!(
            r#""trial_id":{},"param_name":"seed","param_value_internal":1.0,"distribution":DISTRIBUTION}}"#,
            trial.id.0
        ),
    );
    line(
        4,
        &format!(
            r#""study_id":{},"datetime_start":null,"state":4,"value":null,"values":null,"params":{{"seed":1}},"distributions":{{"seed":DISTRIBUTION}},"user_attrs":{{}},"system_attrs":{{}},"intermediate_values":{{}}}}"#,
            big.0
        ),
    );
    check(&journal, first, big);
    check(&JournalStorage::open(&log).unwrap(), first, big);
    // Identifiers go on behind what could not be read and the two trials of the checks.
    let next = journal
        .create_trial(first, NewTrial::running(now()))
        .unwrap();
    assert_eq!((next.id.0, next.number), (trial.id.0 + 4, 2));
    journal.delete_study(big).unwrap();
    assert_eq!(journal.studies().unwrap().len(), 1);

    #[cfg(feature = "sqlite")]
    {
        let file = dir.path().join("s.db");
        let storage = btc_tune::SqliteStorage::open(&file).unwrap();
        let (first, big) = (
            storage.create_study("first", &ONE).unwrap(),
            storage.create_study("big", &ONE).unwrap(),
        );
        let trial = storage.create_trial(big, NewTrial::running(now())).unwrap();
        let other = rusqlite::Connection::open(&file).unwrap();
        other
            .execute(
                "INSERT INTO trial_params (trial_id, param_name, param_value, distribution_json) \
                 VALUES (?1, 'seed', 1.0, ?2)",
                (trial.id.0, too_wide),
            )
            .unwrap();
        check(&storage, first, big);
        storage.delete_study(big).unwrap();
        assert_eq!(storage.studies().unwrap().len(), 1);
    }
}

fn check(storage: &dyn Storage, first: btc_tune::StudyId, big: btc_tune::StudyId) {
    let studies = storage.studies().unwrap();
    let names: Vec<_> = studies.iter().map(|study| study.name.as_str()).collect();
    assert_eq!(names, ["first", "big"]);
    assert_eq!(studies[0].unreadable, None);
    assert!(studies[1].unreadable.as_ref().unwrap().contains("2^62"));
    assert!(matches!(storage.trials(big), Err(Error::Malformed { .. })));
    storage
        .create_trial(first, NewTrial::running(now()))
        .unwrap();
}

/// Another process deletes a study and makes one that gets the same identifiers.
#[cfg(feature = "sqlite")]
#[test]
fn a_study_that_was_made_anew_has_no_phantoms() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.db");
    for finished in [true, false] {
        let ours = btc_tune::SqliteStorage::open(&file).unwrap();
        let study = ours.create_study("s", &ONE).unwrap();
        let later = |i: i64| now() + chrono::TimeDelta::seconds(i);
        let mut trials = Vec::new();
        for i in 0..5 {
            let trial = ours
                .create_trial(study, NewTrial::running(later(i)))
                .unwrap();
            if finished {
                let end = btc_tune::TrialUpdate::Finish {
                    state: btc_tune::TrialState::Complete,
                    values: vec![1.0],
                    at: now(),
                };
                ours.update_trial(trial.id, &[end]).unwrap();
            }
            trials.push(trial.id);
        }
        let theirs = btc_tune::SqliteStorage::open(&file).unwrap();
        theirs.delete_study(study).unwrap();
        assert_eq!(theirs.create_study("s", &ONE).unwrap(), study);
        let added = ours.create_trial(study, NewTrial::waiting()).unwrap();
        assert_eq!(added.number, 0);
        assert_eq!(ours.trials(study).unwrap().len(), 1);
        // A worker that has not heard of it changes no trial of the new study.
        for (i, id) in trials.iter().enumerate() {
            theirs
                .create_trial(study, NewTrial::running(later(100 + i as i64)))
                .unwrap();
            let attr = btc_tune::TrialUpdate::Attr {
                scope: btc_tune::AttrScope::User,
                key: "k".into(),
                value: 1.into(),
            };
            let _ = ours.update_trial(*id, &[attr]);
        }
        assert_eq!(ours.trials(study).unwrap(), theirs.trials(study).unwrap());
        theirs.delete_study(study).unwrap();
    }
}

#[test]
fn a_range_without_width_in_numbers_is_refused() {
    use btc_tune::FloatDistribution;
    for (low, high) in [(-1.7e308, 1.7e308), (f64::MIN, f64::MAX), (-1e308, 1e308)] {
        let error = FloatDistribution::new(low, high).unwrap_err();
        assert!(matches!(error, Error::InvalidDistribution { .. }));
    }
    assert!(FloatDistribution::new(0.0, f64::MAX).is_ok());
}

#[test]
fn a_queued_trial_cannot_be_told() {
    use std::sync::Arc;
    let storage = Arc::new(btc_tune::InMemoryStorage::new());
    let study = btc_tune::Study::builder("s", storage).create().unwrap();
    let queued = study.enqueue([("x", 0.5)]).unwrap();
    let error = study.tell(queued.id, 1.0).unwrap_err();
    assert!(matches!(error, Error::InvalidOutcome { .. }), "{error}");
    let trial = study.ask().unwrap();
    assert_eq!(trial.number(), 0);
    study.tell(&trial, 1.0).unwrap();
}

#[test]
fn a_study_is_loaded_only_with_its_number_of_objectives() {
    use std::sync::Arc;
    let storage = Arc::new(btc_tune::InMemoryStorage::new());
    let builder = || btc_tune::Study::builder("s", storage.clone()).load_if_exists(true);
    let two = [StudyDirection::Minimize, StudyDirection::Maximize];
    builder().directions(two).create().unwrap();
    builder().directions(two).create().unwrap();
    for builder in [builder(), builder().directions([two[0]; 3])] {
        let error = builder.create().unwrap_err();
        assert!(matches!(error, Error::InvalidSetting { .. }), "{error}");
    }
    assert_eq!(builder().load().unwrap().directions(), two);
}
