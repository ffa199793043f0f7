//! Definitions as Feast's registry file.

use std::collections::BTreeMap;
use std::path::Path;

use chrono::{DateTime, Utc};
use prost::Message as _;

use super::{aggregate_tags, type_number};
use crate::definition::{
    Definitions, Entity, FeatureService, FeatureView, Field, FileSource, ValueType,
};
use crate::error::Result;
use crate::feast::proto::{
    self, BATCH_FILE, DUMMY_ENTITY, DUMMY_KEY, FeatureViewMeta, Interval, Meta, Seconds,
};
use crate::files::absolute;

/// A registry in Feast's form.
#[derive(Debug)]
pub(crate) struct Exported {
    /// The content of a `registry.db`.
    pub(crate) bytes: Vec<u8>,
    /// What was left out, and why.
    pub(crate) notes: Vec<String>,
}

/// Writes definitions as Feast's registry of `project`, made at `now`, with the
/// periods that views are materialized for, by their names. Paths
/// are made absolute, so that the file can lie anywhere.
pub(crate) fn export(
    definitions: &Definitions,
    project: &str,
    repo_dir: &Path,
    materialized: &BTreeMap<String, (DateTime<Utc>, DateTime<Utc>)>,
    now: DateTime<Utc>,
) -> Result<Exported> {
    let exporter = Exporter {
        definitions,
        project,
        repo_dir,
        now: seconds(now),
    };
    let mut notes = Vec::new();
    let mut entities: Vec<proto::Entity> = definitions
        .entities
        .values()
        .map(|entity| exporter.entity(entity))
        .collect();
    if definitions
        .feature_views
        .values()
        .any(|view| view.entities.is_empty())
    {
        entities.push(exporter.dummy());
    }
    let mut feature_views = Vec::new();
    for view in definitions.feature_views.values() {
        feature_views.push(exporter.view(view, materialized.get(&view.name))?);
        for (feature, aggregate) in view.aggregates() {
            notes.push(format!(
                "feature {}:{} ({aggregate}) is computed here: Feast reads it online, and has no \
                 column of the files to join",
                view.name, feature.name
            ));
        }
    }
    for name in definitions.on_demand_feature_views.keys() {
        notes.push(format!(
            "on-demand feature view {name:?} is left out: Feast's are Python functions"
        ));
    }
    let mut feature_services = Vec::new();
    for service in definitions.feature_services.values() {
        match exporter.service(service, &mut notes)? {
            Some(service) => feature_services.push(service),
            None => notes.push(format!(
                "feature service {:?} is left out: all of it is on-demand",
                service.name
            )),
        }
    }
    let registry = proto::Registry {
        entities,
        registry_schema_version: "1".into(),
        version_id: format!("{project}-{}", now.timestamp()),
        last_updated: Some(exporter.now),
        feature_views,
        feature_services,
        on_demand_feature_views: Vec::new(),
        infra: Some(proto::Empty {}),
        data_sources: definitions
            .sources
            .values()
            .map(|source| exporter.source(source))
            .collect(),
        stream_feature_views: Vec::new(),
        projects: vec![proto::Project {
            spec: Some(proto::ProjectSpec {
                name: project.to_owned(),
            }),
            meta: Some(exporter.meta()),
        }],
        label_views: Vec::new(),
    };
    Ok(Exported {
        bytes: registry.encode_to_vec(),
        notes,
    })
}

struct Exporter<'a> {
    definitions: &'a Definitions,
    project: &'a str,
    repo_dir: &'a Path,
    now: Seconds,
}

impl Exporter<'_> {
    fn meta(&self) -> Meta {
        Meta {
            created_timestamp: Some(self.now),
            last_updated_timestamp: Some(self.now),
        }
    }

    fn entity(&self, entity: &Entity) -> proto::Entity {
        proto::Entity {
            spec: Some(proto::EntitySpec {
                name: entity.name.clone(),
                value_type: entity.value_type.map_or(0, type_number),
                description: entity.description.clone(),
                join_key: entity.join_key.clone(),
                tags: entity.tags.clone(),
                project: self.project.to_owned(),
                owner: entity.owner.clone(),
            }),
            meta: Some(self.meta()),
        }
    }

    fn dummy(&self) -> proto::Entity {
        let dummy = Entity::new(DUMMY_ENTITY).with_join_key(DUMMY_KEY);
        self.entity(&dummy.with_value_type(ValueType::String))
    }

    fn source(&self, source: &FileSource) -> proto::DataSource {
        let path = absolute(&source.resolved_path(self.repo_dir));
        proto::DataSource {
            kind: BATCH_FILE,
            field_mapping: source.field_mapping.clone(),
            timestamp_field: source.timestamp_field.clone(),
            created_timestamp_column: source.created_timestamp_column.clone().unwrap_or_default(),
            file_options: Some(proto::FileOptions {
                file_format: Some(proto::FileFormat {
                    parquet_format: Some(proto::Empty {}),
                }),
                uri: path.to_string_lossy().into_owned(),
            }),
            data_source_class_type: "feast.infra.offline_stores.file_source.FileSource".into(),
            name: source.name.clone(),
            project: self.project.to_owned(),
            description: source.description.clone(),
            tags: source.tags.clone(),
            owner: source.owner.clone(),
            batch_source: None,
        }
    }

    fn view(
        &self,
        view: &FeatureView,
        materialized: Option<&(DateTime<Utc>, DateTime<Utc>)>,
    ) -> Result<proto::FeatureView> {
        let source = self.definitions.source(&view.source)?;
        let keys = self.definitions.join_keys(view)?;
        let mut entities = view.entities.clone();
        let mut entity_columns: Vec<proto::Feature> = keys
            .into_iter()
            .map(|entity| {
                let value_type = entity.value_type.unwrap_or(ValueType::String);
                feature(&Field::new(&entity.join_key, value_type))
            })
            .collect();
        if entities.is_empty() {
            entities.push(DUMMY_ENTITY.into());
            entity_columns.push(feature(&Field::new(DUMMY_KEY, ValueType::String)));
        }
        let ttl = view.ttl.unwrap_or_default();
        Ok(proto::FeatureView {
            spec: Some(proto::FeatureViewSpec {
                name: view.name.clone(),
                project: self.project.to_owned(),
                entities,
                features: view.features.iter().map(feature).collect(),
                tags: view.tags.clone(),
                ttl: Some(Seconds {
                    seconds: i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX),
                    nanos: ttl.subsec_nanos().cast_signed(),
                }),
                batch_source: Some(self.source(source)),
                online: view.online,
                description: view.description.clone(),
                owner: view.owner.clone(),
                entity_columns,
            }),
            meta: Some(FeatureViewMeta {
                created_timestamp: Some(self.now),
                last_updated_timestamp: Some(self.now),
                materialization_intervals: materialized
                    .map(|(start, end)| Interval {
                        start_time: Some(seconds(*start)),
                        end_time: Some(seconds(*end)),
                    })
                    .into_iter()
                    .collect(),
            }),
        })
    }

    fn service(
        &self,
        service: &FeatureService,
        notes: &mut Vec<String>,
    ) -> Result<Option<proto::FeatureService>> {
        let mut features = Vec::new();
        for projection in &service.views {
            if self
                .definitions
                .on_demand_feature_views
                .contains_key(&projection.view)
            {
                notes.push(format!(
                    "feature service {:?} goes without the on-demand feature view {:?}",
                    service.name, projection.view
                ));
                continue;
            }
            let view = self.definitions.feature_view(&projection.view)?;
            let source = self.definitions.source(&view.source)?;
            let columns = if projection.features.is_empty() {
                view.features.iter().map(feature).collect()
            } else {
                projection
                    .features
                    .iter()
                    .filter_map(|name| view.feature(name))
                    .map(feature)
                    .collect()
            };
            features.push(proto::FeatureViewProjection {
                feature_view_name: projection.view.clone(),
                feature_columns: columns,
                feature_view_name_alias: projection.alias.clone().unwrap_or_default(),
                join_key_map: projection.join_key_map.clone(),
                timestamp_field: source.timestamp_field.clone(),
                created_timestamp_column: source
                    .created_timestamp_column
                    .clone()
                    .unwrap_or_default(),
                batch_source: Some(self.source(source)),
                view_type: "featureView".into(),
            });
        }
        Ok((!features.is_empty()).then(|| proto::FeatureService {
            spec: Some(proto::FeatureServiceSpec {
                name: service.name.clone(),
                project: self.project.to_owned(),
                features,
                tags: service.tags.clone(),
                description: service.description.clone(),
                owner: service.owner.clone(),
            }),
            meta: Some(self.meta()),
        }))
    }
}

fn feature(field: &Field) -> proto::Feature {
    let mut tags = field.tags.clone();
    if let Some(aggregate) = &field.aggregate {
        tags.extend(aggregate_tags(aggregate));
    }
    proto::Feature {
        name: field.name.clone(),
        value_type: type_number(field.value_type),
        tags,
        description: field.description.clone(),
    }
}

fn seconds(time: DateTime<Utc>) -> Seconds {
    Seconds {
        seconds: time.timestamp(),
        nanos: time.timestamp_subsec_nanos().min(999_999_999).cast_signed(),
    }
}
