//! Where the rows of a view come from: Parquet files, or any table.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::ScalarValue;
use datafusion::datasource::empty::EmptyTable;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, ident, lit};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionContext;
use futures::StreamExt as _;

use super::scan::{FileScan, KeyRows};
use super::time::{is_text, is_time, to_nanos};
use crate::cast::{Unfit, cast_exact};
use crate::definition::duration::format_duration;
use crate::definition::{AggregateFunction, Entity, FileSource, ValueType};
use crate::error::{Error, Result};

/// Tables that stand in for the files of sources, by the source's name.
pub(crate) type Tables = HashMap<String, Arc<dyn TableProvider>>;

/// What errors call the table that stands in for files.
const TABLE: &str = "the registered table";

/// The rows of a source.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Files, whose rows are addressed: features are read for matches alone.
    Files(Arc<FileScan>),
    /// A table, whose rows come once: those that may match are kept.
    Table(Arc<SourceTable>),
}

/// A table and the source that it stands in for.
#[derive(Debug)]
pub(crate) struct SourceTable {
    pub(crate) source: FileSource,
    provider: Arc<dyn TableProvider>,
    schema: SchemaRef,
    /// What errors call it.
    place: &'static str,
}

/// A feature of a result: where its values are, and as what they are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeatureColumn {
    pub(crate) column: String,
    pub(crate) data_type: DataType,
    /// How it is computed from several rows, if it is no value of one.
    pub(crate) window: Option<Window>,
}

/// A trailing window and what is computed from its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) function: AggregateFunction,
    /// Its length, in nanoseconds.
    pub(crate) nanos: i64,
    /// The type that the function takes the values in; without one it only
    /// looks at which are null.
    pub(crate) values: Option<DataType>,
}

impl FeatureColumn {
    /// The values of a column, one for each row.
    pub(crate) fn plain(column: impl Into<String>, data_type: DataType) -> Self {
        Self {
            column: column.into(),
            data_type,
            window: None,
        }
    }

    /// The column, and what is computed from it, for a plan that is shown.
    pub(crate) fn label(&self) -> String {
        match &self.window {
            None => self.column.clone(),
            Some(window) => {
                let length = Duration::from_nanos(window.nanos.unsigned_abs());
                let length = format_duration(length);
                format!("{}({}) over {length}", window.function, self.column)
            }
        }
    }
}

impl Input {
    pub(crate) fn open(source: &FileSource, repo_dir: &Path, tables: &Tables) -> Result<Self> {
        Ok(match tables.get(&source.name) {
            None => Self::Files(Arc::new(FileScan::open(source, repo_dir)?)),
            Some(provider) => Self::Table(Arc::new(SourceTable {
                source: source.clone(),
                schema: provider.schema(),
                provider: Arc::clone(provider),
                place: TABLE,
            })),
        })
    }

    pub(crate) fn source(&self) -> &FileSource {
        match self {
            Self::Files(scan) => &scan.source,
            Self::Table(table) => &table.source,
        }
    }

    /// The type of a column; in the first file that has it.
    pub(crate) fn column_type<'a>(&'a self, column: &'a str) -> Option<&'a DataType> {
        let (_, data_type) = self.column_types(column).into_iter().next()?;
        Some(data_type)
    }

    /// The types of a column, by the file that has it.
    pub(crate) fn column_types<'a>(&'a self, column: &'a str) -> Vec<(String, &'a DataType)> {
        match self {
            Self::Files(scan) => scan
                .column_types(column)
                .map(|(path, data_type)| (path.display().to_string(), data_type))
                .collect(),
            Self::Table(table) => table
                .schema
                .column_with_name(column)
                .map(|(_, field)| (table.place.to_owned(), field.data_type()))
                .into_iter()
                .collect(),
        }
    }

    /// The type of an entity's key: as it is declared, or as the column that
    /// holds it says.
    pub(crate) fn key_type(&self, entity: &Entity, column: &str) -> ValueType {
        entity
            .value_type
            .or_else(|| ValueType::from_data_type(self.column_type(column)?))
            .unwrap_or(ValueType::String)
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        match self {
            Self::Files(scan) => scan.schema(),
            Self::Table(table) => &table.schema,
        }
    }

    /// Checks that there are timestamps in the columns that the source names,
    /// and the `keys`.
    pub(crate) fn check(&self, keys: &[String]) -> Result<()> {
        match self {
            Self::Files(scan) => scan.check(keys),
            Self::Table(table) => check_columns(&table.source, &table.schema, keys, table.place),
        }
    }
}

/// Checks that a schema has timestamps where the source says, and the `keys`.
pub(super) fn check_columns(
    source: &FileSource,
    schema: &SchemaRef,
    keys: &[String],
    place: &str,
) -> Result<()> {
    let object = format!("source {:?}", source.name);
    let mut names = HashSet::new();
    if let Some(twice) = schema
        .fields()
        .iter()
        .find(|field| !names.insert(field.name()))
    {
        let problem = format!("{place} has two columns {:?}; rename one", twice.name());
        return Err(Error::mismatch(&object, problem));
    }
    let find = |column: &str| {
        schema
            .column_with_name(column)
            .map(|(_, field)| field.data_type())
            .ok_or_else(|| {
                let known = schema.fields().iter().map(|field| field.name().as_str());
                let error = Error::unknown("column", column, known);
                Error::mismatch(
                    &object,
                    format!("in {place}, {error}; correct the definition or the data"),
                )
            })
    };
    let times = [
        Some(source.timestamp_field.as_str()),
        source.created_timestamp_column.as_deref(),
    ];
    for column in times.into_iter().flatten() {
        let data_type = find(column)?;
        if !is_time(data_type) && !is_text(data_type) && *data_type != DataType::Null {
            return Err(Error::mismatch(
                &object,
                format!(
                    "column {column:?} of {place} holds {data_type}, not timestamps; name another \
                     column or write timestamps"
                ),
            ));
        }
    }
    for key in keys {
        find(key)?;
    }
    for (column, name) in &source.field_mapping {
        let both = schema.column_with_name(column).is_some()
            && column != name
            && schema.column_with_name(name).is_some();
        if both {
            return Err(Error::mismatch(
                &object,
                format!(
                    "{place} has the column {column:?}, which is called {name:?} here, and one \
                     called {name:?} itself; map it to another name"
                ),
            ));
        }
    }
    Ok(())
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

/// Brings the values of a feature to its type in the result.
pub(super) fn convert(column: &ArrayRef, feature: &FeatureColumn) -> Result<ArrayRef, Unfit> {
    if let Some(Window { values: None, .. }) = &feature.window {
        let there = |error: arrow::error::ArrowError| Unfit {
            row: 0,
            reason: error.to_string(),
        };
        let nulls = is_null(column).map_err(there)?;
        let all = BooleanArray::from(vec![true; column.len()]);
        let there = nullif(&all, &nulls).map_err(there)?;
        return Ok(there);
    }
    cast_exact(column, &feature.data_type).map_err(|unfit| Unfit {
        reason: format!(
            "{}; declare the feature with a type that holds it",
            unfit.reason
        ),
        ..unfit
    })
}
