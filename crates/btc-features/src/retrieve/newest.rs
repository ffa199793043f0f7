//! The newest row of each key of a view in a period.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Schema};
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;

use super::FeatureSelection;
use super::period::entity_rows;
use super::request::Request;
use super::table::HistoricalTable;
use crate::blocking::blocking;
use crate::cast::Unfit;
use crate::definition::{Definitions, FeatureView};
use crate::error::{Error, Result};
use crate::join::source::{FeatureColumn, Tables};
use crate::join::spec::Origin;
use crate::join::time::{beyond_nanos, to_nanos, utc_type};

/// The newest rows of a view between two instants, both included: the columns
/// of its keys, its features, and the event and created times in nanoseconds
/// (the second only if the source has it).
pub(crate) async fn newest_rows(
    context: &SessionContext,
    definitions: &Definitions,
    repo_dir: &Path,
    tables: &Tables,
    view: &FeatureView,
    period: (i64, i64),
) -> Result<RecordBatch> {
    // The period alone decides which rows are looked at.
    let mut timeless = view.clone();
    timeless.ttl = None;
    let mut definitions = definitions.clone();
    definitions
        .feature_views
        .insert(view.name.clone(), timeless);
    let features = view
        .features
        .iter()
        .map(|feature| format!("{}:{}", view.name, feature.name));
    let request = Arc::new(Request::resolve(
        &FeatureSelection::features(features),
        &definitions,
    )?);
    let keys = entity_rows(
        context,
        &request,
        &definitions,
        repo_dir,
        tables,
        period.0..=period.1,
    )
    .await?;
    let (schema, dir, own) = (keys.schema(), repo_dir.to_path_buf(), tables.clone());
    let mut joins = blocking(move || request.joins(&schema, &dir, &own)).await?;
    let source = definitions.source(&view.source)?;
    let times = [
        Some(&source.timestamp_field),
        source.created_timestamp_column.as_ref(),
    ];
    let join = joins
        .first_mut()
        .ok_or_else(|| Error::from(DataFusionError::Internal("a view gave no join".into())))?;
    for column in times.into_iter().flatten() {
        let types = join.input.column_types(column);
        let finest = types.iter().map(|(_, data_type)| utc_type(data_type)).max();
        let data_type = finest.unwrap_or(utc_type(&DataType::Null));
        join.features.push(FeatureColumn::plain(column, data_type));
    }
    let mut columns: Vec<Origin> = (1..keys.num_columns()).map(Origin::Entity).collect();
    let mut fields: Vec<Field> = keys.schema().fields()[1..]
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    for (feature, column) in join.features.iter().enumerate() {
        columns.push(Origin::Feature { view: 0, feature });
        // Only places count here, and a source column can be a key as well.
        fields.push(Field::new(
            format!("{feature}:"),
            column.data_type.clone(),
            true,
        ));
    }
    let schema = Arc::new(Schema::new(fields));
    let entity_rows = Arc::new(MemTable::try_new(keys.schema(), vec![vec![keys]])?);
    let table = HistoricalTable::new(entity_rows, 0, None, joins, columns, Arc::clone(&schema));
    let batches = context.read_table(Arc::new(table))?.collect().await?;
    let batch = concat_batches(&schema, &batches)?;
    let first_time =
        batch.num_columns() - 1 - usize::from(source.created_timestamp_column.is_some());
    let mut arrays: Vec<ArrayRef> = batch.columns().to_vec();
    let mut fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    for place in first_time..arrays.len() {
        let name = if place == first_time {
            source.timestamp_field.as_str()
        } else {
            "created"
        };
        let nanos = to_nanos(&arrays[place]).map_err(|unfit| unfit.at("the newest rows", name))?;
        if let Some(row) = beyond_nanos(&nanos).filter(|_| place == first_time) {
            let why = "is outside the years 1677 to 2262";
            return Err(Unfit::new(&arrays[place], row, why).at("the newest rows", name));
        }
        arrays[place] = Arc::new(nanos);
        fields[place].set_data_type(DataType::Int64);
    }
    // Without a row in the period there is nothing, not a row of nulls.
    let found = arrow::compute::is_not_null(&arrays[first_time])?;
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
    let batch = arrow::compute::filter_record_batch(&batch, &found)?;
    // A view without entities may have older rows than the period.
    let times = to_int64(batch.column(first_time));
    let inside: arrow::array::BooleanArray = times
        .iter()
        .map(|time| Some(time.is_some_and(|time| time >= period.0)))
        .collect();
    Ok(arrow::compute::filter_record_batch(&batch, &inside)?)
}

fn to_int64(column: &ArrayRef) -> arrow::array::Int64Array {
    use arrow::array::AsArray as _;
    column.as_primitive::<arrow::datatypes::Int64Type>().clone()
}
