//! What a data folder holds: range, gaps and freshness of every series.

use crate::error::Result;
use crate::store::{DataFolder, Snapshot};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use std::path::Path;

/// What a data folder holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct DataStatus {
    /// Whether the data is made up.
    pub synthetic: bool,
    /// The currency of the prices.
    pub market: String,
    /// When the data was last brought up to date.
    pub updated: DateTime<Utc>,
    /// The last day that has a price and is over.
    pub last_complete_day: Option<NaiveDate>,
    /// The fingerprint of the processed tables.
    pub data_hash: String,
    /// The number of values set aside.
    pub quarantined: usize,
    /// Every series.
    pub series: Vec<SeriesStatusReport>,
}

/// One series of a data folder.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SeriesStatusReport {
    /// The source, as `blockchain`.
    pub source: String,
    /// The series, as `hash_rate`.
    pub series: String,
    /// The unit, as the source names it.
    pub unit: Option<String>,
    /// The first day.
    pub first: Option<NaiveDate>,
    /// The last day.
    pub last: Option<NaiveDate>,
    /// The number of days with a value.
    pub days: usize,
    /// The number of values that took the place of another one.
    pub revisions: usize,
    /// The days between first and last without a value.
    pub missing_days: usize,
    /// The runs of missing days, oldest first.
    pub gaps: Vec<Gap>,
    /// The days that are over and not there yet, counted from the last one.
    pub days_behind: i64,
    /// When the source was last asked with success.
    pub fetched: Option<DateTime<Utc>>,
}

/// A run of days without a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Gap {
    /// The first missing day.
    pub first: NaiveDate,
    /// The last missing day.
    pub last: NaiveDate,
}

/// Tells the range, the gaps and the freshness of every series, as of `now`.
///
/// # Errors
///
/// Fails if the folder holds no data, or a file of it cannot be read.
pub fn status(data_dir: impl AsRef<Path>, now: DateTime<Utc>) -> Result<DataStatus> {
    DataFolder::new(data_dir.as_ref()).status(now)
}

pub(crate) fn of(snapshot: &Snapshot, now: DateTime<Utc>) -> Result<DataStatus> {
    let manifest = snapshot.manifest();
    let yesterday = now.date_naive().pred_opt().unwrap_or(NaiveDate::MIN);
    let mut series = Vec::new();
    for (source, list) in snapshot.logs()? {
        for (name, log) in list {
            let record = manifest.series.get(&format!("{source}/{name}"));
            let days: Vec<NaiveDate> = log.latest().map(|(day, _)| day).collect();
            let gaps = gaps(&days);
            let last = days.last().copied();
            series.push(SeriesStatusReport {
                source: source.clone(),
                series: name.into(),
                unit: record.and_then(|record| record.unit.clone()),
                first: days.first().copied(),
                last,
                days: days.len(),
                revisions: log.revisions().len() - days.len(),
                missing_days: gaps.iter().map(Gap::days).sum(),
                gaps,
                days_behind: last.map_or(0, |last| (yesterday - last).num_days().max(0)),
                fetched: record.and_then(|record| record.fetched),
            });
        }
    }
    for source in snapshot.sources_of_instants() {
        let table = snapshot.instants(source)?;
        let times = table.times();
        let day = |time: Option<&i64>| {
            time.map(|time| DateTime::from_timestamp_nanos(*time).date_naive())
        };
        let (first, last) = (day(times.first()), day(times.last()));
        for name in table.columns() {
            series.push(SeriesStatusReport {
                source: source.to_owned(),
                series: name.clone().into(),
                unit: None,
                first,
                last,
                days: times.len(),
                revisions: table.len() - times.len(),
                missing_days: 0,
                gaps: Vec::new(),
                days_behind: last.map_or(0, |last| (yesterday - last).num_days().max(0)),
                fetched: None,
            });
        }
    }
    let quarantined = snapshot
        .sources_with_quarantine()
        .map(|source| Ok(snapshot.quarantined(source)?.len()))
        .sum::<Result<usize>>()?;
    Ok(DataStatus {
        synthetic: manifest.synthetic,
        market: manifest.market.clone(),
        updated: manifest.updated,
        last_complete_day: manifest.last_complete_day,
        data_hash: manifest.data_hash.clone(),
        quarantined,
        series,
    })
}

impl Gap {
    /// The number of missing days.
    #[must_use]
    pub fn days(&self) -> usize {
        usize::try_from((self.last - self.first).num_days() + 1).unwrap_or_default()
    }
}

/// The runs of missing days between ascending days.
pub(crate) fn gaps(days: &[NaiveDate]) -> Vec<Gap> {
    days.windows(2)
        .filter_map(|pair| {
            let gap = Gap {
                first: pair[0].succ_opt()?,
                last: pair[1].pred_opt()?,
            };
            (gap.first <= gap.last).then_some(gap)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_runs_of_missing_days() {
        let day = |day| NaiveDate::from_ymd_opt(2021, 1, day).unwrap();
        let found = gaps(&[day(1), day(2), day(4), day(9)]);
        let expected = [
            Gap {
                first: day(3),
                last: day(3),
            },
            Gap {
                first: day(5),
                last: day(8),
            },
        ];
        assert_eq!(found, expected);
        assert_eq!(found.iter().map(Gap::days).sum::<usize>(), 5);
        assert_eq!(gaps(&[]), []);
    }
}
