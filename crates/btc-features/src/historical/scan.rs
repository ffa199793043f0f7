//! The Parquet files of a source, whose rows are addressed by row group.

use std::fs::File;
use std::path::{Path, PathBuf};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchReader as _, new_null_array};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::parquet::arrow::ProjectionMask;
use datafusion::parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use datafusion::parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder, RowSelection,
};
use datafusion::parquet::file::metadata::PageIndexPolicy;

use super::input::{FeatureColumn, check_columns, convert};
use super::time::{is_time, to_nanos};
use crate::definition::FileSource;
use crate::error::{Error, Result};

/// Rows of keys and timestamps to decode at a time: they fit a core's cache.
const MATCH_BATCH: usize = 32_768;
/// Rows of features to decode at a time.
const GATHER_BATCH: usize = 8_192;

/// The files of a source and what their footers say.
#[derive(Debug)]
pub(crate) struct FileScan {
    pub(crate) source: FileSource,
    files: Vec<ParquetFile>,
    units: Vec<Unit>,
}

#[derive(Debug)]
struct ParquetFile {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
}

/// A row group.
#[derive(Debug, Clone, Copy)]
struct Unit {
    file: usize,
    row_group: usize,
    rows: usize,
}

/// Keys and timestamps of some rows of a source.
#[derive(Debug)]
pub(crate) struct KeyRows {
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) times: Int64Array,
    pub(crate) created: Option<Int64Array>,
}

impl FileScan {
    /// Finds the files of a source and reads their footers.
    pub(crate) fn open(source: &FileSource, repo_dir: &Path) -> Result<Self> {
        let paths = source_files(source, repo_dir)?;
        // Where pages can be found, those without a match are passed over.
        let options = ArrowReaderOptions::new().with_offset_index_policy(PageIndexPolicy::Optional);
        let mut files = Vec::with_capacity(paths.len());
        let mut units = Vec::new();
        for path in paths {
            let file = File::open(&path).map_err(Error::io("open", &path))?;
            let metadata =
                ArrowReaderMetadata::load(&file, options.clone()).map_err(Error::parquet(&path))?;
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
            files.push(ParquetFile { path, metadata });
        }
        Ok(Self {
            source: source.clone(),
            files,
            units,
        })
    }

    /// The type of a column, in the first file that has it.
    pub(crate) fn column_type(&self, column: &str) -> Option<&DataType> {
        self.files.iter().find_map(|file| {
            file.metadata
                .schema()
                .column_with_name(column)
                .map(|(_, field)| field.data_type())
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
            let place = file.path.display().to_string();
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
        columns.push(&self.source.timestamp_field);
        columns.extend(self.source.created_timestamp_column.as_deref());
        let path = &self.files[self.units[unit].file].path;
        let reader = self.reader(unit, &columns, MATCH_BATCH, None)?;
        let mut first = 0;
        for batch in reader {
            let batch = batch.map_err(|error| Error::parquet(path)(error.into()))?;
            let column = |name: &str| self.column(&batch, name, path);
            let rows = KeyRows {
                keys: keys.iter().map(|key| column(key)).collect::<Result<_>>()?,
                times: to_nanos(&column(&self.source.timestamp_field)?)?,
                created: self
                    .source
                    .created_timestamp_column
                    .as_deref()
                    .map(|name| Ok::<_, Error>(to_nanos(&column(name)?)?))
                    .transpose()?,
            };
            each(first, rows)?;
            first += batch.num_rows();
        }
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
        let selection = (wanted < place.rows)
            .then(|| RowSelection::from_boolean_buffer(selected.into_parts().0));
        let reader = self.reader(unit, &present, GATHER_BATCH, selection)?;
        let place_name = file.path.display().to_string();
        let mut read = 0;
        for batch in reader {
            let batch = batch.map_err(|error| Error::parquet(&file.path)(error.into()))?;
            let first = read;
            read += batch.num_rows();
            if read > wanted {
                break;
            }
            let piece = features
                .iter()
                .map(|feature| match batch.column_by_name(&feature.column) {
                    Some(column) => convert(&self.source, column, feature, &place_name),
                    None => Ok(new_null_array(&feature.data_type, batch.num_rows())),
                })
                .collect::<Result<_>>()?;
            each(first, piece)?;
        }
        if read != wanted {
            return Err(Error::Corrupt {
                path: file.path.clone(),
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
        unit: usize,
        columns: &[&str],
        batch_size: usize,
        selection: Option<RowSelection>,
    ) -> Result<ParquetRecordBatchReader> {
        let unit = self.units[unit];
        let ParquetFile { path, metadata } = &self.files[unit.file];
        let file = File::open(path).map_err(Error::io("open", path))?;
        let roots = columns.iter().filter_map(|name| {
            metadata
                .schema()
                .column_with_name(name)
                .map(|(position, _)| position)
        });
        let projection = ProjectionMask::roots(metadata.parquet_schema(), roots);
        let mut builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone())
                .with_row_groups(vec![unit.row_group])
                .with_projection(projection)
                .with_batch_size(batch_size);
        if let Some(selection) = selection {
            builder = builder.with_row_selection(selection);
        }
        let reader = builder.build().map_err(Error::parquet(path))?;
        debug_assert!(reader.schema().fields().len() <= columns.len());
        Ok(reader)
    }
}

/// The files of a source, by name.
pub(crate) fn source_files(source: &FileSource, repo_dir: &Path) -> Result<Vec<PathBuf>> {
    let path = source.resolved_path(repo_dir);
    let missing = || Error::SourceMissing {
        name: source.name.clone(),
        path: path.clone(),
    };
    if path.is_file() {
        return Ok(vec![path]);
    }
    let mut found = Vec::new();
    if path.is_dir() {
        collect_parquet(&path, &mut found)?;
    } else if source.path.contains(['*', '?', '[']) {
        let wrong = |reason: String| {
            Error::invalid(
                format!("source {:?}", source.name),
                format!("its path: {reason}"),
            )
        };
        let text = path
            .to_str()
            .ok_or_else(|| wrong("it is not Unicode".into()))?;
        for entry in glob::glob(text).map_err(|error| wrong(error.to_string()))? {
            let file = entry.map_err(|error| {
                let path = error.path().to_path_buf();
                Error::io("read", &path)(error.into())
            })?;
            if file.is_file() {
                found.push(file);
            }
        }
    }
    if found.is_empty() {
        return Err(missing());
    }
    found.sort();
    Ok(found)
}

/// Adds the `*.parquet` below a folder; what starts with a dot is being
/// written, or not meant to be read.
fn collect_parquet(dir: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).map_err(Error::io("list", dir))? {
        let entry = entry.map_err(Error::io("list", dir))?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let kind = entry.file_type().map_err(Error::io("list", dir))?;
        if kind.is_dir() {
            collect_parquet(&path, found)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "parquet")
        {
            found.push(path);
        }
    }
    Ok(())
}
