//! Reading the answers of Alpha Vantage, of the old form and the new.

use crate::clean::{Reason, Rejected};
use crate::error::{Error, Result};
use crate::number::{Number, short};
use chrono::NaiveDate;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

/// The prices and the volume of one day.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// The UTC day.
    pub date: NaiveDate,
    /// The first price of the day.
    pub open: f64,
    /// The highest price of the day.
    pub high: f64,
    /// The lowest price of the day.
    pub low: f64,
    /// The last price of the day.
    pub close: f64,
    /// The number of coins traded.
    pub volume: Option<f64>,
}

/// What an answer of `DIGITAL_CURRENCY_DAILY` holds.
#[derive(Debug, Clone, PartialEq)]
pub struct DailyPrices {
    /// The digital currency, as the answer calls it.
    pub symbol: Option<String>,
    /// The day of `6. Last Refreshed`: it was running when the answer was made.
    pub last_refreshed: Option<NaiveDate>,
    /// Days in ascending order, each once.
    pub bars: Vec<Bar>,
    /// Rows that are not fit for use.
    pub rejected: Vec<Rejected>,
    /// Days that the answer holds more than once; the first one counts.
    pub duplicates: usize,
    /// Days on which the market capitalisation is nothing but the volume again.
    pub dead_market_caps: usize,
}

/// Reads an answer of `DIGITAL_CURRENCY_DAILY`, in its old or its new form.
///
/// The old form has prices in the market's currency and in dollars side by side; the former are
/// taken. Rows with a missing, non-finite or non-positive price, or whose high and low do not
/// enclose open and close, are set aside in [`rejected`](DailyPrices::rejected).
///
/// ```
/// let body = br#"{
///     "Meta Data": {"2. Digital Currency Code": "BTC", "6. Last Refreshed": "2023-01-11 00:00:00"},
///     "Time Series (Digital Currency Daily)": {
///         "2023-01-10": {"1. open": "17179.04", "2. high": "17499.0", "3. low": "17146.34",
///                        "4. close": "17440.66", "5. volume": "221382.42581"}
///     }
/// }"#;
/// let prices = btc_ingest::alpha_vantage::parse(body, "USD")?;
/// assert_eq!(prices.bars[0].close, 17440.66);
/// assert_eq!(prices.running_day().unwrap().to_string(), "2023-01-11");
/// # Ok::<(), btc_ingest::Error>(())
/// ```
///
/// # Errors
///
/// Fails if the text is not JSON or does not have the two parts of such an answer.
pub fn parse(body: &[u8], market: &str) -> Result<DailyPrices> {
    const WHAT: &str = super::SERVICE;
    let answer: Answer = serde_json::from_slice(body).map_err(|problem| {
        let start = short(String::from_utf8_lossy(&body[..body.len().min(200)]).trim());
        Error::malformed(WHAT, format!("{problem} (it begins with {start:?})"))
    })?;
    let meta = answer.meta.unwrap_or_default();
    let text = |key: &str| match meta.get(key) {
        Some(Number::Other(text)) => Some(text.clone()),
        _ => None,
    };
    let last_refreshed = text("6. Last Refreshed").and_then(|text| day(text.get(..10)?));
    let mut prices = DailyPrices {
        symbol: text("2. Digital Currency Code"),
        last_refreshed,
        bars: Vec::with_capacity(answer.series.0.len()),
        rejected: Vec::new(),
        duplicates: 0,
        dead_market_caps: 0,
    };
    for (stamp, row) in answer.series.0 {
        prices.take(&stamp, &row, market);
    }
    // Stable, so that the first of two equal days stays first.
    prices.bars.sort_by_key(|bar| bar.date);
    let before = prices.bars.len();
    prices.bars.dedup_by_key(|bar| bar.date);
    prices.duplicates = before - prices.bars.len();
    Ok(prices)
}

impl DailyPrices {
    fn take(&mut self, stamp: &str, row: &Row, market: &str) {
        let mut reject = |series: &str, value: String, reason| {
            let (series, stamp) = (series.to_owned(), short(stamp));
            self.rejected.push(Rejected {
                series,
                stamp,
                value,
                reason,
                origin: None,
            });
        };
        let Some(date) = day(stamp) else {
            return reject("date", String::new(), Reason::BadStamp);
        };
        let mut prices = [0.0; 4];
        for (price, name) in prices.iter_mut().zip(["open", "high", "low", "close"]) {
            let number = field(row, name, market);
            match usable(number, |value| value > 0.0) {
                Ok(value) => *price = value,
                Err(reason) => return reject(name, number.to_string(), reason),
            }
        }
        let [open, high, low, close] = prices;
        if high < open.max(close) || low > open.min(close) {
            let value = format!("open {open} high {high} low {low} close {close}");
            return reject("close", value, Reason::Inconsistent);
        }
        let number = field(row, "volume", market);
        let volume = match usable(number, |value| value >= 0.0) {
            Ok(value) => Some(value),
            Err(reason) => {
                reject("volume", number.to_string(), reason);
                None
            }
        };
        // Since 2020 the column is a copy of the volume; it is never used.
        let dead = |(key, number): &(String, Number)| {
            key.contains("market cap") && volume.map(Number::Value).as_ref() == Some(number)
        };
        self.dead_market_caps += usize::from(row.0.iter().any(dead));
        self.bars.push(Bar {
            date,
            open,
            high,
            low,
            close,
            volume,
        });
    }
}

fn usable(number: &Number, allowed: impl Fn(f64) -> bool) -> Result<f64, Reason> {
    match number {
        Number::Null => Err(Reason::Null),
        Number::Other(_) => Err(Reason::NotANumber),
        Number::Value(value) if !value.is_finite() => Err(Reason::NotFinite),
        Number::Value(value) if !allowed(*value) => Err(Reason::NotPositive),
        Number::Value(value) => Ok(*value),
    }
}

/// Finds `1. open`, `1a. open (EUR)` or, failing that, `1b. open (USD)` where dollars are asked.
fn field<'a>(row: &'a Row, name: &str, market: &str) -> &'a Number {
    let mut best: Option<(u8, &Number)> = None;
    for (key, number) in &row.0 {
        let Some((_, label)) = key.split_once(". ") else {
            continue;
        };
        let Some(rest) = label.strip_prefix(name) else {
            continue;
        };
        let rank = match rest
            .strip_prefix(" (")
            .and_then(|rest| rest.strip_suffix(')'))
        {
            Some(currency) if currency == market => 0,
            None if rest.is_empty() => 1,
            _ => continue,
        };
        if best.is_none_or(|(best_rank, _)| rank < best_rank) {
            best = Some((rank, number));
        }
    }
    best.map_or(&Number::Null, |(_, number)| number)
}

fn day(text: &str) -> Option<NaiveDate> {
    let well_formed = text.len() == 10 && text.as_bytes()[4] == b'-' && text.as_bytes()[7] == b'-';
    text.parse().ok().filter(|_| well_formed)
}

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Meta Data")]
    meta: Option<BTreeMap<String, Number>>,
    #[serde(rename = "Time Series (Digital Currency Daily)")]
    series: Entries<Row, MOST_DAYS>,
}

/// Bounds on the memory that an answer can take: half a century, and twice the old form's fields.
const MOST_DAYS: usize = 20_000;
const MOST_FIELDS: usize = 20;

type Row = Entries<Number, MOST_FIELDS>;

/// The entries of a JSON object as they come, repeated keys included.
struct Entries<T, const MOST: usize>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Entries<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for EntriesVisitor<T, MOST> {
            type Value = Entries<T, MOST>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    if entries.len() == MOST {
                        let problem = format!("an object has more than {MOST} entries");
                        return Err(A::Error::custom(problem));
                    }
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}
