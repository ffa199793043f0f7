//! Every value ever fetched, with the time of fetching: the raw data.

use crate::series::SeriesName;
use crate::source::DayValue;
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::BTreeMap;

/// A value of a day as it was fetched at one time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Revision {
    pub(crate) day: NaiveDate,
    pub(crate) created: DateTime<Utc>,
    pub(crate) value: f64,
}

impl Revision {
    fn key(&self) -> (NaiveDate, DateTime<Utc>) {
        (self.day, self.created)
    }
}

/// The revisions of one series, by day and then by time of fetching.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct SeriesLog {
    revisions: Vec<Revision>,
}

/// What a merge did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Merged {
    /// Days that had no value.
    pub(crate) new: usize,
    /// Days whose value is another one now.
    pub(crate) changed: usize,
}

impl SeriesLog {
    /// Sorts revisions from a file; of equal keys the last one counts.
    pub(crate) fn from_revisions(mut revisions: Vec<Revision>) -> Self {
        revisions.sort_by_key(Revision::key);
        revisions.reverse();
        revisions.dedup_by_key(|revision| revision.key());
        revisions.reverse();
        Self { revisions }
    }

    /// Adds what was fetched at `created`, days ascending. Values that were known are no news.
    ///
    /// A fetch that is dated before others compares with what was known at its time.
    pub(crate) fn merge(&mut self, values: &[DayValue], created: DateTime<Utc>) -> Merged {
        let mut merged = Merged::default();
        let mut news = Vec::new();
        for &(day, value) in values {
            let of_day = self.of_day(day);
            let known = of_day
                .iter()
                .rev()
                .find(|revision| revision.created <= created);
            match known {
                Some(known) if known.value == value => continue,
                Some(_) => merged.changed += 1,
                None if of_day.is_empty() => merged.new += 1,
                None => merged.changed += 1,
            }
            news.push(Revision {
                day,
                created,
                value,
            });
        }
        if !news.is_empty() {
            self.revisions.extend(news);
            *self = Self::from_revisions(std::mem::take(&mut self.revisions));
        }
        merged
    }

    pub(crate) fn revisions(&self) -> &[Revision] {
        &self.revisions
    }

    /// The revisions of one day, oldest first.
    pub(crate) fn of_day(&self, day: NaiveDate) -> &[Revision] {
        let start = self
            .revisions
            .partition_point(|revision| revision.day < day);
        let length = self.revisions[start..].partition_point(|revision| revision.day == day);
        &self.revisions[start..start + length]
    }

    pub(crate) fn last_day(&self) -> Option<NaiveDate> {
        self.revisions.last().map(|revision| revision.day)
    }

    /// The newest value of every day.
    pub(crate) fn latest(&self) -> impl Iterator<Item = DayValue> + '_ {
        self.revisions
            .chunk_by(|a, b| a.day == b.day)
            .filter_map(|of_day| of_day.last().map(|revision| (revision.day, revision.value)))
    }
}

/// All sources, by name, with their series, by name.
pub(crate) type Logs = BTreeMap<String, BTreeMap<SeriesName, SeriesLog>>;

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2021, 1, day).unwrap()
    }

    fn time(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    #[test]
    fn a_changed_value_is_kept_beside_the_old_one() {
        let mut log = SeriesLog::default();
        let first = log.merge(&[(day(1), 1.0), (day(2), 2.0)], time(1));
        assert_eq!(first, Merged { new: 2, changed: 0 });
        let second = log.merge(&[(day(2), 2.5), (day(3), 3.0)], time(2));
        assert_eq!(second, Merged { new: 1, changed: 1 });
        assert_eq!(log.merge(&[(day(2), 2.5)], time(3)), Merged::default());
        let values: Vec<f64> = log
            .of_day(day(2))
            .iter()
            .map(|revision| revision.value)
            .collect();
        assert_eq!(values, [2.0, 2.5]);
        let latest: Vec<_> = log.latest().collect();
        assert_eq!(latest, [(day(1), 1.0), (day(2), 2.5), (day(3), 3.0)]);
    }

    #[test]
    fn a_fetch_dated_earlier_does_not_replace_a_later_one() {
        let mut log = SeriesLog::default();
        log.merge(&[(day(1), 1.0)], time(5));
        log.merge(&[(day(1), 9.0)], time(3));
        assert_eq!(log.latest().collect::<Vec<_>>(), [(day(1), 1.0)]);
        assert_eq!(log.revisions().len(), 2);
    }

    #[test]
    fn fetching_the_same_instant_twice_keeps_the_last_value() {
        let mut log = SeriesLog::default();
        log.merge(&[(day(1), 1.0)], time(5));
        log.merge(&[(day(1), 2.0)], time(5));
        assert_eq!(log.revisions().len(), 1);
        assert_eq!(log.latest().collect::<Vec<_>>(), [(day(1), 2.0)]);
    }
}
