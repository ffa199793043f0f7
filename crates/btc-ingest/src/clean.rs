//! From points as served to one value per day; what is not fit for use is set aside, not lost.

use crate::source::DayValue;
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use std::collections::BTreeMap;

/// A value that was not used, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Rejected {
    /// The series.
    pub series: String,
    /// The time stamp as served.
    pub stamp: String,
    /// The value as served, or the part of it that was wrong.
    pub value: String,
    /// Why it was not used.
    pub reason: Reason,
    /// Where in a file it stands, as `old.csv, line 3, column "Close"`.
    pub origin: Option<String>,
}

impl Rejected {
    /// The value, its place in a file and the reason, as a sentence.
    #[must_use]
    pub fn in_words(&self) -> String {
        let Self {
            series,
            stamp,
            value,
            reason,
            origin,
        } = self;
        let place = origin.clone().unwrap_or_else(|| series.clone());
        let day = match *reason {
            Reason::Duplicate => format!(" of {stamp}"),
            _ => String::new(),
        };
        format!("{place}: {value:?}{day} {}", reason.in_words())
    }
}

/// Why a value was not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Reason {
    /// The time stamp is none, or out of the calendar.
    BadStamp,
    /// There is no value.
    Null,
    /// The value is not a number.
    NotANumber,
    /// The value is infinite or NaN.
    NotFinite,
    /// A price of zero or less, or another value below zero.
    NotPositive,
    /// The day is later than today, or later than the source says it was last refreshed.
    Future,
    /// The high is not the highest, or the low not the lowest price of the day.
    Inconsistent,
    /// A price that should be that of midnight has another time.
    NotMidnight,
    /// The time is outside what can be stored: the years 1678 to 2261.
    OutOfRange,
    /// A row of a file has fewer or more cells than the file has columns.
    WrongWidth,
    /// Other rows of a file have other values for the same time.
    Duplicate,
}

impl Reason {
    /// The name of the reason, as it stands in the quarantine file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadStamp => "bad-stamp",
            Self::Null => "null",
            Self::NotANumber => "not-a-number",
            Self::NotFinite => "not-finite",
            Self::NotPositive => "not-positive",
            Self::Future => "future",
            Self::Inconsistent => "inconsistent",
            Self::NotMidnight => "not-midnight",
            Self::OutOfRange => "out-of-range",
            Self::WrongWidth => "wrong-width",
            Self::Duplicate => "duplicate",
        }
    }

    /// What is said of a value that was not used for this reason.
    pub(crate) fn in_words(self) -> &'static str {
        match self {
            Self::BadStamp => "is not a date or time",
            Self::Null => "is no value",
            Self::NotANumber => "is not a number",
            Self::NotFinite => "is not finite",
            Self::NotPositive => "is too small: prices are above zero, the rest is not below",
            Self::Future => "is of a day that is not over",
            Self::Inconsistent => "does not fit the high and the low of its day",
            Self::NotMidnight => "is not the price of a midnight",
            Self::OutOfRange => "is out of the years 1678 to 2261 that can be stored",
            Self::WrongWidth => "make another row than the header says",
            Self::Duplicate => "is not the only value of its time",
        }
    }
}

/// One value at one instant, as a service gives it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// The time stamp.
    pub stamp: DateTime<Utc>,
    /// The value; finite.
    pub value: f64,
}

/// One value per day, and what it took.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Daily {
    pub(crate) values: Vec<DayValue>,
    /// Days with more than one point.
    pub(crate) averaged: usize,
    /// Points that came after a later one.
    pub(crate) unordered: usize,
}

/// Averages the points of each UTC day, in the order of their stamps.
pub(crate) fn daily(points: &[Point]) -> Daily {
    let unordered = points
        .windows(2)
        .filter(|pair| pair[1].stamp < pair[0].stamp)
        .count();
    let mut sorted = points.to_vec();
    sorted.sort_by_key(|point| point.stamp);
    let mut days: BTreeMap<NaiveDate, (f64, u32)> = BTreeMap::new();
    for point in sorted {
        let (sum, count) = days.entry(point.stamp.date_naive()).or_default();
        *sum += point.value;
        *count += 1;
    }
    let averaged = days.values().filter(|(_, count)| *count > 1).count();
    let values = days
        .into_iter()
        .map(|(day, (sum, count))| (day, sum / f64::from(count)))
        .collect();
    Daily {
        values,
        averaged,
        unordered,
    }
}

/// The usual distance of two days, if there are enough of them to tell: the median of many, or of
/// a few the smallest one, for a few days have room for a gap or two.
pub(crate) fn usual_step(values: &[DayValue]) -> Option<i64> {
    const MANY: usize = 8;
    const FEW: usize = 3;
    let mut steps: Vec<i64> = values
        .windows(2)
        .map(|pair| (pair[1].0 - pair[0].0).num_days())
        .collect();
    steps.sort_unstable();
    match values.len() {
        0..FEW => None,
        FEW..MANY => steps.first().copied(),
        MANY.. => Some(steps[steps.len() / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn point(hour: i64, value: f64) -> Point {
        Point {
            stamp: DateTime::UNIX_EPOCH + TimeDelta::hours(hour),
            value,
        }
    }

    #[test]
    fn points_of_one_utc_day_are_averaged() {
        let daily = daily(&[point(30, 5.0), point(0, 1.0), point(23, 3.0)]);
        let day = DateTime::UNIX_EPOCH.date_naive();
        assert_eq!(daily.values, [(day, 2.0), (day.succ_opt().unwrap(), 5.0)]);
        assert_eq!((daily.averaged, daily.unordered), (1, 1));
    }

    #[test]
    fn the_usual_step_survives_gaps() {
        let values = |step: i64| -> Vec<DayValue> {
            daily(
                &(0..20)
                    .map(|i| point(24 * step * i + 24 * (i / 7), 1.0))
                    .collect::<Vec<_>>(),
            )
            .values
        };
        assert_eq!(usual_step(&values(1)), Some(1));
        assert_eq!(usual_step(&values(3)), Some(3));
        let few = |days: &[i64]| {
            let points: Vec<Point> = days.iter().map(|day| point(24 * day, 1.0)).collect();
            usual_step(&daily(&points).values)
        };
        assert_eq!(few(&[1, 4]), None);
        assert_eq!(few(&[1, 4, 7]), Some(3));
        assert_eq!(few(&[1, 4, 5, 9]), Some(1));
    }
}
