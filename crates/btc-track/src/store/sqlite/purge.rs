//! Removing for good what was deleted.

use std::collections::BTreeSet;

use rusqlite::{Connection, params};

use super::registry;
use crate::error::Result;
use crate::store::Purged;

const OF_RUNS: [&str; 8] = [
    "metric",
    "latest_metric",
    "metric_rollup",
    "param",
    "tag",
    "run_dataset",
    "run_model_input",
    "run_output",
];
const OF_MODELS: [&str; 3] = [
    "logged_model_param",
    "logged_model_tag",
    "logged_model_metric",
];

/// Something with a folder of its own.
struct Owner {
    row: i64,
    id: String,
    experiment: i64,
    uri: String,
}

/// What a purge would remove.
#[derive(Default)]
pub(super) struct Doomed {
    runs: Vec<Owner>,
    models: Vec<Owner>,
    experiments: BTreeSet<i64>,
    /// Deleted, but a registered version needs the files.
    kept: Vec<String>,
    /// Folders, those that an earlier purge could not delete included.
    folders: BTreeSet<String>,
}

impl Doomed {
    pub(super) fn purged(self) -> Purged {
        Purged {
            run_ids: self.runs.into_iter().map(|run| run.id).collect(),
            experiment_ids: self.experiments.iter().map(i64::to_string).collect(),
            artifact_uris: self.folders.into_iter().collect(),
            kept: self.kept,
            left: Vec::new(),
        }
    }
}

/// Looks for what was deleted before `before` and is needed by nobody. Only reads.
pub(super) fn doomed(connection: &Connection, before: i64) -> Result<Doomed> {
    let used = registry::in_use(connection)?;
    let mut doomed = Doomed::default();
    // Experiments of which something is left to restore, or in use.
    let mut staying = BTreeSet::new();

    let runs = owners(
        connection,
        "SELECT id, uuid, experiment, artifact_uri FROM run WHERE deleted = 1 AND deleted_time < ?1",
        before,
    )?;
    for run in runs {
        if used.needs(&run.uri) {
            staying.insert(run.experiment);
            doomed.kept.push(run.id);
        } else {
            doomed.runs.push(run);
        }
    }
    let mut statement = connection.prepare(
        "SELECT id FROM experiment e WHERE deleted = 1 AND last_update_time < ?1
         AND NOT EXISTS(SELECT 1 FROM run WHERE experiment = e.id
                        AND NOT (deleted = 1 AND deleted_time < ?1))",
    )?;
    let experiments: BTreeSet<i64> = statement
        .query_map([before], |r| r.get(0))?
        .collect::<Result<_, _>>()?;

    // Logged models are few beside runs, and those of an experiment go with it.
    let models = owners(
        connection,
        "SELECT id, model_id, experiment, artifact_uri FROM logged_model
         WHERE deleted_time < ?1 OR experiment IN (SELECT id FROM experiment WHERE deleted = 1)",
        before,
    )?;
    let old = old_models(connection, before)?;
    let (needed, free): (Vec<Owner>, Vec<Owner>) =
        models.into_iter().partition(|model| used.needs(&model.uri));
    for model in needed {
        staying.insert(model.experiment);
        if old.contains(&model.row) {
            doomed.kept.push(model.id);
        }
    }
    doomed.experiments = experiments.difference(&staying).copied().collect();
    doomed.models = free
        .into_iter()
        .filter(|model| old.contains(&model.row) || doomed.experiments.contains(&model.experiment))
        .collect();

    let mut statement = connection.prepare("SELECT uri FROM unwanted_folder")?;
    let left: Vec<String> = statement
        .query_map([], |r| r.get(0))?
        .collect::<Result<_, _>>()?;
    let owned = doomed.runs.iter().chain(&doomed.models);
    let owned = owned.map(|owner| owner.uri.clone());
    doomed.folders = owned
        .chain(left.into_iter().filter(|uri| !used.needs(uri)))
        .collect();
    Ok(doomed)
}

fn owners(connection: &Connection, sql: &str, before: i64) -> Result<Vec<Owner>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([before], |r| {
        Ok(Owner {
            row: r.get(0)?,
            id: r.get(1)?,
            experiment: r.get(2)?,
            uri: r.get(3)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The logged models that were deleted themselves.
fn old_models(connection: &Connection, before: i64) -> Result<BTreeSet<i64>> {
    let mut statement =
        connection.prepare("SELECT id FROM logged_model WHERE deleted_time < ?1")?;
    let rows = statement.query_map([before], |r| r.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Removes the records, and remembers the folders until they are gone too.
pub(super) fn purge(connection: &Connection, before: i64) -> Result<Purged> {
    let doomed = doomed(connection, before)?;
    for run in &doomed.runs {
        for table in OF_RUNS {
            connection.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [run.row])?;
        }
        connection.execute("DELETE FROM run WHERE id = ?1", [run.row])?;
    }
    for model in &doomed.models {
        for table in OF_MODELS {
            let sql = format!("DELETE FROM {table} WHERE model = ?1");
            connection.execute(&sql, [model.row])?;
        }
        connection.execute("DELETE FROM logged_model WHERE id = ?1", [model.row])?;
    }
    for row in &doomed.experiments {
        connection.execute("DELETE FROM experiment_tag WHERE experiment = ?1", [row])?;
        connection.execute("DELETE FROM experiment WHERE id = ?1", [row])?;
    }
    for uri in &doomed.folders {
        let sql = "INSERT INTO unwanted_folder VALUES(?1) ON CONFLICT DO NOTHING";
        connection.execute(sql, params![uri])?;
    }
    Ok(doomed.purged())
}

/// Notes that folders are gone.
pub(super) fn forget(connection: &Connection, uris: &[String]) -> Result<()> {
    for uri in uris {
        connection.execute("DELETE FROM unwanted_folder WHERE uri = ?1", params![uri])?;
    }
    Ok(())
}
