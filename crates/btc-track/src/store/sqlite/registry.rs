//! Registered models and their versions in SQL.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::{SqliteStore, found, read_tags, unique};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::search::{Comparator, Filter, Key, Literal, Subject};
use crate::store::*;

const MODEL: &str = "registered model";
const TAKEN: &str = "; choose another name or use the existing one";
const VERSION_COLUMNS: &str = "SELECT v.version, v.creation_timestamp, v.last_updated_timestamp, \
     v.description, v.stage, v.source, v.run_id, v.model_id, v.run_link, m.id, m.name, \
     v.location, v.content \
     FROM model_version v JOIN registered_model m ON m.id = v.model";

fn model_row(connection: &Connection, name: &str) -> Result<i64> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM registered_model WHERE name = ?1")?;
    found(statement.query_row([name], |row| row.get(0)), MODEL, name)
}

fn aliases(connection: &Connection, model: i64) -> Result<Vec<(String, u64)>> {
    let mut statement = connection
        .prepare_cached("SELECT alias, version FROM alias WHERE model = ?1 ORDER BY alias")?;
    let rows = statement.query_map([model], |row| {
        Ok((row.get(0)?, row.get::<_, i64>(1)? as u64))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn version_from_row(row: &Row<'_>) -> rusqlite::Result<(i64, ModelVersion)> {
    let stage: String = row.get(4)?;
    let version = ModelVersion {
        name: row.get(10)?,
        version: row.get::<_, i64>(0)? as u64,
        creation_timestamp: row.get(1)?,
        last_updated_timestamp: row.get(2)?,
        description: row.get(3)?,
        current_stage: stage.parse().unwrap_or(Stage::None),
        source: row.get(5)?,
        run_id: row.get(6)?,
        model_id: row.get(7)?,
        run_link: row.get(8)?,
        location: row.get(11)?,
        content: row.get(12)?,
        tags: Vec::new(),
        aliases: Vec::new(),
    };
    Ok((row.get(9)?, version))
}

fn complete_version(
    connection: &Connection,
    (model, mut version): (i64, ModelVersion),
) -> Result<ModelVersion> {
    let number = version.version as i64;
    let mut statement = connection.prepare_cached(
        "SELECT key, value FROM model_version_tag WHERE model = ?1 AND version = ?2 ORDER BY key",
    )?;
    version.tags = statement
        .query_map([model, number], super::key_values)?
        .map(|row| row.map(|(key, value)| Tag { key, value }))
        .collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT alias FROM alias WHERE model = ?1 AND version = ?2 ORDER BY alias",
    )?;
    version.aliases = statement
        .query_map([model, number], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    Ok(version)
}

/// The versions that can pass a filter: equalities that an index answers are
/// looked up, all else is left to the filter.
fn versions(connection: &Connection, filter: &Filter) -> Result<Vec<ModelVersion>> {
    let mut sql = format!("{VERSION_COLUMNS} WHERE 1");
    let mut values = Vec::new();
    for clause in &filter.clauses {
        let column = match clause.key {
            Key::Attribute("name") => "m.name",
            Key::Attribute("run_id") => "v.run_id",
            _ => continue,
        };
        if let (Comparator::Eq, Literal::Text(text)) = (clause.comparator, &clause.literal) {
            values.push(text);
            sql += &format!(" AND {column} = ?{}", values.len());
        }
    }
    let mut statement = connection.prepare_cached(&sql)?;
    let rows: Vec<_> = statement
        .query_map(params_from_iter(values), version_from_row)?
        .collect::<Result<_, _>>()?;
    if rows.len() < SCAN_FROM {
        return rows
            .into_iter()
            .map(|row| complete_version(connection, row))
            .collect();
    }
    complete_many(connection, rows)
}

/// Below so many versions their tags are looked up one by one.
const SCAN_FROM: usize = 64;

fn complete_many(
    connection: &Connection,
    rows: Vec<(i64, ModelVersion)>,
) -> Result<Vec<ModelVersion>> {
    let mut tags: HashMap<(i64, i64), Vec<Tag>> = HashMap::new();
    let mut statement = connection.prepare_cached(
        "SELECT model, version, key, value FROM model_version_tag ORDER BY model, version, key",
    )?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let tag = Tag {
            key: row.get(2)?,
            value: row.get(3)?,
        };
        tags.entry((row.get(0)?, row.get(1)?))
            .or_default()
            .push(tag);
    }
    let mut aliases: HashMap<(i64, i64), Vec<String>> = HashMap::new();
    let mut statement =
        connection.prepare_cached("SELECT model, version, alias FROM alias ORDER BY alias")?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let key = (row.get(0)?, row.get(1)?);
        aliases.entry(key).or_default().push(row.get(2)?);
    }
    Ok(rows
        .into_iter()
        .map(|(model, mut version)| {
            let key = (model, version.version as i64);
            version.tags = tags.remove(&key).unwrap_or_default();
            version.aliases = aliases.remove(&key).unwrap_or_default();
            version
        })
        .collect())
}

/// The newest version of each stage of a model.
fn newest(connection: &Connection, model: i64) -> Result<Vec<ModelVersion>> {
    let sql = format!(
        "{VERSION_COLUMNS} WHERE v.model = ?1 AND v.version IN
           (SELECT max(version) FROM model_version WHERE model = ?1 GROUP BY stage)"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows: Vec<_> = statement
        .query_map([model], version_from_row)?
        .collect::<Result<_, _>>()?;
    rows.into_iter()
        .map(|row| complete_version(connection, row))
        .collect()
}

fn version_by_number(
    connection: &Connection,
    name: &str,
    version: u64,
) -> Result<(i64, ModelVersion)> {
    model_row(connection, name)?;
    let sql = format!("{VERSION_COLUMNS} WHERE m.name = ?1 AND v.version = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let number = i64::try_from(version).unwrap_or(-1);
    let row = statement.query_row(params![name, number], version_from_row);
    found(row, "model version", &format!("{name}/{version}"))
}

fn registered(connection: &Connection, row: i64) -> Result<RegisteredModel> {
    let mut model = connection
        .prepare_cached(
            "SELECT name, creation_timestamp, last_updated_timestamp, description
             FROM registered_model WHERE id = ?1",
        )?
        .query_row([row], |r| {
            Ok(RegisteredModel {
                name: r.get(0)?,
                creation_timestamp: r.get(1)?,
                last_updated_timestamp: r.get(2)?,
                description: r.get(3)?,
                tags: Vec::new(),
                aliases: Vec::new(),
                latest_versions: Vec::new(),
            })
        })?;
    let sql = "SELECT key, value FROM registered_model_tag WHERE model = ?1 ORDER BY key";
    model.tags = read_tags(connection, sql, row)?;
    model.aliases = aliases(connection, row)?;
    model.latest_versions = latest_per_stage(&newest(connection, row)?);
    Ok(model)
}

fn set_model_tag(connection: &Connection, model: i64, tag: &Tag) -> Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO registered_model_tag VALUES(?1, ?2, ?3)",
        params![model, tag.key, tag.value],
    )?;
    Ok(())
}

fn set_version_tag(connection: &Connection, model: i64, version: i64, tag: &Tag) -> Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO model_version_tag VALUES(?1, ?2, ?3, ?4)",
        params![model, version, tag.key, tag.value],
    )?;
    Ok(())
}

fn set_alias(connection: &Connection, model: i64, alias: &str, version: i64) -> Result<()> {
    connection.execute(
        "INSERT OR REPLACE INTO alias VALUES(?1, ?2, ?3)",
        params![model, alias, version],
    )?;
    Ok(())
}

fn insert_model(connection: &Connection, new: &NewRegisteredModel, now: i64) -> Result<i64> {
    let inserted = connection.execute(
        "INSERT INTO registered_model(name, creation_timestamp, last_updated_timestamp, description)
         VALUES(?1, ?2, ?2, ?3)",
        params![new.name, now, new.description],
    );
    unique(inserted, MODEL, &new.name, TAKEN)?;
    let row = connection.last_insert_rowid();
    new.tags
        .iter()
        .try_for_each(|tag| set_model_tag(connection, row, tag))?;
    Ok(row)
}

/// Inserts a version, numbered one higher than any before it.
fn insert_version(
    connection: &Connection,
    new: &NewModelVersion,
    now: i64,
) -> Result<ModelVersion> {
    let location = location_of(new, &Snapshot(connection))?;
    let content = new.content.as_ref().filter(|_| location.is_some());
    let model = match model_row(connection, &new.name) {
        Err(Error::NotFound { .. }) if new.create_model => {
            let model = NewRegisteredModel {
                name: new.name.clone(),
                ..Default::default()
            };
            insert_model(connection, &model, now)?
        }
        other => other?,
    };
    let number: i64 = connection.query_row(
        "UPDATE registered_model SET last_version = last_version + 1 WHERE id = ?1
         RETURNING last_version",
        [model],
        |row| row.get(0),
    )?;
    connection.execute(
        "INSERT INTO model_version(model, version, creation_timestamp, last_updated_timestamp,
           description, stage, source, run_id, model_id, run_link, location, content)
         VALUES(?1, ?2, ?3, ?3, ?4, 'None', ?5, ?6, ?7, ?8, ?9, ?10)",
        params![
            model,
            number,
            now,
            new.description,
            new.source,
            new.run_id,
            new.model_id,
            new.run_link,
            location,
            content
        ],
    )?;
    finish_version(connection, model, number, new, now)
}

/// Gives a version its tags and aliases, and returns it.
fn finish_version(
    connection: &Connection,
    model: i64,
    number: i64,
    new: &NewModelVersion,
    now: i64,
) -> Result<ModelVersion> {
    new.tags
        .iter()
        .try_for_each(|tag| set_version_tag(connection, model, number, tag))?;
    new.aliases
        .iter()
        .try_for_each(|alias| set_alias(connection, model, alias, number))?;
    touch(connection, model, now)?;
    let row = version_by_number(connection, &new.name, number as u64)?;
    complete_version(connection, row)
}

fn touch(connection: &Connection, model: i64, now: i64) -> Result<()> {
    connection.execute(
        "UPDATE registered_model SET last_updated_timestamp = ?2 WHERE id = ?1",
        params![model, now],
    )?;
    Ok(())
}

/// Where the things lie that a source can name, in one state of the database.
pub(super) struct Snapshot<'a>(pub(super) &'a Connection);

impl Sources for Snapshot<'_> {
    fn run_folder(&self, id: &str) -> Result<String> {
        let mut statement = self
            .0
            .prepare_cached("SELECT artifact_uri FROM run WHERE uuid = ?1")?;
        found(statement.query_row([id], |row| row.get(0)), "run", id)
    }

    fn model_folder(&self, id: &str) -> Result<String> {
        let mut statement = self
            .0
            .prepare_cached("SELECT artifact_uri FROM logged_model WHERE model_id = ?1")?;
        let folder = statement.query_row([id], |row| row.get(0));
        found(folder, "logged model", id)
    }

    fn version_source(&self, name: &str, which: Which<'_>) -> Result<String> {
        let (model, number) = (model_row(self.0, name)?, self.number(name, which)?);
        let mut statement = self.0.prepare_cached(
            "SELECT coalesce(location, source) FROM model_version
             WHERE model = ?1 AND version = ?2",
        )?;
        let source = statement.query_row([model, number], |row| row.get(0));
        found(source, "model version", &format!("{name}/{number}"))
    }
}

impl Snapshot<'_> {
    /// The number of a version.
    fn number(&self, name: &str, which: Which<'_>) -> Result<i64> {
        let model = model_row(self.0, name)?;
        match which {
            Which::Number(number) => Ok(i64::try_from(number).unwrap_or(-1)),
            Which::Alias(alias) => {
                let mut statement = self
                    .0
                    .prepare_cached("SELECT version FROM alias WHERE model = ?1 AND alias = ?2")?;
                let number = statement.query_row(params![model, alias], |row| row.get(0));
                found(number, "alias", alias)
            }
            Which::Latest => self
                .0
                .prepare_cached("SELECT max(version) FROM model_version WHERE model = ?1")?
                .query_row([model], |row| row.get::<_, Option<i64>>(0))?
                .ok_or_else(|| Error::not_found("model version", format!("{name}/latest"))),
        }
    }
}

/// What registered versions point to.
pub(super) fn in_use(connection: &Connection) -> Result<InUse> {
    let mut used = InUse::default();
    let mut statement = connection.prepare("SELECT source, location FROM model_version")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (source, location): (String, Option<String>) = (row.get(0)?, row.get(1)?);
        location.iter().for_each(|uri| used.add(uri));
        match resolve(&source, &Snapshot(connection)) {
            Ok(uri) => used.add(&uri),
            // The database must be read to know what is in use.
            Err(error @ Error::Store { .. }) => return Err(error),
            // A source that names nothing needs nothing.
            Err(_) => {}
        }
    }
    Ok(used)
}

/// Notes for versions of an earlier format where their files lie.
pub(super) fn locate_versions(connection: &Connection) -> Result<()> {
    let mut statement = connection
        .prepare("SELECT model, version, source FROM model_version WHERE location IS NULL")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let versions: Vec<(i64, i64, String)> = rows.collect::<Result<_, _>>()?;
    for (model, version, source) in versions {
        if let Ok(uri) = resolve(&source, &Snapshot(connection)) {
            connection.execute(
                "UPDATE model_version SET location = ?3 WHERE model = ?1 AND version = ?2",
                params![model, version, uri],
            )?;
        }
    }
    Ok(())
}

impl RegistryStore for SqliteStore {
    fn create_registered_model(&self, new: &NewRegisteredModel) -> Result<RegisteredModel> {
        check_new_model(new)?;
        let now = self.clock.now_ms();
        self.write(|connection| {
            let row = insert_model(connection, new, now)?;
            registered(connection, row)
        })
    }

    fn registered_model(&self, name: &str) -> Result<RegisteredModel> {
        self.read(|connection| registered(connection, model_row(connection, name)?))
    }

    fn change_registered_model(
        &self,
        name: &str,
        change: &RegisteredModelChange,
    ) -> Result<RegisteredModel> {
        check_model_change(change)?;
        let now = self.clock.now_ms();
        self.write(|connection| {
            let row = model_row(connection, name)?;
            match change {
                RegisteredModelChange::Rename(new) => {
                    let renamed = connection.execute(
                        "UPDATE registered_model SET name = ?2 WHERE id = ?1",
                        params![row, new],
                    );
                    unique(renamed, MODEL, new, TAKEN)?;
                }
                RegisteredModelChange::Description(text) => {
                    connection.execute(
                        "UPDATE registered_model SET description = ?2 WHERE id = ?1",
                        params![row, text],
                    )?;
                }
                RegisteredModelChange::SetTag(tag) => set_model_tag(connection, row, tag)?,
                RegisteredModelChange::DeleteTag(key) => {
                    connection.execute(
                        "DELETE FROM registered_model_tag WHERE model = ?1 AND key = ?2",
                        params![row, key],
                    )?;
                }
                RegisteredModelChange::SetAlias(alias, version) => {
                    version_by_number(connection, name, *version)?;
                    set_alias(connection, row, alias, *version as i64)?;
                }
                RegisteredModelChange::DeleteAlias(alias) => {
                    connection.execute(
                        "DELETE FROM alias WHERE model = ?1 AND alias = ?2",
                        params![row, alias],
                    )?;
                }
            }
            touch(connection, row, now)?;
            registered(connection, row)
        })
    }

    fn delete_registered_model(&self, name: &str) -> Result<()> {
        self.write(|connection| {
            let row = model_row(connection, name)?;
            for table in [
                "registered_model_tag",
                "alias",
                "model_version_tag",
                "model_version",
            ] {
                connection.execute(&format!("DELETE FROM {table} WHERE model = ?1"), [row])?;
            }
            connection.execute("DELETE FROM registered_model WHERE id = ?1", [row])?;
            Ok(())
        })
    }

    fn search_registered_models(&self, query: &SearchQuery) -> Result<Page<RegisteredModel>> {
        let models = self.read(|connection| {
            let mut statement = connection.prepare_cached("SELECT id FROM registered_model")?;
            let rows: Vec<i64> = statement
                .query_map([], |row| row.get(0))?
                .collect::<Result<_, _>>()?;
            rows.into_iter()
                .map(|row| registered(connection, row))
                .collect::<Result<Vec<_>>>()
        })?;
        page_registered_models(models, query)
    }

    fn create_model_version(&self, new: &NewModelVersion) -> Result<ModelVersion> {
        check_new_version(new)?;
        let now = self.clock.now_ms();
        self.write(|connection| insert_version(connection, new, now))
    }

    fn register_model_version(&self, new: &NewModelVersion) -> Result<(ModelVersion, bool)> {
        check_new_version(new)?;
        let now = self.clock.now_ms();
        self.write(|connection| {
            let found: Option<(i64, i64)> = connection
                .prepare_cached(
                    "SELECT model, version FROM model_version JOIN registered_model ON id = model
                     WHERE name = ?1 AND run_id IS ?2 AND source = ?3 ORDER BY version LIMIT 1",
                )?
                .query_row(params![new.name, new.run_id, new.source], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            let Some((model, number)) = found else {
                return Ok((insert_version(connection, new, now)?, false));
            };
            connection.execute(
                "UPDATE model_version SET last_updated_timestamp = ?3
                 WHERE model = ?1 AND version = ?2",
                params![model, number, now],
            )?;
            let version = finish_version(connection, model, number, new, now)?;
            Ok((version, true))
        })
    }

    fn model_version(&self, name: &str, version: u64) -> Result<ModelVersion> {
        self.read(|connection| {
            complete_version(connection, version_by_number(connection, name, version)?)
        })
    }

    fn model_version_by_alias(&self, name: &str, alias: &str) -> Result<ModelVersion> {
        self.read(|connection| {
            let number = Snapshot(connection).number(name, Which::alias(alias))?;
            let number = u64::try_from(number).unwrap_or_default();
            complete_version(connection, version_by_number(connection, name, number)?)
        })
    }

    fn change_model_version(
        &self,
        name: &str,
        version: u64,
        change: &ModelVersionChange,
    ) -> Result<ModelVersion> {
        check_version_change(change)?;
        let now = self.clock.now_ms();
        self.write(|connection| {
            let (model, _) = version_by_number(connection, name, version)?;
            let number = version as i64;
            match change {
                ModelVersionChange::Description(text) => {
                    connection.execute(
                        "UPDATE model_version SET description = ?3 WHERE model = ?1 AND version = ?2",
                        params![model, number, text],
                    )?;
                }
                ModelVersionChange::Stage { stage, archive_existing } => {
                    if *archive_existing {
                        connection.execute(
                            "UPDATE model_version SET stage = 'Archived', last_updated_timestamp = ?3
                             WHERE model = ?1 AND stage = ?2",
                            params![model, stage.as_str(), now],
                        )?;
                    }
                    connection.execute(
                        "UPDATE model_version SET stage = ?3 WHERE model = ?1 AND version = ?2",
                        params![model, number, stage.as_str()],
                    )?;
                }
                ModelVersionChange::SetTag(tag) => set_version_tag(connection, model, number, tag)?,
                ModelVersionChange::DeleteTag(key) => {
                    connection.execute(
                        "DELETE FROM model_version_tag
                         WHERE model = ?1 AND version = ?2 AND key = ?3",
                        params![model, number, key],
                    )?;
                }
            }
            connection.execute(
                "UPDATE model_version SET last_updated_timestamp = ?3
                 WHERE model = ?1 AND version = ?2",
                params![model, number, now],
            )?;
            touch(connection, model, now)?;
            complete_version(connection, version_by_number(connection, name, version)?)
        })
    }

    fn delete_model_version(&self, name: &str, version: u64) -> Result<()> {
        let now = self.clock.now_ms();
        self.write(|connection| {
            let (model, _) = version_by_number(connection, name, version)?;
            for table in ["alias", "model_version_tag", "model_version"] {
                let sql = format!("DELETE FROM {table} WHERE model = ?1 AND version = ?2");
                connection.execute(&sql, params![model, version as i64])?;
            }
            touch(connection, model, now)
        })
    }

    fn pinned_at(&self, uri: &str) -> Result<Option<(String, u64)>> {
        let uri = place(uri);
        let above = serde_json::json!(with_parents(&uri)).to_string();
        self.read(|connection| {
            let mut statement = connection.prepare_cached(
                "SELECT m.name, v.version FROM model_version v
                 JOIN registered_model m ON m.id = v.model
                 WHERE v.content IS NOT NULL AND (v.location IN (SELECT value FROM json_each(?1))
                   OR v.location >= ?2 AND v.location < ?3) LIMIT 1",
            )?;
            // '0' is the character after '/'.
            let row = statement.query_row(
                params![above, format!("{uri}/"), format!("{uri}0")],
                |row| Ok((row.get(0)?, row.get::<_, i64>(1)? as u64)),
            );
            Ok(row.optional()?)
        })
    }

    fn search_model_versions(&self, query: &SearchQuery) -> Result<Page<ModelVersion>> {
        let filter = Filter::parse(Subject::ModelVersion, &query.filter)?;
        let versions = self.read(|connection| versions(connection, &filter))?;
        page_model_versions(versions, query)
    }
}
