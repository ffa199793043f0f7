//! How studies and trials are shown.

use std::sync::Arc;

use btc_tune::{Attr, FrozenTrial, StudySummary};
use serde_json::{Map, Value};

use crate::cli::values::Format;
use crate::output::printer::Printer;

/// A list of studies.
pub(crate) fn studies(
    studies: Vec<StudySummary>,
    format: Option<Format>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let columns = [
        "name",
        "directions",
        "trials",
        "best_value",
        "datetime_start",
    ];
    let row = |study: StudySummary| {
        let directions: Vec<String> = study.directions.iter().map(ToString::to_string).collect();
        vec![
            study.name.into(),
            directions.join(",").into(),
            study.n_trials.into(),
            Attr::from(study.best_value).0,
            study.datetime_start.map(|time| time.to_rfc3339()).into(),
        ]
    };
    for study in &studies {
        if let Some(reason) = &study.unreadable {
            printer.warn(format!("study {:?} cannot be read: {reason}", study.name));
        }
    }
    let table: Vec<Vec<Value>> = studies.into_iter().map(row).collect();
    rows(&columns.map(str::to_owned), &table, format, printer)
}

/// A list of trials with their values and parameters.
pub(crate) fn trials(
    trials: &[Arc<FrozenTrial>],
    format: Option<Format>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let columns = ["number", "values", "params"];
    let table: Vec<Vec<Value>> = trials
        .iter()
        .map(|trial| {
            let params: Map<String, Value> = trial
                .params()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            vec![
                trial.number.into(),
                // JSON has no number for an infinity, and null is none.
                Attr::from(trial.values.clone()).0,
                params.into(),
            ]
        })
        .collect();
    rows(&columns.map(str::to_owned), &table, format, printer)
}

/// A cell as text; nothing for null.
pub(crate) fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Rows in one of the formats; by default a table, or JSON with `--json`.
pub(crate) fn rows(
    columns: &[String],
    cells: &[Vec<Value>],
    format: Option<Format>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let default = if printer.is_json() {
        Format::Json
    } else {
        Format::Table
    };
    let texts: Vec<Vec<String>> = cells
        .iter()
        .map(|row| row.iter().map(text_of).collect())
        .collect();
    match format.unwrap_or(default) {
        Format::Table => {
            let header: Vec<&str> = columns.iter().map(String::as_str).collect();
            printer.table(&header, &texts)
        }
        Format::Value => texts.iter().try_for_each(|row| printer.line(row.join(" "))),
        Format::Json => {
            let objects: Vec<Map<String, Value>> = cells
                .iter()
                .map(|row| columns.iter().cloned().zip(row.iter().cloned()).collect())
                .collect();
            printer.json(&objects)
        }
    }
}
