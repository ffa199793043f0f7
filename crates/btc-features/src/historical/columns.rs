//! The columns of sources, entity rows and results.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};

use super::exec::{Origin, ViewJoin};
use super::input::{FeatureColumn, Input, Window};
use super::request::{Output, Request};
use super::time::{is_text, is_time, utc_type};
use crate::definition::{FeatureView, ValueType};
use crate::error::{Error, Result};

/// The name of the column of entity rows that holds their times, if several
/// columns could.
const EVENT_TIMESTAMP: &str = "event_timestamp";

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

/// The number of the column of entity rows that holds their times.
pub(crate) fn event_time_column(entity_rows: &Schema) -> Result<usize> {
    if let Some((number, field)) = entity_rows.column_with_name(EVENT_TIMESTAMP) {
        let data_type = field.data_type();
        if is_time(data_type) || is_text(data_type) || *data_type == DataType::Null {
            return Ok(number);
        }
        return Err(Error::InvalidRequest(format!(
            "column {EVENT_TIMESTAMP:?} of the entity rows holds {data_type}, not timestamps"
        )));
    }
    let times: Vec<usize> = entity_rows
        .fields()
        .iter()
        .enumerate()
        .filter_map(|(number, field)| is_time(field.data_type()).then_some(number))
        .collect();
    match times[..] {
        [number] => Ok(number),
        [] => Err(Error::InvalidRequest(format!(
            "the entity rows have no timestamps; add a column {EVENT_TIMESTAMP:?}"
        ))),
        _ => Err(Error::InvalidRequest(format!(
            "the entity rows have several columns of timestamps; call the one to join by \
             {EVENT_TIMESTAMP:?}"
        ))),
    }
}

/// The columns of a result, and where each comes from. Features that are only
/// needed to compute others are called `label:feature`.
pub(crate) fn result_columns(
    request: &Request,
    joins: &[ViewJoin],
    entity_rows: &Schema,
    event_time: usize,
) -> (SchemaRef, Vec<Origin>) {
    let mut fields: Vec<ArrowField> = entity_rows
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    let utc = utc_type(fields[event_time].data_type());
    fields[event_time].set_data_type(utc);
    let mut columns: Vec<Origin> = (0..fields.len()).map(Origin::Entity).collect();
    let mut add = |view: usize, feature: usize, name: String| {
        let origin = Origin::Feature { view, feature };
        if columns.contains(&origin) && name.contains(':') {
            return;
        }
        let data_type = joins[view].features[feature].data_type.clone();
        fields.push(ArrowField::new(name, data_type, true));
        columns.push(origin);
    };
    for output in &request.outputs {
        if let Output::Feature {
            view,
            feature,
            name,
        } = output
        {
            add(*view, *feature, name.clone());
        }
    }
    for (number, view) in request.views.iter().enumerate() {
        for (feature, name) in view.features.iter().enumerate() {
            add(number, feature, format!("{}:{name}", view.label));
        }
    }
    (Arc::new(Schema::new(fields)), columns)
}
