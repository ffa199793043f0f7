//! The Parquet files of a source, whose rows are addressed by row group.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchReader as _, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use datafusion::parquet::basic::Type as PhysicalType;
use datafusion::parquet::file::metadata::PageIndexPolicy;

use super::column::{FeatureColumn, KeyRows, check_columns, convert};
use super::open_file::{OpenFile, PositionedFile};
use super::paths::source_files;
use crate::cast::Unfit;
use crate::definition::FileSource;
use crate::error::{Error, Result};
use crate::join::time::{is_time, to_nanos};

/// Rows of keys and timestamps to decode at a time: they fit a core's cache.
const MATCH_BATCH: usize = 32_768;
/// Rows of features to decode at a time.
const GATHER_BATCH: usize = 8_192;

/// So many files of a source stay open while a request reads them; a process
/// may often have no more than 1,024.
const HELD_OPEN: usize = 128;

/// The files of a source and what their footers say.
#[derive(Debug)]
pub(crate) struct FileScan {
    pub(crate) source: FileSource,
    files: Vec<ParquetFile>,
    units: Vec<Unit>,
}

#[derive(Debug)]
struct ParquetFile {
    file: OpenFile,
    metadata: ArrowReaderMetadata,
    /// The same with `INT96` columns in nanoseconds, if it has such: exact, but
    /// what nanoseconds do not reach wraps.
    nanos: Option<ArrowReaderMetadata>,
}

/// A row group.
#[derive(Debug, Clone, Copy)]
struct Unit {
    file: usize,
    row_group: usize,
    rows: usize,
}

impl FileScan {
    /// Finds the files of a source and reads their footers.
    pub(crate) fn open(source: &FileSource, repo_dir: &Path) -> Result<Self> {
        let paths = source_files(source, repo_dir)?.paths;
        // Where pages can be found, those without a match are passed over.
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        let mut files = Vec::with_capacity(paths.len());
        let mut units = Vec::new();
        for path in paths {
            let (file, content) = OpenFile::open(&path, &source.name, files.len() < HELD_OPEN)?;
            let metadata = ArrowReaderMetadata::load(&content, options.clone())
                .map_err(Error::parquet(&path))?;
            file.check(&content)?;
            for (row_group, group) in metadata.metadata().row_groups().iter().enumerate() {
                let rows = usize::try_from(group.num_rows()).unwrap_or(0);
                if u32::try_from(rows).is_err() {
                    return Err(Error::Corrupt {
                        path,
                        reason: format!("row group {row_group} claims {rows} rows"),
                    });
                }
                units.push(Unit {
                    file: files.len(),
                    row_group,
                    rows,
                });
            }
            let (metadata, nanos) = match micros_schema(&metadata) {
                None => (metadata, None),
                Some(schema) => {
                    let options = options.clone().with_schema(schema);
                    let footer = Arc::clone(metadata.metadata());
                    let micros = ArrowReaderMetadata::try_new(footer, options)
                        .map_err(Error::parquet(&path))?;
                    (micros, Some(metadata))
                }
            };
            files.push(ParquetFile {
                file,
                metadata,
                nanos,
            });
        }
        Ok(Self {
            source: source.clone(),
            files,
            units,
        })
    }

    /// The types of a column, in the files that have it.
    pub(crate) fn column_types<'a>(
        &'a self,
        column: &'a str,
    ) -> impl Iterator<Item = (&'a Path, &'a DataType)> {
        self.files.iter().filter_map(move |file| {
            let (_, field) = file.metadata.schema().column_with_name(column)?;
            Some((file.file.path.as_path(), field.data_type()))
        })
    }

    pub(crate) fn schema(&self) -> &SchemaRef {
        self.files[0].metadata.schema()
    }

    /// The number of rows of each row group.
    pub(crate) fn unit_rows(&self) -> Vec<usize> {
        self.units.iter().map(|unit| unit.rows).collect()
    }

    /// The number of files.
    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// Checks that every file has timestamps in the columns that the source
    /// names, and the `keys`.
    pub(crate) fn check(&self, keys: &[String]) -> Result<()> {
        self.files.iter().try_for_each(|file| {
            let place = file.file.path.display().to_string();
            check_columns(&self.source, file.metadata.schema(), keys, &place)
        })
    }

    /// The row groups that can hold a row between two instants, both included.
    pub(crate) fn units_between(&self, from: i64, to: i64) -> Vec<usize> {
        let mut kept = Vec::new();
        for (number, unit) in self.units.iter().enumerate() {
            let outside = self
                .time_range(*unit)
                .is_some_and(|(min, max)| max < from || to < min);
            if unit.rows != 0 && !outside {
                kept.push(number);
            }
        }
        kept
    }

    /// The earliest and latest event time of a row group, by its statistics.
    fn time_range(&self, unit: Unit) -> Option<(i64, i64)> {
        let metadata = &self.files[unit.file].metadata;
        let column = &self.source.timestamp_field;
        let converter =
            StatisticsConverter::try_new(column, metadata.schema(), metadata.parquet_schema())
                .ok()?;
        let group = [metadata.metadata().row_group(unit.row_group)];
        let only = |array: ArrayRef| {
            let nanos = is_time(array.data_type()).then(|| to_nanos(&array).ok())??;
            nanos.iter().next().flatten()
        };
        Some((
            only(converter.row_group_mins(group).ok()?)?,
            only(converter.row_group_maxes(group).ok()?)?,
        ))
    }

    /// Reads keys and timestamps of a row group, batch by batch.
    pub(crate) fn read_keys(
        &self,
        unit: usize,
        keys: &[String],
        mut each: impl FnMut(usize, KeyRows) -> Result<()>,
    ) -> Result<()> {
        let mut columns: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut times = vec![self.source.timestamp_field.as_str()];
        times.extend(self.source.created_timestamp_column.as_deref());
        columns.extend(&times);
        let file = &self.files[self.units[unit].file];
        let path = &file.file.path;
        let place = path.display().to_string();
        let content = file.file.content()?;
        let reader = self.reader(&content, unit, &file.metadata, &columns, MATCH_BATCH, None)?;
        let mut exact = match &file.nanos {
            Some(nanos) => Some(self.reader(&content, unit, nanos, &times, MATCH_BATCH, None)?),
            None => None,
        };
        let before = self.rows_before(unit);
        let mut first = 0;
        for batch in reader {
            let batch = batch.map_err(|error| Error::parquet(path)(error.into()))?;
            let exact = exact
                .as_mut()
                .and_then(Iterator::next)
                .transpose()
                .map_err(|error| Error::parquet(path)(error.into()))?;
            let column = |name: &str| self.column(&batch, name, path);
            let nanos = |name: &str| {
                let nanos = to_nanos(&column(name)?)
                    .map_err(|unfit| unfit.after(before + first).at(&place, name))?;
                Ok::<_, Error>(
                    match exact.as_ref().and_then(|exact| exact.column_by_name(name)) {
                        Some(exact) => finer(&nanos, exact),
                        None => nanos,
                    },
                )
            };
            let rows = KeyRows {
                place: place.clone(),
                before: before + first,
                keys: keys.iter().map(|key| column(key)).collect::<Result<_>>()?,
                times: nanos(&self.source.timestamp_field)?,
                created: self
                    .source
                    .created_timestamp_column
                    .as_deref()
                    .map(nanos)
                    .transpose()?,
            };
            each(first, rows)?;
            first += batch.num_rows();
        }
        file.file.check(&content)?;
        if first != self.units[unit].rows {
            return Err(Error::Corrupt {
                path: path.clone(),
                reason: format!(
                    "row group {} holds {first} rows and claims {}",
                    self.units[unit].row_group, self.units[unit].rows
                ),
            });
        }
        Ok(())
    }

    /// The rows of a row group's file that come before it.
    fn rows_before(&self, unit: usize) -> usize {
        let file = self.units[unit].file;
        let units = self.units[..unit].iter();
        units
            .filter(|unit| unit.file == file)
            .map(|unit| unit.rows)
            .sum()
    }

    /// Reads features of the selected rows of a row group, batch by batch; each
    /// comes with the number of selected rows before it.
    pub(crate) fn read_features(
        &self,
        unit: usize,
        features: &[FeatureColumn],
        selected: arrow::array::BooleanArray,
        mut each: impl FnMut(usize, Vec<ArrayRef>) -> Result<()>,
    ) -> Result<()> {
        let place = self.units[unit];
        let file = &self.files[place.file];
        let wanted = selected.true_count();
        let present: Vec<&str> = features
            .iter()
            .map(|feature| feature.column.as_str())
            .filter(|column| file.metadata.schema().column_with_name(column).is_some())
            .collect();
        if present.is_empty() {
            let nulls = features
                .iter()
                .map(|feature| new_null_array(&feature.data_type, wanted));
            return each(0, nulls.collect());
        }
        let selected = selected.into_parts().0;
        let selection =
            (wanted < place.rows).then(|| RowSelection::from_boolean_buffer(selected.clone()));
        let path = &file.file.path;
        let content = file.file.content()?;
        let metadata = &file.metadata;
        let reader = self.reader(&content, unit, metadata, &present, GATHER_BATCH, selection)?;
        let place_name = path.display().to_string();
        let mut read = 0;
        for batch in reader {
            let batch = batch.map_err(|error| Error::parquet(path)(error.into()))?;
            let first = read;
            read += batch.num_rows();
            if read > wanted {
                break;
            }
            let piece = features
                .iter()
                .map(|feature| match batch.column_by_name(&feature.column) {
                    Some(column) => convert(column, feature).map_err(|unfit| {
                        // The row of the file that the selected row is.
                        let row = selected.set_indices().nth(first + unfit.row);
                        let row = self.rows_before(unit) + row.unwrap_or_default();
                        Unfit { row, ..unfit }.at(&place_name, &feature.column)
                    }),
                    None => Ok(new_null_array(&feature.data_type, batch.num_rows())),
                })
                .collect::<Result<_>>()?;
            each(first, piece)?;
        }
        file.file.check(&content)?;
        if read != wanted {
            return Err(Error::Corrupt {
                path: path.clone(),
                reason: format!(
                    "row group {} gave {read} rows where {wanted} were asked for",
                    place.row_group
                ),
            });
        }
        Ok(())
    }

    fn column(&self, batch: &RecordBatch, name: &str, path: &Path) -> Result<ArrayRef> {
        batch.column_by_name(name).cloned().ok_or_else(|| {
            Error::mismatch(
                format!("source {:?}", self.source.name),
                format!("{} has no column {name:?}", path.display()),
            )
        })
    }

    fn reader(
        &self,
        content: &PositionedFile,
        unit: usize,
        metadata: &ArrowReaderMetadata,
        columns: &[&str],
        batch_size: usize,
        selection: Option<RowSelection>,
    ) -> Result<ParquetRecordBatchReader> {
        let unit = self.units[unit];
        let roots = columns.iter().filter_map(|name| {
            metadata
                .schema()
                .column_with_name(name)
                .map(|(position, _)| position)
        });
        let projection = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(content.clone(), metadata.clone())
                .with_row_groups(vec![unit.row_group])
                .with_projection(projection)
                .with_batch_size(batch_size);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let path = &self.files[unit.file].file.path;
        let reader = builder.build().map_err(Error::parquet(path))?;
        debug_assert!(reader.schema().fields().len() <= columns.len());
        Ok(reader)
    }
}

/// The schema of a file with its `INT96` columns in microseconds, if it has
/// such: what Spark, Hive and Impala write reaches from the year 1 to 9999 and
/// beyond, and wraps in nanoseconds.
fn micros_schema(metadata: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let parquet = metadata.parquet_schema();
    let int96 = |root: usize| {
        let mut leaves = (0..parquet.num_columns())
            .filter(|leaf| parquet.get_column_root_idx(*leaf) == root)
            .peekable();
        leaves.peek().is_some()
            && leaves.all(|leaf| parquet.column(leaf).physical_type() == PhysicalType::INT96)
    };
    let fields: Vec<Field> = metadata
        .schema()
        .fields()
        .iter()
        .enumerate()
        .map(|(root, field)| {
            let field = field.as_ref().clone();
            if int96(root) { in_micros(field) } else { field }
        })
        .collect();
    let schema = Schema::new_with_metadata(fields, metadata.schema().metadata().clone());
    (schema != **metadata.schema()).then(|| Arc::new(schema))
}

fn in_micros(field: Field) -> Field {
    let data_type = match field.data_type() {
        DataType::Timestamp(_, zone) => DataType::Timestamp(TimeUnit::Microsecond, zone.clone()),
        DataType::List(item) => DataType::List(Arc::new(in_micros(item.as_ref().clone()))),
        other => other.clone(),
    };
    field.with_data_type(data_type)
}

/// Instants in nanoseconds, of which `exact` has the last digits and `rough`
/// those that did not wrap.
fn finer(rough: &Int64Array, exact: &ArrayRef) -> Int64Array {
    let Ok(exact) = to_nanos(exact) else {
        return rough.clone();
    };
    rough
        .iter()
        .zip(exact.iter())
        .map(|pair| match pair {
            (Some(rough), Some(exact)) if rough.abs_diff(exact) < 1_000 => Some(exact),
            (rough, _) => rough,
        })
        .collect()
}
