//! A named, typed column of a view, and the types there are.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field as ArrowField, TimeUnit};
use serde::{Deserialize, Serialize};

use super::{Aggregate, Tags};

/// The type of a feature or a key: the types of Feast, under its names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
#[non_exhaustive]
pub enum ValueType {
    /// Bytes.
    Bytes,
    /// Text.
    String,
    /// A signed integer of 32 bits.
    Int32,
    /// A signed integer of 64 bits.
    Int64,
    /// A float of 64 bits.
    Float64,
    /// A float of 32 bits.
    Float32,
    /// True or false.
    Bool,
    /// An instant, in UTC.
    UnixTimestamp,
    /// A list of bytes.
    BytesList,
    /// A list of text.
    StringList,
    /// A list of 32-bit integers.
    Int32List,
    /// A list of 64-bit integers.
    Int64List,
    /// A list of 64-bit floats.
    Float64List,
    /// A list of 32-bit floats.
    Float32List,
    /// A list of true and false.
    BoolList,
    /// A list of instants.
    UnixTimestampList,
}

impl ValueType {
    /// Every type, in the order of Feast's numbers.
    pub const ALL: [Self; 16] = [
        Self::Bytes,
        Self::String,
        Self::Int32,
        Self::Int64,
        Self::Float64,
        Self::Float32,
        Self::Bool,
        Self::UnixTimestamp,
        Self::BytesList,
        Self::StringList,
        Self::Int32List,
        Self::Int64List,
        Self::Float64List,
        Self::Float32List,
        Self::BoolList,
        Self::UnixTimestampList,
    ];

    /// The name, as in Feast: `Float64`, `Array(Float64)`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "Bytes",
            Self::String => "String",
            Self::Int32 => "Int32",
            Self::Int64 => "Int64",
            Self::Float64 => "Float64",
            Self::Float32 => "Float32",
            Self::Bool => "Bool",
            Self::UnixTimestamp => "UnixTimestamp",
            Self::BytesList => "Array(Bytes)",
            Self::StringList => "Array(String)",
            Self::Int32List => "Array(Int32)",
            Self::Int64List => "Array(Int64)",
            Self::Float64List => "Array(Float64)",
            Self::Float32List => "Array(Float32)",
            Self::BoolList => "Array(Bool)",
            Self::UnixTimestampList => "Array(UnixTimestamp)",
        }
    }

    /// The Arrow type of a column of such values.
    pub fn data_type(self) -> DataType {
        let list = |item: Self| {
            DataType::List(Arc::new(ArrowField::new_list_field(item.data_type(), true)))
        };
        match self {
            Self::Bytes => DataType::Binary,
            Self::String => DataType::Utf8,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Float32 => DataType::Float32,
            Self::Bool => DataType::Boolean,
            Self::UnixTimestamp => DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
            Self::BytesList => list(Self::Bytes),
            Self::StringList => list(Self::String),
            Self::Int32List => list(Self::Int32),
            Self::Int64List => list(Self::Int64),
            Self::Float64List => list(Self::Float64),
            Self::Float32List => list(Self::Float32),
            Self::BoolList => list(Self::Bool),
            Self::UnixTimestampList => list(Self::UnixTimestamp),
        }
    }

    /// The type whose columns can hold the values of an Arrow column, if any.
    pub fn from_data_type(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Bytes,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::String,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 => Self::Int32,
            DataType::UInt16 => Self::Int32,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => Self::Int64,
            DataType::Float64 | DataType::Decimal128(..) => Self::Float64,
            DataType::Float32 | DataType::Float16 => Self::Float32,
            DataType::Boolean => Self::Bool,
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Self::UnixTimestamp,
            DataType::Dictionary(_, value) => Self::from_data_type(value)?,
            DataType::List(item) | DataType::LargeList(item) => {
                match Self::from_data_type(item.data_type())? {
                    Self::Bytes => Self::BytesList,
                    Self::String => Self::StringList,
                    Self::Int32 => Self::Int32List,
                    Self::Int64 => Self::Int64List,
                    Self::Float64 => Self::Float64List,
                    Self::Float32 => Self::Float32List,
                    Self::Bool => Self::BoolList,
                    Self::UnixTimestamp => Self::UnixTimestampList,
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ValueType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|known| known.name()).collect();
                format!(
                    "{text:?} is no value type; the types are {}",
                    names.join(", ")
                )
            })
    }
}

impl TryFrom<String> for ValueType {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ValueType> for String {
    fn from(value_type: ValueType) -> Self {
        value_type.name().to_owned()
    }
}

/// A named, typed column: a feature, or a column that a request brings along.
///
/// ```
/// # use btc_features::{Field, ValueType};
/// let close = Field::new("close", ValueType::Float64).with_description("in US dollars");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Field {
    /// The name, unique within its view.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// How it is computed from a trailing window; without this, it is a column
    /// of the source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
}

impl Field {
    /// A column of this name and type.
    pub fn new(name: impl Into<String>, value_type: ValueType) -> Self {
        Self {
            name: name.into(),
            value_type,
            description: String::new(),
            tags: Tags::new(),
            aggregate: None,
        }
    }

    /// Computes the feature from a trailing window of its view's rows.
    #[must_use]
    pub fn with_aggregate(mut self, aggregate: Aggregate) -> Self {
        self.aggregate = Some(aggregate);
        self
    }

    /// Says what the values are.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_by_its_name_and_by_its_columns() {
        for value_type in ValueType::ALL {
            assert_eq!(value_type.name().parse(), Ok(value_type));
            assert_eq!(value_type.name().to_lowercase().parse(), Ok(value_type));
            assert_eq!(
                ValueType::from_data_type(&value_type.data_type()),
                Some(value_type)
            );
        }
        assert!(
            "float"
                .parse::<ValueType>()
                .unwrap_err()
                .contains("Float64")
        );
    }
}
