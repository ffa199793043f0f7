//! The history of a metric, whole, in pages or thinned out.

use rusqlite::params;

use super::{SqliteStore, decode, encode, rollup, runs, search};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

/// So many values are downsampled without their summaries.
const MAX_RAW: u64 = 50_000;

impl SqliteStore {
    pub(super) fn read_history(
        &self,
        id: &str,
        key: &str,
        max_results: usize,
        page_token: Option<&str>,
    ) -> Result<Page<Metric>> {
        check_max_results(max_results)?;
        let after = page_token.map(history_position).transpose()?;
        let (timestamp, step, value) = after.unwrap_or((i64::MIN, i64::MIN, f64::NEG_INFINITY));
        let include_first = after.is_none();
        self.read(|connection| {
            let (run, _) = runs::info(connection, id)?;
            let mut statement = connection.prepare_cached(
                "SELECT timestamp, step, value FROM metric
                 WHERE run = ?1 AND key = (SELECT id FROM metric_key WHERE name = ?2)
                   AND timestamp >= ?3 AND ((timestamp, step, value) > (?3, ?4, ?5) OR ?6)
                 ORDER BY timestamp, step, value LIMIT ?7",
            )?;
            let limit = max_results as i64 + 1;
            let rows = statement.query_map(
                params![run, key, timestamp, step, value, include_first, limit],
                |r| {
                    Ok(Metric {
                        key: key.to_owned(),
                        timestamp: r.get(0)?,
                        step: r.get(1)?,
                        value: decode(r.get(2)?),
                    })
                },
            )?;
            let mut items: Vec<Metric> = rows.collect::<Result<_, _>>()?;
            let more = items.len() > max_results;
            items.truncate(max_results);
            let last = items.last().filter(|_| more);
            let next_page_token = last.map(|m| {
                encode_token(&format!(
                    "{} {} {}",
                    m.timestamp,
                    m.step,
                    encode(m.value).to_bits()
                ))
            });
            Ok(Page {
                items,
                next_page_token,
            })
        })
    }
    pub(super) fn read_buckets(
        &self,
        id: &str,
        key: &str,
        buckets: usize,
    ) -> Result<Vec<MetricBucket>> {
        if buckets == 0 {
            return Err(Error::invalid("a history needs at least one bucket"));
        }
        self.read(|connection| {
            let (run, _) = runs::info(connection, id)?;
            let Some(row) = search::metric_key(connection, key)? else {
                return Ok(Vec::new());
            };
            let summaries = rollup::read(connection, run, row)?;
            let count: u64 = summaries.iter().map(|summary| summary.count).sum();
            // Few values are read one by one, and so are values that crowd on
            // so few steps that their summaries would be too coarse.
            if count > MAX_RAW && summaries.len() * 4 >= buckets {
                let merged = rollup::merge(&summaries, buckets);
                return Ok(merged.iter().map(|summary| summary.bucket(key)).collect());
            }
            let mut statement = connection.prepare_cached(
                "SELECT step, timestamp, value FROM metric WHERE run = ?1 AND key = ?2",
            )?;
            let rows = statement.query_map(params![run, row], |r| {
                let (step, timestamp, value) = (r.get(0)?, r.get(1)?, decode(r.get(2)?));
                Ok(Metric {
                    key: String::new(),
                    value,
                    timestamp,
                    step,
                })
            })?;
            downsample(key, rows.collect::<Result<_, _>>()?, buckets)
        })
    }
}

fn history_position(token: &str) -> Result<(i64, i64, f64)> {
    let text = decode_token(token)?;
    let parts: Vec<&str> = text.split(' ').collect();
    let position = match parts.as_slice() {
        [timestamp, step, bits] => timestamp
            .parse()
            .ok()
            .zip(step.parse().ok())
            .zip(bits.parse().ok())
            .map(|((timestamp, step), bits)| (timestamp, step, f64::from_bits(bits))),
        _ => None,
    };
    position
        .filter(|(_, _, value)| !value.is_nan())
        .ok_or_else(|| Error::invalid("the page token is not one of ours"))
}
