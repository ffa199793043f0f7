//! Reading the answers of blockchain.com's charts, as JSON and as CSV.

use crate::clean::{Point, Reason, Rejected};
use crate::error::{Error, Result};
use crate::number::{Number, short};
use chrono::{DateTime, NaiveDateTime, Utc};
use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor,
};
use std::fmt;

/// What the answer for one chart holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Chart {
    /// The unit of the values, if the answer names one.
    pub unit: Option<String>,
    /// The points in the order of the answer.
    pub points: Vec<Point>,
    /// Points that are not fit for use.
    pub rejected: Vec<Rejected>,
}

/// Reads the JSON answer for `chart`, of the charts API or of the explorer.
///
/// ```
/// let body = br#"{"status": "ok", "unit": "USD", "values": [{"x": 1673395200, "y": 17443.68}]}"#;
/// let chart = btc_ingest::blockchain::parse_json(body, "market-price")?;
/// assert_eq!(chart.points[0].stamp.to_string(), "2023-01-11 00:00:00 UTC");
/// assert_eq!(chart.points[0].value, 17443.68);
/// # Ok::<(), btc_ingest::Error>(())
/// ```
///
/// Points without a usable time or value are set aside in [`rejected`](Chart::rejected).
///
/// # Errors
///
/// Fails if the text is not JSON, or not that of a chart.
pub fn parse_json(body: &[u8], chart: &str) -> Result<Chart> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let answer = AnswerSeed { chart }
        .deserialize(&mut json)
        .and_then(|answer| {
            json.end()?;
            Ok(answer)
        });
    let answer = answer.map_err(|problem| {
        let start = short(String::from_utf8_lossy(&body[..body.len().min(200)]).trim());
        malformed(chart, format!("{problem} (it begins with {start:?})"))
    })?;
    match answer {
        Answer {
            status: Some(status),
            error,
            ..
        } if status != "ok" => {
            let error = short(&error.unwrap_or_default());
            Err(malformed(
                chart,
                format!("status {:?} {error}", short(&status)),
            ))
        }
        Answer {
            values: Some(mut values),
            unit,
            ..
        } => {
            values.unit = unit
                .map(|unit| short(&unit))
                .filter(|unit| !unit.is_empty());
            Ok(values)
        }
        Answer { .. } => Err(malformed(chart, "there are no values".to_owned())),
    }
}

/// Reads the CSV answer for `chart`: lines of time and value, without a header.
///
/// ```
/// let chart = btc_ingest::blockchain::parse_csv(b"2019-11-04 00:00:00,9266.7008\n", "market-price")?;
/// assert_eq!(chart.points[0].value, 9266.7008);
/// # Ok::<(), btc_ingest::Error>(())
/// ```
///
/// # Errors
///
/// Fails if the text is not UTF-8 or none of its lines is one of a chart.
pub fn parse_csv(body: &[u8], chart: &str) -> Result<Chart> {
    let text = std::str::from_utf8(body)
        .map_err(|problem| malformed(chart, format!("the text is not UTF-8: {problem}")))?;
    let mut result = Chart::default();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (stamp, value) = line.split_once(',').unwrap_or((line, ""));
        let instant = NaiveDateTime::parse_from_str(stamp.trim(), "%Y-%m-%d %H:%M:%S").ok();
        let value = Number::of_text(value);
        result.take(
            chart,
            stamp.trim(),
            instant.map(|stamp| stamp.and_utc()),
            &value,
        );
    }
    if result.points.is_empty() && !result.rejected.is_empty() {
        let start = &result.rejected[0].stamp;
        return Err(malformed(
            chart,
            format!("no line is one of a chart (it begins with {start:?})"),
        ));
    }
    Ok(result)
}

fn malformed(chart: &str, problem: String) -> Error {
    Error::malformed(format!("{} for chart {chart}", super::SERVICE), problem)
}

impl Chart {
    fn take(&mut self, chart: &str, shown: &str, stamp: Option<DateTime<Utc>>, value: &Number) {
        let reason = match (stamp, value) {
            (None, _) => Reason::BadStamp,
            (_, Number::Null) => Reason::Null,
            (_, Number::Other(_)) => Reason::NotANumber,
            (_, Number::Value(value)) if !value.is_finite() => Reason::NotFinite,
            // Before there was a market the price chart is zero: that is no price.
            (_, Number::Value(value))
                if *value < 0.0 || (*value == 0.0 && chart == super::MARKET_PRICE) =>
            {
                Reason::NotPositive
            }
            (Some(stamp), Number::Value(value)) => {
                return self.points.push(Point {
                    stamp,
                    value: *value,
                });
            }
        };
        let shown = stamp.map_or_else(|| short(shown), |stamp| stamp.to_rfc3339());
        self.rejected.push(Rejected {
            series: chart.to_owned(),
            stamp: shown,
            value: value.to_string(),
            reason,
            origin: None,
        });
    }
}

#[derive(Default)]
struct Answer {
    status: Option<String>,
    error: Option<String>,
    unit: Option<String>,
    values: Option<Chart>,
}

/// Reads an answer without ever holding more of it than the points.
struct AnswerSeed<'a> {
    chart: &'a str,
}

impl<'de> DeserializeSeed<'de> for AnswerSeed<'_> {
    type Value = Answer;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Answer, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for AnswerSeed<'_> {
    type Value = Answer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of a chart")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Answer, A::Error> {
        let mut answer = Answer::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "status" => answer.status = map.next_value()?,
                "error" => answer.error = map.next_value()?,
                "unit" => answer.unit = map.next_value()?,
                "values" => {
                    let seed = PointsSeed {
                        chart: self.chart,
                        millis: 1000,
                    };
                    answer.values = Some(map.next_value_seed(seed)?);
                }
                // The explorer names the lists after the charts and counts in milliseconds.
                key if key == self.chart => {
                    let seed = PointsSeed {
                        chart: self.chart,
                        millis: 1,
                    };
                    answer.values = Some(map.next_value_seed(seed)?);
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(answer)
    }
}

/// More points than this are no daily chart; it bounds the memory that an answer can take.
const MOST_POINTS: usize = 200_000;

struct PointsSeed<'a> {
    chart: &'a str,
    millis: i64,
}

impl<'de> DeserializeSeed<'de> for PointsSeed<'_> {
    type Value = Chart;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Chart, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for PointsSeed<'_> {
    type Value = Chart;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of points")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Chart, A::Error> {
        let mut chart = Chart::default();
        while let Some(Pair { x, y }) = list.next_element()? {
            if chart.points.len() + chart.rejected.len() == MOST_POINTS {
                return Err(A::Error::custom(format!(
                    "there are more than {MOST_POINTS} points"
                )));
            }
            let stamp = match x {
                // `as` saturates; what is far out is no time of the calendar.
                Number::Value(x) if x.is_finite() => (x as i64)
                    .checked_mul(self.millis)
                    .and_then(DateTime::from_timestamp_millis),
                _ => None,
            };
            chart.take(self.chart, &x.to_string(), stamp, &y);
        }
        Ok(chart)
    }
}

#[derive(Deserialize)]
struct Pair {
    x: Number,
    #[serde(default = "null")]
    y: Number,
}

fn null() -> Number {
    Number::Null
}
