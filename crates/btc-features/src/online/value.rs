//! Values between Arrow, Feast's protobuf and JSON.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampNanosecondType,
};
use chrono::{DateTime, SecondsFormat};
use serde_json::Value as Json;

use super::proto::{
    BoolList, BytesList, DoubleList, FloatList, Int32List, Int64List, StringList, Val, Value,
};
use crate::definition::ValueType;
use crate::error::{Error, Result};

/// The values of a column, as values of a type.
pub(super) fn from_column(column: &ArrayRef, value_type: ValueType) -> Result<Vec<Value>> {
    let column = cast(column, &value_type.data_type())?;
    (0..column.len())
        .map(|row| {
            let val = if column.is_null(row) {
                None
            } else {
                Some(at(&column, row, value_type)?)
            };
            Ok(Value { val })
        })
        .collect()
}

fn at(column: &ArrayRef, row: usize, value_type: ValueType) -> Result<Val> {
    let seconds = |nanos: i64| nanos.div_euclid(1_000_000_000);
    let items = || column.as_list::<i32>().value(row);
    Ok(match value_type {
        ValueType::Bytes => Val::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        ValueType::String => Val::String(column.as_string::<i32>().value(row).to_owned()),
        ValueType::Int32 => Val::Int32(column.as_primitive::<Int32Type>().value(row)),
        ValueType::Int64 => Val::Int64(column.as_primitive::<Int64Type>().value(row)),
        ValueType::Float64 => Val::Double(column.as_primitive::<Float64Type>().value(row)),
        ValueType::Float32 => Val::Float(column.as_primitive::<Float32Type>().value(row)),
        ValueType::Bool => Val::Bool(column.as_boolean().value(row)),
        ValueType::UnixTimestamp => Val::UnixTimestamp(seconds(
            column.as_primitive::<TimestampNanosecondType>().value(row),
        )),
        ValueType::BytesList => Val::BytesList(BytesList {
            val: items()
                .as_binary::<i32>()
                .iter()
                .flatten()
                .map(<[u8]>::to_vec)
                .collect(),
        }),
        ValueType::StringList => Val::StringList(StringList {
            val: items()
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_owned)
                .collect(),
        }),
        ValueType::Int32List => Val::Int32List(Int32List {
            val: items()
                .as_primitive::<Int32Type>()
                .iter()
                .flatten()
                .collect(),
        }),
        ValueType::Int64List => Val::Int64List(Int64List {
            val: items()
                .as_primitive::<Int64Type>()
                .iter()
                .flatten()
                .collect(),
        }),
        ValueType::Float64List => Val::DoubleList(DoubleList {
            val: items()
                .as_primitive::<Float64Type>()
                .iter()
                .flatten()
                .collect(),
        }),
        ValueType::Float32List => Val::FloatList(FloatList {
            val: items()
                .as_primitive::<Float32Type>()
                .iter()
                .flatten()
                .collect(),
        }),
        ValueType::BoolList => Val::BoolList(BoolList {
            val: items().as_boolean().iter().flatten().collect(),
        }),
        ValueType::UnixTimestampList => Val::UnixTimestampList(Int64List {
            val: items()
                .as_primitive::<TimestampNanosecondType>()
                .iter()
                .flatten()
                .map(seconds)
                .collect(),
        }),
    })
}

/// A value as JSON, in the form of Feast's feature server.
pub(super) fn to_json(value: &Value) -> Json {
    let float = |x: f64| {
        serde_json::Number::from_f64(x).map_or_else(
            || {
                Json::from(if x.is_nan() {
                    "NaN"
                } else if x > 0.0 {
                    "Infinity"
                } else {
                    "-Infinity"
                })
            },
            Json::Number,
        )
    };
    let list = |items: Vec<Json>| Json::Array(items);
    match &value.val {
        None => Json::Null,
        Some(Val::Bytes(bytes)) => base64(bytes).into(),
        Some(Val::String(text)) => text.as_str().into(),
        Some(Val::Int32(x)) => (*x).into(),
        Some(Val::Int64(x)) => (*x).into(),
        Some(Val::Double(x)) => float(*x),
        Some(Val::Float(x)) => float(f64::from(*x)),
        Some(Val::Bool(x)) => (*x).into(),
        Some(Val::UnixTimestamp(x)) => (*x).into(),
        Some(Val::BytesList(l)) => list(l.val.iter().map(|x| base64(x).into()).collect()),
        Some(Val::StringList(l)) => list(l.val.iter().map(|x| x.as_str().into()).collect()),
        Some(Val::Int32List(l)) => list(l.val.iter().map(|x| (*x).into()).collect()),
        Some(Val::Int64List(l) | Val::UnixTimestampList(l)) => {
            list(l.val.iter().map(|x| (*x).into()).collect())
        }
        Some(Val::DoubleList(l)) => list(l.val.iter().map(|x| float(*x)).collect()),
        Some(Val::FloatList(l)) => list(l.val.iter().map(|x| float(f64::from(*x))).collect()),
        Some(Val::BoolList(l)) => list(l.val.iter().map(|x| (*x).into()).collect()),
    }
}

/// The text that Feast keeps beside a value to search in.
pub(super) fn to_text(value: &Value) -> Option<String> {
    match value.val.as_ref()? {
        Val::String(text) => Some(text.clone()),
        Val::Int32(x) => Some(x.to_string()),
        Val::Int64(x) => Some(x.to_string()),
        Val::Double(x) => Some(format!("{x:?}")),
        Val::Float(x) => Some(format!("{:?}", f64::from(*x))),
        Val::Bool(true) => Some("True".into()),
        Val::Bool(false) => Some("False".into()),
        _ => None,
    }
}

/// Reads a key, or a column of a request, from JSON.
pub(super) fn from_json(name: &str, json: &Json, value_type: ValueType) -> Result<Value> {
    let wrong = || Error::InvalidRequest(format!("{name:?} is {json}, which is no {value_type}"));
    if json.is_null() {
        return Ok(Value { val: None });
    }
    let integer = || {
        json.as_i64()
            .or_else(|| {
                json.as_f64()
                    .filter(|x| x.fract() == 0.0 && x.abs() < 9e18)
                    .map(|x| x as i64)
            })
            .or_else(|| json.as_str()?.parse().ok())
    };
    let val = match value_type {
        ValueType::String => match json {
            Json::String(text) => Val::String(text.clone()),
            Json::Number(number) => Val::String(number.to_string()),
            _ => return Err(wrong()),
        },
        ValueType::Int32 => {
            let value = integer()
                .and_then(|x| i32::try_from(x).ok())
                .ok_or_else(wrong)?;
            Val::Int32(value)
        }
        ValueType::Int64 => Val::Int64(integer().ok_or_else(wrong)?),
        ValueType::Float64 => Val::Double(json.as_f64().ok_or_else(wrong)?),
        ValueType::Float32 => Val::Float(json.as_f64().ok_or_else(wrong)? as f32),
        ValueType::Bool => Val::Bool(json.as_bool().ok_or_else(wrong)?),
        ValueType::UnixTimestamp => Val::UnixTimestamp(match json {
            Json::String(text) => DateTime::parse_from_rfc3339(text)
                .map_err(|_| wrong())?
                .timestamp(),
            _ => integer().ok_or_else(wrong)?,
        }),
        _ => return Err(wrong()),
    };
    Ok(Value { val: Some(val) })
}

/// A column of values, for expressions to compute from.
pub(super) fn to_column(values: &[Value], value_type: ValueType) -> Result<ArrayRef> {
    let json: Vec<Json> = values.iter().map(to_json).collect();
    let column: ArrayRef = match value_type {
        ValueType::String => Arc::new(
            json.iter()
                .map(Json::as_str)
                .collect::<arrow::array::StringArray>(),
        ),
        ValueType::Bool => Arc::new(
            json.iter()
                .map(Json::as_bool)
                .collect::<arrow::array::BooleanArray>(),
        ),
        ValueType::Int32 | ValueType::Int64 => {
            let integers: ArrayRef = Arc::new(
                json.iter()
                    .map(Json::as_i64)
                    .collect::<arrow::array::Int64Array>(),
            );
            cast(&integers, &value_type.data_type())?
        }
        ValueType::UnixTimestamp => {
            let seconds: ArrayRef = Arc::new(
                json.iter()
                    .map(Json::as_i64)
                    .collect::<arrow::array::Int64Array>(),
            );
            let times = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
            cast(&cast(&seconds, &times)?, &value_type.data_type())?
        }
        ValueType::Float64 | ValueType::Float32 => {
            let floats = values.iter().map(|value| match value.val {
                Some(Val::Double(x)) => Some(x),
                Some(Val::Float(x)) => Some(f64::from(x)),
                _ => None,
            });
            let floats: ArrayRef = Arc::new(floats.collect::<arrow::array::Float64Array>());
            cast(&floats, &value_type.data_type())?
        }
        other => {
            return Err(Error::InvalidRequest(format!(
                "on-demand features cannot be computed online from values of type {other}"
            )));
        }
    };
    Ok(column)
}

/// An instant as protobuf's JSON writes it.
pub(super) fn time_text(seconds: i64) -> String {
    DateTime::from_timestamp(seconds, 0)
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0_u32, |group, byte| group << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(group >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                char::from(letter)
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_padded() {
        let texts: Vec<String> = [&b""[..], b"f", b"fo", b"foo", b"foob"]
            .iter()
            .map(|bytes| base64(bytes))
            .collect();
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
