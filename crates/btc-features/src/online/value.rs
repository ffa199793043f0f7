//! Values between Arrow, Feast's protobuf and JSON.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, StringArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{
    DataType, Field, Float32Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampSecondType,
};
use chrono::{DateTime, SecondsFormat};
use serde_json::Value as Json;

use super::proto::{
    BoolList, BytesList, DoubleList, FloatList, Int32List, Int64List, StringList, Val, Value,
};
use crate::cast::{Unfit, cast_exact};
use crate::definition::ValueType;
use crate::error::{Error, Result};

/// The values of a column, as values of a type. Instants may be in any unit:
/// the online store has them in seconds.
pub(super) fn from_column(column: &ArrayRef, value_type: ValueType) -> Result<Vec<Value>, Unfit> {
    let seconds = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
    let data_type = match value_type {
        ValueType::UnixTimestamp => seconds,
        ValueType::UnixTimestampList => {
            DataType::List(Arc::new(Field::new_list_field(seconds, true)))
        }
        other => other.data_type(),
    };
    let cast_column = to_whole_seconds(column, &data_type)?;
    (0..column.len())
        .map(|row| {
            let val = if cast_column.is_null(row) {
                None
            } else {
                Some(at(&cast_column, row, value_type).ok_or_else(|| {
                    Unfit::new(
                        column,
                        row,
                        "is a list with a null, which Feast's online values have no place for; \
                         leave it out of the source, or keep the view offline (online = false)",
                    )
                })?)
            };
            Ok(Value { val })
        })
        .collect()
}

/// Casts a column; instants are rounded down, towards the past.
fn to_whole_seconds(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Unfit> {
    let per_second = match (column.data_type(), to) {
        (DataType::Timestamp(TimeUnit::Millisecond, _), DataType::Timestamp(..)) => 1_000,
        (DataType::Timestamp(TimeUnit::Microsecond, _), DataType::Timestamp(..)) => 1_000_000,
        (DataType::Timestamp(TimeUnit::Nanosecond, _), DataType::Timestamp(..)) => 1_000_000_000,
        (DataType::List(_), DataType::List(item))
            if matches!(item.data_type(), DataType::Timestamp(..)) =>
        {
            let list = column.as_list::<i32>();
            let values = to_whole_seconds(list.values(), item.data_type())?;
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            let list = ListArray::try_new(Arc::clone(item), offsets, values, nulls);
            return list
                .map(|list| Arc::new(list) as ArrayRef)
                .map_err(|error| Unfit {
                    row: 0,
                    reason: error.to_string(),
                });
        }
        _ => return cast_exact(column, to),
    };
    let counts = cast_exact(column, &DataType::Int64)?;
    let seconds: Int64Array = counts
        .as_primitive::<Int64Type>()
        .unary(|count| count.div_euclid(per_second));
    cast_exact(&(Arc::new(seconds) as ArrayRef), to)
}

/// One value; `None` for a list with a null in it.
fn at(column: &ArrayRef, row: usize, value_type: ValueType) -> Option<Val> {
    let items = || Some(column.as_list::<i32>().value(row)).filter(|items| items.null_count() == 0);
    Some(match value_type {
        ValueType::Bytes => Val::Bytes(column.as_binary::<i32>().value(row).to_vec()),
        ValueType::String => Val::String(column.as_string::<i32>().value(row).to_owned()),
        ValueType::Int32 => Val::Int32(column.as_primitive::<Int32Type>().value(row)),
        ValueType::Int64 => Val::Int64(column.as_primitive::<Int64Type>().value(row)),
        ValueType::Float64 => Val::Double(column.as_primitive::<Float64Type>().value(row)),
        ValueType::Float32 => Val::Float(column.as_primitive::<Float32Type>().value(row)),
        ValueType::Bool => Val::Bool(column.as_boolean().value(row)),
        ValueType::UnixTimestamp => {
            Val::UnixTimestamp(column.as_primitive::<TimestampSecondType>().value(row))
        }
        ValueType::BytesList => Val::BytesList(BytesList {
            val: items()?
                .as_binary::<i32>()
                .iter()
                .flatten()
                .map(<[u8]>::to_vec)
                .collect(),
        }),
        ValueType::StringList => Val::StringList(StringList {
            val: items()?
                .as_string::<i32>()
                .iter()
                .flatten()
                .map(str::to_owned)
                .collect(),
        }),
        ValueType::Int32List => Val::Int32List(Int32List {
            val: items()?
                .as_primitive::<Int32Type>()
                .iter()
                .flatten()
                .collect(),
        }),
        ValueType::Int64List => Val::Int64List(Int64List {
            val: items()?
                .as_primitive::<Int64Type>()
                .iter()
                .flatten()
                .collect(),
        }),
        ValueType::Float64List => Val::DoubleList(DoubleList {
            val: items()?
                .as_primitive::<Float64Type>()
                .iter()
                .flatten()
                .collect(),
        }),
        ValueType::Float32List => Val::FloatList(FloatList {
            val: items()?
                .as_primitive::<Float32Type>()
                .iter()
                .flatten()
                .collect(),
        }),
        ValueType::BoolList => Val::BoolList(BoolList {
            val: items()?.as_boolean().iter().flatten().collect(),
        }),
        ValueType::UnixTimestampList => Val::UnixTimestampList(Int64List {
            val: items()?
                .as_primitive::<TimestampSecondType>()
                .iter()
                .flatten()
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
                    // From 2^53 on a float may have been another integer.
                    .filter(|x| x.fract() == 0.0 && x.abs() < 9_007_199_254_740_992.0)
                    .map(|x| x as i64)
            })
            .or_else(|| json.as_str()?.parse().ok())
    };
    // Text stands for any type: a command line has nothing else.
    let float = || json.as_f64().or_else(|| json.as_str()?.parse().ok());
    let val = match value_type {
        ValueType::String => match json {
            Json::String(text) => Val::String(text.clone()),
            // Of a number with a fraction or an exponent the text is lost.
            Json::Number(number) if number.is_i64() || number.is_u64() => {
                Val::String(number.to_string())
            }
            _ => return Err(wrong()),
        },
        ValueType::Int32 => {
            let value = integer()
                .and_then(|x| i32::try_from(x).ok())
                .ok_or_else(wrong)?;
            Val::Int32(value)
        }
        ValueType::Int64 => Val::Int64(integer().ok_or_else(wrong)?),
        ValueType::Float64 => Val::Double(float().ok_or_else(wrong)?),
        ValueType::Float32 => {
            let wide = float().ok_or_else(wrong)?;
            let narrow = wide as f32;
            if wide.is_finite() && narrow.is_infinite() {
                return Err(wrong());
            }
            Val::Float(narrow)
        }
        ValueType::Bool => Val::Bool(
            json.as_bool()
                .or_else(|| json.as_str()?.to_ascii_lowercase().parse().ok())
                .ok_or_else(wrong)?,
        ),
        ValueType::UnixTimestamp => Val::UnixTimestamp(match json {
            Json::String(text) if text.parse::<i64>().is_err() => {
                DateTime::parse_from_rfc3339(text)
                    .map_err(|_| wrong())?
                    .timestamp()
            }
            _ => integer().ok_or_else(wrong)?,
        }),
        _ => return Err(wrong()),
    };
    Ok(Value { val: Some(val) })
}

/// Reads a column of rows from JSON. Instants keep the fraction of their
/// second, which an online value has no place for.
pub(crate) fn json_column(name: &str, values: &[Json], value_type: ValueType) -> Result<ArrayRef> {
    if value_type == ValueType::UnixTimestamp {
        let nanos = values
            .iter()
            .map(|value| match value {
                Json::Null => Ok(None),
                Json::String(text) if text.parse::<i64>().is_err() => {
                    string_to_timestamp_nanos(text).map(Some).map_err(|_| ())
                }
                value => from_json(name, value, value_type)
                    .ok()
                    .and_then(|value| match value.val {
                        Some(Val::UnixTimestamp(seconds)) => seconds.checked_mul(1_000_000_000),
                        _ => None,
                    })
                    .map(Some)
                    .ok_or(()),
            })
            .collect::<Vec<Result<Option<i64>, ()>>>();
        if let Some(row) = nanos.iter().position(Result::is_err) {
            let unfit = Unfit {
                row,
                reason: format!("{} is no {value_type}", values[row]),
            };
            return Err(unfit.at("the pushed rows", name));
        }
        let nanos: Int64Array = nanos.into_iter().map(Result::unwrap_or_default).collect();
        return cast_exact(&(Arc::new(nanos) as ArrayRef), &value_type.data_type())
            .map_err(|unfit| unfit.at("the pushed rows", name));
    }
    let values = values
        .iter()
        .enumerate()
        .map(|(row, value)| {
            from_json(name, value, value_type).map_err(|_| {
                let reason = format!("{value} is no {value_type}");
                Unfit { row, reason }.at("the pushed rows", name)
            })
        })
        .collect::<Result<Vec<Value>>>()?;
    to_column(&values, value_type).map_err(|unfit| unfit.at("the pushed rows", name))
}

/// A column of values, for expressions to compute from.
pub(super) fn to_column(values: &[Value], value_type: ValueType) -> Result<ArrayRef, Unfit> {
    /// A column of one type, from the values of the kind that holds it.
    macro_rules! column {
        ($array:ty, $kind:ident) => {
            Arc::new(
                values
                    .iter()
                    .map(|value| match &value.val {
                        Some(Val::$kind(x)) => Some(x.clone()),
                        _ => None,
                    })
                    .collect::<$array>(),
            ) as ArrayRef
        };
    }
    macro_rules! list {
        ($array:ty, $kind:ident) => {{
            let mut lengths = Vec::new();
            let mut items = Vec::new();
            for value in values {
                let list = match &value.val {
                    Some(Val::$kind(list)) => list.val.as_slice(),
                    _ => &[],
                };
                lengths.push(list.len());
                items.extend(list.iter().cloned().map(Some));
            }
            let items: ArrayRef = Arc::new(items.into_iter().collect::<$array>());
            (lengths, items)
        }};
    }
    let (lengths, items) = match value_type {
        ValueType::Bytes => return Ok(column!(BinaryArray, Bytes)),
        ValueType::String => return Ok(column!(StringArray, String)),
        ValueType::Int32 => return Ok(column!(Int32Array, Int32)),
        ValueType::Int64 => return Ok(column!(Int64Array, Int64)),
        ValueType::Float64 => return Ok(column!(Float64Array, Double)),
        ValueType::Float32 => return Ok(column!(Float32Array, Float)),
        ValueType::Bool => return Ok(column!(BooleanArray, Bool)),
        ValueType::UnixTimestamp => {
            return instants(column!(Int64Array, UnixTimestamp), &value_type.data_type());
        }
        ValueType::BytesList => list!(BinaryArray, BytesList),
        ValueType::StringList => list!(StringArray, StringList),
        ValueType::Int32List => list!(Int32Array, Int32List),
        ValueType::Int64List => list!(Int64Array, Int64List),
        ValueType::Float64List => list!(Float64Array, DoubleList),
        ValueType::Float32List => list!(Float32Array, FloatList),
        ValueType::BoolList => list!(BooleanArray, BoolList),
        ValueType::UnixTimestampList => {
            let (lengths, items) = list!(Int64Array, UnixTimestampList);
            (
                lengths,
                instants(items, &ValueType::UnixTimestamp.data_type())?,
            )
        }
    };
    let item = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    let there = values.iter().map(|value| value.val.is_some());
    let nulls = NullBuffer::from_iter(there);
    ListArray::try_new(
        item,
        OffsetBuffer::from_lengths(lengths),
        items,
        Some(nulls),
    )
    .map(|list| Arc::new(list) as ArrayRef)
    .map_err(|error| Unfit {
        row: 0,
        reason: error.to_string(),
    })
}

/// Seconds since 1970 as instants.
fn instants(seconds: ArrayRef, to: &DataType) -> Result<ArrayRef, Unfit> {
    let utc = DataType::Timestamp(TimeUnit::Second, Some("UTC".into()));
    cast_exact(&cast_exact(&seconds, &utc)?, to)
}

/// An instant in nanoseconds since 1970 as protobuf's JSON writes it: with as
/// many digits after the second as it takes.
pub(super) fn time_text(nanos: i128) -> String {
    let (seconds, rest) = (
        nanos.div_euclid(1_000_000_000),
        nanos.rem_euclid(1_000_000_000),
    );
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| DateTime::from_timestamp(seconds, u32::try_from(rest).ok()?))
        .unwrap_or_default()
        .to_rfc3339_opts(SecondsFormat::AutoSi, true)
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
