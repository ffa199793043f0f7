//! How far apart rows are, and the grid of instants that follows from it.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, Months, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The largest number of units in one step of a [`Frequency`], and the most steps ahead that an
/// instant is looked for.
pub const MAX_STEPS: usize = 100_000;
/// How many instants off the grid an error names.
const OFF_GRID_SHOWN: usize = 3;

/// The step from one row of a series to the next.
///
/// It is what "one step ahead" means: the instant of a forecast's target follows from it, not
/// from the number of rows. Days are days of 24 hours in UTC.
///
/// ```
/// use btc_models::Frequency;
///
/// assert_eq!("15 minutes".parse::<Frequency>()?, Frequency::minutes(15));
/// assert_eq!("business-days".parse::<Frequency>()?, Frequency::BusinessDays);
/// assert_eq!(Frequency::hours(1).to_string(), "1 hour");
/// # Ok::<(), btc_models::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
#[non_exhaustive]
pub enum Frequency {
    /// Every so many seconds.
    Seconds(u32),
    /// Every so many minutes.
    Minutes(u32),
    /// Every so many hours.
    Hours(u32),
    /// Every so many days.
    Days(u32),
    /// Monday to Friday. Where every row is known at the midnight after its day, the instants are
    /// those from Tuesday to Saturday, and they count as well.
    BusinessDays,
    /// Every so many weeks.
    Weeks(u32),
    /// Every so many months, on the same day of the month, or on the last one.
    Months(u32),
    /// No grid: a step is the next row, whenever it comes, and no target has an instant before it
    /// is there.
    Irregular,
}

impl Frequency {
    /// Every `n` minutes.
    pub const fn minutes(n: u32) -> Self {
        Self::Minutes(n)
    }

    /// Every `n` hours.
    pub const fn hours(n: u32) -> Self {
        Self::Hours(n)
    }

    /// Every `n` days.
    pub const fn days(n: u32) -> Self {
        Self::Days(n)
    }

    /// Every `n` weeks.
    pub const fn weeks(n: u32) -> Self {
        Self::Weeks(n)
    }

    /// Every `n` months.
    pub const fn months(n: u32) -> Self {
        Self::Months(n)
    }

    /// The seasons that a series of this frequency usually has, in steps, shortest first: a day
    /// and a week for minutes and hours, a week for days (five steps for business days), a year
    /// for weeks and months. Empty where a season is not a whole number of at least two steps.
    ///
    /// ```
    /// use btc_models::Frequency;
    ///
    /// assert_eq!(Frequency::hours(1).seasons(), [24, 168]);
    /// assert_eq!(Frequency::days(1).seasons(), [7]);
    /// assert_eq!(Frequency::BusinessDays.seasons(), [5]);
    /// assert_eq!(Frequency::weeks(1).seasons(), [52]);
    /// ```
    pub fn seasons(self) -> Vec<usize> {
        const DAY: u64 = 24 * 60 * 60;
        let of_seconds = |step: u64| {
            [DAY, 7 * DAY]
                .into_iter()
                .filter(|season| 0 < step && season % step == 0 && 2 <= season / step)
                .map(|season| (season / step) as usize)
                .collect()
        };
        match self {
            Self::Seconds(n) => of_seconds(u64::from(n)),
            Self::Minutes(n) => of_seconds(60 * u64::from(n)),
            Self::Hours(n) => of_seconds(3600 * u64::from(n)),
            Self::Days(n) => of_seconds(DAY * u64::from(n)),
            Self::BusinessDays => vec![5],
            Self::Weeks(1) => vec![52],
            Self::Weeks(n) if n != 0 && 52 % n == 0 && n < 52 => vec![52 / n as usize],
            Self::Months(n) if n != 0 && 12 % n == 0 && n < 12 => vec![12 / n as usize],
            Self::Weeks(_) | Self::Months(_) | Self::Irregular => Vec::new(),
        }
    }

    /// The seconds of a step, where all steps are of one length.
    pub fn seconds(self) -> Option<i64> {
        Some(match self {
            Self::Seconds(n) => i64::from(n),
            Self::Minutes(n) => 60 * i64::from(n),
            Self::Hours(n) => 3600 * i64::from(n),
            Self::Days(n) => 24 * 3600 * i64::from(n),
            Self::Weeks(n) => 7 * 24 * 3600 * i64::from(n),
            Self::BusinessDays | Self::Months(_) | Self::Irregular => return None,
        })
    }

    fn parts(self) -> Option<(u32, &'static str)> {
        Some(match self {
            Self::Seconds(n) => (n, "second"),
            Self::Minutes(n) => (n, "minute"),
            Self::Hours(n) => (n, "hour"),
            Self::Days(n) => (n, "day"),
            Self::Weeks(n) => (n, "week"),
            Self::Months(n) => (n, "month"),
            Self::BusinessDays | Self::Irregular => return None,
        })
    }

    pub(crate) fn validate(self) -> Result<()> {
        match self.parts() {
            Some((n, _)) if n == 0 || MAX_STEPS < n as usize => Err(Error::invalid(
                "frequency",
                self,
                "a step of 1 to 100000 units",
            )),
            _ => Ok(()),
        }
    }

    /// The frequency of most steps between `instants`: robust to holes, and to none of them.
    /// Irregular with fewer than two instants, or where no unit fits.
    pub(crate) fn infer(instants: &[DateTime<Utc>]) -> Self {
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        for pair in instants.windows(2) {
            *counts
                .entry((pair[1] - pair[0]).num_milliseconds())
                .or_default() += 1;
        }
        // Of equally common steps the smallest, of which the others may be multiples.
        let Some((step, _)) = counts.iter().rev().max_by_key(|(_, count)| **count) else {
            return Self::Irregular;
        };
        const DAY: i64 = 24 * 3600;
        if step % 1000 != 0 {
            return Self::Irregular;
        }
        let units = |seconds: i64| u32::try_from(seconds).unwrap_or(u32::MAX);
        match step / 1000 {
            DAY if is_business(instants) => Self::BusinessDays,
            s if s % DAY == 0 && (28..=31).contains(&(s / DAY)) && !is_weekly(&counts) => {
                Self::Months(1)
            }
            s if s % DAY == 0 && (90..=92).contains(&(s / DAY)) => Self::Months(3),
            s if s % DAY == 0 && (365..=366).contains(&(s / DAY)) => Self::Months(12),
            s if s % (7 * DAY) == 0 => Self::Weeks(units(s / (7 * DAY))),
            s if s % DAY == 0 => Self::Days(units(s / DAY)),
            s if s % 3600 == 0 => Self::Hours(units(s / 3600)),
            s if s % 60 == 0 => Self::Minutes(units(s / 60)),
            s => Self::Seconds(units(s)),
        }
    }
}

/// Whether all steps are of whole weeks, as no twelve months are.
fn is_weekly(counts: &BTreeMap<i64, usize>) -> bool {
    const WEEK: i64 = 7 * 24 * 3600 * 1000;
    counts.keys().all(|step| step % WEEK == 0)
}

/// Whether days go on over weekends without one of their days.
fn is_business(instants: &[DateTime<Utc>]) -> bool {
    let weekend = |pair: &[DateTime<Utc>]| (pair[1] - pair[0]) == TimeDelta::days(3);
    weekend_shift(instants).is_some() && instants.windows(2).any(weekend)
}

/// By how many days instants are later than the business days that they belong to: 0 if none is
/// on a Saturday or Sunday, 1 if none is on a Sunday or Monday, otherwise none.
fn weekend_shift(instants: &[DateTime<Utc>]) -> Option<u32> {
    (0..=1).find(|shift| {
        instants
            .iter()
            .all(|at| business_day(*at, *shift).is_some())
    })
}

/// The business days from the Monday of the year 1 to the one that `at` belongs to.
fn business_day(at: DateTime<Utc>, shift: u32) -> Option<i64> {
    // The first day of the year 1 is a Monday, and the first day from the common era on.
    let days = i64::from(at.date_naive().num_days_from_ce()) - 1 - i64::from(shift);
    let (week, day) = (days.div_euclid(7), days.rem_euclid(7));
    (day < 5).then_some(5 * week + day)
}

impl std::fmt::Display for Frequency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self, self.parts()) {
            (_, Some((1, unit))) => f.pad(&format!("1 {unit}")),
            (_, Some((n, unit))) => f.pad(&format!("{n} {unit}s")),
            (Self::BusinessDays, None) => f.pad("1 business day"),
            (_, None) => f.pad("irregular"),
        }
    }
}

impl From<Frequency> for String {
    fn from(frequency: Frequency) -> Self {
        frequency.to_string()
    }
}

impl TryFrom<String> for Frequency {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// The units' names as they are offered to whoever writes another one.
const UNITS: [&str; 8] = [
    "seconds",
    "minutes",
    "hours",
    "days",
    "business-days",
    "weeks",
    "months",
    "irregular",
];

impl std::str::FromStr for Frequency {
    type Err = Error;

    /// Reads what [`Display`](std::fmt::Display) writes: a number and a unit, or a unit alone.
    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let n = match number {
            "" => 1,
            number => number
                .parse()
                .map_err(|_| Error::invalid("frequency", text, "a step of 1 to 100000 units"))?,
        };
        let name = unit.trim().to_ascii_lowercase().replace([' ', '_'], "-");
        let frequency = match name.trim_end_matches('s') {
            "second" => Self::Seconds(n),
            "minute" | "min" => Self::Minutes(n),
            "hour" => Self::Hours(n),
            "day" => Self::Days(n),
            "business-day" if n == 1 => Self::BusinessDays,
            "week" => Self::Weeks(n),
            "month" => Self::Months(n),
            "irregular" if number.is_empty() => Self::Irregular,
            _ => return Err(Error::unknown("frequency", text, &UNITS)),
        };
        frequency.validate()?;
        Ok(frequency)
    }
}

/// The instants of a series: a frequency and where it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) frequency: Frequency,
    anchor: DateTime<Utc>,
    /// Days that instants are later than their business days.
    shift: u32,
    /// Whether months are counted from last day to last day.
    month_ends: bool,
}

impl Grid {
    /// The grid of `frequency` that `instants` lie on, and each one's number of steps from a
    /// common one.
    ///
    /// # Errors
    ///
    /// Instants that are on no such grid, the first few of them named.
    pub(crate) fn fit(
        frequency: Frequency,
        instants: &[DateTime<Utc>],
    ) -> Result<(Self, Vec<i64>)> {
        frequency.validate()?;
        let month_ends = instants.iter().all(|at| {
            let next = at.date_naive().checked_add_days(Days::new(1));
            next.is_some_and(|next| next.day() == 1)
        });
        let latest_day = instants.iter().max_by_key(|at| at.day());
        let anchor = match frequency {
            // Months are counted from the latest day, of which February has a part.
            Frequency::Months(_) => latest_day.copied(),
            // The first instant may itself be the one that is off the grid.
            _ => most_common_phase(frequency, instants),
        };
        let mut grid = Self {
            frequency,
            anchor: anchor.unwrap_or_default(),
            shift: 0,
            month_ends,
        };
        if frequency == Frequency::BusinessDays {
            grid.shift = weekend_shift(instants).unwrap_or(0);
        }
        if frequency == Frequency::Irregular {
            return Ok((grid, (0..instants.len() as i64).collect()));
        }
        let mut steps = Vec::with_capacity(instants.len());
        let mut outside = Vec::new();
        for at in instants {
            match grid.step_of(*at) {
                Some(step) => steps.push(step),
                None => outside.push(*at),
            }
        }
        if !outside.is_empty() {
            return Err(Error::OffGrid {
                frequency,
                count: outside.len(),
                first: outside.into_iter().take(OFF_GRID_SHOWN).collect(),
            });
        }
        Ok((grid, steps))
    }

    /// The number of steps from the anchor to an instant, if it is on the grid.
    pub(crate) fn step_of(&self, at: DateTime<Utc>) -> Option<i64> {
        if let Some(seconds) = self.frequency.seconds() {
            let (step, since) = (seconds.checked_mul(1000)?, at - self.anchor);
            let exact = TimeDelta::milliseconds(since.num_milliseconds()) == since;
            let ms = since.num_milliseconds();
            return (exact && ms % step == 0).then_some(ms / step);
        }
        match self.frequency {
            Frequency::BusinessDays if at.time() == self.anchor.time() => {
                let from = business_day(self.anchor, self.shift)?;
                Some(business_day(at, self.shift)? - from)
            }
            Frequency::Months(n) => {
                let month = |at: DateTime<Utc>| 12 * i64::from(at.year()) + i64::from(at.month0());
                let (months, n) = (month(at) - month(self.anchor), i64::from(n));
                let step = (months % n == 0).then_some(months / n)?;
                (self.later(self.anchor, step)? == at).then_some(step)
            }
            _ => None,
        }
    }

    /// The instant `steps` after one of the grid; none for an irregular series, or beyond the
    /// calendar.
    pub(crate) fn later(&self, at: DateTime<Utc>, steps: i64) -> Option<DateTime<Utc>> {
        if let Some(seconds) = self.frequency.seconds() {
            return at.checked_add_signed(TimeDelta::try_seconds(seconds.checked_mul(steps)?)?);
        }
        match self.frequency {
            Frequency::BusinessDays => {
                let from = business_day(at, self.shift)?;
                let to = from.checked_add(steps)?;
                let day = |business: i64| 7 * business.div_euclid(5) + business.rem_euclid(5);
                at.checked_add_signed(TimeDelta::try_days(day(to) - day(from))?)
            }
            Frequency::Months(n) => {
                let add = |at: DateTime<Utc>, months: i64| {
                    let size = Months::new(u32::try_from(months.unsigned_abs()).ok()?);
                    if months < 0 {
                        at.checked_sub_months(size)
                    } else {
                        at.checked_add_months(size)
                    }
                };
                // From the anchor, as a day that February cuts comes back in March.
                let month = |at: DateTime<Utc>| 12 * i64::from(at.year()) + i64::from(at.month0());
                let months = month(at) - month(self.anchor) + i64::from(n).checked_mul(steps)?;
                let later = add(self.anchor, months)?;
                if !self.month_ends {
                    return Some(later);
                }
                let first = later.with_day(1)?;
                add(first, 1)?.checked_sub_days(Days::new(1))
            }
            _ => None,
        }
    }
}

/// An instant of the offset within a step that most instants have.
fn most_common_phase(frequency: Frequency, instants: &[DateTime<Utc>]) -> Option<DateTime<Utc>> {
    let step = match frequency {
        Frequency::BusinessDays => 24 * 3600,
        frequency => frequency.seconds()?,
    };
    let mut counts: BTreeMap<i64, (usize, DateTime<Utc>)> = BTreeMap::new();
    for at in instants {
        let phase = at.timestamp_millis().rem_euclid(1000 * step);
        counts.entry(phase).or_insert((0, *at)).0 += 1;
    }
    let most = counts.values().rev().max_by_key(|(count, _)| *count);
    most.map(|(_, at)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[track_caller]
    fn check(instants: &[&str], frequency: Frequency, next: &str) {
        let instants: Vec<_> = instants.iter().map(|text| at(text)).collect();
        assert_eq!(Frequency::infer(&instants), frequency);
        let (grid, steps) = Grid::fit(frequency, &instants).unwrap();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(grid.later(instants[instants.len() - 1], 1), Some(at(next)));
    }

    #[test]
    fn the_commonest_step_is_the_frequency_whatever_the_holes() {
        check(
            &[
                "2024-01-01T00:00:00Z",
                "2024-01-02T00:00:00Z",
                "2024-01-03T00:00:00Z",
                "2024-01-09T00:00:00Z",
            ],
            Frequency::days(1),
            "2024-01-10T00:00:00Z",
        );
        check(
            &[
                "2024-01-01T21:13:00Z",
                "2024-01-01T22:13:00Z",
                "2024-01-01T23:13:00Z",
            ],
            Frequency::hours(1),
            "2024-01-02T00:13:00Z",
        );
        check(
            &[
                "2024-01-07T00:00:00Z",
                "2024-01-14T00:00:00Z",
                "2024-01-28T00:00:00Z",
                "2024-02-04T00:00:00Z",
            ],
            Frequency::weeks(1),
            "2024-02-11T00:00:00Z",
        );
        check(
            &[
                "2024-01-01T00:00:00Z",
                "2024-01-01T00:15:00Z",
                "2024-01-01T00:30:00Z",
            ],
            Frequency::minutes(15),
            "2024-01-01T00:45:00Z",
        );
    }

    #[test]
    fn business_days_skip_weekends_by_day_and_by_the_midnight_after() {
        // Thursday, Friday, Monday, Tuesday, Wednesday, Thursday, Friday; then a Monday.
        let closes: Vec<String> = [4, 5, 8, 9, 10, 11, 12]
            .map(|day| format!("2024-01-{day:02}T16:00:00Z"))
            .to_vec();
        let closes: Vec<&str> = closes.iter().map(String::as_str).collect();
        check(&closes, Frequency::BusinessDays, "2024-01-15T16:00:00Z");
        // The same days as known at the following midnight: Friday is known on Saturday.
        let known: Vec<String> = [5, 6, 9, 10, 11, 12, 13]
            .map(|day| format!("2024-01-{day:02}T00:00:00Z"))
            .to_vec();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        check(&known, Frequency::BusinessDays, "2024-01-16T00:00:00Z");
    }

    #[test]
    fn months_keep_their_day_and_their_end() {
        check(
            &[
                "2024-01-31T00:00:00Z",
                "2024-02-29T00:00:00Z",
                "2024-03-31T00:00:00Z",
                "2024-04-30T00:00:00Z",
            ],
            Frequency::months(1),
            "2024-05-31T00:00:00Z",
        );
        check(
            &[
                "2023-01-15T00:00:00Z",
                "2023-02-15T00:00:00Z",
                "2023-03-15T00:00:00Z",
                "2023-04-15T00:00:00Z",
            ],
            Frequency::months(1),
            "2023-05-15T00:00:00Z",
        );
    }

    #[test]
    fn instants_off_the_grid_are_named() {
        let instants = [
            "2024-01-01T00:30:00Z",
            "2024-01-02T00:00:00Z",
            "2024-01-03T00:00:00Z",
        ]
        .map(at);
        let error = Grid::fit(Frequency::days(1), &instants).unwrap_err();
        assert!(error.to_string().contains("2024-01-01 00:30:00"), "{error}");
        assert!(Grid::fit(Frequency::Irregular, &instants).is_ok());
        assert!(Grid::fit(Frequency::Days(0), &instants).is_err());
    }

    #[test]
    fn a_frequency_is_read_as_it_is_written() {
        for frequency in [
            Frequency::Seconds(30),
            Frequency::minutes(1),
            Frequency::hours(6),
            Frequency::days(1),
            Frequency::BusinessDays,
            Frequency::weeks(2),
            Frequency::months(3),
            Frequency::Irregular,
        ] {
            assert_eq!(
                frequency.to_string().parse::<Frequency>().unwrap(),
                frequency
            );
        }
        for wrong in ["", "0 days", "100001 days", "fortnight", "2 business days"] {
            assert!(wrong.parse::<Frequency>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_instant_beyond_the_calendar_is_none() {
        let (grid, _) = Grid::fit(Frequency::days(1), &[at("2024-01-01T00:00:00Z")]).unwrap();
        assert_eq!(grid.later(at("2024-01-01T00:00:00Z"), i64::MAX), None);
    }
}
