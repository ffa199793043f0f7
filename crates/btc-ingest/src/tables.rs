//! From raw values to the two tables that models read.
//!
//! Both are functions of the raw data alone: a row that was there once stays, and what was known
//! at an earlier time can be rebuilt.

use crate::alpha_vantage::ALPHA_VANTAGE;
use crate::blockchain::{BLOCKCHAIN, MARKET_PRICE, MARKET_PRICE_COLUMN};
use crate::error::Result;
use crate::series::SeriesName;
use crate::source::{DATE, OHLCV, days_since_epoch};
use crate::store::{
    CREATED_TIMESTAMP, EVENT_TIMESTAMP, Logs, SeriesLog, nanos, timestamp_type, timestamps,
};
use arrow::array::{ArrayRef, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use chrono::{DateTime, NaiveDate, Utc};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const NANOS_PER_DAY: i64 = 86_400_000_000_000;
const PRICE_SOURCE: &str = "price_source";

/// A row of a table: a day as it was known from one time of fetching on.
struct Row {
    day: NaiveDate,
    created: DateTime<Utc>,
    values: Vec<Option<f64>>,
}

/// Puts the prices together; per day Alpha Vantage comes first, then other sources of prices,
/// then the market price of blockchain.com for days after the last that Alpha Vantage gave.
pub(crate) fn ohlcv(logs: &Logs, market: &str) -> Result<RecordBatch> {
    struct Prices<'a> {
        label: String,
        columns: Vec<&'a SeriesLog>,
    }
    let none = SeriesLog::default();
    let mut sources: Vec<Prices<'_>> = Vec::new();
    let rank = |source: &str| u8::from(source != ALPHA_VANTAGE);
    let mut names: Vec<&String> = logs.keys().filter(|source| *source != BLOCKCHAIN).collect();
    names.sort_by_key(|source| rank(source));
    for name in names {
        let label = match name.as_str() {
            ALPHA_VANTAGE => format!("alphavantage.co BTC/{market}"),
            other => other.to_owned(),
        };
        let column = |column: &&str| logs[name].get(*column).unwrap_or(&none);
        sources.push(Prices {
            label,
            columns: OHLCV.iter().map(column).collect(),
        });
    }
    let price = logs
        .get(BLOCKCHAIN)
        .and_then(|series| series.get(MARKET_PRICE_COLUMN));
    let mut columns = vec![&none; OHLCV.len()];
    columns[3] = price.unwrap_or(&none);
    sources.push(Prices {
        label: format!("blockchain.com {MARKET_PRICE}"),
        columns,
    });

    let reach = Reach::of(
        logs.get(ALPHA_VANTAGE)
            .and_then(|series| series.get("close")),
    );
    let fallback = sources.len() - 1;
    let mut rows: Vec<(Row, &str)> = Vec::new();
    for day in days(
        sources
            .iter()
            .flat_map(|source| source.columns.iter().copied()),
    ) {
        let mut candidates: Vec<(usize, Row)> = Vec::new();
        for (rank, source) in sources.iter().enumerate() {
            candidates.extend(
                rows_of(day, &source.columns)
                    .into_iter()
                    .map(|row| (rank, row)),
            );
        }
        candidates.sort_by_key(|(rank, row)| (row.created, *rank));
        let mut best = usize::MAX;
        for (rank, row) in candidates {
            let covered = rank == fallback && reach.at(row.created).is_some_and(|last| day <= last);
            if rank <= best && !covered {
                best = rank;
                rows.push((row, &sources[rank].label));
            }
        }
    }
    let labels = StringArray::from_iter_values(rows.iter().map(|(_, label)| label));
    let rows: Vec<Row> = rows.into_iter().map(|(row, _)| row).collect();
    to_table(&rows, &OHLCV, Some((PRICE_SOURCE, Arc::new(labels))))
}

/// Puts the charts side by side, one column each.
pub(crate) fn blockchain(logs: &Logs, charts: &[String]) -> Result<RecordBatch> {
    let names: Vec<SeriesName> = charts.iter().map(|c| SeriesName::of_chart(c)).collect();
    let columns: Vec<SeriesLog> = names
        .iter()
        .map(|name| {
            let mut candidates: Vec<(&String, &SeriesLog)> = logs
                .iter()
                .filter_map(|(source, list)| Some((source, list.get(name.as_str())?)))
                .collect();
            candidates.sort_by_key(|(source, _)| *source != BLOCKCHAIN);
            effective(
                &candidates
                    .into_iter()
                    .map(|(_, log)| log)
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    let columns: Vec<&SeriesLog> = columns.iter().collect();
    let rows: Vec<Row> = days(columns.iter().copied())
        .into_iter()
        .flat_map(|day| rows_of(day, &columns))
        .collect();
    let names: Vec<&str> = names.iter().map(SeriesName::as_str).collect();
    to_table(&rows, &names, None)
}

/// One series out of several: a value of a source gives way to any of a source before it that was
/// known at that time.
fn effective(candidates: &[&SeriesLog]) -> SeriesLog {
    if let [only] = candidates {
        return (*only).clone();
    }
    let mut revisions = Vec::new();
    for day in days(candidates.iter().copied()) {
        let mut of_day: Vec<_> = candidates
            .iter()
            .enumerate()
            .flat_map(|(rank, log)| {
                log.of_day(day)
                    .iter()
                    .map(move |revision| (rank, *revision))
            })
            .collect();
        of_day.sort_by_key(|(rank, revision)| (revision.created, *rank));
        let mut best = usize::MAX;
        for (rank, revision) in of_day {
            let same_time = revisions
                .last()
                .is_some_and(|last: &crate::store::Revision| {
                    last.day == day && last.created == revision.created
                });
            if rank <= best && !same_time {
                best = rank;
                revisions.push(revision);
            }
        }
    }
    SeriesLog::from_revisions(revisions)
}

fn days<'a>(logs: impl Iterator<Item = &'a SeriesLog>) -> BTreeSet<NaiveDate> {
    logs.flat_map(|log| log.revisions().iter().map(|revision| revision.day))
        .collect()
}

/// The rows of a day: one for every time at which one of the columns changed.
fn rows_of(day: NaiveDate, columns: &[&SeriesLog]) -> Vec<Row> {
    let columns: Vec<_> = columns.iter().map(|log| log.of_day(day)).collect();
    let times: BTreeSet<DateTime<Utc>> = columns
        .iter()
        .flat_map(|of_day| of_day.iter().map(|revision| revision.created))
        .collect();
    let value_at = |of_day: &[crate::store::Revision], time| {
        of_day
            .iter()
            .rev()
            .find(|revision| revision.created <= time)
            .map(|revision| revision.value)
    };
    times
        .into_iter()
        .map(|created| Row {
            day,
            created,
            values: columns
                .iter()
                .map(|of_day| value_at(of_day, created))
                .collect(),
        })
        .collect()
}

/// The last day that a series reached, as a function of time.
struct Reach(BTreeMap<DateTime<Utc>, NaiveDate>);

impl Reach {
    fn of(log: Option<&SeriesLog>) -> Self {
        let mut last = BTreeMap::new();
        for revision in log.into_iter().flat_map(SeriesLog::revisions) {
            let entry = last.entry(revision.created).or_insert(revision.day);
            *entry = revision.day.max(*entry);
        }
        let mut furthest = NaiveDate::MIN;
        for day in last.values_mut() {
            furthest = furthest.max(*day);
            *day = furthest;
        }
        Self(last)
    }

    fn at(&self, time: DateTime<Utc>) -> Option<NaiveDate> {
        self.0.range(..=time).next_back().map(|(_, day)| *day)
    }
}

fn to_table(rows: &[Row], names: &[&str], label: Option<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let mut fields = vec![
        Field::new(DATE, DataType::Date32, false),
        Field::new(EVENT_TIMESTAMP, timestamp_type(), false),
        Field::new(CREATED_TIMESTAMP, timestamp_type(), false),
    ];
    fields.extend(
        names
            .iter()
            .map(|name| Field::new(*name, DataType::Float64, true)),
    );
    let day = |row: &Row| days_since_epoch(row.day);
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Date32Array::from_iter_values(rows.iter().map(day))),
        timestamps(
            rows.iter()
                .map(|row| (i64::from(day(row)) + 1).saturating_mul(NANOS_PER_DAY)),
        ),
        timestamps(rows.iter().map(|row| nanos(row.created))),
    ];
    for index in 0..names.len() {
        let values = rows.iter().map(|row| row.values[index]);
        columns.push(Arc::new(values.collect::<Float64Array>()));
    }
    if let Some((name, column)) = label {
        fields.push(Field::new(name, DataType::Utf8, false));
        columns.push(column);
    }
    Ok(RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns,
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::DayValue;
    use arrow::array::AsArray;
    use arrow::datatypes::{Float64Type, TimestampNanosecondType};
    use chrono::TimeDelta;

    fn day(day: u32) -> NaiveDate {
        NaiveDate::from_ymd_opt(2021, 1, day).unwrap()
    }

    fn time(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn merge(logs: &mut Logs, source: &str, series: &str, values: &[DayValue], hours: i64) {
        let log = logs
            .entry(source.into())
            .or_default()
            .entry(SeriesName::of_chart(series))
            .or_default();
        log.merge(values, time(hours));
    }

    /// Day, hour of fetching, close and source of every row.
    fn closes(logs: &Logs) -> Vec<(i32, i64, f64, String)> {
        let table = ohlcv(logs, "USD").unwrap();
        let column = |name| table.column_by_name(name).unwrap();
        let created = column(CREATED_TIMESTAMP).as_primitive::<TimestampNanosecondType>();
        let close = column("close").as_primitive::<Float64Type>();
        let days = column(DATE).as_primitive::<arrow::datatypes::Date32Type>();
        let labels = column(PRICE_SOURCE).as_string::<i32>();
        (0..table.num_rows())
            .map(|row| {
                let hour = created.value(row) / 3_600_000_000_000;
                let day = days.value(row) - 18_627;
                let label = labels.value(row).split(' ').next().unwrap().to_owned();
                (day, hour, close.value(row), label)
            })
            .collect()
    }

    #[test]
    fn the_market_price_takes_over_after_the_last_bar() {
        let mut logs = Logs::new();
        let price = [(day(1), 10.0), (day(2), 20.0), (day(3), 30.0)];
        merge(&mut logs, BLOCKCHAIN, "market_price", &price, 1);
        merge(
            &mut logs,
            ALPHA_VANTAGE,
            "close",
            &[(day(1), 11.0), (day(2), 21.0)],
            1,
        );
        let blockchain = "blockchain.com".to_owned();
        let alpha_vantage = "alphavantage.co".to_owned();
        assert_eq!(
            closes(&logs),
            [
                (1, 1, 11.0, alpha_vantage.clone()),
                (2, 1, 21.0, alpha_vantage.clone()),
                (3, 1, 30.0, blockchain.clone()),
            ]
        );
        // When the bar comes, it is a revision; what was known before stays.
        merge(&mut logs, ALPHA_VANTAGE, "close", &[(day(3), 31.0)], 2);
        merge(&mut logs, BLOCKCHAIN, "market_price", &[(day(3), 32.0)], 3);
        assert_eq!(
            closes(&logs)[2..],
            [(3, 1, 30.0, blockchain), (3, 2, 31.0, alpha_vantage)]
        );
    }

    #[test]
    fn a_chart_that_comes_late_makes_a_new_row() {
        let mut logs = Logs::new();
        merge(&mut logs, BLOCKCHAIN, "a", &[(day(1), 1.0)], 1);
        merge(&mut logs, BLOCKCHAIN, "b", &[(day(1), 2.0)], 5);
        let table = blockchain(&logs, &["a".into(), "b".into(), "c".into()]).unwrap();
        let column = |index: usize| -> Vec<Option<f64>> {
            table
                .column(index)
                .as_primitive::<Float64Type>()
                .iter()
                .collect()
        };
        assert_eq!(column(3), [Some(1.0), Some(1.0)]);
        assert_eq!(column(4), [None, Some(2.0)]);
        assert_eq!(column(5), [None, None]);
        let known = table.column(1).as_primitive::<TimestampNanosecondType>();
        assert_eq!(known.value(0), 18_629 * NANOS_PER_DAY);
    }

    #[test]
    fn a_service_wins_over_an_import_of_the_same_column() {
        let mut logs = Logs::new();
        merge(&mut logs, BLOCKCHAIN, "a", &[(day(2), 2.0)], 2);
        merge(
            &mut logs,
            "elsewhere",
            "a",
            &[(day(1), 1.0), (day(2), 9.0)],
            3,
        );
        let table = blockchain(&logs, &["a".into()]).unwrap();
        let values: Vec<f64> = table
            .column(3)
            .as_primitive::<Float64Type>()
            .values()
            .to_vec();
        assert_eq!(values, [1.0, 2.0]);
    }
}
