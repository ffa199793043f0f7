//! Daily prices from Alpha Vantage.

mod parse;

pub use parse::{Bar, DailyPrices, parse};

use crate::clean::{Reason, Rejected};
use crate::error::{Error, Result};
use crate::fetched::{Answer, Fetched, Part, Window};
use crate::http::{Body, Client, HttpConfig, Request, Verdict};
use crate::key::ApiKey;
use crate::number::short;
use crate::progress::{Progress, ProgressEvent};
use crate::report::PlannedRequest;
use crate::series::SeriesName;
use crate::source::{DailySeries, OHLCV, Source, SourceError, daily_schema, private, to_batch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::NaiveDate;
use serde::Deserialize;
use std::time::Duration;

/// The address of the service.
pub const ALPHA_VANTAGE_URL: &str = "https://www.alphavantage.co";

pub(crate) const ALPHA_VANTAGE: &str = "alpha-vantage";
const SERVICE: &str = "Alpha Vantage";
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Daily open, high, low, close and volume of Bitcoin, from Alpha Vantage.
///
/// A free key allows one request a second and 25 a day; one request brings the whole history.
/// The newest day of an answer is the running one and is left out.
#[derive(Debug)]
pub struct AlphaVantage {
    client: Client,
    base: String,
    market: String,
    key: ApiKey,
}

impl AlphaVantage {
    /// Uses the service at `base` for prices in the currency `market`, as `USD`.
    ///
    /// # Errors
    ///
    /// Fails if `market` is not a currency code, `base` is no address, or `http` cannot be used.
    pub fn new(base: &str, key: ApiKey, market: &str, http: &HttpConfig) -> Result<Self> {
        if market.is_empty() || !market.chars().all(|c| c.is_ascii_uppercase()) {
            let problem = format!("market {market:?} is not a currency code; use capitals, as USD");
            return Err(Error::config(problem));
        }
        Request::check_base(base)?;
        let client = Client::new(SERVICE, 1, Duration::from_secs(1), http)?;
        Ok(Self {
            client,
            base: base.to_owned(),
            market: market.to_owned(),
            key,
        })
    }

    pub(crate) fn request(&self) -> Result<Request> {
        let query = [
            ("function", "DIGITAL_CURRENCY_DAILY".to_owned()),
            ("symbol", "BTC".to_owned()),
            ("market", self.market.clone()),
        ];
        let series = format!("{ALPHA_VANTAGE}/BTC-{}", self.market);
        Request::new(&series, &self.base, "/query", &query, Some(&self.key))
    }

    /// Gets the whole history, the running day included.
    pub(crate) async fn prices(&self, progress: &dyn Progress) -> Result<(DailyPrices, Body)> {
        let request = self.request()?;
        let inspect = |body: &[u8]| classify(body, &request);
        let body = self.client.get(&request, inspect, progress).await?;
        let mut prices = parse(&body.bytes, &self.market).map_err(|error| match error {
            // An answer may echo the request.
            Error::Malformed { what, problem } => Error::Malformed {
                what,
                problem: request.redact(&problem),
            },
            error => error,
        })?;
        for rejected in &mut prices.rejected {
            rejected.stamp = request.redact(&rejected.stamp);
            rejected.value = request.redact(&rejected.value);
        }
        if prices
            .symbol
            .as_deref()
            .is_some_and(|symbol| symbol != "BTC")
        {
            let problem = "it holds the prices of another currency than BTC";
            return Err(Error::malformed(SERVICE, problem));
        }
        if prices.bars.is_empty() {
            let problem = "the answer has no usable day".to_owned();
            return Err(Error::NoData {
                service: SERVICE.into(),
                problem,
            });
        }
        Ok((prices, body))
    }
}

#[async_trait]
impl Source for AlphaVantage {
    fn name(&self) -> &str {
        ALPHA_VANTAGE
    }

    fn schema(&self) -> SchemaRef {
        daily_schema(OHLCV)
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        let (request, progress) = (self.request()?, window.progress());
        progress.event(&ProgressEvent::Started {
            series: request.series.clone(),
        });
        let (mut prices, body) = self.prices(progress).await?;
        progress.event(&ProgressEvent::Finished {
            series: request.series,
            rows: prices.bars.len(),
        });
        let answer = Answer {
            url: request.shown,
            bytes: body.bytes.len(),
            sha256: body.sha256,
        };
        let mut notes = Vec::new();
        let running_day = prices.running_day();
        prices.set_aside_later_than_refreshed();
        prices.set_aside_later_than(window.now().date_naive());
        if prices.dead_market_caps > 0 {
            notes.push(format!(
                "Alpha Vantage's market capitalisation equals the volume on {} days; the column \
                 is not used",
                prices.dead_market_caps
            ));
        }
        if prices.duplicates > 0 {
            notes.push(format!(
                "Alpha Vantage gave {} days more than once; the first one counts",
                prices.duplicates
            ));
        }
        // The whole history comes in any case, and with it every revision.
        if let Some(days) = window.only() {
            prices.bars.retain(|bar| days.contains(&bar.date));
        }
        let values = to_batch(self.schema(), &prices.series())?;
        let part = Part::new(format!("BTC-{}", self.market), values)
            .with_rejected(std::mem::take(&mut prices.rejected))
            .with_answer(answer);
        Ok(Fetched {
            parts: vec![part],
            running_day,
            notes,
        })
    }

    fn requests(&self, _: &Window<'_>) -> Result<Vec<PlannedRequest>> {
        Ok(vec![self.request()?.into()])
    }

    fn is_built_in(&self, _: private::Token) -> bool {
        true
    }
}

impl DailyPrices {
    /// The day that was not over when the prices were last refreshed: the day of
    /// `6. Last Refreshed`, or else the newest one.
    #[must_use]
    pub fn running_day(&self) -> Option<NaiveDate> {
        self.last_refreshed
            .or_else(|| self.bars.last().map(|bar| bar.date))
    }

    /// Rejects bars of days after the last refresh: they cannot have been seen.
    pub(crate) fn set_aside_later_than_refreshed(&mut self) {
        if let Some(refreshed) = self.last_refreshed {
            self.set_aside_later_than(refreshed);
        }
    }

    /// Rejects bars of days after `last`.
    pub(crate) fn set_aside_later_than(&mut self, last: NaiveDate) {
        let rejected = self
            .bars
            .extract_if(.., |bar| bar.date > last)
            .map(|bar| Rejected {
                series: "close".to_owned(),
                stamp: bar.date.to_string(),
                value: bar.close.to_string(),
                reason: Reason::Future,
                origin: None,
            });
        self.rejected.extend(rejected);
    }

    pub(crate) fn series(&self) -> Vec<DailySeries> {
        let column = |name: &str, value: fn(&Bar) -> Option<f64>| DailySeries {
            name: SeriesName::of_chart(name),
            values: self
                .bars
                .iter()
                .filter_map(|bar| Some((bar.date, value(bar)?)))
                .collect(),
        };
        vec![
            column("open", |bar| Some(bar.open)),
            column("high", |bar| Some(bar.high)),
            column("low", |bar| Some(bar.low)),
            column("close", |bar| Some(bar.close)),
            column("volume", |bar| bar.volume),
        ]
    }
}

/// The bodies that stand for errors; the HTTP status is 200 all the same.
#[derive(Deserialize)]
struct Refusal {
    #[serde(rename = "Information")]
    information: Option<String>,
    #[serde(rename = "Note")]
    note: Option<String>,
    #[serde(rename = "Error Message")]
    error_message: Option<String>,
}

fn classify(body: &[u8], request: &Request) -> Verdict {
    // A refusal is short; the real thing needs no second parse.
    const LONGEST_REFUSAL: usize = 16 << 10;
    if body.len() > LONGEST_REFUSAL {
        return Verdict::Accept;
    }
    let Ok(refusal) = serde_json::from_slice::<Refusal>(body) else {
        return Verdict::Accept;
    };
    let shown = |text: &str| short(&request.redact(text));
    if let Some(text) = refusal.error_message {
        let problem = shown(&text);
        return Verdict::Fail(if text.contains("apikey") {
            Error::Unauthorized {
                service: SERVICE.into(),
                problem,
            }
        } else {
            Error::malformed(SERVICE, problem)
        });
    }
    let Some(text) = refusal.information.or(refusal.note) else {
        return Verdict::Accept;
    };
    let problem = shown(&text);
    let limited = |retry_after, problem| Error::RateLimited {
        service: SERVICE.into(),
        problem,
        retry_after: Some(retry_after),
    };
    // The text about the burst limit mentions the daily one as well, so it is looked for first.
    let lower = text.to_lowercase();
    if lower.contains("per second") || lower.contains("per minute") || lower.contains("sparingly") {
        let wait = Duration::from_secs(if lower.contains("per minute") { 60 } else { 1 });
        return Verdict::Retry(limited(wait, problem), wait);
    }
    if lower.contains("per day") || lower.contains("daily") {
        let problem = format!("the day's requests are used up ({problem})");
        return Verdict::Fail(limited(DAY, problem));
    }
    if lower.contains("premium") {
        return Verdict::Fail(Error::Unauthorized {
            service: SERVICE.into(),
            problem,
        });
    }
    Verdict::Fail(Error::malformed(SERVICE, problem))
}
