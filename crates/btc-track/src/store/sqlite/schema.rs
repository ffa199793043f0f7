//! The tables, and whether a file has them.

use rusqlite::Connection;

use crate::error::{Error, Result};

/// "btct" in the file header says whose file it is.
const APPLICATION_ID: i32 = 0x6274_6374;
const VERSION: i32 = 2;

/// What leads from each format to the next; the first starts from format 1.
const MIGRATIONS: [&str; 1] = ["
ALTER TABLE model_version ADD COLUMN location TEXT;
ALTER TABLE model_version ADD COLUMN content TEXT;
CREATE INDEX model_version_by_location ON model_version(location);
CREATE INDEX model_version_by_stage ON model_version(model, stage, version);
CREATE TABLE run_model_input(
  run INTEGER NOT NULL, model_id TEXT NOT NULL,
  PRIMARY KEY(run, model_id)) WITHOUT ROWID;
CREATE TABLE unwanted_folder(uri TEXT PRIMARY KEY) WITHOUT ROWID;
"];

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

/// Creates the tables in an empty file, brings those of an earlier format up to
/// date, and refuses files of others.
pub(super) fn prepare(connection: &mut Connection, now: i64) -> Result<()> {
    if format(connection)? == VERSION {
        return check_owner(connection);
    }
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    // Another process may have been quicker.
    let found = format(&transaction)?;
    if found == VERSION {
        return check_owner(&transaction);
    }
    if found == 0 {
        let tables: i64 =
            transaction.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        if tables != 0 {
            return Err(foreign(found));
        }
        create(&transaction, now)?;
    }
    migrate(&transaction)?;
    transaction.commit()?;
    Ok(())
}

fn format(connection: &Connection) -> Result<i32> {
    Ok(connection.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// The tables of format 1.
fn create(connection: &Connection, now: i64) -> Result<()> {
    connection.execute_batch(SCHEMA)?;
    connection.execute(
        "INSERT INTO experiment(id, name, artifact_location, creation_time, last_update_time)
         VALUES(0, 'Default', 'mlflow-artifacts:/0', ?1, ?1)",
        [now],
    )?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", 1)?;
    Ok(())
}

fn migrate(connection: &Connection) -> Result<()> {
    check_owner(connection)?;
    let found = format(connection)?;
    let done = usize::try_from(found - 1).ok();
    let missing = done.and_then(|done| MIGRATIONS.get(done..));
    for sql in missing.ok_or_else(|| foreign(found))? {
        connection.execute_batch(sql)?;
    }
    super::registry::locate_versions(connection)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(())
}

/// Checks a file that is there, bringing one of an earlier format up to date
/// if it can be written to. Nothing else is changed.
pub(super) fn check(connection: &mut Connection, now: i64) -> Result<()> {
    match format(connection)? {
        VERSION => check_owner(connection),
        1..VERSION if connection.is_readonly("main")? => Err(Error::invalid(format!(
            "the database has an earlier format than {VERSION} and cannot be written to; \
             open it once where it can, which brings it up to date"
        ))),
        1..VERSION => prepare(connection, now),
        other => Err(foreign(other)),
    }
}

fn foreign(found: i32) -> Error {
    Error::invalid(format!(
        "the database has format {found}, expected format {VERSION}, an earlier one or an empty \
         file; it belongs to another program or to a later version of this one, so name another file"
    ))
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of format 1 with a run and versions of each kind of source.
    fn first_format(path: &std::path::Path) {
        let connection = Connection::open(path).unwrap();
        create(&connection, 1).unwrap();
        connection
            .execute_batch(
                "INSERT INTO run(uuid, experiment, name, user_id, status, start_time, artifact_uri)
                 VALUES('r', 0, 'n', '', 'FINISHED', 1, 'mlflow-artifacts:/0/r/artifacts');
                 INSERT INTO registered_model VALUES(1, 'm', 1, 1, '', 3);
                 INSERT INTO model_version VALUES
                   (1, 1, 1, 1, '', 'None', 'runs:/r/model', 'r', NULL, ''),
                   (1, 2, 1, 1, '', 'None', 'models:/m/1', 'r', NULL, ''),
                   (1, 3, 1, 1, '', 'None', 'runs:/gone/model', NULL, NULL, '');",
            )
            .unwrap();
    }

    #[test]
    fn an_earlier_format_is_brought_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("track.db");
        first_format(&path);
        let mut connection = Connection::open(&path).unwrap();
        prepare(&mut connection, 2).unwrap();
        assert_eq!(format(&connection).unwrap(), VERSION);
        let locations: Vec<Option<String>> = connection
            .prepare("SELECT location FROM model_version ORDER BY version")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        let model = Some("mlflow-artifacts:/0/r/artifacts/model".to_owned());
        assert_eq!(locations, [model.clone(), model, None]);
        // A second start finds nothing to do.
        prepare(&mut connection, 3).unwrap();
        check(&mut connection, 3).unwrap();
    }

    #[test]
    fn a_later_format_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("track.db");
        first_format(&path);
        let mut connection = Connection::open(&path).unwrap();
        connection
            .pragma_update(None, "user_version", VERSION + 1)
            .unwrap();
        assert!(prepare(&mut connection, 2).is_err());
        assert!(check(&mut connection, 2).is_err());
        assert_eq!(format(&connection).unwrap(), VERSION + 1);
    }
}
