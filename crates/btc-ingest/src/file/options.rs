//! What can be said about a file instead of being recognised.

use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

/// How a file is to be read; what is not said is recognised.
///
/// ```
/// use btc_ingest::{DecimalMark, FileOptions};
///
/// let mut options = FileOptions::default();
/// options.decimal = Some(DecimalMark::Comma);
/// options.date_format = Some("dmy".parse()?);
/// # Ok::<(), btc_ingest::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct FileOptions {
    /// What stands between two cells of a line; one ASCII character.
    pub delimiter: Option<char>,
    /// How many lines at the beginning are passed over.
    pub skip_lines: usize,
    /// How many lines of names stand before the first row; none means that there is no header.
    pub header_lines: Option<usize>,
    /// How the dates are written.
    pub date_format: Option<DateFormat>,
    /// What stands before the decimals.
    pub decimal: Option<DecimalMark>,
    /// How the characters are encoded.
    pub encoding: Option<TextEncoding>,
    /// Texts that stand for a missing value, beside the usual ones.
    pub missing: Vec<String>,
    /// Which of several rows of one time counts.
    pub duplicates: Duplicates,
    /// How far apart the rows are.
    pub step: Option<Step>,
    /// Whether a row's time is that of the beginning or of the end of its step.
    pub stamp: Stamp,
    /// Whether a file with a cell that cannot be used is refused as a whole.
    pub strict: bool,
}

/// How dates are written.
///
/// As text: `ymd`, `dmy`, `mdy`; `s`, `ms`, `us`, `ns` since 1970; or a pattern with `%`, as
/// `%d|%m|%Y`, in the notation of `strftime`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DateFormat {
    /// 2024-12-31, 2024/12/31, 20241231, 24/12/31.
    YearFirst,
    /// 31.12.2024, 31/12/24.
    DayFirst,
    /// 12/31/2024, 12/31/24.
    MonthFirst,
    /// A count since 1970-01-01T00:00:00Z.
    Epoch(EpochUnit),
    /// A pattern of `strftime`.
    Pattern(String),
}

/// The unit of a count since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochUnit {
    /// Seconds.
    Seconds,
    /// Thousandths of a second.
    Milliseconds,
    /// Millionths of a second.
    Microseconds,
    /// Thousand millionths of a second.
    Nanoseconds,
}

impl EpochUnit {
    const ALL: [(Self, &str, &str, f64); 4] = [
        (Self::Seconds, "s", "seconds", 1.0),
        (Self::Milliseconds, "ms", "milliseconds", 1e3),
        (Self::Microseconds, "us", "microseconds", 1e6),
        (Self::Nanoseconds, "ns", "nanoseconds", 1e9),
    ];

    /// The unit in which a number tells a time from March 1973 to the year 5138, or as long
    /// before 1970; none if there is no such unit.
    ///
    /// Smaller numbers are not taken for times: 20241229 is a date, and 45655 a day of a
    /// spreadsheet.
    pub(crate) fn of_magnitude(number: f64) -> Option<Self> {
        let seconds = 1e8..1e11;
        let found = Self::ALL
            .iter()
            .find(|(_, _, _, per_second)| seconds.contains(&(number.abs() / per_second)));
        found.map(|(unit, ..)| *unit)
    }

    fn row(self) -> &'static (Self, &'static str, &'static str, f64) {
        &Self::ALL[self as usize]
    }

    pub(crate) fn per_second(self) -> f64 {
        self.row().3
    }

    pub(crate) fn in_words(self) -> &'static str {
        self.row().2
    }
}

impl fmt::Display for DateFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::YearFirst => "ymd",
            Self::DayFirst => "dmy",
            Self::MonthFirst => "mdy",
            Self::Epoch(unit) => unit.row().1,
            Self::Pattern(pattern) => pattern,
        })
    }
}

impl FromStr for DateFormat {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let unit = EpochUnit::ALL.iter().find(|(_, name, ..)| *name == text);
        Ok(match text {
            "ymd" => Self::YearFirst,
            "dmy" => Self::DayFirst,
            "mdy" => Self::MonthFirst,
            pattern if pattern.contains('%') => Self::Pattern(pattern.to_owned()),
            _ => match unit {
                Some((unit, ..)) => Self::Epoch(*unit),
                None => {
                    return Err(Error::config(format!(
                        "{text:?} is no format of dates; use ymd, dmy, mdy, s, ms, us, ns, or a \
                         pattern such as %d.%m.%Y"
                    )));
                }
            },
        })
    }
}

/// What stands before the decimals of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecimalMark {
    /// 95,000.50
    Point,
    /// 95.000,50
    Comma,
}

impl FromStr for DecimalMark {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "point" | "." => Ok(Self::Point),
            "comma" | "," => Ok(Self::Comma),
            _ => Err(Error::config(format!(
                "{text:?} is no decimal mark; use point or comma"
            ))),
        }
    }
}

/// How the characters of a text file are encoded; as text, a label such as `utf-16le` or
/// `latin1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextEncoding(pub(super) &'static encoding_rs::Encoding);

impl FromStr for TextEncoding {
    type Err = Error;

    fn from_str(label: &str) -> Result<Self> {
        let found = encoding_rs::Encoding::for_label(label.as_bytes());
        found.map(Self).ok_or_else(|| {
            Error::config(format!(
                "{label:?} is no known encoding; use utf-8, utf-16le, utf-16be, latin1 or another \
                 label of the WHATWG's list"
            ))
        })
    }
}

impl fmt::Display for TextEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name())
    }
}

/// Which of several rows of one time counts, where they differ.
///
/// Rows that say the same count once, whatever the rule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Duplicates {
    /// None of them: all are set aside.
    #[default]
    SetAside,
    /// The first in the file.
    First,
    /// The last in the file.
    Last,
    /// Their mean.
    Mean,
}

impl Duplicates {
    /// The names of all rules.
    pub const NAMES: [&'static str; 4] = ["set-aside", "first", "last", "mean"];
}

impl FromStr for Duplicates {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "set-aside" => Ok(Self::SetAside),
            "first" => Ok(Self::First),
            "last" => Ok(Self::Last),
            "mean" => Ok(Self::Mean),
            _ => Err(Error::config(format!(
                "{text:?} is no rule for times given twice; use {}",
                Self::NAMES.join(", ")
            ))),
        }
    }
}

/// Whether a row's time is that of the beginning or of the end of its step.
///
/// It tells from when on the row is known, and matters for steps other than a day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stamp {
    /// The row describes the step that begins at its time, as candles of exchanges do.
    #[default]
    Start,
    /// The row describes the step that ends at its time.
    End,
}

impl Stamp {
    /// The names of both.
    pub const NAMES: [&'static str; 2] = ["start", "end"];
}

impl FromStr for Stamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "start" => Ok(Self::Start),
            "end" => Ok(Self::End),
            _ => Err(Error::config(format!(
                "{text:?} is no kind of stamp; use start or end"
            ))),
        }
    }
}

/// How far apart the rows of a file are: a whole number of seconds, or a calendar month.
///
/// As text: `1min`, `15min`, `1h`, `4h`, `1d`, `1w`, `1mo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(StepKind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum StepKind {
    Seconds(i64),
    Month,
}

const DAY: i64 = 86_400;

impl Step {
    /// One day.
    pub const DAY: Self = Self(StepKind::Seconds(DAY));
    /// One calendar month.
    pub const MONTH: Self = Self(StepKind::Month);

    /// A step of `seconds`; `None` if there are none, or more than a year has.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Option<Self> {
        (1..=366 * DAY)
            .contains(&seconds)
            .then_some(Self(StepKind::Seconds(seconds)))
    }

    /// Whether the rows are days.
    #[must_use]
    pub fn is_day(self) -> bool {
        self == Self::DAY
    }

    /// Whether several rows make a day.
    pub(crate) fn is_within_day(self) -> bool {
        matches!(self.0, StepKind::Seconds(seconds) if seconds < DAY)
    }

    /// The end of the step that begins at `start`, in UTC; `None` out of the calendar.
    pub(crate) fn end(self, start: chrono::NaiveDateTime) -> Option<chrono::NaiveDateTime> {
        match self.0 {
            StepKind::Seconds(seconds) => {
                start.checked_add_signed(chrono::TimeDelta::seconds(seconds))
            }
            StepKind::Month => start.checked_add_months(chrono::Months::new(1)),
        }
    }
}

/// Units of a step, by name and seconds.
const UNITS: [(&str, i64); 5] = [
    ("w", 7 * DAY),
    ("d", DAY),
    ("h", 3600),
    ("min", 60),
    ("s", 1),
];

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StepKind::Seconds(seconds) = self.0 else {
            return f.write_str("1mo");
        };
        let unit = UNITS.iter().find(|(_, length)| seconds % length == 0);
        let (name, length) = unit.unwrap_or(&("s", 1));
        write!(f, "{}{name}", seconds / length)
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::config(format!(
                "{text:?} is no step between rows; use one such as 15min, 1h, 1d, 1w or 1mo"
            ))
        };
        if matches!(text, "1mo" | "mo") {
            return Ok(Self::MONTH);
        }
        let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (count, name) = text.split_at(split);
        let count: i64 = if count.is_empty() {
            1
        } else {
            count.parse().map_err(|_| wrong())?
        };
        let unit = UNITS.iter().find(|(unit, _)| *unit == name);
        let (_, length) = unit.ok_or_else(wrong)?;
        let seconds = count.checked_mul(*length).ok_or_else(wrong)?;
        Self::from_seconds(seconds).ok_or_else(wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_read_and_told_by_name() {
        for name in ["ymd", "dmy", "mdy", "s", "ms", "us", "ns", "%d-%m-%y"] {
            assert_eq!(name.parse::<DateFormat>().unwrap().to_string(), name);
        }
        assert!("iso8601".parse::<DateFormat>().is_err());
        assert!("latin1".parse::<TextEncoding>().is_ok());
        assert!("klingon".parse::<TextEncoding>().is_err());
        for name in Duplicates::NAMES {
            assert!(name.parse::<Duplicates>().is_ok(), "{name}");
        }
    }

    #[test]
    fn steps_are_read_and_told_by_name() {
        for name in ["1s", "15min", "1h", "4h", "1d", "1w", "1mo"] {
            assert_eq!(name.parse::<Step>().unwrap().to_string(), name);
        }
        for name in [
            "",
            "h1",
            "0h",
            "1y",
            "99999999999999999999d",
            "400d",
            "1.5h",
        ] {
            assert!(name.parse::<Step>().is_err(), "{name}");
        }
        assert!(
            "1d".parse::<Step>().unwrap().is_day()
                && "7d".parse::<Step>().unwrap().to_string() == "1w"
        );
    }

    #[test]
    fn the_unit_of_a_time_is_told_by_its_size() {
        let unit = EpochUnit::of_magnitude;
        assert_eq!(unit(1_735_430_400.0), Some(EpochUnit::Seconds));
        assert_eq!(unit(1.735_430_4e12), Some(EpochUnit::Milliseconds));
        assert_eq!(unit(1.735_430_4e15), Some(EpochUnit::Microseconds));
        assert_eq!(unit(-1.735_430_4e18), Some(EpochUnit::Nanoseconds));
        for number in [0.0, 45_655.0, 20_241_229.0, 1e21, f64::NAN, f64::INFINITY] {
            assert_eq!(unit(number), None, "{number}");
        }
    }
}
