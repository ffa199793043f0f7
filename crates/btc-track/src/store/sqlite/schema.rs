//! The tables, and whether a file has them.

use rusqlite::Connection;

use crate::error::{Error, Result};

/// "btct" in the file header says whose file it is.
const APPLICATION_ID: i32 = 0x6274_6374;
const VERSION: i32 = 1;

// NaN is stored as -infinity: SQLite has no NaN, infinities are clamped before
// they are stored, and -infinity sorts before every value as a tie breaker.
const SCHEMA: &str = "
CREATE TABLE experiment(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE,
  artifact_location TEXT NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0,
  creation_time INTEGER NOT NULL,
  last_update_time INTEGER NOT NULL);
CREATE TABLE experiment_tag(
  experiment INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(experiment, key)) WITHOUT ROWID;

CREATE TABLE run(
  id INTEGER PRIMARY KEY,
  uuid TEXT NOT NULL UNIQUE,
  experiment INTEGER NOT NULL,
  name TEXT NOT NULL,
  user_id TEXT NOT NULL,
  status TEXT NOT NULL,
  start_time INTEGER NOT NULL,
  end_time INTEGER,
  artifact_uri TEXT NOT NULL,
  deleted INTEGER NOT NULL DEFAULT 0,
  deleted_time INTEGER,
  deleted_with_experiment INTEGER NOT NULL DEFAULT 0);
CREATE INDEX run_by_start ON run(experiment, deleted, start_time DESC, uuid);

CREATE TABLE metric_key(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE metric(
  run INTEGER NOT NULL, key INTEGER NOT NULL,
  timestamp INTEGER NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL,
  PRIMARY KEY(run, key, timestamp, step, value)) WITHOUT ROWID;
CREATE TABLE latest_metric(
  run INTEGER NOT NULL, key INTEGER NOT NULL, experiment INTEGER NOT NULL,
  timestamp INTEGER NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL,
  PRIMARY KEY(run, key)) WITHOUT ROWID;
CREATE INDEX latest_metric_by_value ON latest_metric(key, experiment, value, run);
CREATE TABLE metric_rollup(
  run INTEGER NOT NULL, key INTEGER NOT NULL, bucket INTEGER NOT NULL, summary BLOB NOT NULL,
  PRIMARY KEY(run, key, bucket)) WITHOUT ROWID;
CREATE TABLE param(
  run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(run, key)) WITHOUT ROWID;
CREATE TABLE tag(
  run INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(run, key)) WITHOUT ROWID;
CREATE INDEX tag_by_key ON tag(key, value);
CREATE TABLE run_dataset(
  run INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
  source_type TEXT NOT NULL, source TEXT NOT NULL, schema TEXT NOT NULL, profile TEXT NOT NULL,
  context TEXT, tags TEXT NOT NULL,
  PRIMARY KEY(run, name, digest)) WITHOUT ROWID;
CREATE TABLE run_output(
  run INTEGER NOT NULL, model_id TEXT NOT NULL, step INTEGER NOT NULL,
  PRIMARY KEY(run, model_id, step)) WITHOUT ROWID;

CREATE TABLE logged_model(
  id INTEGER PRIMARY KEY,
  model_id TEXT NOT NULL UNIQUE,
  experiment INTEGER NOT NULL,
  name TEXT NOT NULL,
  creation_timestamp INTEGER NOT NULL,
  last_updated_timestamp INTEGER NOT NULL,
  artifact_uri TEXT NOT NULL,
  status TEXT NOT NULL,
  model_type TEXT NOT NULL,
  source_run_id TEXT,
  deleted_time INTEGER);
CREATE INDEX logged_model_by_experiment ON logged_model(experiment, deleted_time);
CREATE TABLE logged_model_param(
  model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(model, key)) WITHOUT ROWID;
CREATE TABLE logged_model_tag(
  model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(model, key)) WITHOUT ROWID;
CREATE TABLE logged_model_metric(
  model INTEGER NOT NULL, key TEXT NOT NULL,
  timestamp INTEGER NOT NULL, step INTEGER NOT NULL, value REAL NOT NULL,
  dataset_name TEXT NOT NULL, dataset_digest TEXT NOT NULL, run_id TEXT,
  PRIMARY KEY(model, key, dataset_name, dataset_digest, timestamp, step, value)) WITHOUT ROWID;

CREATE TABLE registered_model(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  creation_timestamp INTEGER NOT NULL,
  last_updated_timestamp INTEGER NOT NULL,
  description TEXT NOT NULL,
  last_version INTEGER NOT NULL DEFAULT 0);
CREATE TABLE registered_model_tag(
  model INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(model, key)) WITHOUT ROWID;
CREATE TABLE alias(
  model INTEGER NOT NULL, alias TEXT NOT NULL, version INTEGER NOT NULL,
  PRIMARY KEY(model, alias)) WITHOUT ROWID;
CREATE TABLE model_version(
  model INTEGER NOT NULL, version INTEGER NOT NULL,
  creation_timestamp INTEGER NOT NULL,
  last_updated_timestamp INTEGER NOT NULL,
  description TEXT NOT NULL,
  stage TEXT NOT NULL,
  source TEXT NOT NULL,
  run_id TEXT, model_id TEXT,
  run_link TEXT NOT NULL,
  PRIMARY KEY(model, version)) WITHOUT ROWID;
CREATE INDEX model_version_by_run ON model_version(run_id);
CREATE TABLE model_version_tag(
  model INTEGER NOT NULL, version INTEGER NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(model, version, key)) WITHOUT ROWID;
";

/// Creates the tables in an empty file and refuses files of others.
pub(super) fn prepare(connection: &mut Connection, now: i64) -> Result<()> {
    let found: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == VERSION {
        return check_owner(connection);
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    let found: i32 = transaction.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == VERSION {
        return check_owner(&transaction);
    }
    let tables: i64 =
        transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if found != 0 || tables != 0 {
        return Err(Error::invalid(format!(
            "the database has format {found} and {tables} tables, expected format {VERSION} or \
             an empty file; name another file"
        )));
    }
    transaction.execute_batch(SCHEMA)?;
    transaction.execute(
        "INSERT INTO experiment(id, name, artifact_location, creation_time, last_update_time)
         VALUES(0, 'Default', 'mlflow-artifacts:/0', ?1, ?1)",
        [now],
    )?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()?;
    Ok(())
}

/// Refuses a file that is not of this format, and changes nothing.
pub(super) fn check(connection: &Connection) -> Result<()> {
    let found: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        VERSION => check_owner(connection),
        other => Err(Error::invalid(format!(
            "the database has format {other}, expected format {VERSION}; name another file"
        ))),
    }
}

fn check_owner(connection: &Connection) -> Result<()> {
    let owner: i32 = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if owner == APPLICATION_ID {
        return Ok(());
    }
    Err(Error::invalid(
        "the database belongs to another program; name another file",
    ))
}
