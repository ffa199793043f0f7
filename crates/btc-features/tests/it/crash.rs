//! Several processes at once, and processes that are killed.
//!
//! The children are this test binary again, with one ignored test chosen and
//! what to do in the environment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use btc_features::arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampSecondArray};
use btc_features::{
    Definitions, Error, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType,
};

use btc_testing::wait_until;

use crate::support::{env, write_parquet};

fn child(test: &str, repo: &Path, number: usize) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--quiet"])
        .env("BTC_FEATURES_CHILD", format!("{number} {}", repo.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// What a child is told; `None` where the ignored tests are run by hand.
fn told() -> Option<(usize, std::path::PathBuf)> {
    let told = env("BTC_FEATURES_CHILD")?;
    let (number, repo) = told.split_once(' ').unwrap();
    Some((number.parse().unwrap(), repo.into()))
}

/// A file that a child writes after each of its rounds.
const WORKED: &str = "worked";

/// Starts the child that goes on for ever, and kills it a while after its first round.
fn start_and_kill(test: &str, repo: &Path, after: Duration) {
    let _ = std::fs::remove_file(repo.join(WORKED));
    let mut child = child(test, repo, 0);
    wait_until("the child's first round", || {
        assert_eq!(child.try_wait().unwrap(), None, "it goes on for ever");
        repo.join(WORKED).exists()
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn view(name: &str, features: usize) -> Definitions {
    Definitions::new()
        .with_source(FileSource::new(
            name,
            format!("{name}.parquet"),
            "event_timestamp",
        ))
        .with_feature_view(FeatureView::new(name, name).with_features(
            (0..features).map(|number| Field::new(format!("f{number}"), ValueType::Int64)),
        ))
        .with_feature_service(FeatureService::new(name, [name]))
}

#[test]
#[ignore = "a child of another test"]
fn applies_views() {
    let Some((number, repo)) = told() else { return };
    for round in 0..5 {
        let mut store = FeatureStore::open(&repo).unwrap();
        store
            .apply(&view(&format!("view{number}_{round}"), 20))
            .unwrap();
    }
}

#[test]
fn eight_processes_that_apply_at_once_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    FeatureStore::init(dir.path(), "p").unwrap();
    let children: Vec<Child> = (0..8)
        .map(|number| child("crash::applies_views", dir.path(), number))
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let store = FeatureStore::open(dir.path()).unwrap();
    assert_eq!(store.registry().definitions.feature_views.len(), 40);
    assert_eq!(store.registry().version, 40);
}

#[test]
#[ignore = "a child of another test"]
fn declares_and_applies_the_folder() {
    let Some((number, repo)) = told() else { return };
    let file = repo.join(format!("view{number}.toml"));
    std::fs::write(&file, view(&format!("view{number}"), 3).to_toml()).unwrap();
    FeatureStore::open(&repo).unwrap().apply_dir().unwrap();
}

#[test]
fn eight_processes_that_apply_one_folder_end_with_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    FeatureStore::init(dir.path(), "p").unwrap();
    let test = "crash::declares_and_applies_the_folder";
    let children: Vec<Child> = (0..8)
        .map(|number| child(test, dir.path(), number))
        .collect();
    for mut child in children {
        // One may meet the half-written file of another, and says so.
        child.wait().unwrap();
    }
    let mut store = FeatureStore::open(dir.path()).unwrap();
    store.apply_dir().unwrap();
    assert_eq!(store.registry().definitions.feature_views.len(), 8);
    std::fs::remove_file(dir.path().join("view3.toml")).unwrap();
    assert_eq!(store.apply_dir().unwrap().changes.len(), 3);
    assert_eq!(store.registry().definitions.feature_views.len(), 7);
}

#[test]
#[ignore = "a child of another test"]
fn applies_for_ever() {
    let Some((_, repo)) = told() else { return };
    let mut store = FeatureStore::open(&repo).unwrap();
    // The first apply changes something as well, whatever the last child came to.
    let first = usize::try_from(store.registry().version).unwrap();
    for round in first.. {
        store.apply(&view("v", 100 + round % 50)).unwrap();
        std::fs::write(repo.join(WORKED), "").unwrap();
    }
}

#[test]
fn a_registry_outlives_a_kill_at_any_time() {
    let dir = tempfile::tempdir().unwrap();
    FeatureStore::init(dir.path(), "p")
        .unwrap()
        .apply(&view("v", 1))
        .unwrap();
    let mut last = 0;
    for round in 0..10 {
        let after = Duration::from_millis(23 * round);
        start_and_kill("crash::applies_for_ever", dir.path(), after);
        let store = FeatureStore::open(dir.path()).unwrap();
        assert!(last < store.registry().version);
        last = store.registry().version;
        let view = store.registry().definitions.feature_view("v").unwrap();
        assert!(view.features.len() == 1 || 100 <= view.features.len());
    }
}

#[test]
fn a_broken_registry_is_named_and_can_be_applied_anew() {
    let dir = tempfile::tempdir().unwrap();
    FeatureStore::init(dir.path(), "p")
        .unwrap()
        .apply(&view("v", 1))
        .unwrap();
    let path = dir.path().join("registry.toml");
    let whole = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = FeatureStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
    assert!(error.to_string().contains("registry.toml"), "{error}");
    std::fs::remove_file(&path).unwrap();
    let mut store = FeatureStore::open(dir.path()).unwrap();
    store.apply(&view("v", 1)).unwrap();
}

#[cfg(feature = "sqlite")]
mod online {
    use super::*;
    use btc_features::OnlineRequest;
    use chrono::DateTime;

    fn write(repo: &Path, round: i64) {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..2_000));
        let times: ArrayRef = Arc::new(TimestampSecondArray::from_iter_values(
            (0..2_000).map(|_| 100 + round),
        ));
        let values: ArrayRef = Arc::new(Int64Array::from_iter_values((0..2_000).map(|_| round)));
        let batch = RecordBatch::try_from_iter([
            ("k", keys),
            ("event_timestamp", times),
            ("f0", values.clone()),
            ("f1", values),
        ])
        .unwrap();
        let path = repo.join("next.parquet");
        write_parquet(&path, &[batch], 1_000);
        std::fs::rename(path, repo.join("v.parquet")).unwrap();
    }

    #[test]
    #[ignore = "a child of another test"]
    fn materializes_for_ever() {
        let Some((_, repo)) = told() else { return };
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let store = FeatureStore::open(&repo).unwrap();
        for round in 1.. {
            write(&repo, round);
            let end = DateTime::from_timestamp(100 + round, 0).unwrap();
            runtime
                .block_on(store.materialize_incremental(&[], end))
                .unwrap();
            std::fs::write(repo.join(WORKED), "").unwrap();
        }
    }

    #[test]
    fn an_online_store_outlives_a_kill_at_any_time() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), 0);
        let mut definitions = view("v", 2)
            .with_entity(btc_features::Entity::new("k").with_value_type(ValueType::Int64));
        let keyed = definitions.feature_views["v"].clone().with_entities(["k"]);
        definitions = definitions.with_feature_view(keyed);
        FeatureStore::init(dir.path(), "p")
            .unwrap()
            .apply(&definitions)
            .unwrap();
        let request: OnlineRequest = serde_json::from_value(serde_json::json!({
            "features": ["v:f0", "v:f1"],
            "entities": {"k": (0..2_000).collect::<Vec<_>>()},
        }))
        .unwrap();
        let now = DateTime::from_timestamp(200, 0).unwrap();
        for round in 0..6 {
            let after = Duration::from_millis(61 * round);
            start_and_kill("crash::online::materializes_for_ever", dir.path(), after);
            let store = FeatureStore::open(dir.path()).unwrap();
            let answer = store.get_online_features(&request, now).unwrap();
            // A view is written at once: every key has the same round.
            let first = &answer.results[1].values[0];
            for result in &answer.results[1..] {
                assert!(result.values.iter().all(|value| value == first));
            }
            assert!(!first.is_null(), "the child got to work");
        }
    }
}
