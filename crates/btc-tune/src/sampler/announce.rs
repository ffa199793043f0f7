//! What a trial will suggest, told to other workers before it does.

use serde_json::{Map, Value};

use crate::frozen::{FrozenTrial, Param};
use crate::storage::codec;

/// The attributes of TPE are those of Optuna.
pub(super) const TPE: &str = "tpe:relative_params:";
pub(super) const GP: &str = "gp:relative_params:";

/// The longest text MySQL users can store in an attribute, JSON quotes excluded.
const CHUNK: usize = 2045;

/// The system attributes that tell what a trial will suggest.
pub(super) fn announce(prefix: &str, params: &[Param]) -> Map<String, Value> {
    let external: Map<String, Value> = params
        .iter()
        .map(|param| (param.name.to_string(), param.value()))
        .collect();
    let text = codec::encode_json(&Value::Object(external));
    // The text is ASCII, so every byte is a character.
    text.as_bytes()
        .chunks(CHUNK)
        .enumerate()
        .map(|(i, chunk)| {
            let chunk = String::from_utf8_lossy(chunk).into_owned();
            (format!("{prefix}{i}"), Value::String(chunk))
        })
        .collect()
}

/// What a running trial announced it will suggest.
pub(super) fn announced(prefix: &str, trial: &FrozenTrial) -> Map<String, Value> {
    let mut text = String::new();
    for i in 0.. {
        match trial.system_attrs.get(&format!("{prefix}{i}")) {
            Some(Value::String(chunk)) => text.push_str(chunk),
            _ => break,
        }
    }
    if text.is_empty() {
        return Map::new();
    }
    // Attributes another program garbled must not stop the study; they only help to spread out.
    codec::decode_object(&text).unwrap_or_default()
}
