#![no_main]

use btc_features::FeatureStore;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let dir = tempfile::tempdir().expect("there is room for a folder");
    std::fs::write(dir.path().join("registry.toml"), bytes).expect("it can be written");
    if let Ok(store) = FeatureStore::init(dir.path(), "p") {
        let _ = store.plan_teardown();
        let _ = store.plan_dir();
    }
});
