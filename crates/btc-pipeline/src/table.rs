//! The training table: one row per complete day, as it was known when that
//! day had closed.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, TimestampNanosecondArray};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use btc_features::{FeatureSelection, FeatureStore};
use btc_ingest::{Revisions, Table};
use btc_models::Frequency;
use chrono::{DateTime, NaiveDate};

use crate::columns::{EVENT_TIMESTAMP, PRICE, instants, numbers, with_frequency};
use crate::instants::{close_of, day_closed_at};
use crate::{Error, Project, Result};

/// Joins the features of `service` as of the close of every complete day up
/// to `last_day`, oldest first.
///
/// The days are those for which a price is stored; a day without a price has
/// no row. Columns: `event_timestamp`, then the features in the service's order. The table says
/// that it is one of days, so that a day without a row is a hole, whichever days those are.
///
/// # Errors
///
/// [`Error::NoData`] without a price, [`Error::DayNotThere`] if all prices are later than
/// `last_day`, [`Error::Features`] if the service is
/// not applied or the join fails.
pub async fn training_table(
    project: &Project,
    store: &FeatureStore,
    service: &str,
    last_day: Option<NaiveDate>,
) -> Result<RecordBatch> {
    // Days and features are read one after the other: if data was pulled between, they are of two
    // states, and read again.
    const ATTEMPTS: usize = 10;
    let state = || btc_ingest::data_hash(project.data_dir()).ok();
    let mut before = state();
    let mut table = training_table_once(project, store, service, last_day).await;
    for _ in 1..ATTEMPTS {
        let after = state();
        if after == before {
            break;
        }
        before = after;
        table = training_table_once(project, store, service, last_day).await;
    }
    table
}

async fn training_table_once(
    project: &Project,
    store: &FeatureStore,
    service: &str,
    last_day: Option<NaiveDate>,
) -> Result<RecordBatch> {
    let latest = last_day.map(|day| close_of(day).timestamp_nanos_opt().unwrap_or(i64::MAX));
    let mut instants = price_instants(&project.data_dir())?;
    let day = |instant: Option<&i64>| {
        instant.map(|nanos| day_closed_at(&DateTime::from_timestamp_nanos(*nanos)))
    };
    let (first, last) = (day(instants.first()), day(instants.last()));
    instants.retain(|instant| latest.is_none_or(|latest| *instant <= latest));
    if instants.is_empty() {
        return Err(match last_day {
            Some(day) if first.is_some() => Error::DayNotThere { day, first, last },
            _ => Error::NoData {
                path: project.data_dir(),
            },
        });
    }
    join_at(store, service, instants).await
}

/// Joins the features of `service` at each of the instants, nanoseconds since 1970, at which a day
/// had closed.
pub(crate) async fn join_at(
    store: &FeatureStore,
    service: &str,
    instants: Vec<i64>,
) -> Result<RecordBatch> {
    let times = TimestampNanosecondArray::from(instants).with_timezone("UTC");
    let schema = Schema::new(vec![Field::new(
        EVENT_TIMESTAMP,
        DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into())),
        false,
    )]);
    let entity_rows = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(times) as ArrayRef])
        .map_err(Error::Arrow)?;
    let joined = store
        .get_historical_features(entity_rows, &FeatureSelection::service(service))
        .await?;
    Ok(with_frequency(joined, Frequency::days(1)))
}

/// The instants, ascending, at which a day with a price had closed.
fn price_instants(data_dir: &Path) -> Result<Vec<i64>> {
    if btc_ingest::last_complete_day(data_dir)?.is_none() {
        return Err(Error::NoData {
            path: data_dir.to_owned(),
        });
    }
    let prices = btc_ingest::read_table(data_dir, Table::Ohlcv, Revisions::Latest)?;
    price_instants_of(&prices)
}

/// The instants, ascending, of the rows that have a price.
pub(crate) fn price_instants_of(prices: &RecordBatch) -> Result<Vec<i64>> {
    let closes = prices
        .column_by_name(PRICE)
        .ok_or_else(|| Error::missing_column(prices, PRICE))?;
    let closes = numbers(closes).ok_or_else(|| Error::NotNumeric {
        column: PRICE.into(),
        data_type: closes.data_type().to_string(),
    })?;
    let times = instants(prices)?;
    Ok(times
        .iter()
        .zip(closes.values)
        .filter(|(_, close)| close.is_finite())
        .filter_map(|(time, _)| time.timestamp_nanos_opt())
        .collect())
}
