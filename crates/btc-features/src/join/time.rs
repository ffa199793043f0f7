//! Timestamps as nanoseconds since 1970 in UTC.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};

use crate::cast::{Unfit, cast_exact};

/// Whether a column of this type can be read as instants.
pub(crate) fn is_time(data_type: &DataType) -> bool {
    match data_type {
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => true,
        DataType::Dictionary(_, value) => is_time(value),
        _ => false,
    }
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// The type that a column of instants has in a result: UTC, in its own unit.
/// Seconds become milliseconds: Parquet has no timestamps in seconds, and who
/// reads a file of them without Arrow's hints sees bare integers.
pub(crate) fn utc_type(data_type: &DataType) -> DataType {
    let unit = match data_type {
        DataType::Timestamp(TimeUnit::Second, _) | DataType::Date32 | DataType::Date64 => {
            TimeUnit::Millisecond
        }
        DataType::Timestamp(unit, _) => *unit,
        DataType::Dictionary(_, value) => return utc_type(value),
        _ => TimeUnit::Nanosecond,
    };
    DataType::Timestamp(unit, Some("UTC".into()))
}

/// Converts a column of instants to UTC; a column without time zone is in UTC
/// already.
pub(crate) fn to_utc(column: &ArrayRef) -> Result<ArrayRef, Unfit> {
    let to = utc_type(column.data_type());
    match column.data_type() {
        DataType::Timestamp(unit, _) => {
            // A time zone is how an instant is shown, not which one it is.
            let data = column.to_data().into_builder();
            let data_type = DataType::Timestamp(*unit, Some("UTC".into()));
            let data = data.data_type(data_type).build().map_err(|error| Unfit {
                row: 0,
                reason: error.to_string(),
            })?;
            cast_exact(&arrow::array::make_array(data), &to)
        }
        DataType::Dictionary(_, value) => to_utc(&cast_exact(column, value)?),
        DataType::Date32 | DataType::Date64 => {
            let local = DataType::Timestamp(TimeUnit::Millisecond, None);
            cast_exact(&cast_exact(column, &local)?, &to)
        }
        other if is_text(other) => cast_exact(&cast_exact(column, &DataType::Utf8)?, &to),
        DataType::Null => cast_exact(column, &to),
        other => Err(Unfit {
            row: 0,
            reason: format!("a {other} is no timestamp"),
        }),
    }
}

/// The instants of a column in nanoseconds. An instant beyond what 64 bits
/// hold (the years 1677 to 2262) becomes the nearest they do.
pub(crate) fn to_nanos(column: &ArrayRef) -> Result<Int64Array, Unfit> {
    Ok(match column.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => column
            .as_primitive::<TimestampNanosecondType>()
            .reinterpret_cast(),
        DataType::Timestamp(TimeUnit::Microsecond, _) => column
            .as_primitive::<TimestampMicrosecondType>()
            .unary(|v| v.saturating_mul(1_000)),
        DataType::Timestamp(TimeUnit::Millisecond, _) => column
            .as_primitive::<TimestampMillisecondType>()
            .unary(|v| v.saturating_mul(1_000_000)),
        DataType::Timestamp(TimeUnit::Second, _) => column
            .as_primitive::<TimestampSecondType>()
            .unary(|v| v.saturating_mul(1_000_000_000)),
        DataType::Date32 => column
            .as_primitive::<Date32Type>()
            .unary(|days| i64::from(days).saturating_mul(86_400_000_000_000)),
        DataType::Date64 => column
            .as_primitive::<Date64Type>()
            .unary(|v| v.saturating_mul(1_000_000)),
        _ => {
            let utc = to_utc(column)?;
            return to_nanos(&utc);
        }
    })
}

/// The first instant that is beyond what nanoseconds can tell.
pub(crate) fn beyond_nanos(nanos: &Int64Array) -> Option<usize> {
    (0..nanos.len())
        .find(|row| nanos.is_valid(*row) && matches!(nanos.value(*row), i64::MIN | i64::MAX))
}
