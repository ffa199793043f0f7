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
