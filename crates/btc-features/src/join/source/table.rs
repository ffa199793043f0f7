//! A table that stands in for the files of a source: its rows come once, and
//! those that may match are kept.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, ident, lit};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;

use super::column::{FeatureColumn, KeyRows, convert};
use crate::definition::FileSource;
use crate::error::{Error, Result};
use crate::join::time::to_nanos;

/// What errors call the table that stands in for files.
pub(crate) const TABLE: &str = "the registered table";

/// A table and the source that it stands in for.
#[derive(Debug)]
pub(crate) struct SourceTable {
    pub(crate) source: FileSource,
    pub(super) provider: Arc<dyn TableProvider>,
    pub(super) schema: SchemaRef,
    /// What errors call it.
    pub(super) place: &'static str,
}

impl SourceTable {
    /// Rows in memory that are looked at as a source's are; only batches that
    /// are at hand can be, for it has no rows of its own.
    pub(crate) fn of_rows(source: FileSource, schema: SchemaRef, place: &'static str) -> Self {
        Self {
            source,
            provider: Arc::new(EmptyTable::new(Arc::clone(&schema))),
            schema,
            place,
        }
    }

    /// Plans the scan of keys, timestamps and features, of rows between two
    /// instants if the table can tell them apart.
    pub(crate) async fn scan(
        &self,
        state: &dyn Session,
        keys: &[String],
        features: &[FeatureColumn],
        between: Option<(i64, i64)>,
    ) -> datafusion::error::Result<Arc<dyn ExecutionPlan>> {
        let mut wanted: Vec<usize> = keys
            .iter()
            .chain([&self.source.timestamp_field])
            .chain(&self.source.created_timestamp_column)
            .chain(features.iter().map(|feature| &feature.column))
            .filter_map(|name| self.schema.column_with_name(name).map(|(number, _)| number))
            .collect();
        wanted.sort_unstable();
        wanted.dedup();
        let filters = between.map(|range| self.filters(range)).unwrap_or_default();
        let references: Vec<&Expr> = filters.iter().collect();
        let supported = self.provider.supports_filters_pushdown(&references)?;
        let filters: Vec<Expr> = filters
            .into_iter()
            .zip(supported)
            .filter(|(_, support)| *support != TableProviderFilterPushDown::Unsupported)
            .map(|(filter, _)| filter)
            .collect();
        self.provider
            .scan(state, Some(&wanted), &filters, None)
            .await
    }

    /// Reads the rows between two instants (and others, if the table cannot
    /// tell them apart): keys and timestamps, and features.
    pub(crate) async fn for_each(
        &self,
        context: &SessionContext,
        keys: &[String],
        features: &[FeatureColumn],
        between: (i64, i64),
        mut each: impl FnMut(KeyRows, Vec<ArrayRef>) -> Result<()>,
    ) -> Result<()> {
        let plan = self
            .scan(&context.state(), keys, features, Some(between))
            .await?;
        let mut stream = execute_stream(plan, context.task_ctx())?;
        let mut before = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch?;
            each(
                self.keys(&batch, keys, before)?,
                self.features(&batch, features)?,
            )?;
            before += batch.num_rows();
        }
        Ok(())
    }

    fn filters(&self, (from, to): (i64, i64)) -> Vec<Expr> {
        let Some((_, field)) = self.schema.column_with_name(&self.source.timestamp_field) else {
            return Vec::new();
        };
        // A literal of another unit or zone than the column's could not be
        // compared with its statistics.
        let DataType::Timestamp(_, zone) = field.data_type() else {
            return Vec::new();
        };
        let at = |nanos: i64| {
            ScalarValue::TimestampNanosecond(Some(nanos), zone.clone())
                .cast_to(field.data_type())
                .ok()
                .map(lit)
        };
        // Rounding to a coarser unit moves both bounds down, or towards 1970:
        // a second more on either side leaves out no row that counts.
        let second = 1_000_000_000;
        let column = || ident(&self.source.timestamp_field);
        let lower = at(from.saturating_sub(second)).map(|value| column().gt_eq(value));
        let upper = at(to.saturating_add(second)).map(|value| column().lt_eq(value));
        lower.into_iter().chain(upper).collect()
    }

    /// The keys and timestamps of some rows.
    /// `before` rows came before them.
    pub(crate) fn keys(
        &self,
        batch: &RecordBatch,
        keys: &[String],
        before: usize,
    ) -> Result<KeyRows> {
        let nanos = |name: &String| {
            to_nanos(&self.column(batch, name)?)
                .map_err(|unfit| unfit.after(before).at(self.place, name))
        };
        Ok(KeyRows {
            place: self.place.to_owned(),
            before,
            keys: keys
                .iter()
                .map(|key| self.column(batch, key))
                .collect::<Result<_>>()?,
            times: nanos(&self.source.timestamp_field)?,
            created: self
                .source
                .created_timestamp_column
                .as_ref()
                .map(nanos)
                .transpose()?,
        })
    }

    /// The features of some rows.
    pub(crate) fn features(
        &self,
        batch: &RecordBatch,
        features: &[FeatureColumn],
    ) -> Result<Vec<ArrayRef>> {
        features
            .iter()
            .map(|feature| match batch.column_by_name(&feature.column) {
                Some(column) => {
                    convert(column, feature).map_err(|unfit| unfit.at(self.place, &feature.column))
                }
                None => Ok(new_null_array(&feature.data_type, batch.num_rows())),
            })
            .collect()
    }

    fn column(&self, batch: &RecordBatch, name: &str) -> Result<ArrayRef> {
        batch.column_by_name(name).cloned().ok_or_else(|| {
            Error::mismatch(
                format!("source {:?}", self.source.name),
                format!("{} gave no column {name:?}", self.place),
            )
        })
    }
}
