//! Applying definitions.

use btc_features::{
    Action, Definitions, Error, FeatureStore, FeatureView, Field, FileSource, ValueType,
};

fn prices() -> Definitions {
    Definitions::new()
        .with_source(FileSource::new("ohlcv", "../data/ohlcv", "event_timestamp"))
        .with_feature_view(
            FeatureView::new("ohlcv", "ohlcv")
                .with_features([Field::new("close", ValueType::Float64)]),
        )
}

#[test]
fn what_is_applied_is_there_after_reopening_and_gone_after_teardown() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = FeatureStore::init(dir.path(), "bitcoin").unwrap();
    let plan = store.plan(&prices()).unwrap();
    assert_eq!(plan.changes.len(), 2);
    assert!(
        plan.changes
            .iter()
            .all(|change| change.action == Action::Create)
    );
    assert!(
        store.registry().definitions.is_empty(),
        "a plan changes nothing"
    );
    assert_eq!(store.apply(&prices()).unwrap(), plan);
    assert!(store.apply(&prices()).unwrap().is_empty());
    let mut again = FeatureStore::open(dir.path()).unwrap();
    assert_eq!(again.registry().definitions, prices());
    assert_eq!(again.registry().version, 1);
    assert_eq!(again.teardown().unwrap().changes.len(), 2);
    store.reload().unwrap();
    assert!(store.registry().definitions.is_empty());
}

#[test]
fn a_registry_of_another_project_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = FeatureStore::init(dir.path(), "bitcoin").unwrap();
    store.apply(&prices()).unwrap();
    btc_features::StoreConfig::new("gold")
        .write(dir.path())
        .unwrap();
    assert!(matches!(
        FeatureStore::open(dir.path()),
        Err(Error::Conflict(_))
    ));
}

#[test]
fn definitions_are_declared_in_a_file_of_the_store_or_nowhere() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("features");
    let mut store = FeatureStore::init(&dir, "bitcoin").unwrap();
    let settings = std::fs::read(dir.join("feature_store.toml")).unwrap();
    let outside = outer.path().join("evil.toml").display().to_string();
    for name in [
        "../evil.toml",
        outside.as_str(),
        "below/evil.toml",
        "feature_store.toml",
        "Feature_Store.toml",
        "registry.toml",
        ".hidden.toml",
        "evil.txt",
        "..",
        "",
    ] {
        let error = store.declare(&prices(), name).unwrap_err();
        assert!(
            matches!(error, Error::InvalidRequest(_)),
            "{name}: {error:?}"
        );
    }
    assert_eq!(
        std::fs::read(dir.join("feature_store.toml")).unwrap(),
        settings
    );
    // What cannot be applied is not written either.
    let mut broken = prices();
    broken.sources.clear();
    store.declare(&broken, "own.toml").unwrap_err();
    let names: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .filter(|name| name != "registry.lock")
        .collect();
    assert_eq!(names, ["feature_store.toml"]);
    store.declare(&prices(), "own.toml").unwrap();
    assert_eq!(Definitions::from_dir(&dir).unwrap(), prices());
    assert!(store.plan_dir().unwrap().is_empty());
}

#[test]
fn a_project_that_sqlite_keeps_to_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["sqlite", "SQLite_x"] {
        let error = FeatureStore::init(dir.path(), name).unwrap_err();
        assert!(error.to_string().contains("SQLite"), "{error}");
    }
    FeatureStore::init(dir.path(), "sqlites").unwrap();
}
