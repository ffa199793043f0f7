//! Numbers as the services write them: JSON numbers, numbers in strings, or null.

use serde::de::{self, Deserialize, Deserializer, Visitor};
use std::fmt;

/// A number, or what stands where one should.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Number {
    Value(f64),
    Null,
    Other(String),
}

impl Number {
    pub(crate) fn of_text(text: &str) -> Self {
        match text.trim() {
            "" | "null" | "None" => Self::Null,
            text => text
                .parse()
                .map_or_else(|_| Self::Other(short(text)), Self::Value),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// Cuts a text from outside to a length that can be shown.
pub(crate) fn short(text: &str) -> String {
    const LIMIT: usize = 120;
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl<'de> Visitor<'de> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, a number in a string, or null")
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number::Value(value))
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number::Value(value as f64))
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number::Value(value as f64))
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                Ok(Number::of_text(text))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Number, E> {
                Ok(Number::Other(value.to_string()))
            }
            fn visit_unit<E: de::Error>(self) -> Result<Number, E> {
                Ok(Number::Null)
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Number) {
        assert_eq!(
            serde_json::from_str::<Number>(json).unwrap(),
            expected,
            "{json}"
        );
    }

    #[test]
    fn every_notation_of_a_number_is_read() {
        check("17", Number::Value(17.0));
        check("-2.5e-7", Number::Value(-2.5e-7));
        check(
            "1.0652200634920637e-7",
            Number::Value(1.065_220_063_492_063_7e-7),
        );
        check("\" 9488.50000000 \"", Number::Value(9488.5));
        check("null", Number::Null);
        check("\"\"", Number::Null);
        check("true", Number::Other("true".into()));
        check("\"n/a\"", Number::Other("n/a".into()));
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "é".repeat(500);
        assert_eq!(short(&text).chars().count(), 121);
    }
}
