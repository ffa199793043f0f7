//! Numbers and times as text.

use std::time::Duration;

use chrono::DateTime;
use serde_json::json;

/// JSON has no NaN.
pub(crate) fn number(value: f64) -> serde_json::Value {
    if value.is_finite() {
        json!(value)
    } else {
        json!(value.to_string())
    }
}

/// A number a person can read.
pub(crate) fn short(value: f64) -> String {
    if value == 0.0 || (1e-4..1e9).contains(&value.abs()) {
        let text = format!("{value:.6}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{value:e}")
}

/// A time in milliseconds, in UTC.
pub(crate) fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(
        || "-".into(),
        |time| time.format("%Y-%m-%d %H:%M:%S").to_string(),
    )
}

/// A number with four digits that matter, written out.
pub(crate) fn plain(value: f64) -> String {
    let magnitude = value.abs().log10().floor();
    match magnitude {
        _ if value == 0.0 => "0".to_owned(),
        _ if !value.is_finite() => value.to_string(),
        m if m < -6.0 => "below 0.000001".to_owned(),
        m if m < 4.0 => format!("{value:.*}", (3.0 - m).clamp(0.0, 8.0) as usize),
        _ => format!("{value:.0}"),
    }
}

/// A time as a person says it.
pub(crate) fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5_999 => format!("{} min", seconds.div_ceil(60)),
        seconds @ 6_000..=359_999 => format!("{} h", seconds.div_ceil(3_600)),
        seconds => format!("{} days", seconds.div_ceil(86_400)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_plain_numbers() {
        for (value, expected) in [
            (0.0, "0"),
            (0.012_345_6, "0.01235"),
            (0.5, "0.5000"),
            (1.234_56, "1.235"),
            (1_234.56, "1235"),
            (123_456.7, "123457"),
            (-0.000_012_34, "-0.00001234"),
            (1e-9, "below 0.000001"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(plain(value), expected);
        }
    }

    #[test]
    fn times_are_rounded_up() {
        for (seconds, expected) in [
            (0, "0 s"),
            (99, "99 s"),
            (100, "2 min"),
            (5_999, "100 min"),
            (6_000, "2 h"),
            (400_000, "5 days"),
        ] {
            assert_eq!(duration(Duration::from_secs(seconds)), expected);
        }
    }
}
