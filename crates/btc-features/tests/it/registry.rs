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
