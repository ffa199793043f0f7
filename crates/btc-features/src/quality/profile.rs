//! Statistics of a view's rows in a period.

use std::ops::RangeInclusive;
use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, Float64Type};
use chrono::{DateTime, Utc};
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::DataFusionError;
use serde::Serialize;

use super::drift::population_stability_index;
use super::rules::{Violation, violations};
use crate::definition::{FeatureView, FileSource};
use crate::error::{Error, Result};
use crate::historical::{FileScan, Input, Tables, feature_columns};
use crate::retrieval::nanos;
use crate::store::FeatureStore;

/// Statistics of the rows of a view.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ViewStatistics {
    /// The view.
    pub view: String,
    /// The number of rows in the period.
    pub rows: usize,
    /// The earliest event time in the period.
    pub first: Option<DateTime<Utc>>,
    /// The latest event time in the period.
    pub last: Option<DateTime<Utc>>,
    /// How old the latest row is, in seconds.
    pub age_seconds: Option<f64>,
    /// Whether the latest row is older than the time to live, so that a
    /// request made now would get nothing.
    pub stale: bool,
    /// The features, in the order of the view.
    pub features: Vec<FeatureStatistics>,
}

/// Statistics of one feature.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FeatureStatistics {
    /// The feature.
    pub name: String,
    /// The number of values that are not null.
    pub values: usize,
    /// The share of nulls, from 0 to 1; 0 without rows.
    pub null_share: f64,
    /// The latest event time with a value.
    pub last_value: Option<DateTime<Utc>>,
    /// How old the latest value is, in seconds.
    pub age_seconds: Option<f64>,
    /// The distribution, if the values are numbers.
    pub numeric: Option<NumericSummary>,
    /// The population stability index against the reference period, if there
    /// is one and both have numbers: below 0.1 nothing has changed, above 0.25
    /// much has.
    pub drift: Option<f64>,
}

/// The distribution of numbers. NaN counts as no number.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct NumericSummary {
    /// The least.
    pub min: f64,
    /// A quarter is less.
    pub p25: f64,
    /// Half are less.
    pub median: f64,
    /// Three quarters are less.
    pub p75: f64,
    /// The greatest.
    pub max: f64,
    /// The arithmetic mean.
    pub mean: f64,
    /// The standard deviation of the sample; 0 for a single value.
    pub std: f64,
}

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
            let (view, repo_dir) = (view.clone(), self.repo_dir().to_path_buf());
            let one = SpawnedTask::spawn_blocking(move || {
                describe(&view, &source, &repo_dir, period, reference, now)
            })
            .await
            .map_err(|error| Error::from(DataFusionError::External(Box::new(error))))??;
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

fn describe(
    view: &FeatureView,
    source: &FileSource,
    repo_dir: &Path,
    period: (i64, i64),
    reference: Option<(i64, i64)>,
    now: i64,
) -> Result<ViewStatistics> {
    let Input::Files(scan) = Input::open(source, repo_dir, &Tables::new())? else {
        return Err(DataFusionError::Internal("a source without tables has files".into()).into());
    };
    scan.check(&[])?;
    let (samples, range) = read(view, &scan, period)?;
    let before = match reference {
        Some(reference) => Some(read(view, &scan, reference)?.0),
        None => None,
    };
    let at = |time: i64| DateTime::from_timestamp_nanos(time);
    let age = |time: i64| (now as f64 - time as f64) / 1e9;
    let mut features = Vec::with_capacity(samples.len());
    for (number, (field, mut sample)) in view.features.iter().zip(samples).enumerate() {
        let drift = before.as_ref().and_then(|before| {
            let mut reference = before[number].numbers.clone();
            population_stability_index(&mut reference, &sample.numbers)
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
    let (rows, first, last) = range;
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

type Range = (usize, Option<i64>, Option<i64>);

fn read(
    view: &FeatureView,
    scan: &std::sync::Arc<FileScan>,
    (from, to): (i64, i64),
) -> Result<(Vec<Sample>, Range)> {
    let names: Vec<String> = view
        .features
        .iter()
        .map(|feature| feature.name.clone())
        .collect();
    let columns = feature_columns(view, &names, &Input::Files(scan.clone()))?;
    let mut samples: Vec<Sample> = columns.iter().map(|_| Sample::default()).collect();
    let mut range: Range = (0, None, None);
    for unit in scan.units_between(from, to) {
        let mut times = Vec::new();
        scan.read_keys(unit, &[], |_, rows| {
            times.extend(rows.times.iter());
            Ok(())
        })?;
        let inside: BooleanArray = times
            .iter()
            .map(|time| Some(time.is_some_and(|time| (from..=to).contains(&time))))
            .collect();
        let kept: Vec<i64> = times
            .into_iter()
            .flatten()
            .filter(|time| (from..=to).contains(time))
            .collect();
        range.0 += kept.len();
        range.1 = range.1.into_iter().chain(kept.iter().copied()).min();
        range.2 = range.2.into_iter().chain(kept.iter().copied()).max();
        scan.read_features(unit, &columns, inside, |first, piece| {
            for (sample, column) in samples.iter_mut().zip(&piece) {
                sample.add(column, &kept[first..first + column.len()])?;
            }
            Ok(())
        })?;
    }
    Ok((samples, range))
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
