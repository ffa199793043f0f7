//! The statements that read the tables.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::{Map, Value};

use super::write::Failure;
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{
    FrozenStudy, FrozenTrial, Param, StudyDirection, StudyId, TrialId, TrialState,
};
use crate::storage::codec;

/// Below this many trials they are looked up one by one; above, the tables are scanned.
const SCAN_FROM: usize = 64;

/// Texts that repeat in every trial, parsed once.
#[derive(Default)]
pub(super) struct Texts {
    distributions: HashMap<String, Arc<Distribution>>,
    names: HashMap<String, Arc<str>>,
}

impl Texts {
    fn distribution(&mut self, text: &str) -> Result<Arc<Distribution>> {
        if let Some(known) = self.distributions.get(text) {
            return Ok(known.clone());
        }
        let distribution = Arc::new(codec::decode_distribution(text)?);
        self.distributions
            .insert(text.to_owned(), distribution.clone());
        Ok(distribution)
    }

    fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.names.get(text) {
            return known.clone();
        }
        let name: Arc<str> = text.into();
        self.names.insert(text.to_owned(), name.clone());
        name
    }
}

fn malformed(what: &str, reason: impl Into<String>) -> Failure {
    Error::Malformed {
        what: what.to_owned(),
        reason: reason.into(),
    }
    .into()
}

fn text<'a>(row: &'a Row<'_>, column: usize, what: &str) -> Result<&'a str, Failure> {
    match row.get_ref(column)? {
        ValueRef::Text(bytes) => {
            std::str::from_utf8(bytes).map_err(|error| malformed(what, error.to_string()))
        }
        other => Err(malformed(
            what,
            format!("a text was expected, not {}", other.data_type()),
        )),
    }
}

pub(super) fn study(connection: &Connection, id: StudyId) -> Result<Option<FrozenStudy>, Failure> {
    let name: Option<String> = connection
        .prepare_cached("SELECT study_name FROM studies WHERE study_id = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()?;
    let Some(name) = name else { return Ok(None) };
    let mut directions = Vec::new();
    let mut statement = connection.prepare_cached(
        "SELECT direction FROM study_directions WHERE study_id = ?1 ORDER BY study_direction_id",
    )?;
    let mut rows = statement.query([id.0])?;
    while let Some(row) = rows.next()? {
        directions.push(match text(row, 0, "the direction of a study")? {
            "MAXIMIZE" => StudyDirection::Maximize,
            "MINIMIZE" | "NOT_SET" => StudyDirection::Minimize,
            other => return Err(malformed("the direction of a study", format!("{other:?}"))),
        });
    }
    let user_attrs = attributes(
        connection,
        "SELECT \"key\", value_json FROM study_user_attributes WHERE study_id = ?1 ORDER BY 1",
        id.0,
    )?;
    let system_attrs = attributes(
        connection,
        "SELECT \"key\", value_json FROM study_system_attributes WHERE study_id = ?1 ORDER BY 1",
        id.0,
    )?;
    Ok(Some(FrozenStudy {
        id,
        name,
        directions,
        user_attrs,
        system_attrs,
    }))
}

fn attributes(connection: &Connection, sql: &str, id: i64) -> Result<Map<String, Value>, Failure> {
    let mut attributes = Map::new();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([id])?;
    while let Some(row) = rows.next()? {
        let key = text(row, 0, "the key of an attribute")?.to_owned();
        attributes.insert(key, codec::decode_json(text(row, 1, "an attribute")?)?);
    }
    Ok(attributes)
}

/// Whether the row of a trial still is what it was; one that had not ended may have.
pub(super) fn is_unchanged(
    connection: &Connection,
    study: StudyId,
    trial: &FrozenTrial,
) -> Result<bool, Failure> {
    let start = trial.datetime_start.map(codec::encode_time);
    Ok(connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM trials WHERE trial_id = ?1 AND study_id = ?2 \
             AND number = ?3 AND (state = ?4 OR ?5) \
             AND (datetime_start IS ?6 OR datetime_start LIKE ?6 || '%'))",
        )?
        .query_row(
            (
                trial.id.0,
                study.0,
                i64::try_from(trial.number).unwrap_or(-1),
                trial.state.as_str(),
                !trial.state.is_finished(),
                start,
            ),
            |row| row.get(0),
        )?)
}

pub(super) fn parse_state(text: &str) -> Result<TrialState> {
    use TrialState::{Complete, Fail, Pruned, Running, Waiting};
    [Running, Complete, Pruned, Fail, Waiting]
        .into_iter()
        .find(|state| state.as_str() == text)
        .ok_or_else(|| Error::Malformed {
            what: "the state of a trial".to_owned(),
            reason: format!("{text:?} is none"),
        })
}

/// Reads the trials of a study whose identifier is above `last`, in order.
pub(super) fn trials_after(
    connection: &Connection,
    study: StudyId,
    last: i64,
    texts: &mut Texts,
) -> Result<Vec<FrozenTrial>, Failure> {
    let mut statement = connection.prepare_cached(
        "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials \
         WHERE study_id = ?1 AND trial_id > ?2 ORDER BY trial_id",
    )?;
    let mut rows = statement.query((study.0, last))?;
    let mut trials = Vec::new();
    while let Some(row) = rows.next()? {
        trials.push(head(row)?);
    }
    fill(connection, &mut trials, texts)?;
    Ok(trials)
}

/// Reads some trials anew.
pub(super) fn trials_by_id(
    connection: &Connection,
    ids: &[TrialId],
    texts: &mut Texts,
) -> Result<Vec<FrozenTrial>, Failure> {
    let mut trials = Vec::new();
    for id in ids {
        let mut statement = connection.prepare_cached(
            "SELECT trial_id, number, state, datetime_start, datetime_complete FROM trials \
             WHERE trial_id = ?1",
        )?;
        let mut rows = statement.query([id.0])?;
        if let Some(row) = rows.next()? {
            trials.push(head(row)?);
        }
    }
    fill(connection, &mut trials, texts)?;
    Ok(trials)
}

fn head(row: &Row<'_>) -> Result<FrozenTrial, Failure> {
    let time = |column: usize| -> Result<_, Failure> {
        match row.get_ref(column)? {
            ValueRef::Null => Ok(None),
            _ => Ok(Some(codec::decode_time(text(
                row,
                column,
                "the time of a trial",
            )?)?)),
        }
    };
    let number: Option<i64> = row.get(1)?;
    Ok(FrozenTrial {
        id: TrialId(row.get(0)?),
        number: usize::try_from(number.unwrap_or(0))
            .map_err(|_| malformed("the number of a trial", "it is negative"))?,
        state: parse_state(text(row, 2, "the state of a trial")?)?,
        values: Vec::new(),
        parameters: Vec::new(),
        intermediate_values: Default::default(),
        user_attrs: Map::new(),
        system_attrs: Map::new(),
        datetime_start: time(3)?,
        datetime_complete: time(4)?,
    })
}

/// Reads what belongs to trials from the five tables below them.
fn fill(
    connection: &Connection,
    trials: &mut [FrozenTrial],
    texts: &mut Texts,
) -> Result<(), Failure> {
    if trials.len() < SCAN_FROM {
        for trial in trials {
            for (table, put) in TABLES {
                let sql = format!(
                    "{} WHERE trial_id = ?1 ORDER BY {}",
                    table.select, table.key
                );
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query([trial.id.0])?;
                while let Some(row) = rows.next()? {
                    put(trial, row, texts)?;
                }
            }
        }
        return Ok(());
    }
    let (Some(first), Some(last)) = (trials.first(), trials.last()) else {
        return Ok(());
    };
    let bounds = (first.id.0.min(last.id.0), first.id.0.max(last.id.0));
    let positions: HashMap<i64, usize> = trials
        .iter()
        .enumerate()
        .map(|(position, trial)| (trial.id.0, position))
        .collect();
    for (table, put) in TABLES {
        // The unary plus keeps SQLite from walking the index: rows come in order of their key.
        let sql = format!(
            "{} WHERE +trial_id BETWEEN ?1 AND ?2 ORDER BY {}",
            table.select, table.key
        );
        let mut statement = connection.prepare_cached(&sql)?;
        let mut rows = statement.query(bounds)?;
        while let Some(row) = rows.next()? {
            if let Some(position) = positions.get(&row.get(0)?) {
                put(&mut trials[*position], row, texts)?;
            }
        }
    }
    Ok(())
}

struct Table {
    select: &'static str,
    key: &'static str,
}

type Put = fn(&mut FrozenTrial, &Row<'_>, &mut Texts) -> Result<(), Failure>;

const TABLES: [(Table, Put); 5] = [
    (
        Table {
            select: "SELECT trial_id, param_name, param_value, distribution_json FROM trial_params",
            key: "param_id",
        },
        put_param,
    ),
    (
        Table {
            select: "SELECT trial_id, value, value_type, objective FROM trial_values",
            key: "trial_value_id",
        },
        put_value,
    ),
    (
        Table {
            select: "SELECT trial_id, intermediate_value, intermediate_value_type, step \
                     FROM trial_intermediate_values",
            key: "trial_intermediate_value_id",
        },
        put_intermediate,
    ),
    (
        Table {
            select: "SELECT trial_id, \"key\", value_json FROM trial_user_attributes",
            key: "trial_user_attribute_id",
        },
        put_user_attr,
    ),
    (
        Table {
            select: "SELECT trial_id, \"key\", value_json FROM trial_system_attributes",
            key: "trial_system_attribute_id",
        },
        put_system_attr,
    ),
];

fn put_param(trial: &mut FrozenTrial, row: &Row<'_>, texts: &mut Texts) -> Result<(), Failure> {
    trial.parameters.push(Param {
        name: texts.name(text(row, 1, "the name of a parameter")?),
        internal: row.get(2)?,
        distribution: texts.distribution(text(row, 3, "a distribution")?)?,
    });
    Ok(())
}

fn value(row: &Row<'_>) -> Result<f64, Failure> {
    match text(row, 2, "the kind of a value")? {
        "FINITE" => Ok(row.get(1)?),
        "INF_POS" => Ok(f64::INFINITY),
        "INF_NEG" => Ok(f64::NEG_INFINITY),
        "NAN" => Ok(f64::NAN),
        other => Err(malformed(
            "the kind of a value",
            format!("{other:?} is none"),
        )),
    }
}

fn put_value(trial: &mut FrozenTrial, row: &Row<'_>, _: &mut Texts) -> Result<(), Failure> {
    // Rows usually come in order; where they do not, the objective says where each belongs.
    let objective: i64 = row.get(3)?;
    let objective = usize::try_from(objective)
        .ok()
        .filter(|objective| *objective < 4096)
        .ok_or_else(|| malformed("the value of a trial", format!("objective {objective}")))?;
    if trial.values.len() <= objective {
        trial.values.resize(objective + 1, f64::NAN);
    }
    trial.values[objective] = value(row)?;
    Ok(())
}

fn put_intermediate(trial: &mut FrozenTrial, row: &Row<'_>, _: &mut Texts) -> Result<(), Failure> {
    let step: i64 = row.get(3)?;
    let step =
        u64::try_from(step).map_err(|_| malformed("the step of a report", "it is negative"))?;
    trial.intermediate_values.insert(step, value(row)?);
    Ok(())
}

fn put_user_attr(trial: &mut FrozenTrial, row: &Row<'_>, _: &mut Texts) -> Result<(), Failure> {
    let key = text(row, 1, "the key of an attribute")?.to_owned();
    trial
        .user_attrs
        .insert(key, codec::decode_json(text(row, 2, "an attribute")?)?);
    Ok(())
}

fn put_system_attr(trial: &mut FrozenTrial, row: &Row<'_>, _: &mut Texts) -> Result<(), Failure> {
    let key = text(row, 1, "the key of an attribute")?.to_owned();
    trial
        .system_attrs
        .insert(key, codec::decode_json(text(row, 2, "an attribute")?)?);
    Ok(())
}
