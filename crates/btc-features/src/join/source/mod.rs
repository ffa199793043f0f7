//! Where the rows of a join come from: Parquet files, or any table.

mod column;
mod files;
mod open_file;
mod paths;
mod table;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::TableProvider;

use crate::definition::FileSource;
use crate::error::Result;

use column::check_columns;
pub(crate) use column::{FeatureColumn, KeyRows, Window};
pub(crate) use files::FileScan;
pub(crate) use open_file::Identity;
pub(crate) use paths::{real_places, source_files};
pub(crate) use table::SourceTable;
use table::TABLE;

/// Tables that stand in for the files of sources, by the source's name.
pub(crate) type Tables = HashMap<String, Arc<dyn TableProvider>>;

/// The rows of a source.
#[derive(Debug, Clone)]
pub(crate) enum Input {
    /// Files, whose rows are addressed: features are read for matches alone.
    Files(Arc<FileScan>),
    /// A table, whose rows come once: those that may match are kept.
    Table(Arc<SourceTable>),
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
