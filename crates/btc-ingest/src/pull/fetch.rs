//! Asking the services, in an order that lets the first answers bound the later requests.

use crate::alpha_vantage::{AlphaVantage, DailyPrices};
use crate::blockchain::{
    BLOCKCHAIN, BlockchainCharts, BodyOrigin, ChartDays, FIRST_DAY, MARKET_PRICE, stamp_shift,
};
use crate::clean::{Reason, Rejected};
use crate::error::{Error, Result};
use crate::progress::{Progress, ProgressEvent};
use crate::report::PullConfig;
use crate::store::Writer;
use chrono::{Days, NaiveDate};
use futures::stream::StreamExt;
use std::ops::RangeInclusive;

/// What the services said.
#[derive(Debug)]
pub(super) struct Answers {
    pub(super) prices: Option<(DailyPrices, BodyOrigin)>,
    /// In the order in which the charts were named.
    pub(super) charts: Vec<(String, Result<ChartDays>)>,
    /// The first day that is not over.
    pub(super) today: NaiveDate,
}

pub(super) async fn fetch_all(
    config: &PullConfig,
    alpha_vantage: Option<&AlphaVantage>,
    charts: &BlockchainCharts,
    store: &Writer,
    progress: &dyn Progress,
) -> Result<Answers> {
    let clock = config.now.date_naive();
    let fetch = |chart: String, last: NaiveDate| async move {
        let series = format!("{BLOCKCHAIN}/{chart}");
        progress.event(&ProgressEvent::Started {
            series: series.clone(),
        });
        let known = store.log(BLOCKCHAIN, &chart).and_then(|log| log.last_day());
        let days = days_to_ask(config, known, last);
        let outcome = charts
            .fetch_chart(&chart, &days, progress)
            .await
            .and_then(not_empty(&chart));
        match &outcome {
            Ok(days) => {
                progress.event(&ProgressEvent::Finished {
                    series,
                    rows: days.values.len(),
                });
            }
            Err(error) => {
                progress.event(&ProgressEvent::Skipped {
                    series,
                    why: error.to_string(),
                });
            }
        }
        (chart, outcome)
    };

    // The prices tell which day is today, and with it how far the other requests have to reach.
    let prices = async {
        match alpha_vantage {
            Some(source) => fetch_prices(source, progress).await.map(Some),
            None => Ok(None),
        }
    };
    let has_price = charts.charts().iter().any(|chart| chart == MARKET_PRICE);
    let market_price = async {
        match has_price {
            true => Some(fetch(MARKET_PRICE.to_owned(), clock).await),
            false => None,
        }
    };
    let (prices, market_price) = futures::join!(prices, market_price);
    let prices = prices?;
    let mut today = clock;
    if let Some(running) = prices.as_ref().and_then(|(prices, _)| prices.running_day()) {
        today = today.min(running);
    }
    let mut last = today;
    if let (None, Some((_, Ok(days)))) = (&prices, &market_price) {
        last = newest_stamp(MARKET_PRICE, days, clock).map_or(last, |stamp| last.min(stamp));
    }

    let mut outcomes: Vec<(String, Result<ChartDays>)> = Vec::new();
    if let Some(outcome) = market_price {
        add(&mut outcomes, outcome)?;
    }
    let others = charts
        .charts()
        .iter()
        .filter(|chart| *chart != MARKET_PRICE)
        .cloned();
    let mut pending = futures::stream::iter(others.collect::<Vec<_>>())
        .map(|chart| fetch(chart, last))
        .buffer_unordered(charts.concurrency());
    while let Some(outcome) = pending.next().await {
        add(&mut outcomes, outcome)?;
    }
    drop(pending);
    if outcomes.iter().all(|(_, outcome)| outcome.is_err()) {
        return Err(all_failed(outcomes));
    }
    if prices.is_none() {
        let stamps = outcomes
            .iter()
            .filter_map(|(chart, outcome)| newest_stamp(chart, outcome.as_ref().ok()?, clock));
        today = stamps.max().map_or(today, |newest| today.min(newest));
    }
    let place = |chart: &String| charts.charts().iter().position(|name| name == chart);
    outcomes.sort_by_key(|(chart, _)| place(chart));
    Ok(Answers {
        prices,
        charts: outcomes,
        today,
    })
}

/// The days to ask a chart for: all, or what is new and what may have been revised.
pub(super) fn days_to_ask(
    config: &PullConfig,
    known: Option<NaiveDate>,
    last: NaiveDate,
) -> RangeInclusive<NaiveDate> {
    let first = known
        .filter(|_| !config.refresh)
        .and_then(|day| day.checked_sub_days(Days::new(config.recheck_days.into())));
    match first {
        // Where the service's data ends before what is stored, the window is still asked for.
        Some(first) => first..=last.max(known.unwrap_or(last)),
        None => FIRST_DAY..=NaiveDate::MAX.pred_opt().unwrap_or(last),
    }
}

async fn fetch_prices(
    source: &AlphaVantage,
    progress: &dyn Progress,
) -> Result<(DailyPrices, BodyOrigin)> {
    let request = source.request()?;
    progress.event(&ProgressEvent::Started {
        series: request.series.clone(),
    });
    let (prices, body) = source.prices(progress).await?;
    let rows = prices.bars.len();
    progress.event(&ProgressEvent::Finished {
        series: request.series,
        rows,
    });
    let bytes = body.bytes.len();
    Ok((
        prices,
        BodyOrigin {
            url: request.shown,
            sha256: body.sha256,
            bytes,
        },
    ))
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
fn add(
    outcomes: &mut Vec<(String, Result<ChartDays>)>,
    (chart, outcome): (String, Result<ChartDays>),
) -> Result<()> {
    let none_worked = outcomes.iter().all(|(_, outcome)| outcome.is_err());
    match outcome {
        Err(error) if none_worked && error.is_unreachable(!outcomes.is_empty()) => Err(error),
        outcome => {
            outcomes.push((chart, outcome));
            Ok(())
        }
    }
}

fn all_failed(outcomes: Vec<(String, Result<ChartDays>)>) -> Error {
    let mut errors = outcomes
        .into_iter()
        .filter_map(|(_, outcome)| outcome.err());
    let is_missing = |error: &Error| {
        matches!(
            error,
            Error::Status { status: 404, .. } | Error::NoData { .. }
        )
    };
    let first = errors.next();
    match first {
        Some(error) if !is_missing(&error) => error,
        _ => Error::NoData {
            service: "blockchain.com".into(),
            problem: "every chart is missing or empty; check the address and the charts' names"
                .into(),
        },
    }
}

impl ChartDays {
    /// Rejects values of days after `clock`; a price may be stamped with the day after its own.
    pub(super) fn set_aside_later_than(&mut self, clock: NaiveDate, chart: &str) {
        let shift = Days::new(stamp_shift(chart));
        let stamp = |day: NaiveDate| day.checked_add_days(shift).unwrap_or(NaiveDate::MAX);
        let later = self.values.extract_if(.., |(day, _)| stamp(*day) > clock);
        let rejected: Vec<Rejected> = later
            .map(|(day, value)| Rejected {
                series: chart.to_owned(),
                stamp: stamp(day).to_string(),
                value: value.to_string(),
                reason: Reason::Future,
            })
            .collect();
        self.rejected.extend(rejected);
    }
}
