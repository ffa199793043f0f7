//! Daily network and market metrics from Coin Metrics' community API.

use crate::clean::{Reason, Rejected};
use crate::error::{Error, Result};
use crate::fetched::{Answer, Fetched, Part, Window};
use crate::http::{Client, HttpConfig, Request, Verdict};
use crate::number::{Number, short};
use crate::report::PlannedRequest;
use crate::series::{SeriesName, check_distinct};
use crate::source::{DailySeries, DayValue, Source, SourceError, daily_schema, to_batch};
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, NaiveTime};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// The address of the service.
pub const COIN_METRICS_URL: &str = "https://community-api.coinmetrics.io";

/// The metrics that are taken unless others are named, and the series that they become.
pub const COIN_METRICS_DEFAULT: [(&str, &str); 4] = [
    ("PriceUSD", "close"),
    ("AdrActCnt", "active_addresses"),
    ("TxCnt", "transactions"),
    ("FeeTotNtv", "fees_btc"),
];

const NAME: &str = "coin-metrics";
const SERVICE: &str = "Coin Metrics";

/// The day of the first block: nothing begins earlier.
const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2009, 1, 3).expect("a day of the calendar");

/// The most rows of one answer.
const PAGE_SIZE: &str = "10000";

/// More pages than a whole history has.
const MOST_PAGES: usize = 100;

/// Daily metrics of an asset, from [Coin Metrics' community API][api]. No key is needed.
///
/// A row stamped 00:00 UTC of a day describes that day; `PriceUSD` is the price at its end, so
/// that it is a close. The service allows ten requests in six seconds.
///
/// ```no_run
/// use btc_ingest::{COIN_METRICS_DEFAULT, COIN_METRICS_URL, CoinMetrics, PullConfig, pull_sources};
///
/// # async fn run() -> btc_ingest::Result<()> {
/// let config = PullConfig::new("data", chrono::Utc::now());
/// let metrics = CoinMetrics::new(COIN_METRICS_URL, "btc", COIN_METRICS_DEFAULT, &config.http)?;
/// pull_sources(&config, &[&metrics], &()).await?;
/// # Ok(())
/// # }
/// ```
///
/// [api]: https://docs.coinmetrics.io/api/v4/
#[derive(Debug)]
pub struct CoinMetrics {
    client: Client,
    base: String,
    asset: String,
    /// The service's name of a metric, and the series.
    metrics: Vec<(String, SeriesName)>,
}

#[derive(Deserialize)]
struct Page {
    data: Vec<BTreeMap<String, Number>>,
    next_page_token: Option<String>,
}

impl CoinMetrics {
    /// Takes metrics of `asset`, as `btc`, each as a series.
    ///
    /// # Errors
    ///
    /// Fails if there is no metric, a name cannot be used or stands for two of them, `base` is no
    /// address, or `http` cannot be used.
    pub fn new<'a>(
        base: &str,
        asset: &str,
        metrics: impl IntoIterator<Item = (&'a str, &'a str)>,
        http: &HttpConfig,
    ) -> Result<Self> {
        let is_name = |name: &str| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        let metrics: Vec<(&str, &str)> = metrics.into_iter().collect();
        let unfit = metrics.iter().map(|(metric, _)| *metric);
        if let Some(name) = unfit.chain([asset]).find(|name| !is_name(name)) {
            return Err(Error::config(format!(
                "{name:?} is not the name of an asset or a metric; use letters and digits, as \
                 PriceUSD"
            )));
        }
        if metrics.is_empty() {
            return Err(Error::config("no metric is named; name one, as PriceUSD"));
        }
        check_distinct(metrics.iter().map(|(_, series)| *series))?;
        Request::check_base(base)?;
        let metrics = metrics
            .into_iter()
            .map(|(metric, series)| Ok((metric.to_owned(), SeriesName::new(series)?)))
            .collect::<Result<_>>()?;
        Ok(Self {
            client: Client::new(SERVICE, 10, Duration::from_millis(600), http)?,
            base: base.to_owned(),
            asset: asset.to_owned(),
            metrics,
        })
    }

    fn request(&self, window: &Window<'_>, page: Option<&str>) -> Result<Request> {
        let days = window.days_of_any(self.metrics.iter().map(|(_, series)| series.as_str()));
        let names: Vec<&str> = self.metrics.iter().map(|(name, _)| name.as_str()).collect();
        let mut query = vec![
            ("assets", self.asset.clone()),
            ("metrics", names.join(",")),
            ("frequency", "1d".to_owned()),
            ("page_size", PAGE_SIZE.to_owned()),
            ("paging_from", "start".to_owned()),
            ("start_time", FIRST_DAY.max(*days.start()).to_string()),
            ("end_time", window.last_day().min(*days.end()).to_string()),
        ];
        query.extend(page.map(|token| ("next_page_token", token.to_owned())));
        let path = "/v4/timeseries/asset-metrics";
        Request::new(
            &format!("{NAME}/{}", self.asset),
            &self.base,
            path,
            &query,
            None,
        )
    }
}

#[async_trait]
impl Source for CoinMetrics {
    fn name(&self) -> &str {
        NAME
    }

    fn schema(&self) -> SchemaRef {
        daily_schema(self.metrics.iter().map(|(_, series)| series.as_str()))
    }

    async fn fetch(&self, window: &Window<'_>) -> Result<Fetched, SourceError> {
        let mut answers = Vec::new();
        let mut rows: BTreeMap<NaiveDate, BTreeMap<String, Number>> = BTreeMap::new();
        let mut rejected = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let request = self.request(window, token.as_deref())?;
            let body = self
                .client
                .get(&request, |_| Verdict::Accept, window.progress())
                .await?;
            let page: Page = serde_json::from_slice(&body.bytes)
                .map_err(|problem| Error::malformed(SERVICE, problem.to_string()))?;
            answers.push(Answer {
                url: request.shown,
                bytes: body.bytes.len(),
                sha256: body.sha256,
            });
            for row in page.data {
                let stamp = row.get("time").map(ToString::to_string).unwrap_or_default();
                match midnight(&stamp) {
                    Some(day) => drop(rows.insert(day, row)),
                    None => rejected.push(Rejected {
                        series: "time".to_owned(),
                        stamp: short(&stamp),
                        value: String::new(),
                        reason: Reason::BadStamp,
                        origin: None,
                    }),
                }
            }
            token = page.next_page_token.filter(|token| !token.is_empty());
            if token.is_none() {
                break;
            }
        }
        if token.is_some() {
            let problem = format!("the answer has more than {MOST_PAGES} pages");
            return Err(Error::malformed(SERVICE, problem).into());
        }
        let parts = self.metrics.iter().map(|(metric, series)| {
            let (values, unfit) = values_of(metric, series, &rows);
            if values.is_empty() {
                return Ok(Part::failed(
                    series.as_str(),
                    Error::NoData {
                        service: SERVICE.into(),
                        problem: format!("metric {metric} has no value"),
                    },
                ));
            }
            let schema = daily_schema([series.as_str()]);
            let one = DailySeries {
                name: series.clone(),
                values,
            };
            let mut part =
                Part::new(series.as_str(), to_batch(schema, &[one])?).with_rejected(unfit);
            part.answers.clone_from(&answers);
            Ok(part)
        });
        let mut parts: Vec<Part> = parts.collect::<Result<_>>()?;
        if let Some(first) = parts.first_mut() {
            first.rejected.extend(rejected);
        }
        if parts.iter().all(|part| part.values.is_err()) {
            return Err(Error::NoData {
                service: SERVICE.into(),
                problem: format!("no metric of {:?} has a value", self.asset),
            }
            .into());
        }
        Ok(Fetched {
            parts,
            ..Fetched::default()
        })
    }

    fn requests(&self, window: &Window<'_>) -> Result<Vec<PlannedRequest>> {
        Ok(vec![self.request(window, None)?.into()])
    }
}

/// The day whose beginning a stamp is.
fn midnight(stamp: &str) -> Option<NaiveDate> {
    let instant = DateTime::parse_from_rfc3339(stamp).ok()?.to_utc();
    (instant.time() == NaiveTime::MIN).then(|| instant.date_naive())
}

/// The values of a metric, and what is none.
fn values_of(
    metric: &str,
    series: &SeriesName,
    rows: &BTreeMap<NaiveDate, BTreeMap<String, Number>>,
) -> (Vec<DayValue>, Vec<Rejected>) {
    let (mut values, mut rejected) = (Vec::new(), Vec::new());
    for (day, row) in rows {
        match row.get(metric) {
            Some(Number::Value(value)) => values.push((*day, *value)),
            // The newest days may still lack a metric.
            Some(Number::Null) | None => {}
            Some(Number::Other(text)) => rejected.push(Rejected {
                series: series.to_string(),
                stamp: day.to_string(),
                value: text.clone(),
                reason: Reason::NotANumber,
                origin: None,
            }),
        }
    }
    (values, rejected)
}
