//! Numbers as people write them: decimal mark, groups of thousands, per cent and K, M, B.

use super::options::DecimalMark;
use crate::number::short;

/// Texts that stand for a missing value; in any case.
///
/// Those that pandas takes for one (`pandas.read_csv`, `na_values`), and a few of spreadsheets,
/// FRED and web pages.
const MISSING: [&str; 21] = [
    "", "#n/a", "#n/a n/a", "#na", "-1.#ind", "-1.#qnan", "-nan", "1.#ind", "1.#qnan", "<na>",
    "n/a", "na", "null", "nan", "none", "-", "--", "–", "—", ".", "?",
];

/// Whether a text stands for a missing value.
pub(super) fn is_missing(text: &str, more: &[String]) -> bool {
    /// No mark of the list is longer.
    const LONGEST: usize = 8;
    (text.len() <= LONGEST && MISSING.contains(&text.to_ascii_lowercase().as_str()))
        || more.iter().any(|mark| mark == text)
}

/// A number's text, taken apart.
struct Parts<'a> {
    negative: bool,
    /// Digits and what stands between them.
    body: &'a str,
    /// The power of ten that follows the digits or their suffix stands for.
    power: i32,
}

/// Spaces and apostrophes between groups of three digits.
fn is_space(c: char) -> bool {
    matches!(
        c,
        ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '\'' | '\u{2019}' | '_'
    )
}

fn parts(text: &str) -> Option<Parts<'_>> {
    const CURRENCIES: [char; 7] = ['$', '€', '£', '¥', '₿', '₩', '₹'];
    /// Longer than any number with a meaning.
    const LONGEST: usize = 400;
    if text.len() > LONGEST {
        return None;
    }
    let mut text = text.trim();
    let mut negative = false;
    if let Some(inner) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        (text, negative) = (inner.trim(), true);
    }
    text = text.trim_start_matches(CURRENCIES).trim_start();
    if let Some(rest) = text.strip_prefix(['-', '\u{2212}']) {
        (text, negative) = (rest, !negative);
    } else {
        text = text.strip_prefix('+').unwrap_or(text);
    }
    text = text.trim_start_matches(CURRENCIES).trim();
    text = text.trim_end_matches(CURRENCIES).trim_end();
    let mut power = 0;
    if let Some(at) = text.find(['e', 'E']) {
        let (mantissa, exponent) = text.split_at(at);
        power = exponent[1..].parse().ok()?;
        text = mantissa;
    } else if let Some(rest) = text.strip_suffix('%') {
        (text, power) = (rest.trim_end(), -2);
    } else {
        let suffixes = [("bn", 9), ("k", 3), ("m", 6), ("b", 9), ("t", 12)];
        for (suffix, exponent) in suffixes {
            let start = text.len().checked_sub(suffix.len());
            let tail = start.and_then(|start| text.get(start..));
            if let (Some(start), Some(tail)) = (start, tail)
                && tail.eq_ignore_ascii_case(suffix)
            {
                (text, power) = (text[..start].trim_end(), exponent);
                break;
            }
        }
    }
    let allowed = |c: char| c.is_ascii_digit() || c == '.' || c == ',' || is_space(c);
    let ends = text.ends_with(is_space) || text.starts_with(is_space);
    let is_number = text.chars().all(allowed) && text.contains(|c: char| c.is_ascii_digit());
    (is_number && !ends).then_some(Parts {
        negative,
        body: text,
        power,
    })
}

/// What a number's text says about the decimal mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Evidence {
    /// No mark, so either.
    None,
    Point,
    Comma,
    /// One point with three digits behind it: decimals or a group.
    MaybePoint,
    /// One comma with three digits behind it.
    MaybeComma,
}

fn evidence(text: &str) -> Option<Evidence> {
    let Parts { body, .. } = parts(text)?;
    let (points, commas) = (body.matches('.').count(), body.matches(',').count());
    let maybe = |mark: char| {
        let (before, after) = body.split_once(mark).unwrap_or((body, ""));
        after.len() == 3
            && (1..=3).contains(&before.len())
            && before.bytes().all(|byte| byte.is_ascii_digit())
            && !before.starts_with('0')
    };
    Some(match (points, commas) {
        (0, 0) => Evidence::None,
        (1, 0) if maybe('.') => Evidence::MaybePoint,
        (0, 1) if maybe(',') => Evidence::MaybeComma,
        (1, 0) => Evidence::Point,
        (0, 1) => Evidence::Comma,
        (_, 0) => Evidence::Comma,
        (0, _) => Evidence::Point,
        _ if body.rfind('.') > body.rfind(',') => Evidence::Point,
        _ => Evidence::Comma,
    })
}

/// Reads a number with the decimal mark; `None` if it is none.
///
/// Per cent are hundredths; K, M, B and T are thousands to thousand thousand millions. Groups
/// have three digits, or two where the last has three, as in 1,23,456.
pub(super) fn parse(text: &str, mark: DecimalMark) -> Option<f64> {
    let Parts {
        negative,
        body,
        power,
    } = parts(text)?;
    let (decimal, group) = match mark {
        DecimalMark::Point => ('.', ','),
        DecimalMark::Comma => (',', '.'),
    };
    let (whole, decimals) = body.split_once(decimal).unwrap_or((body, ""));
    if !decimals.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let mut digits = String::with_capacity(body.len() + 8);
    let groups: Vec<&str> = whole.split(|c| c == group || is_space(c)).collect();
    if let [first, middle @ .., last] = groups.as_slice() {
        let fits = (1..=3).contains(&first.len())
            && middle.iter().all(|part| matches!(part.len(), 2 | 3))
            && last.len() == 3;
        if !fits {
            return None;
        }
    }
    digits.extend(groups);
    if digits.is_empty() && decimals.is_empty() {
        return None;
    }
    // The power goes in as text: 68.18K is 68180, not what a product rounds to.
    let sign = if negative { "-" } else { "" };
    format!("{sign}{digits}.{decimals}e{power}").parse().ok()
}

/// What all numbers of a file say about the decimal mark; rows by number.
#[derive(Debug, Clone, Default)]
pub(super) struct FigureSurvey {
    point: Option<(u64, String)>,
    comma: Option<(u64, String)>,
    maybe_point: Option<(u64, String)>,
    maybe_comma: Option<(u64, String)>,
    grouped: bool,
    scaled: bool,
}

impl FigureSurvey {
    /// Looks at a text in row `row`.
    pub(super) fn text(&mut self, row: u64, text: &str) {
        let Some(found) = evidence(text) else {
            return;
        };
        let place = match found {
            Evidence::None => None,
            Evidence::Point => Some(&mut self.point),
            Evidence::Comma => Some(&mut self.comma),
            Evidence::MaybePoint => Some(&mut self.maybe_point),
            Evidence::MaybeComma => Some(&mut self.maybe_comma),
        };
        if let Some(place) = place
            && place.is_none()
        {
            *place = Some((row, short(text)));
        }
        if let Some(Parts { body, power, .. }) = parts(text) {
            let marks = body.chars().filter(|c| !c.is_ascii_digit());
            self.grouped |= marks.count() > 1;
            self.scaled |= power != 0 && !text.contains(['e', 'E']);
        }
    }

    /// Settles the decimal mark; `points` says that a lone point can be trusted to be one.
    ///
    /// # Errors
    ///
    /// Fails, with what is unclear, if the numbers do not tell and `asked` does not say it.
    pub(super) fn settle(
        &self,
        asked: Option<DecimalMark>,
        points: bool,
        rows: &str,
    ) -> Result<DecimalMark, String> {
        if let Some(mark) = asked {
            return Ok(mark);
        }
        match (&self.point, &self.comma) {
            (Some((row, point)), Some((other, comma))) => Err(format!(
                "the decimal mark changes: {rows} {row} has {point:?}, {rows} {other} has \
                 {comma:?}"
            )),
            (Some(_), None) => Ok(DecimalMark::Point),
            (None, Some(_)) => Ok(DecimalMark::Comma),
            (None, None) => match (&self.maybe_point, &self.maybe_comma) {
                (_, Some((row, text))) => Err(format!(
                    "{rows} {row}: {text:?} can have thousands or three decimals, and no other \
                     row tells"
                )),
                (Some((row, text)), None) if !points => Err(format!(
                    "{rows} {row}: {text:?} can have three decimals or thousands, and no other \
                     row tells"
                )),
                _ => Ok(DecimalMark::Point),
            },
        }
    }

    /// Says in a few words how the numbers read.
    pub(super) fn describe(&self, mark: DecimalMark) -> String {
        let mut said = match mark {
            DecimalMark::Point => "decimal point".to_owned(),
            DecimalMark::Comma => "decimal comma".to_owned(),
        };
        if self.grouped {
            said.push_str(", grouped thousands");
        }
        if self.scaled {
            said.push_str(", % as hundredths and K/M/B/T as powers of ten");
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, mark: DecimalMark, value: f64) {
        assert_eq!(parse(text, mark), Some(value), "{text}");
    }

    #[test]
    fn numbers_read_in_many_notations() {
        use DecimalMark::{Comma, Point};
        reads("95000.5", Point, 95_000.5);
        reads(" 95,000.50 ", Point, 95_000.5);
        reads("$1,234,567", Point, 1_234_567.0);
        reads("1,23,456.5", Point, 123_456.5);
        reads("95.000,50", Comma, 95_000.5);
        reads("95 000,50 €", Comma, 95_000.5);
        reads("95\u{202f}000,5", Comma, 95_000.5);
        reads("95'000.5", Point, 95_000.5);
        reads("68.18K", Point, 68_180.0);
        reads("1.17M", Point, 1_170_000.0);
        reads("0.33 Bn", Point, 330_000_000.0);
        reads("2T", Point, 2e12);
        reads("-1.23%", Point, -0.0123);
        reads("(5.5)", Point, -5.5);
        reads("\u{2212}5.5", Point, -5.5);
        reads(".5", Point, 0.5);
        reads("5.", Point, 5.0);
        reads("1.0652200634920637e-7", Point, 1.065_220_063_492_063_7e-7);
        reads("1E+3", Point, 1000.0);
        for text in [
            "",
            "oops",
            "1.2.3",
            "1,2,3",
            "12,34.5",
            "1 2",
            "0x10",
            "--5",
            "1e",
            "e5",
            "%",
            "$",
            "1_0",
            "5 USD",
            "inf",
            "true",
            "2024-01-01",
            "1,,000",
        ] {
            assert_eq!(parse(text, Point), None, "{text}");
        }
        assert_eq!(parse("1e999", Point), Some(f64::INFINITY));
    }

    fn settle(texts: &[&str], points: bool) -> Result<DecimalMark, String> {
        let mut survey = FigureSurvey::default();
        for (row, text) in texts.iter().enumerate() {
            survey.text(row as u64 + 2, text);
        }
        survey.settle(None, points, "line")
    }

    #[test]
    fn the_decimal_mark_is_told_by_the_whole_file() {
        use DecimalMark::{Comma, Point};
        assert_eq!(settle(&["95.000", "95.000,5"], true), Ok(Comma));
        assert_eq!(settle(&["95,000", "95,000.5"], true), Ok(Point));
        assert_eq!(settle(&["95,000", "1,234,567"], true), Ok(Point));
        assert_eq!(settle(&["95.000", "1.234.567"], true), Ok(Comma));
        assert_eq!(settle(&["0,123"], true), Ok(Comma));
        assert_eq!(settle(&["0.123", "95.000"], false), Ok(Point));
        assert_eq!(settle(&["95.123"], true), Ok(Point));
        assert_eq!(settle(&["95", "oops"], false), Ok(Point));
        assert!(settle(&["95.123"], false).is_err());
        assert!(settle(&["95,123"], true).is_err());
        let error = settle(&["1.5", "1,5"], true).unwrap_err();
        assert!(
            error.contains("line 2") && error.contains("line 3"),
            "{error}"
        );
    }

    #[test]
    fn marks_of_missing_values_are_known() {
        for text in [
            "", "NA", "N/A", "#N/A", "-", "<NA>", "NULL", "NaN", "None", "null", ".",
        ] {
            assert!(is_missing(text, &[]), "{text}");
        }
        for text in ["0", "oops", "n.a.", "#REF!"] {
            assert!(!is_missing(text, &[]), "{text}");
        }
        assert!(is_missing("n.a.", &["n.a.".to_owned()]));
    }
}
