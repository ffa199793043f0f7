//! The trials of a study as a table.

use serde_json::Value;

use crate::choice::float_to_json;
use crate::error::Result;
use crate::frozen::FrozenTrial;
use crate::study::Study;

/// Trials in rows: number, state, values, times, parameters, attributes and reports.
#[derive(Debug, Clone, PartialEq)]
pub struct TrialTable {
    /// The names of the columns.
    pub columns: Vec<String>,
    /// One row per trial; `null` where a trial has nothing to show.
    pub rows: Vec<Vec<Value>>,
}

impl Study {
    /// Returns all trials as a table.
    ///
    /// Columns are `number`, `state`, `value` (or `values_0`, `values_1`, ..., named as the metrics if
    /// they have names), `datetime_start`, `datetime_complete`, `duration` in seconds, then `params_*`,
    /// `user_attrs_*`, and `last_step` if any trial reported something.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn trial_table(&self) -> Result<TrialTable> {
        let trials = self.trials()?;
        let names = self.metric_names()?.unwrap_or_default();
        let objectives = self.directions().len();
        let value_name = |i: usize| match names.get(i) {
            Some(name) => format!("values_{name}"),
            None if objectives == 1 => "value".to_owned(),
            None => format!("values_{i}"),
        };
        let mut params: Vec<&str> = Vec::new();
        let mut attrs: Vec<&str> = Vec::new();
        for trial in &trials {
            for param in &trial.parameters {
                if !params.contains(&&*param.name) {
                    params.push(&param.name);
                }
            }
            for key in trial.user_attrs.keys() {
                if !attrs.contains(&key.as_str()) {
                    attrs.push(key);
                }
            }
        }
        let has_steps = trials.iter().any(|trial| trial.last_step().is_some());
        let mut columns = vec!["number".to_owned(), "state".to_owned()];
        columns.extend((0..objectives).map(value_name));
        columns.extend(["datetime_start", "datetime_complete", "duration"].map(str::to_owned));
        columns.extend(params.iter().map(|name| format!("params_{name}")));
        columns.extend(attrs.iter().map(|name| format!("user_attrs_{name}")));
        if has_steps {
            columns.push("last_step".to_owned());
        }
        let row = |trial: &FrozenTrial| {
            let time = |time: Option<chrono::DateTime<chrono::Utc>>| {
                time.map_or(Value::Null, |time| {
                    Value::from(time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
                })
            };
            let mut row = vec![Value::from(trial.number), Value::from(trial.state.as_str())];
            row.extend((0..objectives).map(|i| {
                trial
                    .values
                    .get(i)
                    .map_or(Value::Null, |value| float_to_json(*value))
            }));
            row.extend([time(trial.datetime_start), time(trial.datetime_complete)]);
            row.push(trial.duration().map_or(Value::Null, |duration| {
                Value::from(duration.num_microseconds().unwrap_or(i64::MAX) as f64 / 1e6)
            }));
            row.extend(
                params
                    .iter()
                    .map(|name| trial.param(name).unwrap_or(Value::Null)),
            );
            row.extend(
                attrs
                    .iter()
                    .map(|key| trial.user_attrs.get(*key).cloned().unwrap_or(Value::Null)),
            );
            if has_steps {
                row.push(trial.last_step().map_or(Value::Null, Value::from));
            }
            row
        };
        let rows = trials.iter().map(|trial| row(trial)).collect();
        Ok(TrialTable { columns, rows })
    }
}

impl TrialTable {
    /// Writes the table as comma-separated values with a header (RFC 4180, lines end with a line feed).
    pub fn to_csv(&self) -> String {
        let mut text = self
            .columns
            .iter()
            .map(|name| quote(name))
            .collect::<Vec<_>>()
            .join(",");
        text.push('\n');
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|value| quote(&cell(value))).collect();
            text.push_str(&cells.join(","));
            text.push('\n');
        }
        text
    }
}

/// A value as people read it: texts bare, nothing for `null`.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn quote(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
