//! Whether two sources date one quantity alike.
//!
//! The daily changes of two series of one quantity are nearly the same on the same day. Where
//! those of one follow those of the other by a day, one of them is misdated: its stamps may be in
//! local time, and with summer time the shift comes and goes. The course of the shift (a day
//! before, none, a day after) is the one of least cost among all courses, where each day costs
//! the difference of the changes and each switch costs as much as some days of contradiction:
//! the Viterbi algorithm (Viterbi 1967, "Error bounds for convolutional codes").

use crate::source::DayValue;
use crate::store::Logs;
use crate::{blockchain, series::SeriesName};
use chrono::{Days, NaiveDate};
use serde::Serialize;
use std::collections::BTreeMap;

/// The shifts that are looked for, in days.
const SHIFTS: [i64; 3] = [-1, 0, 1];

/// A switch costs as much as so many days on which the changes contradict each other.
const SWITCH: f64 = 6.0;

/// The most that one day can cost, in typical changes: one strange day is no proof.
const MOST: f64 = 2.0;

/// Shorter stretches tell nothing.
const SHORTEST: usize = 14;

/// The changes have to agree to this part of a typical one for two series to be of one quantity.
const ALIKE: f64 = 0.5;

/// A stretch of days in which two sources of one quantity are a day apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Misdated {
    /// Source and series, as `blockchain/market_price`.
    pub series: String,
    /// The one whose day is another.
    pub other: String,
    /// By how many days `other` is dated later: 1 or -1.
    pub days: i64,
    /// The first day of the stretch.
    pub from: NaiveDate,
    /// The last day of the stretch.
    pub to: NaiveDate,
    /// Whether the two agree outside of such stretches: the shift comes and goes.
    pub switches: bool,
}

impl std::fmt::Display for Misdated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            series,
            other,
            from,
            to,
            ..
        } = self;
        let way = if self.days > 0 { "later" } else { "earlier" };
        write!(
            f,
            "{other} is dated a day {way} than {series} from {from} to {to}"
        )?;
        f.write_str(if self.switches {
            " and not at other times; are its stamps in local time with summer time?"
        } else {
            "; one of the two is misdated"
        })
    }
}

/// Compares all series of one name, and the prices, pair by pair.
pub(crate) fn find(logs: &Logs) -> Vec<Misdated> {
    let mut quantities: BTreeMap<&str, Vec<(String, Vec<DayValue>)>> = BTreeMap::new();
    for (source, list) in logs {
        for (name, log) in list {
            let quantity = match name.as_str() {
                blockchain::MARKET_PRICE_COLUMN => "close",
                other => other,
            };
            // Volumes of two exchanges are two quantities.
            if quantity != "volume" {
                let values = log.latest().collect();
                let series = quantities.entry(quantity).or_default();
                series.push((label(source, name), values));
            }
        }
    }
    let mut found = Vec::new();
    for series in quantities.values() {
        for (index, (name, values)) in series.iter().enumerate() {
            for (other, other_values) in &series[index + 1..] {
                found.extend(compare(name, values, other, other_values));
            }
        }
    }
    found
}

fn label(source: &str, name: &SeriesName) -> String {
    format!("{source}/{name}")
}

/// The logarithms of the changes from the day before, where there is one.
fn changes(values: &[DayValue]) -> BTreeMap<NaiveDate, f64> {
    let pairs = values.windows(2).filter_map(|pair| {
        let [(before, a), (day, b)] = [pair[0], pair[1]];
        let follows = before.succ_opt() == Some(day);
        (follows && a > 0.0 && b > 0.0).then(|| (day, (b / a).ln()))
    });
    pairs.collect()
}

/// The stretches in which `b` is a day apart from `a`.
fn compare(name: &str, a: &[DayValue], other: &str, b: &[DayValue]) -> Vec<Misdated> {
    let (a, b) = (changes(a), changes(b));
    let shifted = |day: NaiveDate, days: i64| match days {
        0 => Some(day),
        1.. => day.checked_add_days(Days::new(days.unsigned_abs())),
        _ => day.checked_sub_days(Days::new(days.unsigned_abs())),
    };
    let mut sizes: Vec<f64> = a.values().map(|change| change.abs()).collect();
    sizes.sort_by(f64::total_cmp);
    let Some(typical) = sizes
        .get(sizes.len() / 2)
        .copied()
        .filter(|size| *size > 0.0)
    else {
        return Vec::new();
    };
    // What each shift costs on each day that has the changes for all of them.
    let costs: Vec<(NaiveDate, [f64; 3])> = a
        .iter()
        .filter_map(|(day, change)| {
            let mut costs = [0.0; 3];
            for (cost, days) in costs.iter_mut().zip(SHIFTS) {
                let same = b.get(&shifted(*day, days)?)?;
                *cost = ((change - same).abs() / typical).min(MOST);
            }
            Some((*day, costs))
        })
        .collect();
    let course = cheapest_course(&costs);
    let mut stretches: Vec<(usize, usize, usize)> = Vec::new();
    for (index, shift) in course.iter().enumerate() {
        match stretches.last_mut() {
            Some((known, _, end)) if known == shift => *end = index,
            _ => stretches.push((*shift, index, index)),
        }
    }
    // Of one quantity, and apart: what agrees with a shift must agree, and without it must not.
    let mean = |shift: usize, start: usize, end: usize| {
        let costs = costs[start..=end].iter().map(|(_, costs)| costs[shift]);
        costs.sum::<f64>() / (end - start + 1) as f64
    };
    const NONE: usize = 1;
    let agrees = stretches.iter().any(|(shift, start, end)| {
        *shift == NONE && SHORTEST <= end - start + 1 && mean(NONE, *start, *end) < ALIKE
    });
    stretches
        .into_iter()
        .filter(|(shift, start, end)| {
            let cost = mean(*shift, *start, *end);
            *shift != NONE
                && SHORTEST <= end - start + 1
                && cost < ALIKE
                && 2.0 * cost < mean(NONE, *start, *end)
        })
        .map(|(shift, start, end)| Misdated {
            series: name.to_owned(),
            other: other.to_owned(),
            days: SHIFTS[shift],
            from: costs[start].0,
            to: costs[end].0,
            switches: agrees,
        })
        .collect()
}

/// For each day the shift, as a place in [`SHIFTS`], such that all days and switches cost least.
fn cheapest_course(costs: &[(NaiveDate, [f64; 3])]) -> Vec<usize> {
    let mut total = [0.0; 3];
    let mut came_from: Vec<[usize; 3]> = Vec::with_capacity(costs.len());
    for (_, of_day) in costs {
        let mut next = [0.0; 3];
        let mut from = [0; 3];
        for shift in 0..3 {
            let price = |before: usize| total[before] + if before == shift { 0.0 } else { SWITCH };
            // Staying comes first, so that equal costs switch nothing.
            let order = [shift, (shift + 1) % 3, (shift + 2) % 3];
            let best = order.into_iter().fold(shift, |best, before| {
                if price(before) < price(best) {
                    before
                } else {
                    best
                }
            });
            from[shift] = best;
            next[shift] = price(best) + of_day[shift];
        }
        total = next;
        came_from.push(from);
    }
    let mut shift = [1, 0, 2].into_iter().fold(1, |best, shift| {
        if total[shift] < total[best] {
            shift
        } else {
            best
        }
    });
    let mut course = vec![shift; costs.len()];
    for (place, from) in course.iter_mut().zip(&came_from).rev() {
        *place = shift;
        shift = from[shift];
    }
    course
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::{DateTime, Datelike};
    use rand::{Rng, SeedableRng};
    use rand_xoshiro::Xoshiro256PlusPlus;

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    /// Three years of a price, and the same as another place sees it.
    fn prices() -> (Vec<DayValue>, Vec<DayValue>) {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(7);
        let mut price: f64 = 10_000.0;
        let days = day("2019-01-01").iter_days().take(1096);
        let truth: Vec<DayValue> = days
            .map(|day| {
                price *= 1.0 + random.random_range(-0.04..0.042);
                (day, price)
            })
            .collect();
        let other = truth.iter().map(|(day, price)| {
            (
                *day,
                1.1 * price * (1.0 + random.random_range(-0.003..0.003)),
            )
        });
        let other = other.collect();
        (truth, other)
    }

    fn redate(values: &[DayValue], days: impl Fn(NaiveDate) -> i64) -> Vec<DayValue> {
        let moved = values.iter().map(|(day, value)| {
            let to = *day + chrono::TimeDelta::days(days(*day));
            (to, *value)
        });
        moved.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// The last Sundays of March and October.
    fn is_summer(day: NaiveDate) -> bool {
        let last_sunday = |month| {
            let end = NaiveDate::from_ymd_opt(day.year(), month, 31).unwrap();
            end - chrono::TimeDelta::days(end.weekday().num_days_from_sunday().into())
        };
        last_sunday(3) <= day && day < last_sunday(10)
    }

    #[track_caller]
    fn assert_near(found: NaiveDate, expected: &str) {
        let apart = (found - day(expected)).num_days().abs();
        assert!(apart <= 3, "{found} is {apart} days from {expected}");
    }

    #[test]
    fn two_that_agree_and_two_that_have_nothing_to_do_with_each_other_raise_no_alarm() {
        let (a, b) = prices();
        assert_eq!(compare("a", &a, "b", &b), []);
        let mut random = Xoshiro256PlusPlus::seed_from_u64(8);
        let c: Vec<DayValue> = a
            .iter()
            .map(|(day, _)| (*day, random.random_range(1.0..2.0)))
            .collect();
        assert_eq!(compare("a", &a, "c", &c), []);
        assert_eq!(compare("a", &a, "constant", &redate(&[], |_| 0)), []);
    }

    #[test]
    fn a_series_that_is_a_day_late_or_early_throughout_is_found() {
        let (a, b) = prices();
        for days in [1, -1] {
            let found = compare("a", &a, "b", &redate(&b, |_| days));
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].days, found[0].switches), (days, false));
            let way = if days > 0 { "later" } else { "earlier" };
            assert!(
                found[0]
                    .to_string()
                    .contains(&format!("b is dated a day {way} than a from 2019-01-0"))
            );
        }
    }

    #[test]
    fn local_time_with_summer_time_is_found_with_its_dates() {
        let (a, b) = prices();
        // Midnight in London is 23:00 UTC of the day before in summer.
        let b = redate(&b, |day| -i64::from(is_summer(day)));
        let found = compare("a", &a, "b", &b);
        assert_eq!(found.len(), 3, "{found:?}");
        let expected = [
            ("2019-03-31", "2019-10-26"),
            ("2020-03-29", "2020-10-24"),
            ("2021-03-28", "2021-10-30"),
        ];
        for (found, (from, to)) in found.iter().zip(expected) {
            assert_eq!((found.days, found.switches), (-1, true));
            assert_near(found.from, from);
            assert_near(found.to, to);
        }
        assert!(found[0].to_string().contains("summer time"));
    }

    #[test]
    fn sources_of_one_name_and_the_prices_are_compared() {
        let (a, b) = prices();
        let late = redate(&b, |_| 1);
        let mut logs = Logs::new();
        for (source, name, values) in [
            ("blockchain", "market_price", &a),
            ("binance", "close", &late),
            ("elsewhere", "volume", &late),
        ] {
            logs.entry(source.to_owned())
                .or_default()
                .entry(SeriesName::of_chart(name))
                .or_default()
                .merge(values, DateTime::UNIX_EPOCH);
        }
        let found = find(&logs);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].series, "binance/close");
        assert_eq!(
            (found[0].other.as_str(), found[0].days),
            ("blockchain/market_price", -1)
        );
    }
}
