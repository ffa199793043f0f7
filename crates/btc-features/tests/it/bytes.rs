//! Damaged files: a registry, definitions and a registry of Feast are read or
//! refused, and never end in a panic. `fuzz/` looks further.

use btc_features::chrono::DateTime;
use btc_features::{
    Aggregate, AggregateFunction, Definitions, Entity, FeatureService, FeatureStore, FeatureView,
    Field, FileSource, ValueType,
};
use proptest::prelude::*;

fn definitions() -> Definitions {
    let week = std::time::Duration::from_secs(7 * 86_400);
    Definitions::new()
        .with_entity(Entity::new("driver").with_value_type(ValueType::Int64))
        .with_source(FileSource::new("stats", "stats", "event_timestamp").with_tag("a", "b"))
        .with_feature_view(
            FeatureView::new("stats", "stats")
                .with_entities(["driver"])
                .with_ttl(week)
                .with_features([
                    Field::new("trips", ValueType::Int64).with_description("a day"),
                    Field::new("sum", ValueType::Int64).with_aggregate(Aggregate::new(
                        AggregateFunction::Sum,
                        "trips",
                        week,
                    )),
                ]),
        )
        .with_feature_service(FeatureService::new("daily", ["stats"]))
}

/// Changes of a file: bytes that become others, and what is cut off or put in.
fn damage() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, u8)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4_u8), 1..6)
}

fn damaged(bytes: &[u8], damage: &[(prop::sample::Index, u8, u8)]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for (place, value, how) in damage {
        if bytes.is_empty() {
            break;
        }
        let place = place.index(bytes.len());
        match how {
            0 => bytes[place] = *value,
            1 => bytes[place] ^= 1 << (value % 8),
            2 => bytes.insert(place, *value),
            _ => {
                let end = (place + usize::from(value % 8)).min(bytes.len());
                bytes.drain(place..end);
            }
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..Default::default() })]

    #[test]
    fn damaged_registries_are_read_or_refused(damage in damage()) {
        let dir = tempfile::tempdir().unwrap();
        let repo = dir.path().join("repo");
        let mut store = FeatureStore::init(&repo, "p").unwrap();
        store.apply(&definitions()).unwrap();
        let feast = dir.path().join("registry.db");
        store.export_feast(&feast, DateTime::UNIX_EPOCH).unwrap();
        let bytes = damaged(&std::fs::read(&feast).unwrap(), &damage);
        std::fs::write(&feast, bytes).unwrap();
        if let Ok(imported) = store.read_feast(&feast, None) {
            prop_assert!(imported.definitions.validate().is_ok());
        }
        let registry = repo.join("registry.toml");
        let bytes = damaged(&std::fs::read(&registry).unwrap(), &damage);
        std::fs::write(&registry, &bytes).unwrap();
        if let Ok(store) = FeatureStore::open(&repo) {
            let _ = store.plan(&definitions());
        }
        let text = damaged(definitions().to_toml().as_bytes(), &damage);
        let text = String::from_utf8_lossy(&text);
        if let Ok(definitions) = Definitions::from_toml(&text)
            && definitions.validate().is_ok()
        {
            let again = Definitions::from_toml(&definitions.to_toml()).unwrap();
            prop_assert_eq!(again, definitions);
        }
    }
}
