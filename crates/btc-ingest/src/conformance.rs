//! What every [`Source`] keeps, for those who write one.
//!
//! ```
//! use btc_ingest::{Synthetic, conformance};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let source = Synthetic::new(7, "2021-01-01".parse()?);
//! let days = "2021-01-01".parse()?..="2021-03-31".parse()?;
//! conformance::check(&source, days, "2021-04-02T00:00:00Z".parse()?).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::fetched::{Fetched, Window};
use crate::series::{SeriesName, check_distinct};
use crate::source::{DATE, DailySeries, DayValue, Source, from_batch};
use arrow::datatypes::DataType;
use chrono::{DateTime, Days, NaiveDate, Utc};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

/// What a source does not keep, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation(String);

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Violation {}

type Values = BTreeMap<SeriesName, Vec<DayValue>>;

/// Asks a source that has values for some of `days`, three times or more, and checks what it
/// gives: its name and columns, ascending days, no value of the future, the same answer twice, and
/// the same values for a part of the days.
///
/// # Errors
///
/// The first thing that is not as [`Source`] says.
pub async fn check(
    source: &dyn Source,
    days: RangeInclusive<NaiveDate>,
    now: DateTime<Utc>,
) -> Result<(), Violation> {
    let violation = |what: String| Violation(format!("source {}: {what}", source.name()));
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if source.name().is_empty() || !source.name().chars().all(allowed) {
        return Err(violation("its name is no folder name".to_owned()));
    }
    check_schema(source).map_err(&violation)?;
    let all = ask(source, days.clone(), now).await.map_err(&violation)?;
    if all.values().all(Vec::is_empty) {
        return Err(violation(
            "it has no value, so nothing was checked".to_owned(),
        ));
    }
    let again = ask(source, days.clone(), now).await.map_err(&violation)?;
    if all != again {
        return Err(violation(
            "it gives other values the second time".to_owned(),
        ));
    }
    let half = Days::new((*days.end() - *days.start()).num_days().unsigned_abs() / 2);
    let middle = days.start().checked_add_days(half).unwrap_or(*days.end());
    for part in [*days.start()..=middle, middle..=*days.end()] {
        let of_part = ask(source, part.clone(), now).await.map_err(&violation)?;
        for (name, values) in &all {
            let within = |values: &[DayValue]| -> Vec<DayValue> {
                let values = values.iter().filter(|(day, _)| part.contains(day));
                values.copied().collect()
            };
            let found = of_part.get(name).map_or(&[][..], Vec::as_slice);
            if within(values) != within(found) {
                return Err(violation(format!(
                    "{name} has other values if it is asked for {} to {} alone",
                    part.start(),
                    part.end()
                )));
            }
        }
    }
    Ok(())
}

fn check_schema(source: &dyn Source) -> Result<(), String> {
    let schema = source.schema();
    let fields = schema.fields();
    let date = fields.first().filter(|field| field.name() == DATE);
    if date.is_none_or(|date| *date.data_type() != DataType::Date32) {
        return Err("its first column is not \"date\" of type Date32".to_owned());
    }
    for field in &fields[1..] {
        SeriesName::new(field.name()).map_err(|problem| problem.to_string())?;
        if *field.data_type() != DataType::Float64 {
            return Err(format!("column {:?} is not of type Float64", field.name()));
        }
    }
    check_distinct(fields.iter().map(|field| field.name().as_str()))
        .map_err(|problem| problem.to_string())
}

async fn ask(
    source: &dyn Source,
    days: RangeInclusive<NaiveDate>,
    now: DateTime<Utc>,
) -> Result<Values, String> {
    let window = Window::of(days, now);
    let fetched: Fetched = source.fetch(&window).await.map_err(|e| e.to_string())?;
    let mut all = Values::new();
    let today = now.date_naive();
    let running = fetched.running_day.map_or(today, |day| day.min(today));
    for part in fetched.parts {
        let Ok(batch) = part.values else { continue };
        let series = from_batch(source.name(), &batch).map_err(|problem| problem.to_string())?;
        for DailySeries { name, mut values } in series {
            if source.schema().index_of(name.as_str()).is_err() {
                return Err(format!("{name} is not in its schema"));
            }
            if let Some((day, _)) = values.iter().find(|(day, _)| *day > today) {
                return Err(format!("{name} has a value of {day}, which is not yet"));
            }
            if let Some((day, value)) = values.iter().find(|(_, value)| !value.is_finite()) {
                return Err(format!("{name} has the value {value} on {day}"));
            }
            values.retain(|(day, _)| *day < running);
            if all.insert(name.clone(), values).is_some() {
                return Err(format!("{name} is in two parts"));
            }
        }
    }
    Ok(all)
}
