//! Artifact paths and URIs: what is accepted stays below its root.
#![no_main]

use std::path::{Component, Path};

use btc_track::{ArtifactPath, ArtifactUri};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = ArtifactUri::parse(text);
    if let Ok(path) = ArtifactPath::parse(text) {
        let plain = |component: Component| matches!(component, Component::Normal(_));
        assert!(Path::new(path.as_str()).components().all(plain), "{text:?}");
        assert!(!path.as_str().contains(['\\', '\0']), "{text:?}");
        // Accepted once, accepted as it was understood.
        assert_eq!(ArtifactPath::parse(path.as_str()).unwrap(), path, "{text:?}");
    }
});
