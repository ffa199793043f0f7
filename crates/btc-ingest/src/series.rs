//! The name of a series: one rule for charts, columns and raw values.

use crate::error::{Error, Result};
use crate::source::OHLCV;
use serde::{Deserialize, Serialize};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

/// The name of a series, as its column is called: lower-case letters, digits and underscores.
///
/// Upper case and hyphens are folded, so that the chart `hash-rate`, the column `hash_rate` and a
/// file's `Hash_Rate` are one series.
///
/// ```
/// use btc_ingest::SeriesName;
///
/// let name: SeriesName = "Hash-Rate".parse()?;
/// assert_eq!(name.as_str(), "hash_rate");
/// assert_eq!(name, "hash_rate".parse::<SeriesName>()?);
/// assert!("../hash".parse::<SeriesName>().is_err());
/// # Ok::<(), btc_ingest::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SeriesName(String);

/// Columns of a table that are no series.
const RESERVED: [&str; 5] = [
    "date",
    "event_timestamp",
    "created_timestamp",
    "price_source",
    "series",
];

impl SeriesName {
    /// Takes a name and folds it.
    ///
    /// # Errors
    ///
    /// Fails if the name is empty, has other characters than ASCII letters, digits, underscores
    /// and hyphens, or is that of a column which is no series, as `date`.
    pub fn new(name: &str) -> Result<Self> {
        let folded = fold(name);
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if folded.is_empty() || !folded.chars().all(allowed) {
            return Err(Error::config(format!(
                "{name:?} cannot be the name of a series; use letters, digits and underscores, as \
                 close or hash_rate"
            )));
        }
        if RESERVED.contains(&folded.as_str()) {
            return Err(Error::config(format!(
                "{name:?} cannot be the name of a series: the tables have a column of that name; \
                 use another one"
            )));
        }
        Ok(Self(folded))
    }

    /// The series of a chart, whose name was checked when the chart was asked for.
    pub(crate) fn of_chart(chart: &str) -> Self {
        Self(fold(chart))
    }

    /// The name, as the column is called.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is one of open, high, low, close and volume.
    #[must_use]
    pub fn is_price_column(&self) -> bool {
        OHLCV.contains(&self.as_str())
    }
}

fn fold(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace('-', "_")
}

/// Finds two names that are one, and says which.
///
/// # Errors
///
/// Fails if two of the names are equal once folded.
pub(crate) fn check_distinct<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut seen: Vec<(String, &str)> = Vec::new();
    for name in names {
        let folded = fold(name);
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == folded) {
            return Err(Error::config(format!(
                "{other:?} and {name:?} are one series, {folded}; name it once"
            )));
        }
        seen.push((folded, name));
    }
    Ok(())
}

impl fmt::Display for SeriesName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SeriesName {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl TryFrom<String> for SeriesName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(&name)
    }
}

impl From<SeriesName> for String {
    fn from(name: SeriesName) -> Self {
        name.0
    }
}

impl AsRef<str> for SeriesName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for SeriesName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for SeriesName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for SeriesName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chart_column_and_any_case_are_one_series() {
        let name = SeriesName::new("hash_rate").unwrap();
        for other in ["hash-rate", "Hash_Rate", " HASH-RATE "] {
            assert_eq!(SeriesName::new(other).unwrap(), name, "{other}");
        }
        assert_eq!(SeriesName::of_chart("hash-rate"), name);
    }

    #[test]
    fn names_that_no_column_can_have_are_refused() {
        for name in [
            "",
            " ",
            "../x",
            "a b",
            "é",
            "Date",
            "date",
            "event-timestamp",
            "price_source",
        ] {
            assert!(SeriesName::new(name).is_err(), "{name}");
        }
    }

    #[test]
    fn two_names_of_one_series_are_a_conflict() {
        assert!(check_distinct(["a", "b_c", "b-d"]).is_ok());
        let error = check_distinct(["a", "b_c", "B-c"]).unwrap_err().to_string();
        assert!(
            error.contains("\"b_c\" and \"B-c\" are one series, b_c"),
            "{error}"
        );
    }
}
