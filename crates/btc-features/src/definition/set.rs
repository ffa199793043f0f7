//! All definitions of a project, each under a name of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::file::DefinitionsFile;
use super::{Entity, FeatureService, FeatureView, FileSource, OnDemandFeatureView};
use crate::error::{Error, Result};

/// The kind of an object of a feature store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ObjectKind {
    /// An [`Entity`].
    Entity,
    /// A [`FileSource`].
    Source,
    /// A [`FeatureView`].
    FeatureView,
    /// An [`OnDemandFeatureView`].
    OnDemandFeatureView,
    /// A [`FeatureService`].
    FeatureService,
    /// A saved data set.
    SavedDataset,
}

impl ObjectKind {
    /// The kind in words, as messages use it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Entity => "entity",
            Self::Source => "source",
            Self::FeatureView => "feature view",
            Self::OnDemandFeatureView => "on-demand feature view",
            Self::FeatureService => "feature service",
            Self::SavedDataset => "saved data set",
        }
    }
}

impl fmt::Display for ObjectKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of definitions, declared in TOML or built in Rust.
///
/// Both ways give equal values:
///
/// ```
/// # use std::time::Duration;
/// # use btc_features::{Definitions, FeatureService, FeatureView, Field, FileSource, ValueType};
/// let declared = Definitions::from_toml(r#"
///     [[source]]
///     name = "ohlcv"
///     path = "../data/ohlcv"
///
///     [[feature_view]]
///     name = "ohlcv"
///     source = "ohlcv"
///     ttl = "3d"
///     features = [{ name = "close", type = "Float64" }]
///
///     [[feature_service]]
///     name = "daily_bitcoin_v1"
///     views = [{ view = "ohlcv" }]
/// "#)?;
///
/// let built = Definitions::new()
///     .with_source(FileSource::new("ohlcv", "../data/ohlcv", "event_timestamp"))
///     .with_feature_view(
///         FeatureView::new("ohlcv", "ohlcv")
///             .with_ttl(Duration::from_secs(3 * 86_400))
///             .with_features([Field::new("close", ValueType::Float64)]),
///     )
///     .with_feature_service(FeatureService::new("daily_bitcoin_v1", ["ohlcv"]));
///
/// assert_eq!(declared, built);
/// # Ok::<(), btc_features::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Definitions {
    /// The entities, by name.
    pub entities: BTreeMap<String, Entity>,
    /// The sources, by name.
    pub sources: BTreeMap<String, FileSource>,
    /// The feature views, by name.
    pub feature_views: BTreeMap<String, FeatureView>,
    /// The on-demand feature views, by name.
    pub on_demand_feature_views: BTreeMap<String, OnDemandFeatureView>,
    /// The feature services, by name.
    pub feature_services: BTreeMap<String, FeatureService>,
}

impl Definitions {
    /// No definitions.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the `*.toml` files of a folder, `feature_store.toml` and
    /// `registry.toml` apart.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if a file cannot be read, [`Error::Corrupt`] if one is not
    /// the TOML of definitions, and [`Error::Conflict`] if two files declare
    /// objects of one kind and name.
    pub fn from_dir(dir: &Path) -> Result<Self> {
        Self::from_dir_but(dir, "")
    }

    /// The same without one file.
    pub(crate) fn from_dir_but(dir: &Path, but: &str) -> Result<Self> {
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(Error::io("list", dir))? {
            let path = entry.map_err(Error::io("list", dir))?.path();
            let own = path.file_name().is_some_and(|name| {
                name == crate::repo::CONFIG_FILE
                    || name == crate::repo::REGISTRY_FILE
                    || name == but
            });
            if path
                .extension()
                .is_some_and(|extension| extension == "toml")
                && !own
            {
                paths.push(path);
            }
        }
        paths.sort();
        let mut all = Self::new();
        for path in paths {
            let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
            let one = Self::from_toml(&text).map_err(|error| Error::Corrupt {
                reason: match error {
                    Error::Corrupt { reason, .. } => reason,
                    other => other.to_string(),
                },
                path: path.clone(),
            })?;
            all.add(one, &format!(" (again in {})", path.display()))?;
        }
        Ok(all)
    }

    /// Reads definitions from the text of a TOML file.
    ///
    /// # Errors
    ///
    /// [`Error::Corrupt`] if the text is not TOML, or a key or a type in it is
    /// unknown, with the line; [`Error::Conflict`] if it declares an object
    /// twice.
    pub fn from_toml(text: &str) -> Result<Self> {
        let file: DefinitionsFile = toml::from_str(text).map_err(|error| Error::Corrupt {
            path: "definitions".into(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        Self::try_from(file)
    }

    /// Writes the definitions as TOML, in the order of their names.
    pub fn to_toml(&self) -> String {
        toml::to_string(&DefinitionsFile::from(self.clone()))
            .expect("the definitions are tables of strings, lists and tables")
    }

    /// Adds or replaces an entity.
    #[must_use]
    pub fn with_entity(mut self, entity: Entity) -> Self {
        self.entities.insert(entity.name.clone(), entity);
        self
    }

    /// Adds or replaces a source.
    #[must_use]
    pub fn with_source(mut self, source: FileSource) -> Self {
        self.sources.insert(source.name.clone(), source);
        self
    }

    /// Adds or replaces a feature view.
    #[must_use]
    pub fn with_feature_view(mut self, view: FeatureView) -> Self {
        self.feature_views.insert(view.name.clone(), view);
        self
    }

    /// Adds or replaces an on-demand feature view.
    #[must_use]
    pub fn with_on_demand_feature_view(mut self, view: OnDemandFeatureView) -> Self {
        self.on_demand_feature_views.insert(view.name.clone(), view);
        self
    }

    /// Adds or replaces a feature service.
    #[must_use]
    pub fn with_feature_service(mut self, service: FeatureService) -> Self {
        self.feature_services.insert(service.name.clone(), service);
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of objects.
    pub fn len(&self) -> usize {
        self.entities.len()
            + self.sources.len()
            + self.feature_views.len()
            + self.on_demand_feature_views.len()
            + self.feature_services.len()
    }

    /// The entity called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] if there is none.
    pub fn entity(&self, name: &str) -> Result<&Entity> {
        find(&self.entities, ObjectKind::Entity, name)
    }

    /// The source called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] if there is none.
    pub fn source(&self, name: &str) -> Result<&FileSource> {
        find(&self.sources, ObjectKind::Source, name)
    }

    /// The feature view called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] if there is none.
    pub fn feature_view(&self, name: &str) -> Result<&FeatureView> {
        find(&self.feature_views, ObjectKind::FeatureView, name)
    }

    /// The feature service called `name`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] if there is none.
    pub fn feature_service(&self, name: &str) -> Result<&FeatureService> {
        find(&self.feature_services, ObjectKind::FeatureService, name)
    }

    /// The columns that hold the keys of a view, in the order of its entities.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] if an entity of the view is not defined.
    pub fn join_keys(&self, view: &FeatureView) -> Result<Vec<&Entity>> {
        view.entities.iter().map(|name| self.entity(name)).collect()
    }

    /// Takes away the objects whose kinds and names `other` has too.
    pub(crate) fn without(&mut self, other: &Self) {
        self.entities
            .retain(|name, _| !other.entities.contains_key(name));
        self.sources
            .retain(|name, _| !other.sources.contains_key(name));
        self.feature_views
            .retain(|name, _| !other.feature_views.contains_key(name));
        self.on_demand_feature_views
            .retain(|name, _| !other.on_demand_feature_views.contains_key(name));
        self.feature_services
            .retain(|name, _| !other.feature_services.contains_key(name));
    }

    /// Puts `newer` over these: same names are replaced, others stay.
    pub(crate) fn merged(&self, newer: &Self) -> Self {
        fn over<T: Clone>(
            old: &BTreeMap<String, T>,
            new: &BTreeMap<String, T>,
        ) -> BTreeMap<String, T> {
            let mut all = old.clone();
            all.extend(
                new.iter()
                    .map(|(name, object)| (name.clone(), object.clone())),
            );
            all
        }
        Self {
            entities: over(&self.entities, &newer.entities),
            sources: over(&self.sources, &newer.sources),
            feature_views: over(&self.feature_views, &newer.feature_views),
            on_demand_feature_views: over(
                &self.on_demand_feature_views,
                &newer.on_demand_feature_views,
            ),
            feature_services: over(&self.feature_services, &newer.feature_services),
        }
    }

    /// Adds objects that must be new; `place` says where they are.
    fn add(&mut self, other: Self, place: &str) -> Result<()> {
        fn into<T>(
            all: &mut BTreeMap<String, T>,
            more: BTreeMap<String, T>,
            kind: ObjectKind,
            place: &str,
        ) -> Result<()> {
            for (name, object) in more {
                if all.contains_key(&name) {
                    return Err(twice(kind, &name, place));
                }
                all.insert(name, object);
            }
            Ok(())
        }
        into(
            &mut self.entities,
            other.entities,
            ObjectKind::Entity,
            place,
        )?;
        into(&mut self.sources, other.sources, ObjectKind::Source, place)?;
        into(
            &mut self.feature_views,
            other.feature_views,
            ObjectKind::FeatureView,
            place,
        )?;
        into(
            &mut self.on_demand_feature_views,
            other.on_demand_feature_views,
            ObjectKind::OnDemandFeatureView,
            place,
        )?;
        into(
            &mut self.feature_services,
            other.feature_services,
            ObjectKind::FeatureService,
            place,
        )
    }
}

pub(super) fn twice(kind: ObjectKind, name: &str, place: &str) -> Error {
    Error::Conflict(format!(
        "the {kind} {name:?} is declared twice{place}; keep one of the two"
    ))
}

fn find<'a, T>(all: &'a BTreeMap<String, T>, kind: ObjectKind, name: &str) -> Result<&'a T> {
    all.get(name)
        .ok_or_else(|| Error::unknown(kind.name(), name, all.keys().map(String::as_str)))
}
