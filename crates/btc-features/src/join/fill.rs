//! The features of the matched rows, put in their places as they are read.

use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayData, ArrayRef, make_array, new_null_array};
use arrow::buffer::MutableBuffer;
use arrow::compute::concat;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::bit_mask::set_bits;

use super::source::FeatureColumn;

/// Columns of a known number of rows. Several threads fill them, each its own
/// rows, in any order; a row that nobody fills is null.
///
/// Values of a fixed width are copied to their place at once, so that they are
/// held once and no more; the others wait as they were read.
#[derive(Debug)]
pub(crate) struct FeatureRows {
    columns: Vec<Mutex<Column>>,
    rows: usize,
}

#[derive(Debug)]
enum Column {
    Fixed {
        data_type: DataType,
        width: usize,
        values: MutableBuffer,
        valid: MutableBuffer,
    },
    /// Arrays and the number of their first row.
    Pieces {
        data_type: DataType,
        pieces: Vec<(usize, ArrayRef)>,
    },
}

impl FeatureRows {
    pub(crate) fn new(features: &[FeatureColumn], rows: usize) -> Self {
        let columns = features
            .iter()
            .map(|feature| {
                let data_type = feature.data_type.clone();
                Mutex::new(match data_type.primitive_width() {
                    Some(width) => Column::Fixed {
                        data_type,
                        width,
                        values: MutableBuffer::from_len_zeroed(rows * width),
                        valid: MutableBuffer::from_len_zeroed(rows.div_ceil(8)),
                    },
                    None => Column::Pieces {
                        data_type,
                        pieces: Vec::new(),
                    },
                })
            })
            .collect();
        Self { columns, rows }
    }

    /// The bytes that [`Self::new`] takes.
    pub(crate) fn size(features: &[FeatureColumn], rows: usize) -> usize {
        features
            .iter()
            .filter_map(|feature| feature.data_type.primitive_width())
            .map(|width| rows * width + rows.div_ceil(8))
            .sum()
    }

    /// Puts one array of each column in the rows from `first` on, and returns
    /// how many bytes are held until [`Self::finish`] besides.
    pub(crate) fn put(&self, first: usize, arrays: &[ArrayRef]) -> usize {
        let mut held = 0;
        for (column, array) in self.columns.iter().zip(arrays) {
            // A column is only ever written row by row: what a thread that
            // died left behind is as good as rows not filled.
            let mut column = column.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *column {
                Column::Fixed {
                    width,
                    values,
                    valid,
                    ..
                } => copy(array, first, *width, values, valid),
                Column::Pieces { pieces, .. } => {
                    held += array.get_array_memory_size();
                    pieces.push((first, ArrayRef::clone(array)));
                }
            }
        }
        held
    }

    /// The columns.
    pub(crate) fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        let rows = self.rows;
        self.columns
            .into_iter()
            .map(
                |column| match column.into_inner().unwrap_or_else(PoisonError::into_inner) {
                    Column::Fixed {
                        data_type,
                        values,
                        valid,
                        ..
                    } => {
                        let data = ArrayData::builder(data_type)
                            .len(rows)
                            .add_buffer(values.into())
                            .null_bit_buffer(Some(valid.into()))
                            .build()?;
                        Ok(make_array(data))
                    }
                    Column::Pieces { data_type, pieces } => join(pieces, &data_type, rows),
                },
            )
            .collect()
    }
}

fn copy(
    array: &ArrayRef,
    first: usize,
    width: usize,
    values: &mut MutableBuffer,
    valid: &mut MutableBuffer,
) {
    let data = array.to_data();
    let from = data.offset() * width;
    let bytes = array.len() * width;
    values.as_slice_mut()[first * width..][..bytes]
        .copy_from_slice(&data.buffers()[0].as_slice()[from..from + bytes]);
    match array.nulls() {
        Some(nulls) => {
            let bits = (nulls.validity(), nulls.offset());
            set_bits(valid.as_slice_mut(), bits.0, first, bits.1, array.len());
        }
        None => {
            let ones = vec![u8::MAX; array.len().div_ceil(8)];
            set_bits(valid.as_slice_mut(), &ones, first, 0, array.len());
        }
    }
}

/// One column of `rows` rows; those between the pieces are null.
fn join(
    mut pieces: Vec<(usize, ArrayRef)>,
    data_type: &DataType,
    rows: usize,
) -> Result<ArrayRef, ArrowError> {
    pieces.sort_unstable_by_key(|(first, _)| *first);
    let mut parts: Vec<ArrayRef> = Vec::with_capacity(pieces.len() + 1);
    let mut next = 0;
    for (first, piece) in pieces {
        if first > next {
            parts.push(new_null_array(data_type, first - next));
        }
        next = first + piece.len();
        parts.push(piece);
    }
    if rows > next {
        parts.push(new_null_array(data_type, rows - next));
    }
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    concat(&parts)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, StringArray};

    use super::*;

    #[test]
    fn rows_land_where_they_belong_in_any_order() {
        let features = [DataType::Float64, DataType::Utf8]
            .map(|data_type| FeatureColumn::plain("x", data_type));
        let numbers: ArrayRef = Arc::new(Float64Array::from_iter(
            (0..50).map(|x| (x % 7 != 0).then(|| f64::from(x))),
        ));
        let whole: ArrayRef = Arc::new(Float64Array::from_iter_values((0..50).map(f64::from)));
        let texts: ArrayRef = Arc::new(StringArray::from_iter(
            (0..50).map(|x| (x % 5 != 0).then(|| x.to_string())),
        ));
        let rows = FeatureRows::new(&features, 53);
        for (first, len) in [(30, 20), (3, 27), (0, 3)] {
            let numbers = if first == 3 { &numbers } else { &whole };
            rows.put(first, &[numbers.slice(first, len), texts.slice(first, len)]);
        }
        let columns = rows.finish().unwrap();
        let expected: Float64Array = (0..53)
            .map(|x| {
                let given = x < 50 && (!(3..30).contains(&x) || x % 7 != 0);
                given.then(|| f64::from(x))
            })
            .collect();
        assert_eq!(columns[0].to_data(), expected.to_data());
        let expected: StringArray = (0..53)
            .map(|x| (x < 50 && x % 5 != 0).then(|| x.to_string()))
            .collect();
        assert_eq!(columns[1].to_data(), expected.to_data());
    }
}
