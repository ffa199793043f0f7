//! One choice of a categorical parameter.

use std::fmt;

use serde_json::Value;

/// One choice of a categorical parameter: a JSON scalar, with the exact kind kept.
///
/// Unlike JSON, a float may be NaN or infinite, because Python writes such choices.
#[derive(Debug, Clone)]
pub enum Choice {
    /// `null` (Python's `None`).
    Null,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating point number.
    Float(f64),
    /// A text.
    Str(String),
}

impl Choice {
    /// Returns the JSON value; NaN and infinities become the texts Python writes for them.
    pub fn to_json(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::from(*value),
            Self::Float(value) => float_to_json(*value),
            Self::Str(value) => Value::from(value.as_str()),
        }
    }

    /// Reads a JSON scalar; `None` for lists, objects and integers beyond 64 bits.
    pub fn from_json(value: &Value) -> Option<Self> {
        Some(match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(integer) => Self::Int(integer),
                None if number.is_f64() => Self::Float(number.as_f64()?),
                None => return None,
            },
            Value::String(text) => Self::Str(text.clone()),
            Value::Array(_) | Value::Object(_) => return None,
        })
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            Self::Int(value) => Some(*value as f64),
            Self::Float(value) => Some(*value),
            Self::Null | Self::Str(_) => None,
        }
    }
}

/// Writes a float as JSON; what JSON has no number for becomes Python's word for it.
pub(crate) fn float_to_json(value: f64) -> Value {
    if value.is_finite() {
        Value::from(value)
    } else if value.is_nan() {
        Value::from("NaN")
    } else if value > 0.0 {
        Value::from("Infinity")
    } else {
        Value::from("-Infinity")
    }
}

/// Reads a float as [`float_to_json`] writes it.
pub(crate) fn float_from_json(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => match text.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

/// Equal as Python compares: `1 == 1.0 == true`, and NaN equals NaN.
impl PartialEq for Choice {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Str(a), Self::Str(b)) => a == b,
            (Self::Int(a), Self::Int(b)) => a == b,
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => a == b || (a.is_nan() && b.is_nan()),
                _ => false,
            },
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => value.fmt(f),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => value.fmt(f),
            Self::Str(value) => value.fmt(f),
        }
    }
}

impl From<&str> for Choice {
    fn from(value: &str) -> Self {
        Self::Str(value.to_owned())
    }
}

impl From<String> for Choice {
    fn from(value: String) -> Self {
        Self::Str(value)
    }
}

impl From<bool> for Choice {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Choice {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Choice {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}
