//! Instants and days as text, and which day has closed at which instant.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, SecondsFormat, TimeDelta, Utc};

/// The instant at which day `day` has closed: the next day, 00:00 UTC.
pub fn close_of(day: NaiveDate) -> DateTime<Utc> {
    // The calendar ends in the year 262142.
    let next = day.checked_add_days(Days::new(1)).unwrap_or(day);
    next.and_time(NaiveTime::MIN).and_utc()
}

/// The day that had closed at an instant: the one before it.
pub(crate) fn day_closed_at(instant: &DateTime<Utc>) -> NaiveDate {
    (*instant - TimeDelta::nanoseconds(1)).date_naive()
}

/// Whether a day closes at an instant.
pub(crate) fn is_close(instant: &DateTime<Utc>) -> bool {
    instant.time() == NaiveTime::MIN
}

/// An instant as tags and attributes hold it.
pub(crate) fn instant_text(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// Instants that a list names before it is cut short.
const LISTED: usize = 8;

/// Some instants as text, the first of them one by one: the days that closed then where all are
/// closes of days, else their times.
pub(crate) fn list_of_instants(instants: &[DateTime<Utc>]) -> String {
    let name = |instant: &DateTime<Utc>| match instants.iter().all(is_close) {
        true => day_closed_at(instant).to_string(),
        false => instant.format("%Y-%m-%d %H:%M UTC").to_string(),
    };
    let named: Vec<String> = instants.iter().take(LISTED).map(name).collect();
    match instants.len().saturating_sub(LISTED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(instants: &[&str], expected: &str) {
        let instants: Vec<DateTime<Utc>> =
            instants.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(list_of_instants(&instants), expected);
    }

    #[test]
    fn closes_are_named_by_their_days_and_other_instants_by_their_times() {
        check(&[], "");
        check(
            &["2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"],
            "2024-01-01, 2024-01-02",
        );
        check(
            &["2024-01-01T23:00:00Z", "2024-01-02T00:00:00Z"],
            "2024-01-01 23:00 UTC, 2024-01-02 00:00 UTC",
        );
        check(
            &["2024-01-02T00:00:00Z"; 10],
            &format!("{} and 2 more", ["2024-01-01"; 8].join(", ")),
        );
    }
}
