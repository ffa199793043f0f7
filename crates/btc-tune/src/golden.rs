//! Reads the golden cases, for the tests of this crate.

pub(crate) use btc_testing::known;
use serde_json::Value;

use crate::storage::codec;

/// The cases of a file: from the folder `BTC_VECTORS` if it has the file, else the ones kept here.
#[track_caller]
pub(crate) fn cases(file: &str) -> Value {
    let text = btc_testing::golden(env!("CARGO_MANIFEST_DIR"), file);
    codec::decode_json(&text).unwrap()
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
