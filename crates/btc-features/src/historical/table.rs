//! The result of a request as a table that other queries can be built on.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Column;
use datafusion::dataframe::DataFrame;
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;

use super::columns::{event_time_column, result_columns};
use super::exec::{JoinSpec, Origin, PointInTimeJoinExec, ViewJoin};
use super::input::{FeatureColumn, Input, Tables};
use super::request::{Output, Request};
use super::time::to_nanos;
use crate::definition::Definitions;
use crate::error::Result;
use crate::selection::FeatureSelection;

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
