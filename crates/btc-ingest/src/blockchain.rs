//! Daily charts from blockchain.com.

mod fetch;
mod parse;

pub use parse::{Chart, parse_csv, parse_json};

use crate::clean::{Point, Reason, Rejected, daily, usual_step};
use crate::error::{Error, Result};
use crate::fetched::{Answer, Fetched, Window};
use crate::http::{Client, HttpConfig, Request, Verdict};
use crate::progress::Progress;
use crate::report::PlannedRequest;
use crate::series::{SeriesName, check_distinct};
use crate::source::{DayValue, Source, SourceError, daily_schema, private};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::{Days, NaiveDate, Timelike};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The address of the service.
pub const BLOCKCHAIN_URL: &str = "https://api.blockchain.info";

/// The charts that are pulled unless others are named.
pub const DEFAULT_CHARTS: [&str; 15] = [
    "blocks-size",
    "avg-block-size",
    "n-transactions-total",
    "hash-rate",
    "difficulty",
    "transaction-fees-usd",
    "n-unique-addresses",
    "n-transactions",
    "my-wallet-n-users",
    "utxo-count",
    "n-transactions-excluding-popular",
    "estimated-transaction-volume-usd",
    "trade-volume",
    "total-bitcoins",
    "market-price",
];

pub(crate) const BLOCKCHAIN: &str = "blockchain";
pub(crate) const MARKET_PRICE: &str = "market-price";

/// The series of that chart.
pub(crate) const MARKET_PRICE_COLUMN: &str = "market_price";
const SERVICE: &str = "blockchain.com";

/// The day of the first block: no chart begins earlier.
pub(crate) const FIRST_DAY: NaiveDate =
    NaiveDate::from_ymd_opt(2009, 1, 3).expect("a day of the calendar");

/// The most days of one request that does not ask for the whole history.
const LONGEST_RANGE: u64 = 365;

/// The form in which charts are asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChartFormat {
    /// With the unit.
    #[default]
    Json,
    /// Lines of time and value; about half the size.
    Csv,
}

impl ChartFormat {
    fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }

    fn parse(self, body: &[u8], chart: &str) -> Result<Chart> {
        match self {
            Self::Json => parse_json(body, chart),
            Self::Csv => parse_csv(body, chart),
        }
    }
}

/// Daily values of Bitcoin's network and market, from blockchain.com's charts. No key is needed.
///
/// The chart `market-price` stamped *t* is the price at 00:00 UTC of *t*, so it is the close of
/// the day before and stands in that day's row. All other charts describe the day of their stamp.
/// Charts with several points a day are averaged per UTC day. Columns are named like the charts,
/// with underscores.
#[derive(Debug)]
pub struct BlockchainCharts {
    client: Client,
    base: String,
    charts: Vec<String>,
    format: ChartFormat,
}

/// One chart, one value per day, by the day that a value describes.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChartDays {
    pub(crate) unit: Option<String>,
    pub(crate) values: Vec<DayValue>,
    pub(crate) rejected: Vec<Rejected>,
    pub(crate) averaged: usize,
    pub(crate) unordered: usize,
    pub(crate) answers: Vec<Answer>,
}

impl BlockchainCharts {
    /// Uses the service at `base` for the charts named, or for [`DEFAULT_CHARTS`] if none is.
    ///
    /// # Errors
    ///
    /// Fails if a chart's name has other characters than lower-case letters, digits and hyphens,
    /// `base` is no address, or `http` cannot be used.
    pub fn new(base: &str, charts: &[String], http: &HttpConfig) -> Result<Self> {
        let mut known: Vec<String> = Vec::new();
        for chart in charts {
            let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            if chart.is_empty() || !chart.chars().all(allowed) {
                let problem =
                    format!("{chart:?} is not the name of a chart; names look like hash-rate");
                return Err(Error::config(problem));
            }
            if SeriesName::new(chart)?.is_price_column() {
                let problem = format!(
                    "a chart called {chart:?} would share its name with a price; leave it out"
                );
                return Err(Error::config(problem));
            }
            if !known.contains(chart) {
                known.push(chart.clone());
            }
        }
        check_distinct(known.iter().map(String::as_str))?;
        if known.is_empty() {
            known = DEFAULT_CHARTS.map(str::to_owned).to_vec();
        }
        Request::check_base(base)?;
        let client = Client::new(SERVICE, 15, Duration::from_millis(200), http)?;
        Ok(Self {
            client,
            base: base.to_owned(),
            charts: known,
            format: ChartFormat::default(),
        })
    }

    /// Asks for another form than JSON; the values are the same.
    #[must_use]
    pub fn with_format(mut self, format: ChartFormat) -> Self {
        self.format = format;
        self
    }

    pub(crate) fn charts(&self) -> &[String] {
        &self.charts
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.client.concurrency()
    }

    /// The requests that bring the rows of `days`: one for the whole history, else one a year.
    pub(crate) fn requests_of(
        &self,
        chart: &str,
        days: &RangeInclusive<NaiveDate>,
    ) -> Result<Vec<Request>> {
        let series = format!("{BLOCKCHAIN}/{chart}");
        let path = format!("/charts/{chart}");
        let request = |timespan: String, start: Option<NaiveDate>| {
            let mut query = vec![("timespan", timespan)];
            query.extend(start.map(|day| ("start", day.to_string())));
            query.push(("format", self.format.as_str().to_owned()));
            // Without this the service thins long ranges to every third day.
            query.push(("sampled", "false".into()));
            Request::new(&series, &self.base, &path, &query, None)
        };
        if *days.start() <= FIRST_DAY {
            return Ok(vec![request("all".into(), None)?]);
        }
        let shift = stamp_shift(chart);
        let (mut start, end) = (plus(*days.start(), shift), plus(*days.end(), shift));
        let mut requests = Vec::new();
        while start <= end {
            let last = plus(start, LONGEST_RANGE - 1).min(end);
            let length = (last - start).num_days() + 1;
            requests.push(request(format!("{length}days"), Some(start))?);
            start = plus(last, 1);
        }
        Ok(requests)
    }

    /// Gets the values that one chart has for `days`.
    pub(crate) async fn fetch_chart(
        &self,
        chart: &str,
        days: &RangeInclusive<NaiveDate>,
        progress: &dyn Progress,
    ) -> Result<ChartDays> {
        let mut result = ChartDays::default();
        let mut points: Vec<Point> = Vec::new();
        for request in self.requests_of(chart, days)? {
            let body = self
                .client
                .get(&request, |_| Verdict::Accept, progress)
                .await?;
            let part = self.format.parse(&body.bytes, chart)?;
            result.unit = part.unit.or(result.unit);
            result.rejected.extend(part.rejected);
            result.answers.push(Answer {
                url: request.shown,
                bytes: body.bytes.len(),
                sha256: body.sha256,
            });
            points.extend(part.points);
        }
        if chart == MARKET_PRICE {
            // A price of another time of day was not known when the day before ended.
            let stray = points.extract_if(.., |point| point.stamp.num_seconds_from_midnight() != 0);
            result.rejected.extend(stray.map(|point| Rejected {
                series: chart.to_owned(),
                stamp: point.stamp.to_rfc3339(),
                value: point.value.to_string(),
                reason: Reason::NotMidnight,
                origin: None,
            }));
        }
        let daily = daily(&points);
        (result.averaged, result.unordered) = (daily.averaged, daily.unordered);
        if let Some(step_days) = usual_step(&daily.values).filter(|step| *step > 1) {
            return Err(Error::Sampled {
                series: chart.to_owned(),
                step_days,
            });
        }
        let shift = Days::new(stamp_shift(chart));
        result.values = daily.values;
        for (day, _) in &mut result.values {
            *day = day.checked_sub_days(shift).unwrap_or(NaiveDate::MIN);
        }
        result.values.retain(|(day, _)| days.contains(day));
        Ok(result)
    }
}

/// The days between the day that a value describes and its stamp.
pub(crate) fn stamp_shift(chart: &str) -> u64 {
    u64::from(chart == MARKET_PRICE)
}

fn plus(day: NaiveDate, days: u64) -> NaiveDate {
    day.checked_add_days(Days::new(days))
        .unwrap_or(NaiveDate::MAX)
}

#[async_trait]
impl Source for BlockchainCharts {
    fn name(&self) -> &str {
        BLOCKCHAIN
    }

    fn schema(&self) -> SchemaRef {
        let columns: Vec<SeriesName> = self
            .charts
            .iter()
            .map(|chart| SeriesName::of_chart(chart))
            .collect();
        daily_schema(columns.iter().map(SeriesName::as_str))
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        Ok(self.fetch_all(window).await?)
    }

    fn requests(&self, window: &Window<'_>) -> Result<Vec<PlannedRequest>> {
        let mut all = Vec::new();
        for chart in &self.charts {
            let days = Self::days(window, chart, window.last_day());
            all.extend(self.requests_of(chart, &days)?.into_iter().map(Into::into));
        }
        Ok(all)
    }

    fn is_built_in(&self, _: private::Token) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(chart: &str, start: &str, end: &str, expected: &[&str]) {
        let charts = BlockchainCharts::new("http://h", &[], &HttpConfig::default()).unwrap();
        let days = start.parse().unwrap()..=end.parse().unwrap();
        let queries: Vec<String> = charts
            .requests_of(chart, &days)
            .unwrap()
            .iter()
            .map(|request| request.shown.split_once("?timespan=").unwrap().1.to_owned())
            .collect();
        assert_eq!(queries, expected);
    }

    #[test]
    fn the_whole_history_is_one_request() {
        check(
            "hash-rate",
            "2009-01-03",
            "2026-01-01",
            &["all&format=json&sampled=false"],
        );
    }

    #[test]
    fn a_long_range_is_split_by_the_year() {
        check(
            "hash-rate",
            "2021-01-01",
            "2022-01-02",
            &[
                "365days&start=2021-01-01&format=json&sampled=false",
                "2days&start=2022-01-01&format=json&sampled=false",
            ],
        );
    }

    #[test]
    fn the_price_of_a_day_is_stamped_with_the_next_one() {
        check(
            "market-price",
            "2021-01-01",
            "2021-01-01",
            &["1days&start=2021-01-02&format=json&sampled=false"],
        );
    }

    #[test]
    fn a_chart_name_cannot_leave_its_place_in_the_address() {
        for name in ["", "../query", "a?b", "Hash-Rate", "a b"] {
            let charts = [name.to_owned()];
            assert!(BlockchainCharts::new("http://h", &charts, &HttpConfig::default()).is_err());
        }
    }
}
