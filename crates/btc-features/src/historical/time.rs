//! Timestamps as nanoseconds since 1970 in UTC.

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;

/// Whether a column of this type can be read as instants.
pub(crate) fn is_time(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Timestamp(..) | DataType::Date32 | DataType::Date64
    )
}

pub(crate) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, value) => is_text(value),
        _ => false,
    }
}

/// The type that a column of instants has in a result: UTC, in its own unit.
pub(crate) fn utc_type(data_type: &DataType) -> DataType {
    let unit = match data_type {
        DataType::Timestamp(unit, _) => *unit,
        DataType::Date32 => TimeUnit::Second,
        DataType::Date64 => TimeUnit::Millisecond,
        _ => TimeUnit::Nanosecond,
    };
    DataType::Timestamp(unit, Some("UTC".into()))
}

/// Converts a column of instants to UTC; a column without time zone is in UTC
/// already.
pub(crate) fn to_utc(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Timestamp(unit, _) => {
            // A time zone is how an instant is shown, not which one it is.
            let data = column.to_data().into_builder();
            let data_type = DataType::Timestamp(*unit, Some("UTC".into()));
            Ok(arrow::array::make_array(data.data_type(data_type).build()?))
        }
        DataType::Date32 | DataType::Date64 => cast(
            &cast(
                column,
                &DataType::Timestamp(
                    match column.data_type() {
                        DataType::Date32 => TimeUnit::Second,
                        _ => TimeUnit::Millisecond,
                    },
                    None,
                ),
            )?,
            &utc_type(column.data_type()),
        ),
        other if is_text(other) => {
            let text = cast(column, &DataType::Utf8)?;
            let options = arrow::compute::CastOptions {
                safe: false,
                ..Default::default()
            };
            arrow::compute::cast_with_options(&text, &utc_type(other), &options)
        }
        DataType::Null => cast(column, &utc_type(&DataType::Null)),
        other => Err(ArrowError::CastError(format!("a {other} is no timestamp"))),
    }
}

/// The instants of a column in nanoseconds. An instant beyond what 64 bits
/// hold (the years 1677 to 2262) becomes the nearest they do.
pub(crate) fn to_nanos(column: &ArrayRef) -> Result<Int64Array, ArrowError> {
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

/// Whether all instants of a column are exact in nanoseconds.
pub(crate) fn fits_nanos(nanos: &Int64Array) -> bool {
    nanos
        .iter()
        .flatten()
        .all(|value| value != i64::MAX && value != i64::MIN)
}
