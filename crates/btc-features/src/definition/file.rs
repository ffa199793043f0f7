//! The TOML form of definitions: one list of tables a kind.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::set::{ObjectKind, twice};
use super::{Definitions, Entity, FeatureService, FeatureView, FileSource, OnDemandFeatureView};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DefinitionsFile {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    entity: Vec<Entity>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    source: Vec<FileSource>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    feature_view: Vec<FeatureView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    on_demand_feature_view: Vec<OnDemandFeatureView>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    feature_service: Vec<FeatureService>,
}

impl From<Definitions> for DefinitionsFile {
    fn from(definitions: Definitions) -> Self {
        Self {
            entity: definitions.entities.into_values().collect(),
            source: definitions.sources.into_values().collect(),
            feature_view: definitions.feature_views.into_values().collect(),
            on_demand_feature_view: definitions.on_demand_feature_views.into_values().collect(),
            feature_service: definitions.feature_services.into_values().collect(),
        }
    }
}

impl TryFrom<DefinitionsFile> for Definitions {
    type Error = Error;

    fn try_from(file: DefinitionsFile) -> Result<Self> {
        Ok(Self {
            entities: by_name(file.entity, ObjectKind::Entity, |e| &e.name)?,
            sources: by_name(file.source, ObjectKind::Source, |s| &s.name)?,
            feature_views: by_name(file.feature_view, ObjectKind::FeatureView, |v| &v.name)?,
            on_demand_feature_views: by_name(
                file.on_demand_feature_view,
                ObjectKind::OnDemandFeatureView,
                |v| &v.name,
            )?,
            feature_services: by_name(file.feature_service, ObjectKind::FeatureService, |s| {
                &s.name
            })?,
        })
    }
}

fn by_name<T>(
    objects: Vec<T>,
    kind: ObjectKind,
    name: impl Fn(&T) -> &String,
) -> Result<BTreeMap<String, T>> {
    let mut all = BTreeMap::new();
    for object in objects {
        let key = name(&object).clone();
        if all.contains_key(&key) {
            return Err(twice(kind, &key, ""));
        }
        all.insert(key, object);
    }
    Ok(all)
}

impl Serialize for Definitions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        DefinitionsFile::from(self.clone()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Definitions {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let file = DefinitionsFile::deserialize(deserializer)?;
        Self::try_from(file).map_err(serde::de::Error::custom)
    }
}
