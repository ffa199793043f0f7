//! Values out of a file: long histories from elsewhere.
//!
//! A file is unpacked ([`unpack`]), its layout is recognised ([`layout`]), and its rows are gone
//! through twice, whether of CSV or of Parquet: once to see how dates and numbers are written,
//! once to read them ([`assemble`]).

mod assemble;
mod csv_rows;
mod dates;
mod figures;
mod import;
mod layout;
mod mapping;
mod options;
mod parquet_rows;
mod preset;
mod rows;
mod unpack;

pub use import::{ImportReport, import_file};
pub use mapping::ColumnMapping;
pub use options::{
    DateFormat, DecimalMark, Duplicates, EpochUnit, FileOptions, Stamp, Step, TextEncoding,
};
pub use preset::Preset;

use crate::clean::Rejected;
use crate::error::{Error, Result};
use crate::fetched::{Fetched, Window};
use crate::pull::is_of;
use crate::series::SeriesName;
use crate::source::{DATE, Source, SourceError, day_of_epoch, days_since_epoch};
use crate::store::timestamps;
use arrow::array::{ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Date32Type, Field, Schema, SchemaRef};
use assemble::{Assembled, Places, assemble};
use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use csv_rows::CsvRows;
use parquet_rows::ParquetRows;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The column with the time of a row, where rows are not days.
pub(crate) const TIME: &str = "time";

impl ColumnMapping {
    /// Reads the columns of a text, or of the bytes of another file, as they would be stored.
    ///
    /// ```
    /// let columns = btc_ingest::ColumnMapping::new("Date").with("Close", "close");
    /// let batch = columns.read_csv(b"Date,Open,Close\n2012-01-02,5.3,5.2\n2012-01-01,4.7,5.3\n")?;
    /// assert_eq!((batch.num_rows(), batch.num_columns()), (2, 2));
    /// # Ok::<(), btc_ingest::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if a column is missing, or a cell is not what it should be; the message names the
    /// line.
    pub fn read_csv(&self, text: &[u8]) -> Result<RecordBatch> {
        let options = FileOptions {
            strict: true,
            ..FileOptions::default()
        };
        Ok(read(
            Path::new("the text"),
            Bytes::copy_from_slice(text),
            self,
            &options,
        )?
        .batch)
    }
}

/// What a file holds, as it would be stored.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FileTable {
    /// How far apart the rows are.
    pub step: Step,
    /// How the file reads, in one line.
    pub recognised: String,
    /// Whether the times are those of the beginnings or of the ends of the steps.
    pub stamp: Stamp,
    /// The rows by ascending time: `date` (`Date32`) where the step is a day, otherwise `time`
    /// (nanoseconds, UTC), and a `Float64` column for each series.
    pub batch: RecordBatch,
    /// Cells and rows that cannot be used, with their place in the file.
    pub rejected: Vec<Rejected>,
    /// What the user should know, one sentence each.
    pub notes: Vec<String>,
    /// The notes that are not about what is set aside.
    remarks: Vec<String>,
    places: Places,
}

/// Values out of a CSV or a Parquet file, which may be packed.
///
/// What the file looks like is recognised; [`FileOptions`] say it instead. The order of the rows
/// does not matter.
#[derive(Debug, Clone)]
pub struct FileSource {
    name: String,
    path: PathBuf,
    columns: ColumnMapping,
    options: FileOptions,
}

impl FileSource {
    /// Calls the columns of the file at `path`, by the mapping, a source called `name`.
    ///
    /// # Errors
    ///
    /// Fails if no column is named, a series is named twice, or a name has other characters than
    /// lower-case letters, digits and underscores.
    pub fn new(name: &str, path: impl Into<PathBuf>, columns: ColumnMapping) -> Result<Self> {
        columns.check()?;
        Ok(Self {
            name: name.to_owned(),
            path: path.into(),
            columns,
            options: FileOptions::default(),
        })
    }

    /// Says how the file is to be read, in place of what is recognised.
    #[must_use]
    pub fn with_options(mut self, options: FileOptions) -> Self {
        self.options = options;
        self
    }

    /// Reads the file.
    ///
    /// ```
    /// use btc_ingest::{ColumnMapping, FileSource};
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("old.csv");
    /// std::fs::write(&file, "Datum;Schluss\n31.12.2012;13,5\n01.01.2013;oops\n")?;
    ///
    /// let columns = ColumnMapping::new("Datum").with("Schluss", "close");
    /// let table = FileSource::new("old", &file, columns)?.read()?;
    /// assert_eq!(table.batch.num_rows(), 1);
    /// assert!(table.recognised.contains("decimal comma"));
    /// assert!(table.notes[0].contains("line 3, column \"Schluss\": \"oops\" is not a number"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if there is no such file, a column is missing, or no row can be used;
    /// [`Error::Unclear`] if it can be read in more than one way.
    pub fn read(&self) -> Result<FileTable> {
        let bytes =
            std::fs::read(&self.path).map_err(|problem| Error::read(&self.path, problem))?;
        read(&self.path, bytes.into(), &self.columns, &self.options)
    }

    /// Reads the file as it would be stored at `now`: without prices of zero or less, other values
    /// below zero, prices outside the high and low of their row, and rows that are not over.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub fn preview(&self, now: DateTime<Utc>) -> Result<FileTable> {
        import::without_unfit(self.read()?, now)
    }
}

fn read(
    path: &Path,
    bytes: Bytes,
    columns: &ColumnMapping,
    options: &FileOptions,
) -> Result<FileTable> {
    columns.check()?;
    let unpacked = unpack::unpack(path, bytes)?;
    let series = columns.series();
    let mut assembled = if unpacked.is_parquet {
        unwinding(path, || {
            let rows = ParquetRows::new(path, unpacked.bytes, columns, options)?;
            assemble(path, &rows, &series, options)
        })?
    } else {
        let (text, encoding) = unpack::decode(&unpacked.bytes, options.encoding)
            .map_err(|problem| Error::invalid(path, problem))?;
        let rows = CsvRows::new(path, &text, encoding, columns, options)?;
        assemble(path, &rows, &series, options)?
    };
    if let Some(packed) = unpacked.packed {
        assembled.recognised = format!("{packed}, {}", assembled.recognised);
    }
    table(assembled, options.stamp)
}

/// Runs the reader of Parquet, which gives up on some damaged pages instead of failing: what it
/// leaves behind is dropped, and the file is an error.
fn unwinding<T>(path: &Path, read: impl FnOnce() -> Result<T>) -> Result<T> {
    let read = std::panic::AssertUnwindSafe(read);
    std::panic::catch_unwind(read).unwrap_or_else(|_| {
        Err(Error::invalid(
            path,
            "it is damaged: its pages are not what Parquet's reader expects",
        ))
    })
}

fn table(assembled: Assembled, stamp: Stamp) -> Result<FileTable> {
    let Assembled {
        step,
        recognised,
        times,
        columns,
        rejected,
        remarks,
        places,
    } = assembled;
    let (time, array): (Field, ArrayRef) = if step.is_day() {
        let days = times.iter().map(|time| days_since_epoch(time.date()));
        let field = Field::new(DATE, DataType::Date32, false);
        (field, Arc::new(Date32Array::from_iter_values(days)))
    } else {
        let nanos = times.iter().map(|time| crate::store::nanos(time.and_utc()));
        let field = Field::new(TIME, crate::store::timestamp_type(), false);
        (field, timestamps(nanos))
    };
    let mut fields = vec![time];
    let mut arrays = vec![array];
    for (series, values) in columns {
        fields.push(Field::new(series.as_str(), DataType::Float64, true));
        arrays.push(Arc::new(Float64Array::from(values)));
    }
    Ok(FileTable {
        step,
        stamp,
        recognised,
        batch: RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?,
        notes: notes(&rejected, &remarks),
        rejected,
        remarks,
        places,
    })
}

fn notes(rejected: &[Rejected], remarks: &[String]) -> Vec<String> {
    let mut notes = assemble::told(rejected);
    notes.extend_from_slice(remarks);
    notes
}

/// A table of days as a source gives it: a part for each series, with what was set aside of it.
fn fetched(table: &FileTable, window: &Window<'_>) -> Result<Fetched> {
    let mut fetched = Fetched::from(table.batch.clone());
    for part in &mut fetched.parts {
        let series = SeriesName::of_chart(&part.name);
        let rejected = table.rejected.iter().filter(|one| is_of(one, &series));
        part.rejected = rejected.cloned().collect();
        if let Ok(values) = &mut part.values {
            let days = values.column(0).as_primitive_opt::<Date32Type>();
            let wanted = window.days(&part.name);
            let is_wanted = |day: Option<i32>| {
                Some(day_of_epoch(day?).is_some_and(|day| wanted.contains(&day)))
            };
            let mask: BooleanArray = days.into_iter().flatten().map(is_wanted).collect();
            *values = filter_record_batch(values, &mask)?;
        }
    }
    fetched.notes.clone_from(&table.notes);
    Ok(fetched)
}

#[async_trait]
impl Source for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        self.columns.schema()
    }

    /// Gives the days of the file, and what cannot be used with its place. A file whose rows are
    /// not days is refused; [`import_file`] stores such.
    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        let source = self.clone();
        let read = tokio::task::spawn_blocking(move || source.read()).await;
        let table = read.map_err(|problem| Error::invalid(&self.path, problem.to_string()))??;
        if !table.step.is_day() {
            let problem = format!("its rows are {} apart, not a day", table.step);
            return Err(Error::invalid(&self.path, problem).into());
        }
        Ok(fetched(&table, window)?)
    }
}

/// A file that was read, as a source of its days.
#[derive(Debug)]
struct ReadFile {
    name: String,
    table: FileTable,
}

#[async_trait]
impl Source for ReadFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn schema(&self) -> SchemaRef {
        self.table.batch.schema()
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        Ok(fetched(&self.table, window)?)
    }
}
