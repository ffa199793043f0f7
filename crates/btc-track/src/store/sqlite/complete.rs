//! Fills runs with their metrics, parameters, tags, inputs and outputs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use rusqlite::Connection;

use super::decode;
use crate::entity::*;
use crate::error::Result;

/// Everything a run has recorded.
pub(super) fn complete(connection: &Connection, run: (i64, RunInfo)) -> Result<Run> {
    let mut runs = complete_all(connection, vec![run])?;
    Ok(runs.remove(0))
}

/// Everything that runs have recorded, with one query for each kind of value.
pub(super) fn complete_all(connection: &Connection, runs: Vec<(i64, RunInfo)>) -> Result<Vec<Run>> {
    let ids = serde_json::json!(runs.iter().map(|(row, _)| row).collect::<Vec<_>>()).to_string();
    let places: HashMap<i64, usize> = runs
        .iter()
        .enumerate()
        .map(|(i, (row, _))| (*row, i))
        .collect();
    let empty = |(_, info)| Run {
        info,
        data: RunData::default(),
        inputs: Vec::new(),
        model_inputs: Vec::new(),
        outputs: Vec::new(),
    };
    let mut runs: Vec<Run> = runs.into_iter().map(empty).collect();
    let mut names: HashMap<i64, String> = HashMap::new();

    let mut statement = connection.prepare_cached(
        "SELECT run, key, value, timestamp, step FROM latest_metric
         WHERE run IN (SELECT value FROM json_each(?1))",
    )?;
    let mut rows = statement.query([&ids])?;
    while let Some(row) = rows.next()? {
        let key: i64 = row.get(1)?;
        let name = match names.entry(key) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(metric_name(connection, key)?),
        };
        runs[places[&row.get(0)?]].data.metrics.push(Metric {
            key: name.clone(),
            value: decode(row.get(2)?),
            timestamp: row.get(3)?,
            step: row.get(4)?,
        });
    }
    let mut statement = connection.prepare_cached(
        "SELECT run, key, value FROM param WHERE run IN (SELECT value FROM json_each(?1))",
    )?;
    let mut rows = statement.query([&ids])?;
    while let Some(row) = rows.next()? {
        let param = Param {
            key: row.get(1)?,
            value: row.get(2)?,
        };
        runs[places[&row.get(0)?]].data.params.push(param);
    }
    let mut statement = connection.prepare_cached(
        "SELECT run, key, value FROM tag WHERE run IN (SELECT value FROM json_each(?1))",
    )?;
    let mut rows = statement.query([&ids])?;
    while let Some(row) = rows.next()? {
        let tag = Tag {
            key: row.get(1)?,
            value: row.get(2)?,
        };
        runs[places[&row.get(0)?]].data.tags.push(tag);
    }
    read_inputs(connection, &ids, &places, &mut runs)?;
    read_model_inputs(connection, &ids, &places, &mut runs)?;
    read_outputs(connection, &ids, &places, &mut runs)?;
    for run in &mut runs {
        run.data.metrics.sort_by(|a, b| a.key.cmp(&b.key));
        run.data.params.sort();
        run.data.tags.sort();
    }
    Ok(runs)
}

fn metric_name(connection: &Connection, key: i64) -> Result<String> {
    let mut statement = connection.prepare_cached("SELECT name FROM metric_key WHERE id = ?1")?;
    Ok(statement.query_row([key], |row| row.get(0))?)
}

fn read_inputs(
    connection: &Connection,
    ids: &str,
    places: &HashMap<i64, usize>,
    runs: &mut [Run],
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT run, name, digest, source_type, source, schema, profile, tags FROM run_dataset
         WHERE run IN (SELECT value FROM json_each(?1)) ORDER BY run, name, digest",
    )?;
    let mut rows = statement.query([ids])?;
    while let Some(r) = rows.next()? {
        let dataset = Dataset {
            name: r.get(1)?,
            digest: r.get(2)?,
            source_type: r.get(3)?,
            source: r.get(4)?,
            schema: r.get(5)?,
            profile: r.get(6)?,
        };
        let tags: String = r.get(7)?;
        let pairs: Vec<(String, String)> = serde_json::from_str(&tags).unwrap_or_default();
        let tags = pairs
            .into_iter()
            .map(|(key, value)| Tag { key, value })
            .collect();
        runs[places[&r.get(0)?]]
            .inputs
            .push(DatasetInput { dataset, tags });
    }
    Ok(())
}

fn read_model_inputs(
    connection: &Connection,
    ids: &str,
    places: &HashMap<i64, usize>,
    runs: &mut [Run],
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT run, model_id FROM run_model_input
         WHERE run IN (SELECT value FROM json_each(?1)) ORDER BY run, model_id",
    )?;
    let mut rows = statement.query([ids])?;
    while let Some(row) = rows.next()? {
        runs[places[&row.get(0)?]].model_inputs.push(row.get(1)?);
    }
    Ok(())
}

fn read_outputs(
    connection: &Connection,
    ids: &str,
    places: &HashMap<i64, usize>,
    runs: &mut [Run],
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT run, model_id, step FROM run_output
         WHERE run IN (SELECT value FROM json_each(?1)) ORDER BY run, model_id, step",
    )?;
    let mut rows = statement.query([ids])?;
    while let Some(row) = rows.next()? {
        let output = ModelOutput {
            model_id: row.get(1)?,
            step: row.get(2)?,
        };
        runs[places[&row.get(0)?]].outputs.push(output);
    }
    Ok(())
}
