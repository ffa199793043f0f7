//! Summaries of 1024 steps each, kept while values are logged, so that a
//! curve of a million points is drawn from a thousand rows.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension};

use super::{decode, encode};
use crate::entity::Metric;
use crate::error::Result;
use crate::store::MetricBucket;

/// Steps of one summary, as a power of two.
const BITS: u32 = 10;
/// Numbers in a stored summary: a count and four points.
const NUMBERS: usize = 13;

/// One value: step, timestamp and value, NaN as it is.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Point(i64, i64, f64);

impl Point {
    fn metric(self, key: &str) -> Metric {
        Metric {
            key: key.to_owned(),
            value: self.2,
            timestamp: self.1,
            step: self.0,
        }
    }
}

/// What is known of some neighbouring values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    pub(super) count: u64,
    first: Point,
    last: Point,
    min: Point,
    max: Point,
}

impl Summary {
    fn of(point: Point) -> Self {
        Self {
            count: 1,
            first: point,
            last: point,
            min: point,
            max: point,
        }
    }

    fn merge(&mut self, other: &Self) {
        let time = |point: &Point| (point.0, point.1);
        self.count += other.count;
        if time(&other.first) < time(&self.first) {
            self.first = other.first;
        }
        if time(&other.last) >= time(&self.last) {
            self.last = other.last;
        }
        // Any number replaces NaN, which compares with nothing.
        if self.min.2.is_nan() || other.min.2 < self.min.2 {
            self.min = other.min;
        }
        if self.max.2.is_nan() || other.max.2 > self.max.2 {
            self.max = other.max;
        }
    }

    pub(super) fn bucket(&self, key: &str) -> MetricBucket {
        MetricBucket {
            first: self.first.metric(key),
            min: self.min.metric(key),
            max: self.max.metric(key),
            last: self.last.metric(key),
            count: self.count,
        }
    }

    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(8 * NUMBERS);
        bytes.extend(self.count.to_le_bytes());
        for Point(step, timestamp, value) in [self.first, self.last, self.min, self.max] {
            bytes.extend(step.to_le_bytes());
            bytes.extend(timestamp.to_le_bytes());
            bytes.extend(encode(value).to_le_bytes());
        }
        bytes
    }

    /// Nothing if the bytes are not a summary.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let numbers: Vec<[u8; 8]> = bytes.chunks(8).filter_map(|n| n.try_into().ok()).collect();
        let numbers: &[[u8; 8]; NUMBERS] = numbers.as_slice().try_into().ok()?;
        let point = |i: usize| {
            let value = decode(f64::from_le_bytes(numbers[i + 2]));
            Point(
                i64::from_le_bytes(numbers[i]),
                i64::from_le_bytes(numbers[i + 1]),
                value,
            )
        };
        let count = u64::from_le_bytes(numbers[0]);
        Some(Self {
            count,
            first: point(1),
            last: point(4),
            min: point(7),
            max: point(10),
        })
    }
}

/// The summaries of values that are being logged, by metric and steps.
#[derive(Debug, Default)]
pub(super) struct Rollup(BTreeMap<(i64, i64), Summary>);

impl Rollup {
    /// Adds a value of the metric with id `key`.
    pub(super) fn add(&mut self, key: i64, metric: &Metric) {
        let value = crate::store::finite(metric.value);
        let point = Summary::of(Point(metric.step, metric.timestamp, value));
        self.0
            .entry((key, metric.step >> BITS))
            .and_modify(|summary| summary.merge(&point))
            .or_insert(point);
    }

    /// Merges the summaries into those of a run.
    pub(super) fn write(&self, connection: &Connection, run: i64) -> Result<()> {
        let mut select = connection.prepare_cached(
            "SELECT summary FROM metric_rollup WHERE run = ?1 AND key = ?2 AND bucket = ?3",
        )?;
        let mut replace = connection
            .prepare_cached("INSERT OR REPLACE INTO metric_rollup VALUES(?1, ?2, ?3, ?4)")?;
        for ((key, bucket), new) in &self.0 {
            let old: Option<Vec<u8>> = select
                .query_row((run, key, bucket), |row| row.get(0))
                .optional()?;
            let mut summary = *new;
            if let Some(mut old) = old.as_deref().and_then(Summary::from_bytes) {
                old.merge(new);
                summary = old;
            }
            replace.execute((run, key, bucket, summary.to_bytes()))?;
        }
        Ok(())
    }
}

/// The summaries of a metric, by step.
pub(super) fn read(connection: &Connection, run: i64, key: i64) -> Result<Vec<Summary>> {
    let mut statement = connection.prepare_cached(
        "SELECT summary FROM metric_rollup WHERE run = ?1 AND key = ?2 ORDER BY bucket",
    )?;
    let rows = statement.query_map((run, key), |row| row.get::<_, Vec<u8>>(0))?;
    let mut summaries = Vec::new();
    for row in rows {
        summaries.extend(Summary::from_bytes(&row?));
    }
    Ok(summaries)
}

/// At most `buckets` summaries of neighbouring ones.
pub(super) fn merge(summaries: &[Summary], buckets: usize) -> Vec<Summary> {
    let size = summaries.len().div_ceil(buckets).max(1);
    let merged = summaries.chunks(size).filter_map(|chunk| {
        let (first, rest) = chunk.split_first()?;
        let mut summary = *first;
        rest.iter().for_each(|next| summary.merge(next));
        Some(summary)
    });
    merged.collect()
}
