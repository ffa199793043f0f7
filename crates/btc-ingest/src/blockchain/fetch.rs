//! Asking for the charts, in an order that lets the first answers bound the later requests.

use super::{BLOCKCHAIN, BlockchainCharts, ChartDays, FIRST_DAY, MARKET_PRICE, stamp_shift};
use crate::clean::{Reason, Rejected};
use crate::error::{Error, Result};
use crate::fetched::{Fetched, Part, Window};
use crate::progress::ProgressEvent;
use crate::series::SeriesName;
use crate::source::{DailySeries, daily_schema, to_batch};
use chrono::{Days, NaiveDate};
use futures::stream::StreamExt;
use std::ops::RangeInclusive;

type Outcome = (String, Result<ChartDays>);

impl BlockchainCharts {
    /// The days to ask a chart for, where no day after `last` is of interest.
    pub(super) fn days(
        window: &Window<'_>,
        chart: &str,
        last: NaiveDate,
    ) -> RangeInclusive<NaiveDate> {
        let days = window.days_until(chart, last);
        FIRST_DAY.max(*days.start())..=*days.end()
    }

    pub(super) async fn fetch_all(&self, window: &Window<'_>) -> Result<Fetched> {
        let clock = window.now().date_naive();
        // Unless another source has told which day is today, the price does, and with it how far
        // the other requests have to reach.
        let mut last = window.last_day();
        let mut outcomes: Vec<Outcome> = Vec::new();
        if self.charts().iter().any(|chart| chart == MARKET_PRICE) {
            let outcome = self.fetch_one(window, MARKET_PRICE.to_owned(), last).await;
            if let (None, Ok(days)) = (window.running_day(), &outcome.1) {
                last = newest_stamp(MARKET_PRICE, days, clock).map_or(last, |day| last.min(day));
            }
            add(&mut outcomes, outcome)?;
        }
        let others = self.charts().iter().filter(|chart| *chart != MARKET_PRICE);
        let mut pending = futures::stream::iter(others.cloned().collect::<Vec<_>>())
            .map(|chart| self.fetch_one(window, chart, last))
            .buffer_unordered(self.concurrency());
        while let Some(outcome) = pending.next().await {
            add(&mut outcomes, outcome)?;
        }
        drop(pending);
        if outcomes.iter().all(|(_, outcome)| outcome.is_err()) {
            return Err(all_failed(outcomes));
        }
        let stamps = outcomes
            .iter()
            .filter_map(|(chart, outcome)| newest_stamp(chart, outcome.as_ref().ok()?, clock));
        let running_day = stamps.max();
        let place = |chart: &String| self.charts().iter().position(|name| name == chart);
        outcomes.sort_by_key(|(chart, _)| place(chart));
        let parts = outcomes
            .into_iter()
            .map(|(chart, outcome)| match outcome {
                Ok(days) => days.into_part(&chart, clock),
                Err(error) => Ok(Part::failed(chart, error)),
            })
            .collect::<Result<_>>()?;
        Ok(Fetched {
            parts,
            running_day,
            notes: Vec::new(),
        })
    }

    async fn fetch_one(&self, window: &Window<'_>, chart: String, last: NaiveDate) -> Outcome {
        let progress = window.progress();
        let series = format!("{BLOCKCHAIN}/{chart}");
        progress.event(&ProgressEvent::Started {
            series: series.clone(),
        });
        let days = Self::days(window, &chart, last);
        let outcome = self
            .fetch_chart(&chart, &days, progress)
            .await
            .and_then(not_empty(&chart));
        progress.event(&match &outcome {
            Ok(days) => ProgressEvent::Finished {
                series,
                rows: days.values.len(),
            },
            Err(error) => ProgressEvent::Skipped {
                series,
                why: error.with_causes(),
            },
        });
        (chart, outcome)
    }
}

/// The newest time stamp of a chart that the clock allows.
fn newest_stamp(chart: &str, days: &ChartDays, clock: NaiveDate) -> Option<NaiveDate> {
    let shift = Days::new(stamp_shift(chart));
    let stamps = days
        .values
        .iter()
        .rev()
        .filter_map(|(day, _)| day.checked_add_days(shift));
    stamps.into_iter().find(|stamp| *stamp <= clock)
}

fn not_empty(chart: &str) -> impl FnOnce(ChartDays) -> Result<ChartDays> + '_ {
    // Every request reaches back to days that have a value, so no value is no news but a fault.
    move |days| {
        if days.values.is_empty() {
            let problem = format!("chart {chart} has no usable value");
            return Err(Error::NoData {
                service: "blockchain.com".into(),
                problem,
            });
        }
        Ok(days)
    }
}

/// Adds an outcome, or stops early if the first ones say that the service is down: each further
/// request would take as long to fail.
fn add(outcomes: &mut Vec<Outcome>, (chart, outcome): Outcome) -> Result<()> {
    let none_worked = outcomes.iter().all(|(_, outcome)| outcome.is_err());
    match outcome {
        Err(error) if none_worked && error.is_unreachable(!outcomes.is_empty()) => Err(error),
        outcome => {
            outcomes.push((chart, outcome));
            Ok(())
        }
    }
}

fn all_failed(outcomes: Vec<Outcome>) -> Error {
    let mut errors = outcomes
        .into_iter()
        .filter_map(|(_, outcome)| outcome.err());
    match errors.next() {
        Some(error) if !error.is_missing() => error,
        _ => Error::NoData {
            service: "blockchain.com".into(),
            problem: "every chart is missing or empty; check the address and the charts' names"
                .into(),
        },
    }
}

impl ChartDays {
    fn into_part(mut self, chart: &str, clock: NaiveDate) -> Result<Part> {
        self.set_aside_later_than(clock, chart);
        let name = SeriesName::of_chart(chart);
        let schema = daily_schema([name.as_str()]);
        let series = DailySeries {
            name: name.clone(),
            values: self.values,
        };
        let mut part = Part::new(chart, to_batch(schema, &[series])?).with_rejected(self.rejected);
        part.unit = self.unit;
        part.averaged_days = self.averaged;
        part.unordered_points = self.unordered;
        part.answers = self.answers;
        Ok(part)
    }

    /// Rejects values of days after `clock`; a price may be stamped with the day after its own.
    fn set_aside_later_than(&mut self, clock: NaiveDate, chart: &str) {
        let shift = Days::new(stamp_shift(chart));
        let stamp = |day: NaiveDate| day.checked_add_days(shift).unwrap_or(NaiveDate::MAX);
        let later = self.values.extract_if(.., |(day, _)| stamp(*day) > clock);
        let rejected: Vec<Rejected> = later
            .map(|(day, value)| Rejected {
                series: chart.to_owned(),
                stamp: stamp(day).to_string(),
                value: value.to_string(),
                reason: Reason::Future,
                origin: None,
            })
            .collect();
        self.rejected.extend(rejected);
    }
}
