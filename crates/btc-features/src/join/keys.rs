//! Join keys: brought to one form on both sides, and numbered.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::time::{beyond_nanos, is_text, is_time, to_nanos};
use crate::cast::{Unfit, cast_exact};

/// The number of a key that no entity row has.
pub(crate) const NO_KEY: u32 = u32::MAX;

/// The form in which two columns of keys are compared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum KeyForm {
    Integer,
    Unsigned,
    Float,
    Text,
    Bytes,
    Instant,
    Boolean,
    Other(DataType),
}

impl KeyForm {
    /// The form for a column of entity rows and a column of a source; `None`
    /// if no value of one can equal a value of the other.
    pub(crate) fn common(left: &DataType, right: &DataType) -> Option<Self> {
        let (left, right) = (Self::of(left), Self::of(right));
        Some(match (left, right) {
            (Some(left), Some(right)) if left == right => left,
            // A column of nulls alone has no type of its own.
            (None, Some(form)) | (Some(form), None) => form,
            (None, None) => Self::Integer,
            (Some(Self::Integer), Some(Self::Unsigned | Self::Float))
            | (Some(Self::Unsigned | Self::Float), Some(Self::Integer))
            | (Some(Self::Unsigned), Some(Self::Float))
            | (Some(Self::Float), Some(Self::Unsigned)) => Self::Integer,
            _ => return None,
        })
    }

    fn of(data_type: &DataType) -> Option<Self> {
        Some(match data_type {
            DataType::Null => return None,
            DataType::UInt64 => Self::Unsigned,
            other if other.is_integer() => Self::Integer,
            other if other.is_floating() => Self::Float,
            other if is_text(other) => Self::Text,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Bytes,
            other if is_time(other) => Self::Instant,
            DataType::Boolean => Self::Boolean,
            DataType::Dictionary(_, value) => return Self::of(value),
            other => Self::Other(other.clone()),
        })
    }

    /// Brings a column to this form: 64-bit integers wherever that is exact.
    /// Values that the form cannot hold become null, and so match nothing.
    ///
    /// A float that several integers round to is refused: it may have been any
    /// of them.
    pub(crate) fn canonical(&self, column: &ArrayRef) -> Result<ArrayRef, Unfit> {
        let kernel = |error: ArrowError| Unfit {
            row: 0,
            reason: error.to_string(),
        };
        if let DataType::Dictionary(_, value) = column.data_type() {
            return self.canonical(&cast_exact(column, value)?);
        }
        Ok(match self {
            Self::Integer if column.data_type().is_floating() => {
                let exact_below = match column.data_type() {
                    DataType::Float64 => 9_007_199_254_740_992.0, // 2^53
                    DataType::Float32 => 16_777_216.0,            // 2^24
                    _ => 2_048.0,                                 // 2^11
                };
                let floats = cast_exact(column, &DataType::Float64)?;
                let floats = floats.as_primitive::<Float64Type>();
                let many = floats
                    .iter()
                    .position(|x| x.is_some_and(|x| x.is_finite() && exact_below <= x.abs()));
                if let Some(row) = many {
                    return Err(Unfit::new(
                        column,
                        row,
                        "is a float that several integers round to; write keys as integers or text",
                    ));
                }
                Arc::new(
                    floats.unary_opt::<_, Int64Type>(|x| (x.fract() == 0.0).then_some(x as i64)),
                )
            }
            Self::Integer | Self::Boolean => cast(column, &DataType::Int64).map_err(kernel)?,
            Self::Unsigned => {
                let unsigned = cast(column, &DataType::UInt64).map_err(kernel)?;
                Arc::new(
                    unsigned
                        .as_primitive::<UInt64Type>()
                        .unary::<_, Int64Type>(u64::cast_signed),
                )
            }
            Self::Float => {
                let floats = cast_exact(column, &DataType::Float64)?;
                let bits = floats
                    .as_primitive::<Float64Type>()
                    .unary_opt::<_, Int64Type>(|x| {
                        // Zero has two signs; what is not a number equals nothing.
                        (!x.is_nan()).then_some((x + 0.0).to_bits() as i64)
                    });
                Arc::new(bits)
            }
            Self::Instant => {
                let nanos = to_nanos(column)?;
                if let Some(row) = beyond_nanos(&nanos) {
                    let why = "is outside the years 1677 to 2262";
                    return Err(Unfit::new(column, row, why));
                }
                Arc::new(nanos)
            }
            Self::Text => cast_exact(column, &DataType::Utf8)?,
            Self::Bytes => cast_exact(column, &DataType::Binary)?,
            Self::Other(data_type) => cast_exact(column, data_type)?,
        })
    }
}

/// The keys of entity rows, numbered in the order of their first row.
#[derive(Debug)]
pub(crate) enum KeyIndex {
    /// No key: one group holds every row.
    All,
    /// Integers in a narrow range, by their distance from the least.
    Dense { min: i64, numbers: Vec<u32> },
    /// Integers.
    Integers(HashMap<i64, u32, BuildHasherDefault<Mix>>),
    /// Text.
    Text(HashMap<Box<str>, u32>),
    /// Several columns, or other types.
    Rows {
        converter: RowConverter,
        numbers: HashMap<Box<[u8]>, u32>,
    },
}

impl KeyIndex {
    /// Numbers the keys of canonical columns; also returns the number of each
    /// row, [`NO_KEY`] where a column is null, and how many numbers there are.
    pub(crate) fn build(
        columns: &[ArrayRef],
        rows: usize,
    ) -> Result<(Self, Vec<u32>, u32), ArrowError> {
        let mut numbers_of_rows = Vec::new();
        match columns {
            [] => Ok((Self::All, vec![0; rows], 1)),
            [column] if column.data_type() == &DataType::Int64 => {
                let column = column.as_primitive::<Int64Type>();
                numbers_of_rows.reserve_exact(rows);
                Ok(Self::build_integers(column, numbers_of_rows))
            }
            [column] if column.data_type() == &DataType::Utf8 => {
                let mut numbers = HashMap::new();
                for key in column.as_string::<i32>() {
                    numbers_of_rows.push(match key {
                        None => NO_KEY,
                        Some(key) => match numbers.get(key) {
                            Some(number) => *number,
                            None => {
                                let number = numbers.len() as u32;
                                numbers.insert(Box::from(key), number);
                                number
                            }
                        },
                    });
                }
                let count = numbers.len() as u32;
                Ok((Self::Text(numbers), numbers_of_rows, count))
            }
            columns => {
                let fields = columns
                    .iter()
                    .map(|c| SortField::new(c.data_type().clone()))
                    .collect();
                let converter = RowConverter::new(fields)?;
                let encoded = converter.convert_columns(columns)?;
                let mut numbers = HashMap::new();
                for (row, key) in encoded.iter().enumerate() {
                    numbers_of_rows.push(if any_null(columns, row) {
                        NO_KEY
                    } else {
                        match numbers.get(key.as_ref()) {
                            Some(number) => *number,
                            None => {
                                let number = numbers.len() as u32;
                                numbers.insert(Box::from(key.as_ref()), number);
                                number
                            }
                        }
                    });
                }
                let count = numbers.len() as u32;
                Ok((Self::Rows { converter, numbers }, numbers_of_rows, count))
            }
        }
    }

    fn build_integers(column: &Int64Array, mut of_rows: Vec<u32>) -> (Self, Vec<u32>, u32) {
        let (min, max) = (arrow::compute::min(column), arrow::compute::max(column));
        let width = match (min, max) {
            (Some(min), Some(max)) => max.wrapping_sub(min) as u64,
            _ => 0,
        };
        let mut count = 0;
        // A table of this width is no larger than the columns it is made of.
        if width <= (2 * column.len() as u64).max(1 << 16) {
            let min = min.unwrap_or_default();
            let mut numbers = vec![NO_KEY; width as usize + 1];
            for key in column {
                of_rows.push(key.map_or(NO_KEY, |key| {
                    let number = &mut numbers[key.wrapping_sub(min) as usize];
                    if *number == NO_KEY {
                        *number = count;
                        count += 1;
                    }
                    *number
                }));
            }
            return (Self::Dense { min, numbers }, of_rows, count);
        }
        let mut numbers = HashMap::default();
        for key in column {
            of_rows.push(key.map_or(NO_KEY, |key| {
                *numbers.entry(key).or_insert_with(|| {
                    count += 1;
                    count - 1
                })
            }));
        }
        (Self::Integers(numbers), of_rows, count)
    }

    /// Looks up the numbers of the keys in canonical columns.
    pub(crate) fn lookup(
        &self,
        columns: &[ArrayRef],
        rows: usize,
        found: &mut Vec<u32>,
    ) -> Result<(), ArrowError> {
        found.clear();
        match self {
            Self::All => found.resize(rows, 0),
            Self::Dense { min, numbers } => {
                let column = columns[0].as_primitive::<Int64Type>();
                let number = |key: &i64| {
                    let place = key.wrapping_sub(*min) as u64;
                    usize::try_from(place)
                        .ok()
                        .and_then(|place| numbers.get(place).copied())
                        .unwrap_or(NO_KEY)
                };
                found.extend(column.values().iter().map(number));
                forget_nulls(column, found);
            }
            Self::Integers(numbers) => {
                let column = columns[0].as_primitive::<Int64Type>();
                let number = |key: &i64| numbers.get(key).copied().unwrap_or(NO_KEY);
                found.extend(column.values().iter().map(number));
                forget_nulls(column, found);
            }
            Self::Text(numbers) => {
                let column: &StringArray = columns[0].as_string();
                found.extend(column.iter().map(|key| {
                    key.and_then(|key| numbers.get(key))
                        .copied()
                        .unwrap_or(NO_KEY)
                }));
            }
            Self::Rows { converter, numbers } => {
                let encoded = converter.convert_columns(columns)?;
                found.extend(encoded.iter().enumerate().map(|(row, key)| {
                    if any_null(columns, row) {
                        NO_KEY
                    } else {
                        numbers.get(key.as_ref()).copied().unwrap_or(NO_KEY)
                    }
                }));
            }
        }
        Ok(())
    }

    /// Roughly how many bytes the index takes.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::All => 0,
            Self::Dense { numbers, .. } => numbers.len() * 4,
            Self::Integers(numbers) => numbers.capacity() * 17,
            Self::Text(numbers) => {
                numbers.capacity() * 25 + numbers.keys().map(|key| key.len()).sum::<usize>()
            }
            Self::Rows { numbers, converter } => {
                numbers.capacity() * 25
                    + numbers.keys().map(|key| key.len()).sum::<usize>()
                    + converter.size()
            }
        }
    }
}

fn any_null(columns: &[ArrayRef], row: usize) -> bool {
    columns.iter().any(|column| column.is_null(row))
}

fn forget_nulls(column: &dyn Array, found: &mut [u32]) {
    if let Some(nulls) = column.nulls() {
        for (number, valid) in found.iter_mut().zip(nulls) {
            if !valid {
                *number = NO_KEY;
            }
        }
    }
}

/// Hashes one integer by multiplication and folding: the keys are the user's
/// own, so that speed counts and flooding does not.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let product = u128::from(self.0 ^ value ^ 0x9e37_79b9_7f4a_7c15)
            * u128::from(0xd6e8_feb8_6659_fd93_u64);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }

    fn write_i64(&mut self, value: i64) {
        self.write_u64(value as u64);
    }
}
