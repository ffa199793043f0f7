//! Values that other libraries computed; see `tests/fixtures/ORIGIN.md`.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Reads a file of recorded values: from the folder that `BTC_VECTORS` names if it has the file,
/// otherwise the one recorded here.
pub(crate) fn read(file: &str) -> Value {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(file);
    let path = folder()
        .map(|folder| folder.join(file))
        .filter(|path| path.exists());
    let text = std::fs::read_to_string(path.unwrap_or(recorded)).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the folder of other vectors is for tests alone"
)]
fn folder() -> Option<PathBuf> {
    std::env::var_os("BTC_VECTORS").map(PathBuf::from)
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

/// The largest difference, relative to the size of what is expected where that exceeds 1.
#[track_caller]
pub(crate) fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(
            error <= tolerance,
            "{what}, number {at}: {found} instead of {expected}"
        );
    }
}
