//! What looks odd in the values that are stored: hints for people, not reasons to refuse.

use crate::alpha_vantage::ALPHA_VANTAGE;
use crate::blockchain::{BLOCKCHAIN, MARKET_PRICE_COLUMN};
use crate::clean::{Reason, Rejected};
use crate::misdated;
use crate::series::SeriesName;
use crate::source::{DailySeries, DayValue, OHLCV, TimedSeries};
use crate::store::{Logs, is_storable};
use chrono::NaiveDate;
use std::collections::BTreeMap;

/// Fewer days than this tell nothing.
const ENOUGH: usize = 30;

/// Looks at the newest values of all series.
pub(crate) fn check(logs: &Logs) -> Vec<String> {
    let mut warnings = Vec::new();
    for (source, list) in logs {
        let series: Vec<(&SeriesName, Vec<DayValue>)> = list
            .iter()
            .map(|(name, log)| (name, log.latest().collect()))
            .collect();
        for (name, values) in &series {
            warnings.extend(constant(source, name.as_str(), values));
            warnings.extend(jump(source, name.as_str(), values));
        }
        for (index, (name, values)) in series.iter().enumerate() {
            for (other, other_values) in &series[..index] {
                if are_equal(values, other_values) {
                    warnings.push(format!(
                        "{source}/{name} and {source}/{other} have the same values; one of them \
                         tells nothing"
                    ));
                }
            }
        }
    }
    warnings.extend(price_mismatch(logs));
    warnings.extend(misdated::find(logs).iter().map(ToString::to_string));
    warnings
}

fn constant(source: &str, name: &str, values: &[DayValue]) -> Option<String> {
    let (_, first) = *values.first()?;
    (values.len() >= ENOUGH && values.iter().all(|(_, value)| *value == first))
        .then(|| format!("{source}/{name} has the value {first} on every day"))
}

/// Finds a week whose level is another one than that of the week before, as if the unit changed.
///
/// Early years are left out: the network was small enough to grow so fast.
fn jump(source: &str, name: &str, values: &[DayValue]) -> Option<String> {
    const WEEK: usize = 7;
    const FACTOR: f64 = 50.0;
    const GROWN_UP: NaiveDate = NaiveDate::from_ymd_opt(2013, 1, 1).expect("a day of the calendar");
    let start = values.partition_point(|(day, _)| *day < GROWN_UP);
    let values = &values[start..];
    let factor = |a: f64, b: f64| {
        if a > 0.0 && b > 0.0 {
            (a / b).max(b / a)
        } else {
            0.0
        }
    };
    let weeks = WEEK..(values.len() + 1).saturating_sub(WEEK);
    let (level, middle) = weeks
        .map(|middle| {
            let before = median(&values[middle - WEEK..middle]);
            (
                factor(before, median(&values[middle..middle + WEEK])),
                middle,
            )
        })
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(level, _)| *level >= FACTOR)?;
    // The medians tell that there is a step; the values around tell where.
    let step = |at: &usize| factor(values[*at - 1].1, values[*at].1);
    let around = middle - WEEK / 2..=(middle + WEEK / 2).min(values.len() - 1);
    let at = around.max_by(|a, b| step(a).total_cmp(&step(b)))?;
    let day = values[at].0;
    Some(format!(
        "{source}/{name} changes its level {level:.0}-fold on {day}; a change of unit?"
    ))
}

fn median(week: &[DayValue]) -> f64 {
    let mut values: Vec<f64> = week.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn are_equal(a: &[DayValue], b: &[DayValue]) -> bool {
    let mut shared = 0;
    let mut b = b.iter().peekable();
    for (day, value) in a {
        while b.next_if(|(other, _)| other < day).is_some() {}
        if let Some((_, other)) = b.next_if(|(other, _)| other == day) {
            if other != value {
                return false;
            }
            shared += 1;
        }
    }
    shared >= ENOUGH
}

/// Both services tell the price of the same instant; they should agree.
fn price_mismatch(logs: &Logs) -> Option<String> {
    const ALLOWED: f64 = 0.05;
    let close = logs.get(ALPHA_VANTAGE)?.get("close")?;
    let price: BTreeMap<NaiveDate, f64> = logs
        .get(BLOCKCHAIN)?
        .get(MARKET_PRICE_COLUMN)?
        .latest()
        .collect();
    let mut gaps: Vec<f64> = close
        .latest()
        .filter_map(|(day, close)| Some((close / price.get(&day)? - 1.0).abs()))
        .collect();
    let recent = gaps.len().saturating_sub(ENOUGH);
    let recent = &mut gaps[recent..];
    recent.sort_by(f64::total_cmp);
    let gap = *recent.get(recent.len() / 2)?;
    (gap > ALLOWED).then(|| {
        format!(
            "the close of Alpha Vantage and blockchain.com's market-price differ by {:.0} % on \
             most of the last days; is the currency the same?",
            100.0 * gap
        )
    })
}

/// Takes values out that no service may bring either: prices that are none, negative values, days
/// that do not make sense, and days from `today` on.
pub(crate) fn set_aside_unfit(series: &mut [DailySeries], today: NaiveDate) -> Vec<Rejected> {
    set_aside_by(series, |day| {
        if !is_storable(day) {
            Some(Reason::OutOfRange)
        } else if day >= today {
            Some(Reason::Future)
        } else {
            None
        }
    })
}

/// The same for values at any times, of which `unfit` tells those that cannot be.
pub(crate) fn set_aside_by<T: Copy + Ord + ToString>(
    series: &mut [TimedSeries<T>],
    unfit_time: impl Fn(T) -> Option<Reason>,
) -> Vec<Rejected> {
    /// Prices of one day go through currencies and roundings on their way: in Yahoo's files a
    /// close stands a millionth above its high.
    const NOISE: f64 = 1e-6;
    let mut rejected = Vec::new();
    let mut unfit = |name: &str, (time, value): (T, f64), reason| {
        rejected.push(Rejected {
            series: name.to_owned(),
            stamp: time.to_string(),
            value: value.to_string(),
            reason,
            origin: None,
        });
    };
    for TimedSeries { name, values } in series.iter_mut() {
        let is_price = OHLCV[..4].contains(&name.as_str()) || *name == MARKET_PRICE_COLUMN;
        values.retain(|&(time, value)| {
            let reason = if let Some(reason) = unfit_time(time) {
                reason
            } else if !value.is_finite() {
                Reason::NotFinite
            } else if value < 0.0 || (is_price && value == 0.0) {
                Reason::NotPositive
            } else {
                return true;
            };
            unfit(name.as_str(), (time, value), reason);
            false
        });
    }
    let column = |name: &str| -> BTreeMap<T, f64> {
        let found = series.iter().find(|series| series.name == *name);
        found
            .map(|series| series.values.iter().copied().collect())
            .unwrap_or_default()
    };
    let [open, high, low, close] = ["open", "high", "low", "close"].map(column);
    let inconsistent = |time: &T| {
        let inner = [open.get(time), close.get(time)];
        let above = |limit: &f64| {
            let prices = inner.iter().flatten();
            prices
                .into_iter()
                .any(|price| **price > limit * (1.0 + NOISE))
        };
        let below = |limit: &f64| {
            let prices = inner.iter().flatten();
            prices
                .into_iter()
                .any(|price| **price < limit * (1.0 - NOISE))
        };
        high.get(time).is_some_and(above) || low.get(time).is_some_and(below)
    };
    for TimedSeries { name, values } in series.iter_mut() {
        if OHLCV.contains(&name.as_str()) {
            values.retain(|&(time, value)| {
                let keep = !inconsistent(&time);
                if !keep {
                    unfit(name.as_str(), (time, value), Reason::Inconsistent);
                }
                keep
            });
        }
    }
    rejected
}

/// Counts the reasons, as `null 3, future 1`.
pub(crate) fn count_reasons(rejected: &[Rejected]) -> String {
    let mut counts: BTreeMap<Reason, usize> = BTreeMap::new();
    for one in rejected {
        *counts.entry(one.reason).or_default() += 1;
    }
    let parts: Vec<String> = counts
        .iter()
        .map(|(reason, count)| format!("{} {count}", reason.as_str()))
        .collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Days};

    /// Source, name and formula of a series.
    type Formula = (&'static str, &'static str, fn(u64) -> f64);

    fn logs(series: &[Formula]) -> Logs {
        let first: NaiveDate = "2021-01-01".parse().unwrap();
        let mut logs = Logs::new();
        for (source, name, value) in series {
            let values: Vec<DayValue> = (0..60)
                .map(|day| (first + Days::new(day), value(day)))
                .collect();
            let source = logs.entry((*source).to_owned()).or_default();
            source
                .entry(SeriesName::of_chart(name))
                .or_default()
                .merge(&values, DateTime::UNIX_EPOCH);
        }
        logs
    }

    #[track_caller]
    fn check_one(series: &[Formula], expected: &str) {
        let warnings = check(&logs(series));
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains(expected), "{warnings:?}");
    }

    #[test]
    fn ordinary_series_raise_no_warning() {
        let series: [Formula; 3] = [
            ("blockchain", "a", |day| 10.0 + day as f64),
            ("blockchain", "b", |day| 1.02f64.powi(day as i32)),
            (
                "blockchain",
                "difficulty",
                |day| if day < 30 { 5.0 } else { 6.0 },
            ),
        ];
        assert_eq!(check(&logs(&series)), Vec::<String>::new());
    }

    #[test]
    fn unfit_values_are_set_aside_by_the_row_where_prices_contradict() {
        let day = |day| NaiveDate::from_ymd_opt(2021, 1, day).unwrap();
        let column = |name: &str, values: [f64; 4]| DailySeries {
            name: SeriesName::of_chart(name),
            values: (1..).map(day).zip(values).collect(),
        };
        let mut series = [
            column("high", [9.0, 9.0, 9.0, 9.0]),
            column("close", [5.0, 10.0, 0.0, 5.0]),
            column("fees", [0.0, -1.0, f64::NAN, 1.0]),
        ];
        let rejected = set_aside_unfit(&mut series, day(4));
        let days = |index: usize| -> Vec<u32> {
            use chrono::Datelike;
            series[index]
                .values
                .iter()
                .map(|(day, _)| day.day())
                .collect()
        };
        assert_eq!((days(0), days(1), days(2)), (vec![1, 3], vec![1], vec![1]));
        assert_eq!(
            count_reasons(&rejected),
            "not-finite 1, not-positive 2, future 3, inconsistent 2"
        );
    }

    #[test]
    fn a_close_a_millionth_above_the_high_is_kept() {
        let day = NaiveDate::from_ymd_opt(2014, 9, 18).unwrap();
        let column = |name: &str, value: f64| DailySeries {
            name: SeriesName::of_chart(name),
            values: vec![(day, value)],
        };
        let later = NaiveDate::from_ymd_opt(2020, 1, 1).unwrap();
        let mut series = [column("high", 427.834_991), column("close", 427.834_992)];
        assert_eq!(set_aside_unfit(&mut series, later), []);
        let mut series = [column("high", 427.83), column("close", 427.84)];
        assert_eq!(set_aside_unfit(&mut series, later).len(), 2);
    }

    #[test]
    fn days_that_cannot_be_stored_are_set_aside() {
        let days = ["0001-01-01", "1500-01-01", "2020-01-01", "9999-12-31"];
        let values = days.map(|day| (day.parse().unwrap(), 1.0)).to_vec();
        let name = SeriesName::of_chart("fees");
        let mut series = [DailySeries { name, values }];
        let rejected = set_aside_unfit(&mut series, NaiveDate::MAX);
        assert_eq!(count_reasons(&rejected), "out-of-range 3");
        assert_eq!(series[0].values.len(), 1);
    }

    #[test]
    fn what_is_odd_is_named() {
        check_one(
            &[("blockchain", "a", |_| 7.0)],
            "blockchain/a has the value 7 on every day",
        );
        check_one(
            &[("x", "a", |day| day as f64), ("x", "b", |day| day as f64)],
            "x/b and x/a have the same values",
        );
        check_one(
            &[("x", "a", |day| {
                if day < 40 {
                    3.0 + day as f64
                } else {
                    43e6 + day as f64
                }
            })],
            "fold on 2021-02-10",
        );
        check_one(
            &[
                ("alpha-vantage", "close", |day| 100.0 + day as f64),
                ("blockchain", "market_price", |day| 90.0 + day as f64),
            ],
            "is the currency the same?",
        );
    }
}
