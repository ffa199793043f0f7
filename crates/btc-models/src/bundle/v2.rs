//! The second format, which is written today.
//!
//! `forecaster.json` holds, in this order:
//!
//! | field | content |
//! |---|---|
//! | `format_version` | 2. Another major version may mean anything, and is refused. |
//! | `format_minor` | Raised by what only adds fields, none of which changes a forecast. A reader of an older minor version keeps the fields that it does not know and writes them again; in a file of its own version or an older one, it refuses them by name. |
//! | `model_type` | The name of the network. |
//! | `weights_sha256` | SHA-256 of `weights.safetensors`. |
//! | `onnx_sha256` | SHA-256 of `model.onnx`, if there is one; since 2.1. The graph says what weights and model say, so it is no part of the identity. |
//! | `model_sha256` | SHA-256 of the text of `model` less the whitespace between its tokens: of what stands in the file, not of what a program made of it. |
//! | `model` | Everything that makes the model. Nothing in it depends on a clock, so two trainings with one seed write the same. |
//! | `timings` | `epoch_seconds`: the seconds from the start of training to the end of each epoch. No part of the model's identity. |

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::{DeserializeOwned, Error as _};
use serde_json::Value;
use serde_json::value::RawValue;

use super::json::{compact, restore_fields, unknown_fields};
use super::{Description, NewerFields};
use crate::fit::Manifest;
use btc_files::sha256;

/// The value of `format_version`.
pub(super) const MAJOR: u64 = 2;
/// The newest minor version all of whose fields are known, which is written.
pub(super) const MINOR: u64 = 1;

#[derive(Serialize)]
struct Document<'a> {
    format_version: u64,
    format_minor: u64,
    model_type: &'a str,
    weights_sha256: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    onnx_sha256: Option<&'a str>,
    model_sha256: String,
    model: Box<RawValue>,
    timings: Value,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

/// Reads `forecaster.json` of the second format.
pub(super) fn read(text: &str) -> serde_json::Result<Description> {
    let mut fields: BTreeMap<String, Box<RawValue>> = serde_json::from_str(text)?;
    let _ = take::<u64>(&mut fields, "format_version")?;
    let minor = take(&mut fields, "format_minor")?;
    let model_type = take(&mut fields, "model_type")?;
    let weights_sha256 = take(&mut fields, "weights_sha256")?;
    let model_sha256 = take(&mut fields, "model_sha256")?;
    let onnx_sha256 = match 0 < minor && fields.contains_key("onnx_sha256") {
        true => Some(take(&mut fields, "onnx_sha256")?),
        false => None,
    };
    let model_text: Box<RawValue> = fields
        .remove("model")
        .ok_or_else(|| serde_json::Error::missing_field("model"))?;
    let mut model: Value = serde_json::from_str(model_text.get())?;
    let timings: Value = match fields.contains_key("timings") {
        true => take(&mut fields, "timings")?,
        false => Value::Null,
    };
    let known = serde_json::json!({ "timings": { "epoch_seconds": [] } });
    let mut unknown = unknown_fields(&serde_json::json!({ "timings": timings }), &known);
    for (name, field) in fields {
        let name = name.replace('~', "~0").replace('/', "~1");
        unknown.insert(format!("/{name}"), serde_json::from_str(field.get())?);
    }
    let seconds = timings.get("epoch_seconds").and_then(Value::as_array);
    if let Some(history) = model.get_mut("history").and_then(Value::as_array_mut) {
        for (epoch, seconds) in history.iter_mut().zip(seconds.into_iter().flatten()) {
            if let Value::Object(epoch) = epoch {
                epoch.insert("seconds".to_owned(), seconds.clone());
            }
        }
    }
    Ok(Description {
        minor,
        accepts_unknown: MINOR < minor,
        model_type,
        weights_sha256,
        onnx_sha256,
        model_sha256,
        model_text: model_text.get().to_owned(),
        model,
        unknown,
    })
}

fn take<T: DeserializeOwned>(
    fields: &mut BTreeMap<String, Box<RawValue>>,
    name: &'static str,
) -> serde_json::Result<T> {
    let field = fields
        .remove(name)
        .ok_or_else(|| serde_json::Error::missing_field(name))?;
    serde_json::from_str(field.get())
}

/// The text of `forecaster.json`.
pub(super) fn write(
    manifest: &Manifest,
    newer: &NewerFields,
    weights_sha256: &str,
    onnx_sha256: Option<&str>,
) -> serde_json::Result<String> {
    // By way of the text, in which an f32 has no more digits than it needs.
    let mut model: Value = serde_json::from_str(&serde_json::to_string(manifest)?)?;
    let mut seconds = Vec::new();
    if let Some(history) = model["history"].as_array_mut() {
        for epoch in history.iter_mut().filter_map(Value::as_object_mut) {
            seconds.push(epoch.shift_remove("seconds").unwrap_or(Value::Null));
        }
    }
    restore_fields(&mut model, &newer.below("/model"));
    let mut timings = serde_json::json!({ "epoch_seconds": seconds });
    restore_fields(&mut timings, &newer.below("/timings"));
    // Strings hold no line breaks in JSON, so every one of them is whitespace between tokens.
    let model = serde_json::to_string_pretty(&model)?.replace('\n', "\n  ");
    let document = Document {
        format_version: MAJOR,
        format_minor: newer.minor.max(MINOR),
        model_type: manifest.network.name(),
        weights_sha256,
        onnx_sha256,
        model_sha256: sha256(compact(&model).as_bytes()),
        model: RawValue::from_string(model)?,
        timings,
        others: newer.at_top(),
    };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    Ok(text)
}
