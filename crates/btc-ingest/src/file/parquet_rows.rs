//! Rows of a Parquet file.

use super::figures;
use super::mapping::ColumnMapping;
use super::options::FileOptions;
use super::rows::{Cell, Content, Row, Rows};
use crate::error::{Error, Result};
use crate::number::short;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Decimal128Type, Decimal256Type, Field, Float64Type,
    Int64Type, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt64Type,
};
use bytes::Bytes;
use chrono::{DateTime, NaiveDateTime};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Type as PhysicalType;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;

/// The columns of a Parquet file, row by row.
#[derive(Debug)]
pub(super) struct ParquetRows<'a> {
    path: &'a Path,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    /// The place of the date among the file's columns.
    date: usize,
    date_name: String,
    /// The places of the wanted columns.
    places: Vec<Option<usize>>,
    columns: Vec<Option<String>>,
    missing: &'a [String],
}

impl<'a> ParquetRows<'a> {
    /// Reads what the file says about its columns.
    ///
    /// # Errors
    ///
    /// Fails if the file is cut off or not Parquet, or a column of the mapping is not in it.
    pub(super) fn new(
        path: &'a Path,
        bytes: Bytes,
        mapping: &ColumnMapping,
        options: &'a FileOptions,
    ) -> Result<Self> {
        let failed = |source| Error::parquet(path, source);
        // A schema of Arrow in the file may promise types that its columns do not have.
        let plain = ArrowReaderOptions::new();
        let metadata = ArrowReaderMetadata::load(&bytes, plain).map_err(failed)?;
        let metadata = match without_wrapping(&metadata) {
            Some(schema) => {
                let options = ArrowReaderOptions::new().with_schema(schema);
                ArrowReaderMetadata::load(&bytes, options).map_err(failed)?
            }
            None => metadata,
        };
        let schema = Arc::clone(metadata.schema());
        let find = |wanted: &[String]| {
            find(&schema, wanted).map_err(|problem| Error::invalid(path, problem))
        };
        let date = find(&mapping.date)?;
        let mut places = Vec::with_capacity(mapping.columns.len());
        for column in &mapping.columns {
            places.push(match find(&column.names) {
                Ok(place) => Some(place),
                Err(_) if column.optional => None,
                Err(problem) => return Err(problem),
            });
        }
        let name = |place: usize| schema.field(place).name().clone();
        Ok(Self {
            path,
            bytes,
            date,
            date_name: name(date),
            columns: places.iter().map(|place| place.map(name)).collect(),
            metadata,
            places,
            missing: &options.missing,
        })
    }
}

impl Rows for ParquetRows<'_> {
    fn unit(&self) -> &'static str {
        "row"
    }

    fn columns(&self) -> &[Option<String>] {
        &self.columns
    }

    fn date_name(&self) -> &str {
        &self.date_name
    }

    fn has_points(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        let schema = self.metadata.schema();
        format!(
            "Parquet, dates of type {}",
            schema.field(self.date).data_type()
        )
    }

    fn visit(&self, visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        let failed = |source| Error::parquet(self.path, source);
        let mut wanted: Vec<usize> = self.places.iter().flatten().copied().collect();
        wanted.push(self.date);
        wanted.sort_unstable();
        wanted.dedup();
        let metadata = self.metadata.clone();
        let mask = ProjectionMask::roots(metadata.parquet_schema(), wanted.iter().copied());
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), metadata)
                .with_projection(mask)
                .build()
                .map_err(failed)?;
        let mut number = 0;
        for batch in reader {
            let batch = batch.map_err(|problem| Error::invalid(self.path, problem.to_string()))?;
            let column = |place: usize| -> Result<Column> {
                let at = wanted.iter().position(|other| *other == place);
                let array = at.and_then(|at| batch.columns().get(at));
                let missing = || Error::invalid(self.path, "a column is gone");
                let array = array.ok_or_else(missing)?;
                Column::new(array).map_err(|problem| Error::invalid(self.path, problem))
            };
            let date = column(self.date)?;
            let columns: Vec<Option<Column>> = self
                .places
                .iter()
                .map(|place| place.map(column).transpose())
                .collect::<Result<_>>()?;
            for row in 0..batch.num_rows() {
                number += 1;
                let cells: Vec<Cell<'_>> = columns
                    .iter()
                    .map(|column| match column {
                        Some(column) => column.cell(row, self.missing),
                        None => Cell::Missing,
                    })
                    .collect();
                visit(Row {
                    number,
                    content: Content::Cells(date.cell(row, self.missing), &cells),
                })?;
            }
        }
        Ok(())
    }
}

/// The schema with `INT96` columns in milliseconds, if there are such: in nanoseconds, as they
/// are read by default, everything before 1677 and after 2262 is another day.
fn without_wrapping(metadata: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let parquet = metadata.parquet_schema();
    let is_int96 = |root: usize| {
        (0..parquet.num_columns())
            .filter(|leaf| parquet.get_column_root_idx(*leaf) == root)
            .any(|leaf| parquet.column(leaf).physical_type() == PhysicalType::INT96)
    };
    let schema = metadata.schema();
    let field = |(root, field): (usize, &Arc<Field>)| match field.data_type() {
        DataType::Timestamp(_, zone) if is_int96(root) => {
            let in_millis = DataType::Timestamp(TimeUnit::Millisecond, zone.clone());
            Arc::new(field.as_ref().clone().with_data_type(in_millis))
        }
        _ => Arc::clone(field),
    };
    let fields: Vec<Arc<Field>> = schema.fields().iter().enumerate().map(field).collect();
    let hinted = Schema::new_with_metadata(fields, schema.metadata().clone());
    (hinted != **schema).then(|| Arc::new(hinted))
}

fn find(schema: &Schema, wanted: &[String]) -> Result<usize, String> {
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    for name in wanted {
        let fits: [&dyn Fn(&str) -> bool; 2] = [&|other| other == name, &|other| {
            other.eq_ignore_ascii_case(name)
        }];
        for fit in fits {
            let places: Vec<usize> = (0..names.len()).filter(|at| fit(names[*at])).collect();
            match places.as_slice() {
                [] => {}
                [place] => return Ok(*place),
                _ => return Err(format!("several columns are called {name:?}")),
            }
        }
    }
    let by_place = wanted.iter().find_map(|name| name.parse().ok());
    match by_place.filter(|place| *place < names.len()) {
        Some(place) => Ok(place),
        None => Err(format!(
            "there is no column \"{}\"; there are {}",
            wanted.join("\" or \""),
            short(&names.join(", "))
        )),
    }
}

/// A column of a batch, in one of the few types that its cells are read from.
#[derive(Debug)]
struct Column(ArrayRef);

impl Column {
    /// # Errors
    ///
    /// Fails, with the reason, if values of the type cannot be read.
    fn new(array: &ArrayRef) -> Result<Self, String> {
        use DataType as D;
        let to = match array.data_type() {
            D::Dictionary(_, values) => {
                let plain = cast(array, values).map_err(|problem| problem.to_string())?;
                return Self::new(&plain);
            }
            D::Int8 | D::Int16 | D::Int32 => D::Int64,
            D::UInt8 | D::UInt16 | D::UInt32 => D::UInt64,
            D::Float16 | D::Float32 => D::Float64,
            D::LargeUtf8 | D::Utf8View => D::Utf8,
            D::LargeBinary | D::BinaryView | D::FixedSizeBinary(_) => D::Binary,
            D::Decimal32(_, scale) | D::Decimal64(_, scale) => D::Decimal128(38, *scale),
            _ => return Ok(Self(Arc::clone(array))),
        };
        // None of these casts can fail: each type holds what the other does.
        cast(array, &to)
            .map(Self)
            .map_err(|problem| problem.to_string())
    }

    fn cell(&self, row: usize, missing: &[String]) -> Cell<'_> {
        use DataType as D;
        let array = &self.0;
        if array.is_null(row) {
            return Cell::Missing;
        }
        let instant = |instant: Option<NaiveDateTime>, count: i64| match instant {
            Some(instant) => Cell::Instant(instant),
            None => Cell::Other(format!("{count} of a {}", array.data_type())),
        };
        match array.data_type() {
            D::Utf8 => text_cell(array.as_string::<i32>().value(row), missing),
            D::Binary => match std::str::from_utf8(array.as_binary::<i32>().value(row)) {
                Ok(text) => text_cell(text, missing),
                Err(_) => Cell::Other("bytes that are no text".to_owned()),
            },
            D::Int64 => Cell::Whole(array.as_primitive::<Int64Type>().value(row)),
            D::UInt64 => {
                let number = array.as_primitive::<UInt64Type>().value(row);
                i64::try_from(number).map_or(Cell::Number(number as f64), Cell::Whole)
            }
            D::Float64 => {
                let number = array.as_primitive::<Float64Type>().value(row);
                // What pandas has for a missing value.
                if number.is_nan() {
                    Cell::Missing
                } else {
                    Cell::Number(number)
                }
            }
            D::Decimal128(..) => {
                let text = array.as_primitive::<Decimal128Type>().value_as_string(row);
                text.parse().map_or(Cell::Other(text), Cell::Number)
            }
            D::Decimal256(..) => {
                let text = array.as_primitive::<Decimal256Type>().value_as_string(row);
                text.parse().map_or(Cell::Other(text), Cell::Number)
            }
            D::Boolean => Cell::Other(array.as_boolean().value(row).to_string()),
            D::Date32 => {
                let days = i64::from(array.as_primitive::<Date32Type>().value(row));
                let seconds = days.checked_mul(86_400);
                let found = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
                instant(found.map(|found| found.naive_utc()), days)
            }
            D::Date64 => {
                let millis = array.as_primitive::<Date64Type>().value(row);
                instant(since_epoch(millis, 1_000), millis)
            }
            D::Timestamp(unit, _) => {
                let (count, per_second) = match unit {
                    TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 1),
                    TimeUnit::Millisecond => (
                        array.as_primitive::<TimestampMillisecondType>().value(row),
                        1_000,
                    ),
                    TimeUnit::Microsecond => (
                        array.as_primitive::<TimestampMicrosecondType>().value(row),
                        1_000_000,
                    ),
                    TimeUnit::Nanosecond => (
                        array.as_primitive::<TimestampNanosecondType>().value(row),
                        1_000_000_000,
                    ),
                };
                instant(since_epoch(count, per_second), count)
            }
            other => Cell::Other(format!("a value of type {other}")),
        }
    }
}

fn text_cell<'a>(text: &'a str, missing: &[String]) -> Cell<'a> {
    let text = text.trim();
    if figures::is_missing(text, missing) {
        Cell::Missing
    } else {
        Cell::Text(Cow::Borrowed(text))
    }
}

/// The instant of a count since 1970, also before; `None` out of the calendar.
fn since_epoch(count: i64, per_second: i64) -> Option<NaiveDateTime> {
    let rest = count.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let instant =
        DateTime::from_timestamp(count.div_euclid(per_second), u32::try_from(rest).ok()?)?;
    Some(instant.naive_utc())
}
