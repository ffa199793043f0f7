//! The tables of Optuna and the versions they may have.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};

use crate::error::{Error, Result};

/// The version of the tables, unchanged since Optuna 3.2.
const TABLE_VERSION: &str = "v3.2.0.a";

/// Earlier versions of the tables, which Optuna can bring up to date.
const OLD_VERSIONS: [&str; 9] = [
    "v0.9.0.a", "v1.2.0.a", "v1.3.0.a", "v2.4.0.a", "v2.6.0.a", "v3.0.0.a", "v3.0.0.b", "v3.0.0.c",
    "v3.0.0.d",
];

const TABLES: &str = r#"
CREATE TABLE IF NOT EXISTS studies (study_id INTEGER NOT NULL, study_name VARCHAR(512) NOT NULL,
  PRIMARY KEY (study_id));
CREATE UNIQUE INDEX IF NOT EXISTS ix_studies_study_name ON studies (study_name);
CREATE TABLE IF NOT EXISTS version_info (version_info_id INTEGER NOT NULL, schema_version INTEGER,
  library_version VARCHAR(256), PRIMARY KEY (version_info_id), CHECK (version_info_id=1));
CREATE TABLE IF NOT EXISTS study_directions (study_direction_id INTEGER NOT NULL,
  direction VARCHAR(8) NOT NULL, study_id INTEGER NOT NULL, objective INTEGER NOT NULL,
  PRIMARY KEY (study_direction_id), UNIQUE (study_id, objective),
  FOREIGN KEY(study_id) REFERENCES studies (study_id));
CREATE TABLE IF NOT EXISTS study_user_attributes (study_user_attribute_id INTEGER NOT NULL,
  study_id INTEGER, "key" VARCHAR(512), value_json TEXT, PRIMARY KEY (study_user_attribute_id),
  UNIQUE (study_id, "key"), FOREIGN KEY(study_id) REFERENCES studies (study_id));
CREATE TABLE IF NOT EXISTS study_system_attributes (study_system_attribute_id INTEGER NOT NULL,
  study_id INTEGER, "key" VARCHAR(512), value_json TEXT, PRIMARY KEY (study_system_attribute_id),
  UNIQUE (study_id, "key"), FOREIGN KEY(study_id) REFERENCES studies (study_id));
CREATE TABLE IF NOT EXISTS trials (trial_id INTEGER NOT NULL, number INTEGER, study_id INTEGER,
  state VARCHAR(8) NOT NULL, datetime_start DATETIME, datetime_complete DATETIME,
  PRIMARY KEY (trial_id), FOREIGN KEY(study_id) REFERENCES studies (study_id));
CREATE INDEX IF NOT EXISTS ix_trials_study_id ON trials (study_id);
CREATE TABLE IF NOT EXISTS trial_user_attributes (trial_user_attribute_id INTEGER NOT NULL,
  trial_id INTEGER, "key" VARCHAR(512), value_json TEXT, PRIMARY KEY (trial_user_attribute_id),
  UNIQUE (trial_id, "key"), FOREIGN KEY(trial_id) REFERENCES trials (trial_id));
CREATE TABLE IF NOT EXISTS trial_system_attributes (trial_system_attribute_id INTEGER NOT NULL,
  trial_id INTEGER, "key" VARCHAR(512), value_json TEXT, PRIMARY KEY (trial_system_attribute_id),
  UNIQUE (trial_id, "key"), FOREIGN KEY(trial_id) REFERENCES trials (trial_id));
CREATE TABLE IF NOT EXISTS trial_params (param_id INTEGER NOT NULL, trial_id INTEGER,
  param_name VARCHAR(512), param_value FLOAT, distribution_json TEXT, PRIMARY KEY (param_id),
  UNIQUE (trial_id, param_name), FOREIGN KEY(trial_id) REFERENCES trials (trial_id));
CREATE TABLE IF NOT EXISTS trial_values (trial_value_id INTEGER NOT NULL, trial_id INTEGER NOT NULL,
  objective INTEGER NOT NULL, value FLOAT, value_type VARCHAR(7) NOT NULL,
  PRIMARY KEY (trial_value_id), UNIQUE (trial_id, objective),
  FOREIGN KEY(trial_id) REFERENCES trials (trial_id));
CREATE TABLE IF NOT EXISTS trial_intermediate_values (trial_intermediate_value_id INTEGER NOT NULL,
  trial_id INTEGER NOT NULL, step INTEGER NOT NULL, intermediate_value FLOAT,
  intermediate_value_type VARCHAR(7) NOT NULL, PRIMARY KEY (trial_intermediate_value_id),
  UNIQUE (trial_id, step), FOREIGN KEY(trial_id) REFERENCES trials (trial_id));
CREATE TABLE IF NOT EXISTS trial_heartbeats (trial_heartbeat_id INTEGER NOT NULL,
  trial_id INTEGER NOT NULL, heartbeat DATETIME NOT NULL, PRIMARY KEY (trial_heartbeat_id),
  UNIQUE (trial_id), FOREIGN KEY(trial_id) REFERENCES trials (trial_id));
CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL,
  CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
INSERT OR IGNORE INTO version_info (version_info_id, schema_version, library_version)
  VALUES (1, 12, '5.0.0');
"#;

/// Checks the version of the tables and creates those that are missing.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<()> {
    let failed = |source| {
        Error::storage(
            format!("read the tables of the database {}", path.display()),
            source,
        )
    };
    // Two processes that open a new file at once both try to switch it; the loser sees it switched.
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .or_else(|_| connection.pragma_query_value(None, "journal_mode", |row| row.get(0)))
        .map_err(failed)?;
    // In WAL mode NORMAL cannot corrupt the file; a power cut may lose the last commits.
    let level = if mode == "wal" { "NORMAL" } else { "FULL" };
    connection
        .pragma_update(None, "synchronous", level)
        .map_err(failed)?;

    if version(connection)
        .map_err(failed)?
        .is_some_and(|version| version == TABLE_VERSION)
    {
        return Ok(());
    }
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    match version(&transaction).map_err(failed)? {
        Some(version) if version == TABLE_VERSION => return Ok(()),
        Some(version) => {
            let advice = if OLD_VERSIONS.contains(&version.as_str()) {
                "bring it up to date with `optuna storage upgrade --storage URL`"
            } else {
                "use a newer version of this program"
            };
            return Err(refuse(path, version, advice));
        }
        None => {}
    }
    transaction.execute_batch(TABLES).map_err(failed)?;
    let schema: i64 = transaction
        .query_row("SELECT schema_version FROM version_info", [], |row| {
            row.get(0)
        })
        .map_err(failed)?;
    if schema != 12 {
        return Err(refuse(
            path,
            format!("schema {schema}"),
            "bring it up to date with `optuna storage upgrade --storage URL`",
        ));
    }
    transaction
        .execute(
            "INSERT INTO alembic_version (version_num) VALUES (?1)",
            [TABLE_VERSION],
        )
        .map_err(failed)?;
    transaction.commit().map_err(failed)
}

/// Refuses a file whose tables are not of this version, and changes nothing.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<()> {
    let found = version(connection).map_err(|source| {
        let operation = format!("read the tables of the database {}", path.display());
        Error::storage(operation, source)
    })?;
    match found {
        Some(version) if version == TABLE_VERSION => Ok(()),
        Some(version) if OLD_VERSIONS.contains(&version.as_str()) => Err(refuse(
            path,
            version,
            "bring it up to date with `optuna storage upgrade --storage URL`",
        )),
        Some(version) => Err(refuse(path, version, "use a newer version of this program")),
        None => Err(refuse(path, "no tables".to_owned(), "name another file")),
    }
}

fn refuse(path: &Path, found: String, advice: &'static str) -> Error {
    Error::SchemaVersion {
        location: path.display().to_string(),
        found,
        expected: TABLE_VERSION,
        advice,
    }
}

/// The version a file says it has, if it has the tables.
fn version(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let exists: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'alembic_version')",
        [],
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(None);
    }
    connection
        .query_row(
            "SELECT version_num FROM alembic_version LIMIT 1",
            [],
            |row| row.get(0),
        )
        .optional()
}
