//! Dates as people write them: what a column's cells can mean, settled over the whole column.

use super::options::{DateFormat, EpochUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

/// What comes first in dates such as 03/04/2024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Day,
    Month,
    /// With a year of two digits, as 24/12/29.
    ShortYear,
}

const ORDERS: [Order; 3] = [Order::Day, Order::Month, Order::ShortYear];

/// Three numbers of one or two digits, the last possibly of four, whose order is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Triple {
    parts: [u32; 3],
    long_year: bool,
}

impl Triple {
    fn day(self, order: Order) -> Option<NaiveDate> {
        let [a, b, c] = self.parts;
        let year = |short: u32| {
            // POSIX: 69 to 99 are of the last century.
            let long = if short < 69 {
                2000 + short
            } else {
                1900 + short
            };
            i32::try_from(long).ok()
        };
        let last = if self.long_year {
            i32::try_from(c).ok()
        } else {
            year(c)
        };
        match order {
            Order::Day => NaiveDate::from_ymd_opt(last?, b, a),
            Order::Month => NaiveDate::from_ymd_opt(last?, a, b),
            Order::ShortYear if self.long_year => None,
            Order::ShortYear => NaiveDate::from_ymd_opt(year(a)?, b, c),
        }
    }
}

/// A number in a date column; whole ones are kept exactly.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Count {
    Whole(i64),
    Other(f64),
}

impl Count {
    fn of_text(text: &str) -> Option<Self> {
        match text.parse() {
            Ok(whole) => Some(Self::Whole(whole)),
            Err(_) => text.parse().ok().map(Self::of_number),
        }
    }

    /// A number of a column of floating-point numbers.
    pub(super) fn of_number(number: f64) -> Self {
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if number.fract() == 0.0 && number.abs() <= EXACT {
            Self::Whole(number as i64)
        } else {
            Self::Other(number)
        }
    }

    fn value(self) -> f64 {
        match self {
            Self::Whole(whole) => whole as f64,
            Self::Other(number) => number,
        }
    }

    fn digits(self) -> String {
        match self {
            Self::Whole(whole) => whole.to_string(),
            Self::Other(_) => String::new(),
        }
    }

    fn since_epoch(self, unit: EpochUnit) -> Option<NaiveDateTime> {
        match self {
            Self::Whole(count) => {
                let per_second = unit.per_second() as i64;
                let rest = count.rem_euclid(per_second) * (1_000_000_000 / per_second);
                let rest = u32::try_from(rest).ok()?;
                Some(DateTime::from_timestamp(count.div_euclid(per_second), rest)?.naive_utc())
            }
            Self::Other(number) => {
                let seconds = number / unit.per_second();
                let rest = (seconds - seconds.floor()) * 1e9;
                let whole = (seconds.abs() < 1e15).then_some(seconds.floor() as i64)?;
                let rest = rest.clamp(0.0, 999_999_999.0) as u32;
                Some(DateTime::from_timestamp(whole, rest)?.naive_utc())
            }
        }
    }
}

/// A cell of the date column, as far as it can be read alone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    /// An instant in UTC.
    Clear(NaiveDateTime),
    /// A day in one of several orders, a time of day, and the zone's distance from UTC.
    Open(Triple, TimeDelta),
    /// A number.
    Number(Count),
}

/// How the dates of a column read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    format: Option<DateFormat>,
    order: Option<Order>,
    /// Numbers of ten digits are year, month, day and hour.
    hours: bool,
    /// Numbers of twelve digits are year, month, day, hour and minute.
    minutes: bool,
}

impl Reading {
    /// Reads a text as an instant in UTC.
    pub(super) fn text(&self, text: &str) -> Option<NaiveDateTime> {
        let text = text.trim();
        match &self.format {
            Some(DateFormat::Pattern(pattern)) => return by_pattern(text, pattern),
            Some(DateFormat::Epoch(unit)) => return Count::of_text(text)?.since_epoch(*unit),
            Some(DateFormat::YearFirst) if matches!(shape(text), Some(Shape::Number(_))) => {
                return compact(text);
            }
            Some(DateFormat::DayFirst | DateFormat::MonthFirst | DateFormat::YearFirst) | None => {}
        }
        match shape(text)? {
            Shape::Clear(instant) => Some(instant),
            Shape::Open(triple, rest) => {
                let day = triple.day(self.order?)?;
                day.and_time(NaiveTime::MIN).checked_add_signed(rest)
            }
            Shape::Number(number) if self.format.is_none() => self.digits(text, number),
            Shape::Number(_) => None,
        }
    }

    /// Reads a number of a typed column as an instant in UTC.
    pub(super) fn number(&self, number: Count) -> Option<NaiveDateTime> {
        match &self.format {
            Some(DateFormat::Epoch(unit)) => number.since_epoch(*unit),
            Some(DateFormat::YearFirst) => compact(&number.digits()),
            Some(_) => None,
            None => self.digits(&number.digits(), number),
        }
    }

    fn digits(&self, text: &str, number: Count) -> Option<NaiveDateTime> {
        match text.len() {
            8 | 14 => {
                if let Some(instant) = compact(text) {
                    return Some(instant);
                }
            }
            10 if self.hours => return compact(text),
            12 if self.minutes => return compact(text),
            _ => {}
        }
        number.since_epoch(EpochUnit::of_magnitude(number.value())?)
    }
}

/// What a column's cells say about how its dates read.
#[derive(Debug, Clone)]
pub(super) struct DateSurvey {
    seen: usize,
    clear: usize,
    open: usize,
    /// The first cell whose order is open.
    first_open: Option<(u64, String)>,
    units: Vec<EpochUnit>,
    compact: usize,
    /// For each order: a row that can be read in it alone of day first and month first.
    only: [Option<u64>; 2],
    /// For each order: whether every open cell can be read in it, and the days go one way.
    ways: [Way; 3],
    /// Whether a cell is one day with the day first and another with the month first.
    differs: bool,
    hours: bool,
    minutes: bool,
    named: bool,
}

#[derive(Debug, Clone, Copy)]
struct Way {
    possible: bool,
    up: bool,
    down: bool,
    last: Option<NaiveDate>,
}

impl Way {
    fn goes_one_way(self) -> bool {
        self.possible && (self.up || self.down)
    }
}

impl Default for DateSurvey {
    fn default() -> Self {
        let way = Way {
            possible: true,
            up: true,
            down: true,
            last: None,
        };
        Self {
            seen: 0,
            clear: 0,
            open: 0,
            first_open: None,
            units: Vec::new(),
            compact: 0,
            only: [None; 2],
            ways: [way; 3],
            differs: false,
            hours: true,
            minutes: true,
            named: false,
        }
    }
}

/// The order of day and month cannot be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OpenOrder(pub(super) String);

impl DateSurvey {
    /// Looks at a text in the date column of row `row`.
    pub(super) fn text(&mut self, row: u64, text: &str) {
        let text = text.trim();
        match shape(text) {
            None => {}
            Some(Shape::Clear(_)) => {
                self.seen += 1;
                self.clear += 1;
                self.named |= text.chars().any(|c| c.is_alphabetic() && c != 'T')
                    && text.chars().next().is_some_and(char::is_alphabetic);
            }
            Some(Shape::Number(number)) => self.digits(text, number),
            Some(Shape::Open(triple, _)) => self.triple(row, text, triple),
        }
    }

    /// Looks at a number in the date column.
    pub(super) fn number(&mut self, number: Count) {
        self.digits(&number.digits(), number);
    }

    /// Notes a cell whose type is a day or an instant.
    pub(super) fn typed(&mut self) {
        self.seen += 1;
        self.clear += 1;
    }

    fn digits(&mut self, text: &str, number: Count) {
        self.seen += 1;
        match text.len() {
            8 | 14 if compact(text).is_some() => self.compact += 1,
            10 | 12 if compact(text).is_some() => {
                self.compact += 1;
                self.unit(number);
            }
            length => {
                self.hours &= length != 10;
                self.minutes &= length != 12;
                self.unit(number);
            }
        }
    }

    fn unit(&mut self, number: Count) {
        if let Some(unit) = EpochUnit::of_magnitude(number.value())
            && !self.units.contains(&unit)
        {
            self.units.push(unit);
        }
    }

    fn triple(&mut self, row: u64, text: &str, triple: Triple) {
        let days = ORDERS.map(|order| triple.day(order));
        if days.iter().all(Option::is_none) {
            return;
        }
        self.seen += 1;
        self.open += 1;
        if self.first_open.is_none() {
            self.first_open = Some((row, text.to_owned()));
        }
        match (days[0], days[1]) {
            (Some(_), None) => {
                self.only[0].get_or_insert(row);
            }
            (None, Some(_)) => {
                self.only[1].get_or_insert(row);
            }
            (day_first, month_first) => self.differs |= day_first != month_first,
        }
        for (way, day) in self.ways.iter_mut().zip(days) {
            let Some(day) = day else {
                way.possible = false;
                continue;
            };
            if let Some(last) = way.last {
                way.up &= last <= day;
                way.down &= day <= last;
            }
            way.last = Some(day);
        }
    }

    /// Settles how the column reads.
    ///
    /// # Errors
    ///
    /// Fails if day and month cannot be told apart and `format` does not say it.
    pub(super) fn settle(
        &self,
        format: Option<&DateFormat>,
        unit_of_rows: &str,
    ) -> Result<Reading, OpenOrder> {
        let order = match format {
            Some(DateFormat::DayFirst) => Some(Order::Day),
            Some(DateFormat::MonthFirst) => Some(Order::Month),
            Some(DateFormat::YearFirst) => Some(Order::ShortYear),
            Some(_) => None,
            None => self.order(unit_of_rows)?,
        };
        Ok(Reading {
            format: format.cloned(),
            order,
            hours: self.hours,
            minutes: self.minutes,
        })
    }

    fn order(&self, rows: &str) -> Result<Option<Order>, OpenOrder> {
        let Some((row, text)) = &self.first_open else {
            return Ok(None);
        };
        let [day_first, month_first, year_first] = self.ways;
        // A year of two digits in front is rare: it counts if the days go one way in no other.
        let by_year = year_first.goes_one_way();
        let one_way = day_first.goes_one_way() || month_first.goes_one_way();
        if by_year && !one_way && self.open > 1 {
            return Ok(Some(Order::ShortYear));
        }
        let maybe_year = by_year && year_first.last != day_first.last;
        match self.only {
            [Some(day), Some(month)] => Err(OpenOrder(format!(
                "the dates are mixed: {rows} {day} can only have the day first, {rows} {month} \
                 only the month"
            ))),
            [Some(_), None] if !maybe_year => Ok(Some(Order::Day)),
            [None, Some(_)] if !maybe_year => Ok(Some(Order::Month)),
            [Some(_), None] | [None, Some(_)] => Err(OpenOrder(format!(
                "{rows} {row}: {text:?} can begin with the day or with a year of two digits, and \
                 no other row tells"
            ))),
            [None, None] if !day_first.possible && !month_first.possible => {
                Ok(Some(Order::ShortYear))
            }
            // The day and the month are one number in every row.
            [None, None] if !self.differs && !maybe_year => Ok(Some(Order::Day)),
            [None, None] => Err(OpenOrder(format!(
                "{rows} {row}: {text:?} can have the day or the month first, and no other row \
                 tells"
            ))),
        }
    }

    /// Says in a few words how the dates read.
    pub(super) fn describe(&self, reading: &Reading) -> String {
        if let Some(format) = &reading.format {
            return format!("dates as asked for ({format})");
        }
        let mut kinds: Vec<String> = Vec::new();
        match reading.order {
            Some(Order::Day) => kinds.push("day first".to_owned()),
            Some(Order::Month) => kinds.push("month first".to_owned()),
            Some(Order::ShortYear) => kinds.push("short year first".to_owned()),
            None => {}
        }
        if self.clear > 0 {
            kinds.push(if self.named {
                "with names of months".to_owned()
            } else {
                "year first".to_owned()
            });
        }
        let digits =
            self.compact > 0 && (reading.hours || reading.minutes || self.units.is_empty());
        if digits {
            kinds.push("compact".to_owned());
        }
        let units = self
            .units
            .iter()
            .filter(|_| !digits || self.compact < self.seen);
        kinds.extend(units.map(|unit| format!("epoch in {}", unit.in_words())));
        match kinds.as_slice() {
            [] => "no dates".to_owned(),
            kinds => format!("dates {}", kinds.join(" and ")),
        }
    }
}

/// Whether a text reads as a date or a time since 1970 of some kind.
pub(super) fn looks_like_date(text: &str) -> bool {
    match shape(text.trim()) {
        None => false,
        Some(Shape::Clear(_)) => true,
        Some(Shape::Open(triple, _)) => ORDERS.iter().any(|order| triple.day(*order).is_some()),
        Some(Shape::Number(number)) => {
            compact(text.trim()).is_some() || EpochUnit::of_magnitude(number.value()).is_some()
        }
    }
}

/// `20241229`, or that followed by hours, minutes and seconds.
fn compact(text: &str) -> Option<NaiveDateTime> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let part = |from: usize, to: usize| text.get(from..to)?.parse::<u32>().ok();
    let or_zero = |from: usize| {
        if from < text.len() {
            part(from, from + 2)
        } else {
            Some(0)
        }
    };
    if !matches!(text.len(), 8 | 10 | 12 | 14) {
        return None;
    }
    let year = i32::try_from(part(0, 4)?).ok()?;
    // Ten digits that begin with 17 are seconds since 1970, of our days.
    let years = match text.len() {
        10 | 12 => 1900..=2100,
        _ => 1700..=2200,
    };
    if !years.contains(&year) {
        return None;
    }
    let day = NaiveDate::from_ymd_opt(year, part(4, 6)?, part(6, 8)?)?;
    day.and_hms_opt(or_zero(8)?, or_zero(10)?, or_zero(12)?)
}

fn by_pattern(text: &str, pattern: &str) -> Option<NaiveDateTime> {
    if let Ok(instant) = DateTime::parse_from_str(text, pattern) {
        return Some(instant.naive_utc());
    }
    if let Ok(instant) = NaiveDateTime::parse_from_str(text, pattern) {
        return Some(instant);
    }
    let day = NaiveDate::parse_from_str(text, pattern).ok()?;
    Some(day.and_time(NaiveTime::MIN))
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

const WEEKDAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// The number, from 1, of a name that is given whole or by three letters or more.
fn number_of_name(names: &[&str], word: &str) -> Option<u32> {
    let word = word.to_ascii_lowercase();
    let found = names
        .iter()
        .position(|name| word.len() >= 3 && name.starts_with(word.as_str()))?;
    u32::try_from(found + 1).ok()
}

fn shape(text: &str) -> Option<Shape> {
    /// No date is longer; the rest is not worth a look.
    const LONGEST: usize = 80;
    if text.is_empty() || text.len() > LONGEST {
        return None;
    }
    let plain = text.strip_prefix(['+', '-']).unwrap_or(text);
    if plain
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && plain.bytes().filter(|byte| *byte == b'.').count() <= 1
        && let Some(number) = Count::of_text(text)
    {
        return Some(Shape::Number(number));
    }
    let mut rest = Scanner(text);
    if let Some(word) = rest.word()
        && number_of_name(&WEEKDAYS, word).is_some()
    {
        rest.skip(|c| c == ',' || c == ' ' || c == '.');
    } else {
        rest = Scanner(text);
    }
    if let Some(word) = rest.word() {
        // Dec 29, 2024
        let month = number_of_name(&MONTHS, word)?;
        rest.separator()?;
        let day = rest.number(2)?;
        rest.ordinal();
        rest.skip(|c| matches!(c, ',' | ' ' | '-' | '/' | '.'));
        let year = rest.year()?;
        return clear(NaiveDate::from_ymd_opt(year, month, day)?, rest.0);
    }
    let digits = rest.digits()?;
    match digits.len() {
        8 => clear(compact(digits)?.date(), rest.0),
        4 => {
            let year = digits.parse().ok()?;
            let separator = rest.one_of(&['-', '/', '.', '年'])?;
            let month = match rest.word() {
                Some(word) => number_of_name(&MONTHS, word)?,
                None => rest.number(2)?,
            };
            if separator == '年' {
                rest.one_of(&['月'])?;
            } else {
                rest.one_of(&[separator])?;
            }
            let day = rest.number(2)?;
            if separator == '年' {
                rest.one_of(&['日'])?;
            }
            clear(NaiveDate::from_ymd_opt(year, month, day)?, rest.0)
        }
        1 | 2 => {
            let first = digits.parse().ok()?;
            rest.ordinal();
            let before = rest.0;
            rest.skip(|c| matches!(c, '-' | '/' | '.' | ' '));
            if let Some(word) = rest.word() {
                // 29 Dec 2024, 29-Dec-24
                let month = number_of_name(&MONTHS, word)?;
                rest.skip(|c| matches!(c, ',' | ' ' | '-' | '/' | '.'));
                let year = rest.year()?;
                return clear(NaiveDate::from_ymd_opt(year, month, first)?, rest.0);
            }
            rest = Scanner(before);
            let separator = rest.one_of(&['/', '.', '-'])?;
            let second = rest.number(2)?;
            rest.one_of(&[separator])?;
            let last = rest.digits()?;
            let long_year = match last.len() {
                4 => true,
                1 | 2 => false,
                _ => return None,
            };
            let triple = Triple {
                parts: [first, second, last.parse().ok()?],
                long_year,
            };
            let (since_midnight, offset) = time_and_zone(rest.0)?;
            Some(Shape::Open(triple, since_midnight - offset))
        }
        _ => None,
    }
}

fn clear(day: NaiveDate, rest: &str) -> Option<Shape> {
    let (since_midnight, offset) = time_and_zone(rest)?;
    let midnight = day.and_time(NaiveTime::MIN);
    let instant = midnight.checked_add_signed(since_midnight - offset)?;
    Some(Shape::Clear(instant))
}

/// The time after midnight and the zone's distance from UTC that follow a day.
fn time_and_zone(rest: &str) -> Option<(TimeDelta, TimeDelta)> {
    let none = TimeDelta::zero();
    if rest.is_empty() || rest == "Z" {
        return Some((none, none));
    }
    let mut rest = Scanner(rest);
    let basic = rest.one_of(&['T', 't']).is_some();
    if !basic {
        let before = rest.0.len();
        rest.skip(|c| matches!(c, ' ' | ',' | '_'));
        if rest.0.is_empty() || rest.0.len() == before {
            return None;
        }
        if let Some(offset) = zone(rest.0) {
            // A day in another zone is no day of UTC.
            return offset.is_zero().then_some((none, none));
        }
    }
    let digits = rest.digits()?;
    let part = |from: usize| digits.get(from..from + 2)?.parse::<i64>().ok();
    let (mut hour, minute, second) = match digits.len() {
        1 => (digits.parse().ok()?, None, None),
        2 => (part(0)?, None, None),
        4 if basic => (part(0)?, Some(part(2)?), None),
        6 if basic => (part(0)?, Some(part(2)?), Some(part(4)?)),
        _ => return None,
    };
    let (mut minute, mut second) = (minute, second);
    if minute.is_none() && rest.one_of(&[':']).is_some() {
        minute = Some(rest.pair()?);
        if rest.one_of(&[':']).is_some() {
            second = Some(rest.pair()?);
        }
    }
    let mut nanos = 0;
    if second.is_some() && rest.one_of(&['.', ',']).is_some() {
        let digits = rest.digits()?;
        let nine: String = digits.chars().chain("000000000".chars()).take(9).collect();
        nanos = nine.parse().ok()?;
    }
    let before = rest.0;
    rest.skip(|c| c == ' ' || c == '-');
    let half = rest.word().map(str::to_ascii_uppercase);
    let is_half = matches!(half.as_deref(), Some("AM" | "PM"));
    match half.as_deref() {
        Some(name @ ("AM" | "PM")) if (1..=12).contains(&hour) => {
            hour = hour % 12 + if name == "PM" { 12 } else { 0 };
        }
        Some("AM" | "PM") => return None,
        _ => rest = Scanner(before),
    }
    // An hour alone could be anything; with its half of the day it is one.
    if minute.is_none() && !is_half {
        return None;
    }
    let (minute, second) = (minute.unwrap_or(0), second.unwrap_or(0));
    let is_end = hour == 24 && minute == 0 && second == 0 && nanos == 0;
    if (hour > 23 && !is_end) || minute > 59 || second > 60 {
        return None;
    }
    let seconds = hour * 3600 + minute * 60 + second.min(59);
    let since_midnight = TimeDelta::seconds(seconds) + TimeDelta::nanoseconds(nanos);
    let offset = match rest.0.trim() {
        "" => none,
        text => zone(text)?,
    };
    Some((since_midnight, offset))
}

/// The distance of a zone from UTC: `Z`, `UTC`, `+05:30`, `GMT+0530 (India Standard Time)`.
fn zone(text: &str) -> Option<TimeDelta> {
    let text = match text.split_once('(') {
        Some((before, comment)) if comment.ends_with(')') && !before.is_empty() => before,
        _ => text,
    };
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let text = ["UTC", "GMT", "Z"]
        .into_iter()
        .find_map(|name| upper.strip_prefix(name))
        .unwrap_or(&upper);
    let text = text.trim();
    if text.is_empty() {
        return Some(TimeDelta::zero());
    }
    let sign = match text.chars().next()? {
        '+' => 1,
        '-' => -1,
        _ => return None,
    };
    let digits: String = text[1..].chars().filter(|c| *c != ':').collect();
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_plain || text[1..].matches(':').count() > 1 {
        return None;
    }
    let (hours, minutes): (i64, i64) = match digits.len() {
        1 | 2 => (digits.parse().ok()?, 0),
        4 => (digits[..2].parse().ok()?, digits[2..].parse().ok()?),
        _ => return None,
    };
    (hours <= 15 && minutes < 60).then(|| TimeDelta::minutes(sign * (hours * 60 + minutes)))
}

/// What is left of a text to be read.
struct Scanner<'a>(&'a str);

impl<'a> Scanner<'a> {
    fn take(&mut self, is_part: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.0.find(|c| !is_part(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        (!taken.is_empty()).then_some(taken)
    }

    fn digits(&mut self) -> Option<&'a str> {
        self.take(|c| c.is_ascii_digit())
    }

    fn word(&mut self) -> Option<&'a str> {
        self.take(|c| c.is_ascii_alphabetic())
    }

    fn skip(&mut self, is_part: impl Fn(char) -> bool) {
        let _ = self.take(is_part);
    }

    fn one_of(&mut self, allowed: &[char]) -> Option<char> {
        let first = self.0.chars().next().filter(|c| allowed.contains(c))?;
        self.0 = &self.0[first.len_utf8()..];
        Some(first)
    }

    fn separator(&mut self) -> Option<()> {
        self.take(|c| matches!(c, ' ' | '-' | '/' | '.'))
            .map(|_| ())
    }

    /// A number of at most `longest` digits.
    fn number(&mut self, longest: usize) -> Option<u32> {
        let digits = self.digits()?;
        (digits.len() <= longest).then(|| digits.parse().ok())?
    }

    fn pair(&mut self) -> Option<i64> {
        let digits = self.digits()?;
        (digits.len() == 2).then(|| digits.parse().ok())?
    }

    fn ordinal(&mut self) {
        for ending in ["st", "nd", "rd", "th"] {
            if let Some(rest) = self.0.strip_prefix(ending) {
                self.0 = rest;
                return;
            }
        }
    }

    fn year(&mut self) -> Option<i32> {
        let digits = self.digits()?;
        let year: i32 = digits.parse().ok()?;
        match digits.len() {
            4 => Some(year),
            2 if year < 69 => Some(2000 + year),
            2 => Some(1900 + year),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settle(texts: &[&str]) -> Result<Vec<Option<String>>, OpenOrder> {
        let mut survey = DateSurvey::default();
        for (row, text) in texts.iter().enumerate() {
            survey.text(row as u64 + 1, text);
        }
        let reading = survey.settle(None, "line")?;
        let read = |text: &&str| Some(reading.text(text)?.to_string());
        Ok(texts.iter().map(read).collect())
    }

    #[track_caller]
    fn reads(text: &str, expected: &str) {
        let read = settle(&[text]).unwrap();
        assert_eq!(read, [Some(expected.to_owned())], "{text}");
    }

    #[track_caller]
    fn refuses(text: &str) {
        assert_eq!(settle(&[text]).unwrap(), [None], "{text}");
    }

    #[test]
    fn a_clear_date_reads_in_many_notations() {
        for text in [
            "2024-12-29",
            "2024/12/29",
            "2024.12.29",
            "20241229",
            "2024-12-29T00:00:00.000Z",
            "2024-12-29 00:00:00 UTC",
            "2024-12-29 00:00:00+00:00",
            "20241229T000000Z",
            "20241229000000",
            "202412290000",
            "2024122900",
            "Dec 29, 2024",
            "December 29, 2024",
            "29 Dec 2024",
            "29-Dec-2024",
            "29-Dec-24",
            "29. Dec 2024",
            "Sun, 29 Dec 2024 00:00:00 GMT",
            "Sun Dec 29 2024 00:00:00 GMT+0000 (Coordinated Universal Time)",
            "2024-Dec-29",
            "2024年12月29日",
            "29/12/2024",
            "12/29/2024",
            "29.12.2024 00:00",
            "12/29/2024 12:00:00 AM",
            "2024-12-29 12-AM",
            "2024-12-28T24:00:00Z",
            "1735430400",
            "1735430400.0",
            "1735430400000",
            "1735430400000000",
            "1735430400000000000",
        ] {
            reads(text, "2024-12-29 00:00:00");
        }
        reads("2017-07-01 11-PM", "2017-07-01 23:00:00");
        reads("12/29/2024 1:05 PM", "2024-12-29 13:05:00");
        reads("-2208988800", "1900-01-01 00:00:00");
        reads("-126230401000", "1965-12-31 23:59:59");
        reads("1735430399999999999", "2024-12-28 23:59:59.999999999");
        reads("1731020400", "2024-11-07 23:00:00");
        reads("02/02/2024", "2024-02-02 00:00:00");
        reads("2024-12-29T01:02:03.25", "2024-12-29 01:02:03.250");
    }

    #[test]
    fn a_zone_moves_an_instant_to_utc() {
        reads("2012-01-01T23:00:00-05:00", "2012-01-02 04:00:00");
        reads("2012-01-02T03:00:00+05:30", "2012-01-01 21:30:00");
        reads("29.12.2024 01:00 +0200", "2024-12-28 23:00:00");
        reads("2012-01-01Z", "2012-01-01 00:00:00");
        for text in [
            "2012-01-01 +02:00",
            "2012-01-01T00:00:00 CET",
            "2012-01-01T00:00:00+99:00",
            "2012-01-01 00:00:00 America/New_York",
        ] {
            refuses(text);
        }
    }

    #[test]
    fn what_is_no_day_is_refused() {
        for text in [
            "",
            "yesterday",
            "2012-01-03garbage",
            "2012-01-03 garbage",
            "2012-01-03,",
            "2012-13-01",
            "2012-02-30",
            "2012-1",
            "2012",
            "45655",
            "0",
            "86400",
            "2012-01-01T25:00:00",
            "2012-01-01 5",
            "2024-364",
            "2024-W52",
            "31/31/2024",
            "99999999999999999999",
            "inf",
            "1e9",
        ] {
            refuses(text);
        }
    }

    #[test]
    fn day_and_month_are_told_apart_by_the_whole_column() {
        let day_first = settle(&["01/02/2024", "13/02/2024"]).unwrap();
        assert_eq!(day_first[0].as_deref(), Some("2024-02-01 00:00:00"));
        let month_first = settle(&["01/02/2024", "01/13/2024"]).unwrap();
        assert_eq!(month_first[0].as_deref(), Some("2024-01-02 00:00:00"));
        let error = settle(&["01/02/2024", "02/02/2024"]).unwrap_err();
        assert!(error.0.contains("line 1"), "{error:?}");
        assert!(settle(&["01.02.2024", "02.02.2024"]).is_err());
        let error = settle(&["13/02/2024", "02/13/2024"]).unwrap_err();
        assert!(error.0.contains("mixed"), "{error:?}");
        // A cell that is no date in any order does not decide.
        let typo = settle(&["13/02/2024", "45/99/2024"]).unwrap();
        assert_eq!(typo[1], None);
    }

    #[test]
    fn years_of_two_digits_are_read_where_the_days_go_one_way() {
        let read = settle(&["12/30/24", "12/31/24", "01/01/25"]).unwrap();
        assert_eq!(read[2].as_deref(), Some("2025-01-01 00:00:00"));
        let read = settle(&["30/12/24", "31/12/24", "01/01/25"]).unwrap();
        assert_eq!(read[2].as_deref(), Some("2025-01-01 00:00:00"));
        let read = settle(&["24/12/30", "24/12/31", "25/01/01"]).unwrap();
        assert_eq!(read[2].as_deref(), Some("2025-01-01 00:00:00"));
        assert!(settle(&["01/12/24", "02/12/24"]).is_err());
    }

    #[test]
    fn units_of_the_epoch_may_change_from_row_to_row() {
        let read = settle(&["1735603200000", "1735689600000000"]).unwrap();
        let days: Vec<_> = read.iter().flatten().collect();
        assert_eq!(days, ["2024-12-31 00:00:00", "2025-01-01 00:00:00"]);
    }

    #[test]
    fn a_format_that_is_asked_for_counts() {
        let with = |format: &str, text: &str| {
            let survey = DateSurvey::default();
            let reading = survey.settle(Some(&format.parse().unwrap()), "line");
            Some(reading.unwrap().text(text)?.to_string())
        };
        let day = Some("2024-02-01 00:00:00".to_owned());
        assert_eq!(with("dmy", "01/02/2024"), day);
        assert_eq!(with("mdy", "02/01/2024"), day);
        assert_eq!(with("ymd", "24/02/01"), day);
        assert_eq!(with("%d|%m|%Y", "01|02|2024"), day);
        assert_eq!(with("s", "86400").as_deref(), Some("1970-01-02 00:00:00"));
        assert_eq!(with("dmy", "20240201"), None);
    }
}
