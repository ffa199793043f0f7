#![no_main]

use btc_features::FeatureStore;
use btc_features::chrono::DateTime;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("there is room for a folder");
    let mut store = FeatureStore::init(dir.path().join("p"), "p").expect("it is new");
    let path = dir.path().join("registry.db");
    std::fs::write(&path, bytes).expect("it can be written");
    let Ok(imported) = store.read_feast(&path, None) else {
        return;
    };
    imported.definitions.validate().expect("what is imported is valid");
    if store.apply(&imported.definitions).is_ok() {
        store.export_feast(&path, DateTime::UNIX_EPOCH).expect("what is applied is exported");
        let again = store.read_feast(&path, None).expect("what is exported is read");
        assert_eq!(again.definitions, store.registry().definitions);
    }
});
