//! The rows of experiments.

use rusqlite::{Connection, Row, params};

use super::{SqliteStore, found, read_tags, row_id, unique};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

const COLUMNS: &str =
    "SELECT id, name, artifact_location, deleted, creation_time, last_update_time FROM experiment";
const TAKEN: &str = "; a deleted experiment keeps its name, restore it or choose another";

pub(super) fn stage(deleted: bool) -> LifecycleStage {
    if deleted {
        LifecycleStage::Deleted
    } else {
        LifecycleStage::Active
    }
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(i64, Experiment)> {
    let id: i64 = row.get(0)?;
    let experiment = Experiment {
        experiment_id: id.to_string(),
        name: row.get(1)?,
        artifact_location: row.get(2)?,
        lifecycle_stage: stage(row.get(3)?),
        creation_time: row.get(4)?,
        last_update_time: row.get(5)?,
        tags: Vec::new(),
    };
    Ok((id, experiment))
}

fn with_tags(
    connection: &Connection,
    (id, mut experiment): (i64, Experiment),
) -> Result<Experiment> {
    let sql = "SELECT key, value FROM experiment_tag WHERE experiment = ?1 ORDER BY key";
    experiment.tags = read_tags(connection, sql, id)?;
    Ok(experiment)
}

pub(super) fn by_id(connection: &Connection, id: &str) -> Result<Experiment> {
    let row = row_id("experiment", id)?;
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
    with_tags(
        connection,
        found(statement.query_row([row], from_row), "experiment", id)?,
    )
}

/// The row id and artifact location of an experiment that takes new runs.
pub(super) fn active(connection: &Connection, id: &str) -> Result<(i64, String)> {
    let row = row_id("experiment", id)?;
    let mut statement = connection
        .prepare_cached("SELECT artifact_location, deleted FROM experiment WHERE id = ?1")?;
    let (location, deleted): (String, bool) = found(
        statement.query_row([row], |r| Ok((r.get(0)?, r.get(1)?))),
        "experiment",
        id,
    )?;
    if deleted {
        return Err(Error::Inactive {
            what: "experiment",
            id: id.to_owned(),
        });
    }
    Ok((row, location))
}

fn set_tag(connection: &Connection, experiment: i64, tag: &Tag) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO experiment_tag VALUES(?1, ?2, ?3)")?
        .execute(params![experiment, tag.key, tag.value])?;
    Ok(())
}

impl SqliteStore {
    pub(super) fn insert_experiment(&self, new: &NewExperiment) -> Result<Experiment> {
        check_new_experiment(new)?;
        let now = self.clock.now_ms();
        self.write(|connection| {
            let inserted = connection.execute(
                "INSERT INTO experiment(name, artifact_location, creation_time, last_update_time)
                 VALUES(?1, '', ?2, ?2)",
                params![new.name, now],
            );
            unique(inserted, "experiment", &new.name, TAKEN)?;
            let row = connection.last_insert_rowid();
            let default = || format!("mlflow-artifacts:/{row}");
            let location = new.artifact_location.clone().unwrap_or_else(default);
            connection.execute(
                "UPDATE experiment SET artifact_location = ?2 WHERE id = ?1",
                params![row, location.trim_end_matches('/')],
            )?;
            new.tags
                .iter()
                .try_for_each(|tag| set_tag(connection, row, tag))?;
            by_id(connection, &row.to_string())
        })
    }

    pub(super) fn find_experiment(&self, name: &str) -> Result<Experiment> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(&format!("{COLUMNS} WHERE name = ?1"))?;
            with_tags(
                connection,
                found(statement.query_row([name], from_row), "experiment", name)?,
            )
        })
    }

    pub(super) fn page_experiments(&self, query: &SearchQuery) -> Result<Page<Experiment>> {
        let all: Vec<Experiment> = self.read(|connection| {
            let mut statement = connection.prepare_cached(COLUMNS)?;
            let rows: Vec<_> = statement
                .query_map([], from_row)?
                .collect::<Result<_, _>>()?;
            rows.into_iter()
                .map(|row| with_tags(connection, row))
                .collect()
        })?;
        page_experiments(all, query)
    }

    pub(super) fn apply_experiment_change(
        &self,
        id: &str,
        change: &ExperimentChange,
    ) -> Result<()> {
        check_experiment_change(change)?;
        let now = self.clock.now_ms();
        self.write(|connection| {
            let experiment = by_id(connection, id)?;
            let row = row_id("experiment", id)?;
            let is_active = experiment.lifecycle_stage == LifecycleStage::Active;
            match change {
                ExperimentChange::Restore if is_active => {
                    return Err(Error::invalid(format!("experiment {id:?} is not deleted")));
                }
                ExperimentChange::Restore => {
                    connection.execute("UPDATE experiment SET deleted = 0 WHERE id = ?1", [row])?;
                    connection.execute(
                        "UPDATE run SET deleted = 0, deleted_time = NULL, deleted_with_experiment = 0
                         WHERE experiment = ?1 AND deleted_with_experiment = 1",
                        [row],
                    )?;
                }
                _ if !is_active => {
                    return Err(Error::Inactive { what: "experiment", id: id.to_owned() });
                }
                ExperimentChange::Delete => {
                    connection.execute("UPDATE experiment SET deleted = 1 WHERE id = ?1", [row])?;
                    connection.execute(
                        "UPDATE run SET deleted = 1, deleted_time = ?2, deleted_with_experiment = 1
                         WHERE experiment = ?1 AND deleted = 0",
                        params![row, now],
                    )?;
                }
                ExperimentChange::Rename(name) => {
                    let renamed = connection
                        .execute("UPDATE experiment SET name = ?2 WHERE id = ?1", params![row, name]);
                    unique(renamed, "experiment", name, TAKEN)?;
                }
                ExperimentChange::SetTag(tag) => set_tag(connection, row, tag)?,
                ExperimentChange::DeleteTag(key) => {
                    let deleted = connection.execute(
                        "DELETE FROM experiment_tag WHERE experiment = ?1 AND key = ?2",
                        params![row, key],
                    )?;
                    if deleted == 0 {
                        return Err(Error::not_found("experiment tag", key));
                    }
                }
            }
            connection.execute(
                "UPDATE experiment SET last_update_time = ?2 WHERE id = ?1",
                params![row, now],
            )?;
            Ok(())
        })
    }
}
