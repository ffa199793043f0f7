//! Casts that lose nothing: a value that the other type cannot hold is named
//! by its row, and never becomes null or another value.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, UInt64Array};
use arrow::compute::kernels::cmp::neq;
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;

use crate::error::Error;

/// A value of a column that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfit {
    /// Its row in the column, from 0.
    pub(crate) row: usize,
    /// The value, and why it cannot be used.
    pub(crate) reason: String,
}

impl Unfit {
    /// The value at `row` of `column`, which `why` says more about.
    pub(crate) fn new(column: &dyn Array, row: usize, why: &str) -> Self {
        let value = array_value_to_string(column, row).unwrap_or_else(|_| "a value".into());
        Self {
            row,
            reason: format!("{value} {why}"),
        }
    }

    /// The same after `rows` rows that came before.
    pub(crate) fn after(mut self, rows: usize) -> Self {
        self.row += rows;
        self
    }

    /// The error of a value in a column of a place.
    pub(crate) fn at(self, place: &str, column: &str) -> Error {
        Error::InvalidValue {
            place: place.to_owned(),
            column: column.to_owned(),
            row: self.row,
            reason: self.reason,
        }
    }
}

/// Casts a column, or names the first row whose value `to` cannot hold.
///
/// Rounding to a float is no loss; a fraction cut off, a float that becomes
/// infinite, and a number other than 0 and 1 as a truth value are.
pub(crate) fn cast_exact(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, Unfit> {
    if column.data_type() == to {
        return Ok(Arc::clone(column));
    }
    let changed = |row| Unfit::new(column, row, &format!("is no {to}"));
    match strict(column, to) {
        Ok(result) => match first_changed(column, &result) {
            Ok(None) => Ok(result),
            Ok(Some(row)) => Err(changed(row)),
            Err(error) => Err(Unfit {
                row: 0,
                reason: error.to_string(),
            }),
        },
        Err(error) => {
            // A slice of a list brings all its items along; a row taken out does not.
            let fails = |row: usize| {
                let one = take(column, &UInt64Array::from(vec![row as u64]), None);
                one.is_ok_and(|one| strict(&one, to).is_err())
            };
            let row = (0..column.len()).find(|row| fails(*row));
            Err(row.map_or_else(
                || Unfit {
                    row: 0,
                    reason: error.to_string(),
                },
                changed,
            ))
        }
    }
}

fn strict(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, to, &options)
}

/// The first row whose value a cast that went through has changed.
fn first_changed(from: &ArrayRef, to: &ArrayRef) -> Result<Option<usize>, ArrowError> {
    let first = |wrong: BooleanArray| {
        (0..wrong.len()).find(|row| wrong.is_valid(*row) && wrong.value(*row))
    };
    let floats = || strict(from, &DataType::Float64);
    Ok(match (from.data_type(), to.data_type()) {
        (DataType::Dictionary(_, value), _) => {
            return first_changed(&strict(from, value)?, to);
        }
        (source, target) if source.is_floating() && target.is_integer() => {
            let floats = floats()?;
            let fraction = floats.as_primitive::<Float64Type>();
            first(fraction.iter().map(|x| Some(x?.fract() != 0.0)).collect())
        }
        (source @ (DataType::Decimal128(..) | DataType::Decimal256(..)), target)
            if target.is_integer() =>
        {
            first(neq(from, &strict(to, source)?)?)
        }
        (source, DataType::Boolean) if source.is_numeric() => {
            let floats = floats()?;
            let numbers = floats.as_primitive::<Float64Type>();
            first(
                numbers
                    .iter()
                    .map(|x| Some(!matches!(x?, 0.0 | 1.0)))
                    .collect(),
            )
        }
        (source, DataType::Float32) if source.is_numeric() => {
            let wide = floats()?;
            let pairs = wide.as_primitive::<Float64Type>().iter();
            let pairs = pairs.zip(to.as_primitive::<Float32Type>().iter());
            first(
                pairs
                    .map(|(wide, narrow)| Some(wide?.is_finite() && narrow?.is_infinite()))
                    .collect(),
            )
        }
        (DataType::List(_), DataType::List(_)) => {
            let (from, to) = (from.as_list::<i32>(), to.as_list::<i32>());
            (0..from.len())
                .filter(|row| from.is_valid(*row))
                .map(|row| Ok((row, first_changed(&from.value(row), &to.value(row))?)))
                .find_map(|pair: Result<_, ArrowError>| match pair {
                    Ok((_, None)) => None,
                    Ok((row, Some(_))) => Some(Ok(row)),
                    Err(error) => Some(Err(error)),
                })
                .transpose()?
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
        TimestampMicrosecondArray,
    };
    use arrow::datatypes::{Int64Type, TimeUnit};

    use super::*;

    #[track_caller]
    fn check(column: impl Array + 'static, to: &DataType, row: usize, value: &str) {
        let unfit = cast_exact(&(Arc::new(column) as ArrayRef), to).unwrap_err();
        assert_eq!(unfit.row, row, "{unfit:?}");
        assert!(unfit.reason.starts_with(value), "{unfit:?}");
    }

    #[test]
    fn a_value_that_does_not_fit_is_named_with_its_row() {
        let int64 = &DataType::Int64;
        check(
            StringArray::from(vec!["5.1", "oops"]),
            &DataType::Float64,
            1,
            "oops",
        );
        check(
            UInt64Array::from(vec![7, u64::MAX]),
            int64,
            1,
            "18446744073709551615",
        );
        check(
            Int64Array::from(vec![7, 1 << 31]),
            &DataType::Int32,
            1,
            "2147483648",
        );
        check(
            Float64Array::from(vec![Some(-0.0), None, Some(1.5)]),
            int64,
            2,
            "1.5",
        );
        check(Float64Array::from(vec![1.0, 9.3e18]), int64, 1, "9.3e18");
        check(Float64Array::from(vec![f64::NAN]), int64, 0, "NaN");
        check(
            Float64Array::from(vec![f64::INFINITY, 1e300]),
            &DataType::Float32,
            1,
            "1e300",
        );
        check(Int64Array::from(vec![0, 1, 2]), &DataType::Boolean, 2, "2");
        let decimal = Decimal128Array::from(vec![200, 150]).with_precision_and_scale(9, 2);
        check(decimal.unwrap(), int64, 1, "1.50");
        let far = TimestampMicrosecondArray::from(vec![0, 253_402_214_400_000_000]);
        let nanos = DataType::Timestamp(TimeUnit::Nanosecond, None);
        check(far, &nanos, 1, "9999-12-31");
        let lists = [Some(vec![Some(1), None]), None, Some(vec![Some(1 << 40)])];
        let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
        check(
            lists,
            &crate::ValueType::Int32List.data_type(),
            2,
            "[1099511627776]",
        );
    }

    #[test]
    fn what_fits_is_cast_and_nulls_stay() {
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(3.0), None, Some(-0.0)]));
        let integers = cast_exact(&floats, &DataType::Int64).unwrap();
        let expected = Int64Array::from(vec![Some(3), None, Some(0)]);
        assert_eq!(integers.as_primitive::<Int64Type>(), &expected);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>, None]));
        assert_eq!(
            cast_exact(&texts, &DataType::Float64).unwrap().null_count(),
            2
        );
    }
}
