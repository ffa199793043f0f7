//! More rows for the files of a source.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::file::properties::WriterProperties;

use crate::cast::cast_exact;
use crate::dataset::stored_schema;
use crate::definition::FileSource;
use crate::error::{Error, Result};
use crate::files::{absolute, create_folders, lock, new_file};
use crate::join::source::source_files;

/// Pushes share a file until it has so many rows: many small pushes make few
/// files, and none is written anew for long.
const SHARED_ROWS: usize = 10_000;

/// The lock of pushes in the folder of a store.
const LOCK_FILE: &str = "push.lock";

/// Adds rows to the files of a source; returns the file that they are in.
pub(super) fn append(source: &FileSource, repo_dir: &Path, rows: &RecordBatch) -> Result<PathBuf> {
    create_folders(repo_dir)?;
    let _lock = lock(&repo_dir.join(LOCK_FILE))?;
    let place = absolute(&source.resolved_path(repo_dir));
    // A link stays one: what it leads to is written.
    let place = std::fs::canonicalize(&place).unwrap_or(place);
    if !place.exists() && source.path.contains(['*', '?', '[']) {
        return Err(Error::InvalidRequest(format!(
            "the path of source {:?} is a pattern, which says not where a new file belongs; name \
             a folder, or push to the online store alone",
            source.name
        )));
    }
    if place.is_file() || (!place.exists() && is_parquet(&place)) {
        return write(&place, rows, place.is_file());
    }
    let files = match source_files(source, repo_dir) {
        Ok(files) => files.paths,
        Err(Error::SourceMissing { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let last = files.last().map(|file| absolute(file));
    if let Some(last) = &last
        && number_of(last).is_some()
        && last.parent() == Some(place.as_path())
        && row_count(last)? + rows.num_rows() <= SHARED_ROWS
    {
        return write(last, rows, true);
    }
    let number = files.iter().filter_map(|file| number_of(file)).max();
    let number = number.unwrap_or(0) + 1;
    // Of rows of one key and time the last in the order of the names counts.
    let new = ["pushed-", "~pushed-"]
        .into_iter()
        .map(|start| place.join(format!("{start}{number:08}.parquet")))
        .find(|new| last.as_ref().is_none_or(|last| last < new));
    let Some(new) = new else {
        return Err(Error::InvalidRequest(format!(
            "no name of a new file in {} comes after the last one's there, and the last row of a \
             key and time is the one that counts; rename that file",
            place.display()
        )));
    };
    write(&new, rows, false)
}

fn is_parquet(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// The number in the name of a file of pushed rows.
fn number_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    let name = name.strip_prefix('~').unwrap_or(name);
    name.strip_prefix("pushed-")?
        .strip_suffix(".parquet")?
        .parse()
        .ok()
}

fn row_count(path: &Path) -> Result<usize> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(Error::parquet(path))?;
    let rows = reader.metadata().file_metadata().num_rows();
    Ok(usize::try_from(rows).unwrap_or(usize::MAX))
}

/// Writes a file with the rows it has, if any are to be kept, and more.
fn write(path: &Path, rows: &RecordBatch, keep: bool) -> Result<PathBuf> {
    let old = match keep {
        false => None,
        true => {
            let file = File::open(path).map_err(Error::io("open", path))?;
            Some(ParquetRecordBatchReaderBuilder::try_new(file).map_err(Error::parquet(path))?)
        }
    };
    let schema: SchemaRef = match &old {
        Some(old) => Arc::new(union(old.schema(), &stored_schema(rows.schema_ref()))),
        None => stored_schema(rows.schema_ref()),
    };
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let file = new_file(path)?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties))
        .map_err(Error::parquet(path))?;
    if let Some(old) = old {
        for batch in old.build().map_err(Error::parquet(path))? {
            let batch = batch.map_err(|error| Error::parquet(path)(error.into()))?;
            writer
                .write(&fitted(&batch, &schema)?)
                .map_err(Error::parquet(path))?;
        }
    }
    writer
        .write(&fitted(rows, &schema)?)
        .map_err(Error::parquet(path))?;
    let file = writer.into_inner().map_err(Error::parquet(path))?;
    file.finish().map_err(Error::io("write", path))?;
    Ok(path.to_path_buf())
}

/// The columns of a file and, after them, those that rows have besides; all
/// may be null.
fn union(file: &Schema, rows: &Schema) -> Schema {
    let more = rows
        .fields()
        .iter()
        .filter(|field| file.column_with_name(field.name()).is_none());
    let fields = file.fields().iter().chain(more);
    Schema::new_with_metadata(
        fields
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect::<Vec<_>>(),
        file.metadata().clone(),
    )
}

fn fitted(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match rows.column_by_name(field.name()) {
            Some(column) => cast_exact(column, field.data_type())
                .map_err(|unfit| unfit.at("the pushed rows", field.name())),
            None => Ok(arrow::array::new_null_array(
                field.data_type(),
                rows.num_rows(),
            )),
        })
        .collect::<Result<_>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}
