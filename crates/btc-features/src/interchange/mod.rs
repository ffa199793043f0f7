//! Feast's registry file: a protobuf `feast.core.Registry`, written and read.
//!
//! Feast can open what is exported here (project, entities, file sources,
//! feature views, services), and what Feast 0.67 applied can be imported.
//! What one side has and the other has not is left out and noted: on-demand
//! views are SQL here and pickled Python there.

mod export;
mod import;

pub use import::Imported;

pub(crate) use export::{Materialized, export};
pub(crate) use import::import;

use crate::definition::ValueType;

/// The number of a type in `feast.types.ValueType`.
pub(crate) fn type_number(value_type: ValueType) -> i32 {
    match value_type {
        ValueType::Bytes => 1,
        ValueType::String => 2,
        ValueType::Int32 => 3,
        ValueType::Int64 => 4,
        ValueType::Float64 => 5,
        ValueType::Float32 => 6,
        ValueType::Bool => 7,
        ValueType::UnixTimestamp => 8,
        ValueType::BytesList => 11,
        ValueType::StringList => 12,
        ValueType::Int32List => 13,
        ValueType::Int64List => 14,
        ValueType::Float64List => 15,
        ValueType::Float32List => 16,
        ValueType::BoolList => 17,
        ValueType::UnixTimestampList => 18,
    }
}

/// The type with a number in `feast.types.ValueType`, if there is one here.
pub(crate) fn type_of(number: i32) -> Option<ValueType> {
    ValueType::ALL
        .into_iter()
        .find(|value_type| type_number(*value_type) == number)
}
