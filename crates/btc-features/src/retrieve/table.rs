//! The result of a request as a table that other queries can be built on.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;

use super::FeatureSelection;
use super::request::{Output, Request};
use crate::definition::Definitions;
use crate::error::{Error, Result};
use crate::join::exec::PointInTimeJoinExec;
use crate::join::source::{FeatureColumn, Input, Tables};
use crate::join::spec::{JoinSpec, Origin, ViewJoin};
use crate::join::time::{is_text, is_time, to_nanos, utc_type};

/// Entity rows and, beside each, the features known at its time.
#[derive(Debug)]
pub(crate) struct HistoricalTable {
    entity_rows: Arc<dyn TableProvider>,
    event_time: usize,
    /// The earliest and latest time of the entity rows, if that is known.
    range: Option<(i64, i64)>,
    views: Vec<ViewJoin>,
    columns: Vec<Origin>,
    schema: SchemaRef,
}

impl HistoricalTable {
    pub(crate) fn new(
        entity_rows: Arc<dyn TableProvider>,
        event_time: usize,
        range: Option<(i64, i64)>,
        views: Vec<ViewJoin>,
        columns: Vec<Origin>,
        schema: SchemaRef,
    ) -> Self {
        Self {
            entity_rows,
            event_time,
            range,
            views,
            columns,
            schema,
        }
    }

    /// Plans a request: nothing but the footers of files is read.
    pub(crate) fn plan(
        context: &SessionContext,
        definitions: &Definitions,
        repo_dir: &Path,
        tables: &Tables,
        entity_rows: Arc<dyn TableProvider>,
        range: Option<(i64, i64)>,
        selection: &FeatureSelection,
    ) -> Result<DataFrame> {
        let entity_schema = entity_rows.schema();
        let event_time = event_time_column(&entity_schema)?;
        let mut request = Request::resolve(selection, definitions)?;
        request.check_names(&entity_schema)?;
        let entity_columns: Vec<_> = entity_schema
            .fields()
            .iter()
            .map(|field| (field.name().clone(), field.data_type().clone()))
            .collect();
        let mut expressions = request.parse_on_demand(context, definitions, &entity_columns)?;
        let views = request.joins(&entity_schema, repo_dir, tables)?;
        let (schema, columns) = result_columns(&request, &views, &entity_schema, event_time);
        let table = Self::new(entity_rows, event_time, range, views, columns, schema);
        let names: Vec<String> = table
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut select: Vec<Expr> = (0..entity_columns.len())
            .map(|number| Expr::Column(Column::new_unqualified(names[number])))
            .collect();
        for (number, output) in request.outputs.iter().enumerate() {
            select.push(match output {
                Output::Feature { name, .. } => Expr::Column(Column::new_unqualified(name)),
                Output::OnDemand { name, .. } => match expressions.remove(&number) {
                    Some(expression) => request
                        .bind(expression, &table.columns, &names)?
                        .alias(name),
                    None => continue,
                },
            });
        }
        let plain = request
            .outputs
            .iter()
            .all(|output| matches!(output, Output::Feature { .. }));
        let frame = context.read_table(Arc::new(table))?;
        if plain {
            Ok(frame)
        } else {
            Ok(frame.select(select)?)
        }
    }
}

#[async_trait]
impl TableProvider for HistoricalTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let kept: Vec<usize> = match projection {
            Some(projection) => projection.clone(),
            None => (0..self.columns.len()).collect(),
        };
        let fields: Vec<_> = kept
            .iter()
            .map(|column| Arc::clone(&self.schema.fields()[*column]))
            .collect();
        // There is one row for each entity row, in their order, so that a limit
        // on the result is one on the entity rows.
        let mut inputs = vec![self.entity_rows.scan(state, None, &[], limit).await?];
        let mut spec = JoinSpec {
            event_time: self.event_time,
            views: self.views.clone(),
            columns: kept
                .into_iter()
                .map(|column| self.columns[column])
                .collect(),
            schema: Arc::new(Schema::new(fields)),
            fetch: limit,
            table_inputs: Vec::new(),
        };
        for (number, view) in self.views.iter().enumerate() {
            let wanted: Vec<FeatureColumn> = spec
                .wanted(number)
                .into_iter()
                .map(|feature| view.features[feature].clone())
                .collect();
            spec.table_inputs.push(match &view.input {
                Input::Table(table) if !wanted.is_empty() => {
                    let between = self.range.map(|(min, max)| {
                        let ttl = view.rules.ttl.unwrap_or(i64::MAX);
                        let back = ttl.max(view.longest_window().unwrap_or(0));
                        (min.saturating_sub(back), max)
                    });
                    inputs.push(
                        table
                            .scan(state, &view.source_keys, &wanted, between)
                            .await?,
                    );
                    Some(inputs.len() - 2)
                }
                _ => None,
            });
        }
        Ok(Arc::new(PointInTimeJoinExec::new(inputs, Arc::new(spec))))
    }
}

/// The earliest and latest time of entity rows in memory.
pub(crate) fn time_range(entity_rows: &RecordBatch) -> Result<Option<(i64, i64)>> {
    let times = to_nanos(entity_rows.column(event_time_column(&entity_rows.schema())?));
    // What cannot be read is told when the rows are.
    let Ok(times) = times else { return Ok(None) };
    Ok(arrow::compute::min(&times).zip(arrow::compute::max(&times)))
}

/// The name of the column of entity rows that holds their times, if several
/// columns could.
const EVENT_TIMESTAMP: &str = "event_timestamp";

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
