//! Feast's registry file: a protobuf `feast.core.Registry`, written and read.
//!
//! Feast can open what is exported here (project, entities, file sources,
//! feature views, services), and what Feast 0.67 applied can be imported.
//! What one side has and the other has not is left out and noted: on-demand
//! views are SQL here and pickled Python there.

mod export;
mod import;
pub(crate) mod proto;

pub use import::Imported;

use export::export;
use import::import;

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::definition::duration::{format_duration, parse_duration};
use crate::definition::{Aggregate, AggregateFunction, FileSource, Tags, ValueType};
use crate::error::{Error, Result};
use crate::files::{absolute, write_whole};
use crate::store::FeatureStore;

impl FeatureStore {
    /// Writes what is applied as a registry file of Feast at `path`, made at
    /// `now`; returns what was left out, and why. Paths of sources become
    /// absolute.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be written.
    pub fn export_feast(&self, path: impl AsRef<Path>, now: DateTime<Utc>) -> Result<Vec<String>> {
        let path = path.as_ref();
        let definitions = &self.registry().definitions;
        #[cfg(feature = "sqlite")]
        let materialized = match crate::online::OnlineDatabase::open_existing(
            &self.online_path(),
            &self.config().project,
        )? {
            Some(database) => database.materialized(definitions.feature_views.keys())?,
            None => Default::default(),
        };
        #[cfg(not(feature = "sqlite"))]
        let materialized = Default::default();
        let exported = export(
            definitions,
            &self.config().project,
            self.repo_dir(),
            &materialized,
            now,
        )?;
        write_whole(path, &exported.bytes)?;
        Ok(exported.notes)
    }

    /// Opens the store in `repo_dir`, which is made if it is not there: then
    /// under the name that the registry file of Feast at `path` gives its
    /// project, so that online stores and registries of both agree.
    ///
    /// # Errors
    ///
    /// As [`Self::init`] and [`Self::read_feast`].
    pub fn init_for_feast(
        repo_dir: impl AsRef<Path>,
        path: impl AsRef<Path>,
        project: Option<&str>,
    ) -> Result<Self> {
        let (repo_dir, path) = (repo_dir.as_ref(), path.as_ref());
        if repo_dir.join(crate::repo::CONFIG_FILE).exists() {
            return Self::open(repo_dir);
        }
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let imported = import(&bytes, path, project)?;
        let name = match imported.project.as_str() {
            "" => "feast",
            name => name,
        };
        Self::init(repo_dir, name)
    }

    /// Reads the definitions in a registry file of Feast; [`Self::plan`] or
    /// [`Self::apply`] them then. A file of several projects needs the name of
    /// one.
    ///
    /// Relative paths start from the folder of Feast's `feature_store.yaml`, at
    /// or above the registry, and become absolute.
    ///
    /// A source whose files this store knows by another way of writing their
    /// path keeps that path.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the file cannot be read, [`Error::Corrupt`] if it is
    /// no registry of Feast, [`Error::InvalidRequest`] if it holds several
    /// projects and none is named.
    pub fn read_feast(&self, path: impl AsRef<Path>, project: Option<&str>) -> Result<Imported> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
        let mut imported = import(&bytes, path, project)?;
        for (name, source) in &mut imported.definitions.sources {
            let Ok(known) = self.registry().definitions.source(name) else {
                continue;
            };
            let place = |source: &FileSource| absolute(&source.resolved_path(self.repo_dir()));
            if place(known) == place(source) {
                source.path.clone_from(&known.path);
            }
        }
        Ok(imported)
    }
}

/// The labels that stand for an aggregate in Feast's registry, which has no
/// place for one in a feature view.
const FUNCTION_TAG: &str = "btc.aggregate.function";
const COLUMN_TAG: &str = "btc.aggregate.column";
const WINDOW_TAG: &str = "btc.aggregate.window";

fn aggregate_tags(aggregate: &Aggregate) -> Tags {
    let column = aggregate.column.iter();
    [
        (FUNCTION_TAG.to_owned(), aggregate.function.to_string()),
        (WINDOW_TAG.to_owned(), format_duration(aggregate.window)),
    ]
    .into_iter()
    .chain(column.map(|column| (COLUMN_TAG.to_owned(), column.clone())))
    .collect()
}

/// Takes the labels of an aggregate out of others, if they are there and say
/// one.
fn aggregate_of_tags(tags: &mut Tags) -> Option<Aggregate> {
    let name = tags.get(FUNCTION_TAG)?;
    let function = AggregateFunction::ALL
        .into_iter()
        .find(|function| function.name() == name)?;
    let window = parse_duration(tags.get(WINDOW_TAG)?).ok()?;
    let column = tags.remove(COLUMN_TAG);
    tags.remove(FUNCTION_TAG);
    tags.remove(WINDOW_TAG);
    Some(match column {
        Some(column) => Aggregate::new(function, column, window),
        None => Aggregate {
            function,
            ..Aggregate::count_rows(window)
        },
    })
}

/// The number of a type in `feast.types.ValueType`.
pub(crate) fn type_number(value_type: ValueType) -> i32 {
    match value_type {
        ValueType::Bytes => 1,
        ValueType::String => 2,
        ValueType::Int32 => 3,
        ValueType::Int64 => 4,
        ValueType::Float64 => 5,
        ValueType::Float32 => 6,
        ValueType::Bool => 7,
        ValueType::UnixTimestamp => 8,
        ValueType::BytesList => 11,
        ValueType::StringList => 12,
        ValueType::Int32List => 13,
        ValueType::Int64List => 14,
        ValueType::Float64List => 15,
        ValueType::Float32List => 16,
        ValueType::BoolList => 17,
        ValueType::UnixTimestampList => 18,
    }
}

/// The type with a number in `feast.types.ValueType`, if there is one here.
pub(crate) fn type_of(number: i32) -> Option<ValueType> {
    ValueType::ALL
        .into_iter()
        .find(|value_type| type_number(*value_type) == number)
}
