//! The texts Optuna keeps in its tables and journal: distributions, attributes, times.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde_json::{Map, Value};

use crate::choice::Choice;
use crate::decimal::python_float;
use crate::distribution::{
    CategoricalDistribution, Distribution, FloatDistribution, IntDistribution,
};
use crate::error::{Error, Result};

/// Marks, in a line that is to be written, a text that stands for a bare `NaN` or `Infinity`.
const MARK: char = '\u{E000}';

/// Writes a distribution as Optuna writes it, key order and spacing included.
pub(crate) fn encode_distribution(distribution: &Distribution) -> String {
    match distribution {
        Distribution::Float(d) => format!(
            "{{\"name\": \"FloatDistribution\", \"attributes\": {{\"step\": {}, \"low\": {}, \
             \"high\": {}, \"log\": {}}}}}",
            d.step().map_or_else(|| "null".to_owned(), python_float),
            python_float(d.low()),
            python_float(d.high()),
            d.is_log()
        ),
        Distribution::Int(d) => format!(
            "{{\"name\": \"IntDistribution\", \"attributes\": {{\"log\": {}, \"step\": {}, \
             \"low\": {}, \"high\": {}}}}}",
            d.is_log(),
            d.step(),
            d.low(),
            d.high()
        ),
        Distribution::Categorical(d) => {
            let choices: Vec<String> = d.choices().iter().map(encode_choice).collect();
            format!(
                "{{\"name\": \"CategoricalDistribution\", \"attributes\": {{\"choices\": [{}]}}}}",
                choices.join(", ")
            )
        }
    }
}

fn encode_choice(choice: &Choice) -> String {
    match choice {
        Choice::Float(value) => python_float(*value),
        other => encode_json(&other.to_json()),
    }
}

/// Reads a distribution, also in the forms of earlier versions.
pub(crate) fn decode_distribution(text: &str) -> Result<Distribution> {
    let malformed = |reason: String| Error::Malformed {
        what: format!("the distribution {text:?}"),
        reason,
    };
    let (value, mark) = parse_python(text).map_err(|error| malformed(error.to_string()))?;
    let (name, attributes) = match (
        value.get("name"),
        value.get("attributes"),
        value.get("type"),
    ) {
        (Some(Value::String(name)), Some(Value::Object(attributes)), _) => (name, attributes),
        (_, _, Some(Value::String(name))) => (
            name,
            value
                .as_object()
                .ok_or_else(|| malformed("it is no object".to_owned()))?,
        ),
        _ => return Err(malformed("it has no name and attributes".to_owned())),
    };
    let get = |key: &str| attributes.get(key).filter(|value| !value.is_null());
    let float = |key: &str| {
        get(key)
            .and_then(|value| number(value, mark))
            .ok_or_else(|| malformed(format!("{key:?} is no number")))
    };
    let int = |key: &str| {
        let exact = get(key).and_then(Value::as_i64);
        exact
            .or_else(|| {
                // A float that is whole; those beyond are capped and refused with their bounds.
                let value = get(key).and_then(|value| number(value, mark))?;
                (value.fract() == 0.0).then_some(value as i64)
            })
            .ok_or_else(|| malformed(format!("{key:?} is no integer")))
    };
    let log = || get("log").and_then(Value::as_bool).unwrap_or(false);
    let optional_int = |key: &str| if get(key).is_some() { int(key) } else { Ok(1) };
    let optional_float = |key: &str| {
        if get(key).is_some() {
            float(key).map(Some)
        } else {
            Ok(None)
        }
    };
    let read = || {
        Ok(match name.as_str() {
            "FloatDistribution" | "float" => Distribution::Float(FloatDistribution::build(
                float("low")?,
                float("high")?,
                log(),
                optional_float("step")?,
            )?),
            "UniformDistribution" => {
                Distribution::Float(FloatDistribution::new(float("low")?, float("high")?)?)
            }
            "LogUniformDistribution" => {
                Distribution::Float(FloatDistribution::log(float("low")?, float("high")?)?)
            }
            "DiscreteUniformDistribution" => Distribution::Float(FloatDistribution::stepped(
                float("low")?,
                float("high")?,
                float("q")?,
            )?),
            "IntDistribution" | "int" => Distribution::Int(IntDistribution::read(
                int("low")?,
                int("high")?,
                log(),
                optional_int("step")?,
            )?),
            "IntUniformDistribution" => Distribution::Int(IntDistribution::read(
                int("low")?,
                int("high")?,
                false,
                optional_int("step")?,
            )?),
            "IntLogUniformDistribution" => {
                Distribution::Int(IntDistribution::read(int("low")?, int("high")?, true, 1)?)
            }
            "CategoricalDistribution" | "categorical" => {
                let Some(Value::Array(choices)) = attributes.get("choices") else {
                    return Err(malformed("\"choices\" is no list".to_owned()));
                };
                let choices: Option<Vec<Choice>> = choices
                    .iter()
                    .map(|choice| decode_choice(choice, mark))
                    .collect();
                let choices = choices.ok_or_else(|| {
                    malformed("a choice is no null, truth value, number or text".to_owned())
                })?;
                Distribution::Categorical(CategoricalDistribution::new(choices)?)
            }
            other => return Err(malformed(format!("the kind {other:?} is unknown"))),
        })
    };
    // A rule that is broken in a file is a fault of the file.
    read().map_err(|error: Error| match error {
        Error::InvalidDistribution { reason } => malformed(reason),
        error => error,
    })
}

fn number(value: &Value, mark: Option<char>) -> Option<f64> {
    match value {
        Value::String(text) => marked_float(text, mark),
        value => value.as_f64(),
    }
}

fn decode_choice(value: &Value, mark: Option<char>) -> Option<Choice> {
    match value {
        Value::String(text) => Some(
            marked_float(text, mark).map_or_else(|| Choice::from(text.as_str()), Choice::Float),
        ),
        value => Choice::from_json(value),
    }
}

fn marked_float(text: &str, mark: Option<char>) -> Option<f64> {
    match text.strip_prefix(mark?)? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// Writes JSON as Python does: `", "` and `": "` between, ASCII only, `1e-05`.
pub(crate) fn encode_json(value: &Value) -> String {
    let mut text = String::new();
    write_separated(value, ", ", ": ", None, &mut text);
    text
}

/// A value of somebody else, none of whose texts is taken for a [`bare_float`].
pub(crate) fn own_text(value: &Value) -> Value {
    match value {
        Value::String(text) if text.starts_with(MARK) => Value::from(format!("{MARK}{text}")),
        Value::Array(values) => values.iter().map(own_text).collect(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| (key.clone(), own_text(value));
            Value::Object(members.iter().map(member).collect())
        }
        value => value.clone(),
    }
}

/// A float that is written bare even where JSON has no number for it.
pub(crate) fn bare_float(value: f64) -> Value {
    if value.is_finite() {
        Value::from(value)
    } else {
        Value::from(format!("{MARK}{}", python_float(value)))
    }
}

/// Writes JSON without blanks, and a [`bare_float`] bare.
pub(crate) fn write_compact(value: &Value, out: &mut String) {
    write_separated(value, ",", ":", Some(MARK), out);
}

fn write_separated(value: &Value, comma: &str, colon: &str, mark: Option<char>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() => out.push_str(&python_float(float)),
            _ => out.push_str(&number.to_string()),
        },
        Value::String(text) => match marked_float(text, mark) {
            Some(float) => out.push_str(&python_float(float)),
            // A second mark is that of `own_text`.
            None => {
                let own = mark.and_then(|mark| text.strip_prefix(mark));
                write_text(own.unwrap_or(text), out);
            }
        },
        Value::Array(values) => {
            out.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push_str(comma);
                }
                write_separated(value, comma, colon, mark, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push_str(comma);
                }
                write_text(key, out);
                out.push_str(colon);
                write_separated(value, comma, colon, mark, out);
            }
            out.push('}');
        }
    }
}

fn write_text(text: &str, out: &mut String) {
    use std::fmt::Write as _;
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

/// Reads JSON as Python writes it; bare `NaN` and infinities become texts.
pub(crate) fn decode_json(text: &str) -> Result<Value> {
    let (mut value, mark) = parse_python(text).map_err(|error| Error::Malformed {
        what: format!(
            "the attribute {:?}",
            text.chars().take(80).collect::<String>()
        ),
        reason: error.to_string(),
    })?;
    if let Some(mark) = mark {
        unmark(&mut value, mark);
    }
    Ok(value)
}

/// Reads a JSON object as Python writes it.
pub(crate) fn decode_object(text: &str) -> Result<Map<String, Value>> {
    match decode_json(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::Malformed {
            what: format!("the object {:?}", text.chars().take(80).collect::<String>()),
            reason: "it is no JSON object".to_owned(),
        }),
    }
}

fn unmark(value: &mut Value, mark: char) {
    match value {
        Value::String(text) if text.starts_with(mark) => {
            text.remove(0);
        }
        Value::Array(values) => values.iter_mut().for_each(|value| unmark(value, mark)),
        Value::Object(members) => members.values_mut().for_each(|value| unmark(value, mark)),
        _ => {}
    }
}

/// Reads JSON as Python writes it. Where bare words had to be quoted, they begin
/// with the mark that is returned, which no text of the input has.
fn parse_python(text: &str) -> serde_json::Result<(Value, Option<char>)> {
    let strict = serde_json::from_str(text);
    // The usual text is strict JSON; only on failure is Python's dialect worth the second look.
    if strict.is_ok() || !(text.contains("NaN") || text.contains("Infinity")) {
        return Ok((strict?, None));
    }
    let lower = text.to_ascii_lowercase();
    let is_free =
        |c: &char| !text.contains(*c) && !lower.contains(&format!("\\u{:04x}", *c as u32));
    match ('\u{E000}'..='\u{F8FF}').find(is_free) {
        Some(free) => Ok((serde_json::from_str(&mark(text, free))?, Some(free))),
        // A text with every private character is none that Python's bare words need.
        None => Ok((strict?, None)),
    }
}

/// Quotes the bare words `NaN`, `Infinity` and `-Infinity` outside of texts,
/// with `mark` before them.
fn mark(text: &str, mark: char) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut inside = false;
    while let Some(c) = rest.chars().next() {
        if !inside {
            let word = ["NaN", "Infinity", "-Infinity"]
                .into_iter()
                .find(|w| rest.starts_with(w));
            if let Some(word) = word {
                out.push('"');
                out.push(mark);
                out.push_str(word);
                out.push('"');
                rest = &rest[word.len()..];
                continue;
            }
        }
        let mut taken = c.len_utf8();
        match c {
            '"' => inside = !inside,
            '\\' if inside => taken += rest[1..].chars().next().map_or(0, char::len_utf8),
            _ => {}
        }
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// Writes a time as the tables keep it: UTC, always six digits, no zone.
#[cfg(any(test, feature = "sqlite"))]
pub(crate) fn encode_time(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// Writes a heartbeat: whole seconds.
#[cfg(any(test, feature = "sqlite"))]
pub(crate) fn encode_seconds(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// Reads a time as the tables keep it, with or without fractions.
pub(crate) fn decode_time(text: &str) -> Result<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f"))
        .map(|time| time.and_utc())
        .map_err(|error| Error::Malformed {
            what: format!("the time {text:?}"),
            reason: error.to_string(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_words_of_python_are_read() {
        let value =
            decode_json(r#"{"a": NaN, "b": [-Infinity, 1], "NaN": "say \"NaN\""}"#).unwrap();
        assert_eq!(value["a"], "NaN");
        assert_eq!(value["b"][0], "-Infinity");
        assert_eq!(value["NaN"], "say \"NaN\"");
    }

    #[test]
    fn texts_that_look_like_marks_stay_as_they_are() {
        for text in [
            "\u{E000}abc",
            "\u{E000}NaN",
            "\u{E000}\u{E000}Infinity",
            "\\ue000",
        ] {
            let value = serde_json::json!({ text: [text, 1.5] });
            assert_eq!(decode_json(&encode_json(&value)).unwrap(), value);
            let mut line = String::new();
            write_compact(&own_text(&value), &mut line);
            assert_eq!(decode_json(&line).unwrap(), value);
            // Also beside words of Python.
            let dialect = format!("[NaN, {}]", encode_json(&value));
            assert_eq!(
                decode_json(&dialect).unwrap(),
                serde_json::json!(["NaN", value])
            );
            let choices = CategoricalDistribution::new(vec![Choice::from(text)]).unwrap();
            let choices = Distribution::Categorical(choices);
            assert_eq!(
                decode_distribution(&encode_distribution(&choices)).unwrap(),
                choices
            );
        }
    }

    #[test]
    fn wide_integers_of_others_are_read() {
        let text = |high: &str| {
            format!(
                "{{\"name\": \"IntDistribution\", \"attributes\": {{\"log\": false, \
                 \"step\": 1, \"low\": 0, \"high\": {high}}}}}"
            )
        };
        let read = decode_distribution(&text("1152921504606846975")).unwrap();
        let Distribution::Int(read) = read else {
            panic!("{read:?}")
        };
        assert_eq!(read.high(), (1 << 60) - 1);
        for high in ["9223372036854775807", "1e300", "NaN"] {
            let error = decode_distribution(&text(high)).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{error}");
        }
        assert!(IntDistribution::new(0, 1 << 60).is_err());
    }

    #[test]
    fn text_is_written_in_ascii() {
        let value = serde_json::json!({"é": ["日", "\u{1F600}", "\u{7f}\n"], "x": 1e-5});
        assert_eq!(
            encode_json(&value),
            "{\"\\u00e9\": [\"\\u65e5\", \"\\ud83d\\ude00\", \"\\u007f\\n\"], \"x\": 1e-05}"
        );
        assert_eq!(decode_json(&encode_json(&value)).unwrap(), value);
    }

    #[test]
    fn broken_texts_are_errors() {
        for text in [
            "",
            "{",
            "{\"name\": 3}",
            "{\"type\": \"int\", \"low\": 1.5, \"high\": 2}",
            "\\",
        ] {
            assert!(decode_distribution(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_survive_the_tables() {
        let time = decode_time("2026-01-02 03:04:05.000006").unwrap();
        assert_eq!(encode_time(time), "2026-01-02 03:04:05.000006");
        assert_eq!(encode_seconds(time), "2026-01-02 03:04:05");
    }
}
