//! Candles ("klines") of a trading pair from Binance.

use crate::clean::{Reason, Rejected};
use crate::error::{Error, Result};
use crate::fetched::{Answer, Fetched, Part, Window};
use crate::http::{Client, HttpConfig, Request, Verdict};
use crate::number::Number;
use crate::progress::Progress;
use crate::report::PlannedRequest;
use crate::series::SeriesName;
use crate::source::{DailySeries, OHLCV, Source, SourceError, daily_schema, to_batch};
use crate::store::{EVENT_TIMESTAMP, timestamp_type, timestamps};
use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The address of the service, for market data alone.
pub const BINANCE_URL: &str = "https://data-api.binance.vision";

const NAME: &str = "binance";
const SERVICE: &str = "Binance";

/// The day on which the exchange opened.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2017, 7, 14).expect("a day of the calendar");

/// The most candles of one answer.
const LIMIT: usize = 1000;

/// The length of a candle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Interval {
    /// One hour.
    Hour,
    /// One day, from 00:00 UTC on.
    Day,
}

impl Interval {
    fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "1h",
            Self::Day => "1d",
        }
    }

    fn millis(self) -> i64 {
        match self {
            Self::Hour => 3_600_000,
            Self::Day => 86_400_000,
        }
    }
}

/// Open, high, low, close and volume of a trading pair, from [Binance's candles][api]. No key is
/// needed.
///
/// As a [`Source`] it gives days; [`candles`](Self::candles) gives hours as well. The candle that
/// is not complete is left out.
///
/// ```no_run
/// use btc_ingest::{BINANCE_URL, Binance, PullConfig, pull_sources};
///
/// # async fn run() -> btc_ingest::Result<()> {
/// let config = PullConfig::new("data", chrono::Utc::now());
/// let binance = Binance::new(BINANCE_URL, "BTCUSDT", &config.http)?;
/// pull_sources(&config, &[&binance], &()).await?;
/// # Ok(())
/// # }
/// ```
///
/// [api]: https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
#[derive(Debug)]
pub struct Binance {
    client: Client,
    base: String,
    symbol: String,
}

/// Opening time in milliseconds; open, high, low, close, volume; closing time; the rest.
#[derive(Deserialize)]
struct Candle(
    i64,
    Number,
    Number,
    Number,
    Number,
    Number,
    i64,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
    IgnoredAny,
);

/// Complete candles by ascending time.
struct Candles {
    open_times: Vec<i64>,
    rows: Vec<[f64; 5]>,
    rejected: Vec<Rejected>,
    answers: Vec<Answer>,
    /// When the candle opened that is not complete.
    running: Option<i64>,
}

impl Binance {
    /// Takes the candles of `symbol`, as `BTCUSDT`.
    ///
    /// # Errors
    ///
    /// Fails if `symbol` is none, `base` is no address, or `http` cannot be used.
    pub fn new(base: &str, symbol: &str, http: &HttpConfig) -> Result<Self> {
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        if symbol.is_empty() || !symbol.chars().all(allowed) {
            return Err(Error::config(format!(
                "{symbol:?} is not a trading pair; use capitals, as BTCUSDT"
            )));
        }
        Request::check_base(base)?;
        Ok(Self {
            client: Client::new(SERVICE, 20, Duration::from_millis(100), http)?,
            base: base.to_owned(),
            symbol: symbol.to_owned(),
        })
    }

    /// Gets the candles that open in `times` and are complete at `now`: a column
    /// `event_timestamp`, the instant at which a candle is complete and known, and the columns
    /// open, high, low, close and volume, each nullable `Float64`.
    ///
    /// # Errors
    ///
    /// Fails if the service cannot be reached or does not give what it should.
    pub async fn candles(
        &self,
        interval: Interval,
        times: Range<DateTime<Utc>>,
        now: DateTime<Utc>,
        progress: &dyn Progress,
    ) -> Result<RecordBatch> {
        let times = times.start.timestamp_millis()..times.end.timestamp_millis();
        let candles = self.fetch_candles(interval, times, now, progress).await?;
        let close_time = |open: &i64| {
            let millis = open.checked_add(interval.millis())?;
            millis.checked_mul(1_000_000)
        };
        let known: Option<Vec<i64>> = candles.open_times.iter().map(close_time).collect();
        let known = known.ok_or_else(|| {
            Error::malformed(SERVICE, "a candle has a time that cannot be stored")
        })?;
        let mut fields = vec![Field::new(EVENT_TIMESTAMP, timestamp_type(), false)];
        let mut columns: Vec<ArrayRef> = vec![timestamps(known)];
        for (index, name) in OHLCV.into_iter().enumerate() {
            fields.push(Field::new(name, DataType::Float64, true));
            let values = candles.rows.iter().map(|row| row[index]);
            columns.push(Arc::new(Float64Array::from_iter_values(values)));
        }
        Ok(RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            columns,
        )?)
    }

    async fn fetch_candles(
        &self,
        interval: Interval,
        times: Range<i64>,
        now: DateTime<Utc>,
        progress: &dyn Progress,
    ) -> Result<Candles> {
        let now = now.timestamp_millis();
        let mut found = Candles {
            open_times: Vec::new(),
            rows: Vec::new(),
            rejected: Vec::new(),
            answers: Vec::new(),
            running: None,
        };
        let end = times.end.min(now);
        let mut start = times.start;
        while start < end {
            let request = self.request(interval, start, end)?;
            let body = self
                .client
                .get(&request, |_| Verdict::Accept, progress)
                .await?;
            let page: Vec<Candle> = serde_json::from_slice(&body.bytes)
                .map_err(|problem| Error::malformed(SERVICE, problem.to_string()))?;
            found.answers.push(Answer {
                url: request.shown,
                bytes: body.bytes.len(),
                sha256: body.sha256,
            });
            let (count, last) = (page.len(), page.last().map(|candle| candle.0));
            for candle in page {
                found.add(candle, interval, start, now)?;
            }
            match last.and_then(|open| open.checked_add(interval.millis())) {
                Some(next) if count == LIMIT => start = next,
                _ => break,
            }
        }
        Ok(found)
    }

    fn request(&self, interval: Interval, start: i64, end: i64) -> Result<Request> {
        let query = [
            ("symbol", self.symbol.clone()),
            ("interval", interval.as_str().to_owned()),
            ("startTime", start.to_string()),
            // The last millisecond belongs to the answer.
            ("endTime", (end - 1).to_string()),
            ("limit", LIMIT.to_string()),
        ];
        let series = format!("{NAME}/{}", self.symbol);
        Request::new(&series, &self.base, "/api/v3/klines", &query, None)
    }

    /// The times that a window stands for.
    fn times(window: &Window<'_>) -> Range<i64> {
        let days = window.days_of_any(OHLCV);
        let millis = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        let last = window.last_day().min(*days.end());
        millis(FIRST_DAY.max(*days.start()))..millis(last).saturating_add(Interval::Day.millis())
    }
}

impl Candles {
    fn add(&mut self, candle: Candle, interval: Interval, start: i64, now: i64) -> Result<()> {
        let Candle(open, a, b, c, d, e, close, ..) = candle;
        let newest = self.open_times.last().copied();
        if open < start || newest.is_some_and(|newest| open <= newest) {
            return Err(Error::malformed(SERVICE, "its candles do not ascend"));
        }
        if close >= now {
            self.running = Some(open);
            return Ok(());
        }
        let texts = [&a, &b, &c, &d, &e].map(ToString::to_string);
        let values = [a, b, c, d, e].map(|number| match number {
            Number::Value(value) if value.is_finite() => Some(value),
            _ => None,
        });
        let is_aligned = open.rem_euclid(interval.millis()) == 0;
        let numbers: Option<Vec<f64>> = values.into_iter().collect();
        match numbers.and_then(|numbers| <[f64; 5]>::try_from(numbers).ok()) {
            Some(row) if is_aligned => {
                self.open_times.push(open);
                self.rows.push(row);
            }
            _ => self.rejected.push(Rejected {
                series: "close".to_owned(),
                stamp: open.to_string(),
                value: texts.join(" "),
                reason: match is_aligned {
                    true => Reason::NotANumber,
                    false => Reason::BadStamp,
                },
                origin: None,
            }),
        }
        Ok(())
    }
}

#[async_trait]
impl Source for Binance {
    fn name(&self) -> &str {
        NAME
    }

    fn schema(&self) -> SchemaRef {
        daily_schema(OHLCV)
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        let times = Self::times(window);
        let candles = self
            .fetch_candles(Interval::Day, times, window.now(), window.progress())
            .await?;
        if candles.rows.is_empty() && candles.running.is_none() {
            return Err(Error::NoData {
                service: SERVICE.into(),
                problem: format!("{} has no candle", self.symbol),
            }
            .into());
        }
        let day = |open: &i64| DateTime::from_timestamp_millis(*open).map(|t| t.date_naive());
        let series: Vec<DailySeries> = OHLCV
            .into_iter()
            .enumerate()
            .map(|(column, name)| DailySeries {
                name: SeriesName::of_chart(name),
                values: candles
                    .open_times
                    .iter()
                    .zip(&candles.rows)
                    .filter_map(|(open, row)| Some((day(open)?, row[column])))
                    .collect(),
            })
            .collect();
        let mut part = Part::new(self.symbol.clone(), to_batch(self.schema(), &series)?)
            .with_rejected(candles.rejected);
        part.answers = candles.answers;
        let mut fetched = Fetched::part(part);
        fetched.running_day = candles.running.as_ref().and_then(day);
        Ok(fetched)
    }

    fn requests(&self, window: &Window<'_>) -> Result<Vec<PlannedRequest>> {
        let times = Self::times(window);
        Ok(vec![
            self.request(Interval::Day, times.start, times.end)?.into(),
        ])
    }
}
