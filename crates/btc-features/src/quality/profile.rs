//! Statistics of a view's rows in a period.

use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Float64Type};
use chrono::{DateTime, Utc};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::prelude::SessionContext;

use super::drift::population_stability_index;
use super::rules::{Violation, violations};
use super::statistics::{FeatureStatistics, NumericSummary, ViewStatistics};
use crate::blocking::blocking;
use crate::definition::{FeatureView, FileSource};
use crate::error::{Error, Result};
use crate::join::source::{FeatureColumn, Input};
use crate::retrieve::feature_columns;
use crate::retrieve::nanos;
use crate::store::FeatureStore;

impl FeatureStore {
    /// Describes the rows of views in a period (both ends included), and how
    /// far they have drifted from a reference period. Ages are as of `now`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] for a view that is not applied,
    /// [`Error::SourceMissing`] and the errors of reading for one whose files
    /// cannot be read.
    pub async fn statistics(
        &self,
        views: &[&str],
        period: RangeInclusive<DateTime<Utc>>,
        reference: Option<RangeInclusive<DateTime<Utc>>>,
        now: DateTime<Utc>,
    ) -> Result<Vec<ViewStatistics>> {
        let definitions = &self.registry().definitions;
        let views: Vec<&FeatureView> = if views.is_empty() {
            definitions.feature_views.values().collect()
        } else {
            views
                .iter()
                .map(|view| definitions.feature_view(view))
                .collect::<Result<_>>()?
        };
        let bounds = |period: &RangeInclusive<DateTime<Utc>>| {
            Ok::<_, Error>((nanos(period.start())?, nanos(period.end())?))
        };
        let (period, reference, now) = (
            bounds(&period)?,
            reference.as_ref().map(bounds).transpose()?,
            nanos(&now)?,
        );
        let mut all = Vec::with_capacity(views.len());
        for view in views {
            let source = definitions.source(&view.source)?.clone();
            let one = describe(self, view, &source, period, reference, now).await?;
            all.push(one);
        }
        Ok(all)
    }

    /// Checks views against the rules declared beside them, on their rows up
    /// to `now`; returns what is broken.
    ///
    /// # Errors
    ///
    /// As [`Self::statistics`].
    pub async fn validate(&self, views: &[&str], now: DateTime<Utc>) -> Result<Vec<Violation>> {
        let definitions = &self.registry().definitions;
        let chosen: Vec<&FeatureView> = if views.is_empty() {
            definitions.feature_views.values().collect()
        } else {
            views
                .iter()
                .map(|view| definitions.feature_view(view))
                .collect::<Result<_>>()?
        };
        let mut found = Vec::new();
        for view in chosen {
            let Some(checks) = &view.checks else { continue };
            let window = checks
                .window
                .and_then(|window| chrono::TimeDelta::from_std(window).ok());
            let start = window
                .and_then(|window| now.checked_sub_signed(window))
                .unwrap_or(DateTime::from_timestamp_nanos(i64::MIN + 1));
            // With a window, what was before it is what drift is measured from.
            let before = window.map(|_| {
                DateTime::from_timestamp_nanos(i64::MIN + 1)
                    ..=start - chrono::TimeDelta::nanoseconds(1)
            });
            let statistics = self
                .statistics(&[&view.name], start..=now, before, now)
                .await?;
            for one in &statistics {
                found.extend(violations(checks, one));
            }
        }
        Ok(found)
    }
}

/// The rows of a feature that are looked at.
#[derive(Default)]
struct Sample {
    rows: usize,
    values: usize,
    numbers: Vec<f64>,
    last: Option<i64>,
}

async fn describe(
    store: &FeatureStore,
    view: &FeatureView,
    source: &FileSource,
    period: (i64, i64),
    reference: Option<(i64, i64)>,
    now: i64,
) -> Result<ViewStatistics> {
    let (own, dir, tables) = (
        source.clone(),
        store.repo_dir().to_path_buf(),
        store.tables().clone(),
    );
    let input = blocking(move || Input::open(&own, &dir, &tables)).await?;
    input.check(&[])?;
    let names: Vec<String> = view
        .plain_features()
        .map(|feature| feature.name.clone())
        .collect();
    let columns = feature_columns(view, &names, &input)?;
    let context = store.context();
    let Samples {
        features: samples,
        rows,
        first,
        last,
        memory: _held,
    } = read(context, &input, &columns, period).await?;
    let before = match reference {
        Some(reference) => Some(read(context, &input, &columns, reference).await?),
        None => None,
    };
    let (mut reference, _also_held) = match before {
        Some(before) => (Some(before.features), Some(before.memory)),
        None => (None, None),
    };
    let at = |time: i64| DateTime::from_timestamp_nanos(time);
    let age = |time: i64| (now as f64 - time as f64) / 1e9;
    let mut features = Vec::with_capacity(samples.len());
    for (number, (field, mut sample)) in view.plain_features().zip(samples).enumerate() {
        let drift = reference.as_mut().and_then(|reference| {
            population_stability_index(&mut reference[number].numbers, &sample.numbers)
        });
        let nulls = sample.rows - sample.values;
        features.push(FeatureStatistics {
            name: field.name.clone(),
            values: sample.values,
            null_share: if sample.rows == 0 {
                0.0
            } else {
                nulls as f64 / sample.rows as f64
            },
            last_value: sample.last.map(at),
            age_seconds: sample.last.map(age),
            numeric: summary(&mut sample.numbers),
            drift,
        });
    }
    let ttl = view.ttl.map(|ttl| ttl.as_secs_f64());
    Ok(ViewStatistics {
        view: view.name.clone(),
        rows,
        first: first.map(at),
        last: last.map(at),
        age_seconds: last.map(age),
        stale: ttl.is_some_and(|ttl| last.is_none_or(|last| age(last) > ttl)),
        features,
    })
}

/// The rows of a view in a period, and the memory that they hold.
struct Samples {
    features: Vec<Sample>,
    rows: usize,
    first: Option<i64>,
    last: Option<i64>,
    memory: MemoryReservation,
}

async fn read(
    context: &SessionContext,
    input: &Input,
    columns: &[FeatureColumn],
    (from, to): (i64, i64),
) -> Result<Samples> {
    let pool = &context.runtime_env().memory_pool;
    let mut samples = Samples {
        features: columns.iter().map(|_| Sample::default()).collect(),
        rows: 0,
        first: None,
        last: None,
        memory: MemoryConsumer::new("statistics").register(pool),
    };
    let inside = move |time: &Option<i64>| time.is_some_and(|time| (from..=to).contains(&time));
    match input {
        Input::Files(scan) => {
            let (scan, columns) = (Arc::clone(scan), columns.to_vec());
            blocking(move || {
                for unit in scan.units_between(from, to) {
                    let mut times = Vec::new();
                    scan.read_keys(unit, &[], |_, rows| {
                        times.extend(rows.times.iter());
                        Ok(())
                    })?;
                    let mask: BooleanArray = times.iter().map(|time| Some(inside(time))).collect();
                    let kept: Vec<i64> = times.into_iter().filter(inside).flatten().collect();
                    samples.count(&kept);
                    scan.read_features(unit, &columns, mask, |first, piece| {
                        let rows = piece.first().map_or(0, |column| column.len());
                        samples.add(&piece, &kept[first..first + rows])
                    })?;
                }
                Ok(samples)
            })
            .await
        }
        Input::Table(table) => {
            table
                .for_each(context, &[], columns, (from, to), |rows, piece| {
                    let mask: BooleanArray =
                        rows.times.iter().map(|time| Some(inside(&time))).collect();
                    let kept: Vec<i64> = rows.times.iter().filter(inside).flatten().collect();
                    let piece = piece
                        .iter()
                        .map(|column| Ok(filter(column, &mask)?))
                        .collect::<Result<Vec<_>>>()?;
                    samples.count(&kept);
                    samples.add(&piece, &kept)
                })
                .await?;
            Ok(samples)
        }
    }
}

impl Samples {
    fn count(&mut self, times: &[i64]) {
        self.rows += times.len();
        self.first = self.first.into_iter().chain(times.iter().copied()).min();
        self.last = self.last.into_iter().chain(times.iter().copied()).max();
    }

    fn add(&mut self, columns: &[ArrayRef], times: &[i64]) -> Result<()> {
        for (sample, column) in self.features.iter_mut().zip(columns) {
            let held = sample.numbers.capacity();
            sample.add(column, times)?;
            // A growing vector holds more than it shows, and the old one while
            // it is copied.
            let more = sample.numbers.capacity() - held;
            self.memory.try_grow(more * size_of::<f64>())?;
        }
        Ok(())
    }
}

impl Sample {
    fn add(&mut self, column: &ArrayRef, times: &[i64]) -> Result<()> {
        self.rows += column.len();
        self.values += column.len() - column.null_count();
        let latest = times
            .iter()
            .enumerate()
            .filter(|(row, _)| column.is_valid(*row))
            .map(|(_, time)| *time)
            .max();
        self.last = self.last.max(latest);
        if column.data_type().is_numeric() || column.data_type() == &DataType::Boolean {
            let valid = arrow::compute::is_not_null(column)?;
            let numbers = cast(&filter(column, &valid)?, &DataType::Float64)?;
            let numbers = numbers.as_primitive::<Float64Type>().values();
            self.numbers
                .extend(numbers.iter().filter(|number| !number.is_nan()));
        }
        Ok(())
    }
}

fn summary(numbers: &mut [f64]) -> Option<NumericSummary> {
    if numbers.is_empty() {
        return None;
    }
    numbers.sort_unstable_by(f64::total_cmp);
    let count = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / count;
    let squares: f64 = numbers.iter().map(|x| (x - mean) * (x - mean)).sum();
    // Between the two nearest values, as numpy's default does.
    let quantile = |share: f64| {
        let place = share * (count - 1.0);
        let (low, part) = (place.floor() as usize, place.fract());
        let high = (low + 1).min(numbers.len() - 1);
        numbers[low] + part * (numbers[high] - numbers[low])
    };
    Some(NumericSummary {
        min: numbers[0],
        p25: quantile(0.25),
        median: quantile(0.5),
        p75: quantile(0.75),
        max: numbers[numbers.len() - 1],
        mean,
        std: if count > 1.0 {
            (squares / (count - 1.0)).sqrt()
        } else {
            0.0
        },
    })
}
