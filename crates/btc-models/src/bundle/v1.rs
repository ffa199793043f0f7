//! The first format: a single number as its version, and timings among what the model is.
//!
//! It is read for ever and no longer written. `model_sha256` was taken of the model as compact
//! JSON, which is what its text is without the whitespace between its tokens. The history held the
//! seconds of each epoch, so that no two bundles of one training had one identity.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Description;

/// The value of `format_version`.
pub(super) const MAJOR: u64 = 1;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "format_version")]
    _format_version: u64,
    model_type: String,
    weights_sha256: String,
    model_sha256: String,
    model: Box<RawValue>,
}

/// Reads `forecaster.json` of the first format.
pub(super) fn read(text: &str) -> serde_json::Result<Description> {
    let document: Document = serde_json::from_str(text)?;
    let mut model: Value = serde_json::from_str(document.model.get())?;
    upgrade(&mut model);
    Ok(Description {
        minor: 0,
        accepts_unknown: false,
        model_type: document.model_type,
        weights_sha256: document.weights_sha256,
        onnx_sha256: None,
        model_sha256: document.model_sha256,
        model_text: document.model.get().to_owned(),
        model,
        unknown: BTreeMap::new(),
    })
}

/// Turns a model of the first format into one of today's.
fn upgrade(_model: &mut Value) {}
