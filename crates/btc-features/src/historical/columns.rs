//! The columns of sources, entity rows and results.

use std::sync::Arc;

use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};

use super::exec::Origin;
use super::input::{FeatureColumn, Input};
use super::request::{Output, Request};
use super::time::{is_text, is_time, utc_type};
use crate::definition::FeatureView;
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
            let column = input.source().column_of(&feature.name).to_owned();
            let data_type = feature.value_type.data_type();
            let Some(found) = input.column_type(&column) else {
                let known = input
                    .schema()
                    .fields()
                    .iter()
                    .map(|field| field.name().as_str());
                let error = Error::unknown("column", &column, known);
                return Err(Error::mismatch(
                    &object,
                    format!(
                        "the feature {:?} is not in its source: {error}; map a column to it \
                         (field_mapping), or remove it",
                        feature.name
                    ),
                ));
            };
            let meaningless = is_text(found) != is_text(&data_type) && *found != DataType::Null;
            if !can_cast_types(found, &data_type) || meaningless {
                return Err(Error::mismatch(
                    &object,
                    format!(
                        "the feature {:?} is declared {}, its column {column:?} holds {found}; \
                         declare the type it has",
                        feature.name, feature.value_type
                    ),
                ));
            }
            Ok(FeatureColumn { column, data_type })
        })
        .collect()
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
        let wanted = &request.views[view];
        let data_type = wanted
            .view
            .feature(&wanted.features[feature])
            .map_or(DataType::Null, |field| field.value_type.data_type());
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
