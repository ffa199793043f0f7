//! The features of a view as columns of its source, and whether those can hold
//! what is declared.

use arrow::compute::can_cast_types;
use arrow::datatypes::DataType;

use crate::definition::{Entity, FeatureView, ValueType};
use crate::error::{Error, Result};
use crate::join::source::{FeatureColumn, Input, Window};
use crate::join::time::{is_text, is_time, utc_type};

/// Checks the features of a view against the columns of its source.
pub(crate) fn feature_columns(
    view: &FeatureView,
    features: &[String],
    input: &Input,
) -> Result<Vec<FeatureColumn>> {
    let object = format!("feature view {:?}", view.name);
    features
        .iter()
        .filter_map(|name| view.feature(name))
        .map(|feature| {
            let source = input.source();
            // Rows are counted by a column that each row has.
            let column = match &feature.aggregate {
                None => source.column_of(&feature.name),
                Some(aggregate) => match &aggregate.column {
                    Some(column) => source.column_of(column),
                    None => source.timestamp_field.as_str(),
                },
            };
            if input.column_type(column).is_none() {
                let known = input
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str());
                let error = Error::unknown("column", column, known);
                return Err(Error::mismatch(
                    &object,
                    format!(
                        "the feature {:?} is not in its source: {error}; map a column to it \
                         (field_mapping), or remove it",
                        feature.name
                    ),
                ));
            }
            let value_type = feature.value_type;
            let Some(aggregate) = &feature.aggregate else {
                check_type(&object, &feature.name, value_type, column, input)?;
                let data_type = stored_type(value_type, column, input);
                return Ok(FeatureColumn::plain(column, data_type));
            };
            let values = aggregate.values(value_type);
            let data_type = match values {
                Some(same) if same == value_type => stored_type(value_type, column, input),
                _ => value_type.data_type(),
            };
            if let Some(values) = values {
                check_type(&object, &feature.name, values, column, input)?;
            }
            Ok(FeatureColumn {
                column: column.to_owned(),
                window: Some(Window {
                    function: aggregate.function,
                    nanos: aggregate.nanos(),
                    values: match values {
                        Some(same) if same == value_type => Some(data_type.clone()),
                        other => other.map(ValueType::data_type),
                    },
                }),
                data_type,
            })
        })
        .collect()
}

/// The type of a feature in results. An instant keeps the unit that it has in
/// the source: a coarser one reaches further than nanoseconds do.
fn stored_type(value_type: ValueType, column: &str, input: &Input) -> DataType {
    let declared = value_type.data_type();
    match value_type {
        ValueType::UnixTimestamp => input
            .column_types(column)
            .into_iter()
            .filter(|(_, found)| **found != DataType::Null)
            .map(|(_, found)| utc_type(found))
            .max()
            .unwrap_or(declared),
        _ => declared,
    }
}

/// Checks that a column can hold values of a declared type, in every file.
pub(crate) fn check_type(
    object: &str,
    name: &str,
    declared: ValueType,
    column: &str,
    input: &Input,
) -> Result<()> {
    let data_type = declared.data_type();
    for (place, found) in input.column_types(column) {
        if !means_the_same(found, &data_type) || !can_cast_types(found, &data_type) {
            return Err(Error::mismatch(
                object,
                format!(
                    "{name:?} is declared {declared}, its column {column:?} holds {found} in \
                     {place}; declare the type it has"
                ),
            ));
        }
    }
    Ok(())
}

/// Whether values of one type can stand for values of another: text is not
/// read as numbers, and numbers not as instants, for nothing says their unit.
fn means_the_same(found: &DataType, declared: &DataType) -> bool {
    #[derive(PartialEq)]
    enum Kind {
        Text,
        Number,
        Time,
        Bytes,
        Other,
    }
    let kind = |data_type: &DataType| match data_type {
        other if is_text(other) => Kind::Text,
        other if is_time(other) => Kind::Time,
        DataType::Boolean => Kind::Number,
        other if other.is_numeric() => Kind::Number,
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => Kind::Bytes,
        _ => Kind::Other,
    };
    match (found, declared) {
        (DataType::Null, _) => true,
        (DataType::Dictionary(_, value), _) => means_the_same(value, declared),
        (
            DataType::List(a)
            | DataType::LargeList(a)
            | DataType::ListView(a)
            | DataType::LargeListView(a)
            | DataType::FixedSizeList(a, _),
            DataType::List(b),
        ) => means_the_same(a.data_type(), b.data_type()),
        _ => kind(found) != Kind::Other && kind(found) == kind(declared),
    }
}

/// The type of an entity's key: as it is declared, or as the column that holds
/// it says.
pub(crate) fn key_type(input: &Input, entity: &Entity, column: &str) -> ValueType {
    entity
        .value_type
        .or_else(|| ValueType::from_data_type(input.column_type(column)?))
        .unwrap_or(ValueType::String)
}
