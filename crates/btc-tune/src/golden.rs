//! Reads the golden cases, for the tests of this crate.

use std::path::PathBuf;

use serde_json::Value;

use crate::storage::codec;

#[expect(
    clippy::disallowed_methods,
    reason = "a test may be pointed at other cases"
)]
fn folder() -> Option<PathBuf> {
    std::env::var_os("BTC_VECTORS").map(PathBuf::from)
}

/// The cases of a file: from the folder `BTC_VECTORS` if it has the file, else the ones kept here.
pub(crate) fn cases(file: &str) -> Value {
    let kept = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(file);
    let given = folder()
        .map(|folder| folder.join(file))
        .filter(|path| path.exists());
    let path = given.unwrap_or(kept);
    let text = std::fs::read_to_string(&path).unwrap();
    codec::decode_json(&text).unwrap()
}

/// Refuses an object with a member that the reader of a case does not know: what it sets would be left
/// out in silence.
#[track_caller]
pub(crate) fn known(value: &Value, keys: &[&str]) {
    for key in value
        .as_object()
        .into_iter()
        .flat_map(|members| members.keys())
    {
        assert!(
            keys.contains(&key.as_str()),
            "nobody reads {key} of {value}"
        );
    }
}

/// A list member of a case.
pub(crate) fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key]
        .as_array()
        .unwrap_or_else(|| panic!("{key} is a list in {value}"))
}

/// A number, NaN and infinities included.
#[track_caller]
pub(crate) fn float(value: &Value) -> f64 {
    match value {
        Value::String(text) if text == "nan" => f64::NAN,
        Value::String(text) if text == "inf" => f64::INFINITY,
        Value::String(text) if text == "-inf" => f64::NEG_INFINITY,
        value => {
            crate::choice::float_from_json(value).unwrap_or_else(|| panic!("{value} is a number"))
        }
    }
}

pub(crate) fn floats(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(float).collect()
}

#[track_caller]
pub(crate) fn assert_close(actual: f64, expected: f64, tolerance: f64, what: &str) {
    let equal = actual == expected
        || (actual.is_nan() && expected.is_nan())
        || (actual - expected).abs() <= tolerance * expected.abs().max(1.0);
    assert!(equal, "{what}: {actual} instead of {expected}");
}
