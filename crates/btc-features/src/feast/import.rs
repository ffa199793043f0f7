//! Definitions out of Feast's registry file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use prost::Message as _;

use super::{aggregate_of_tags, aggregate_tags, type_of};
use crate::definition::{
    Aggregate, AggregateFunction, Definitions, Entity, FeatureService, FeatureView,
    FeatureViewProjection, Field, FileSource,
};
use crate::error::{Error, Result};
use crate::feast::proto::{self, BATCH_FILE, DUMMY_ENTITY, DUMMY_KEY};
use crate::files::{absolute, folder_of};

/// Definitions read from a registry of Feast.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Imported {
    /// The definitions.
    pub definitions: Definitions,
    /// The project that was read; empty if the file names none.
    pub project: String,
    /// The projects in the file.
    pub projects: Vec<String>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

/// Reads the objects of one project from the content of a `registry.db`. With
/// no project named, there must be only one.
pub(crate) fn import(bytes: &[u8], path: &Path, project: Option<&str>) -> Result<Imported> {
    let corrupt = |reason: String| Error::Corrupt {
        path: path.to_path_buf(),
        reason,
    };
    let registry = proto::Registry::decode(bytes).map_err(|error| {
        corrupt(format!(
            "it is no registry file of Feast (a protobuf `Registry`): {error}"
        ))
    })?;
    if registry.registry_schema_version.is_empty() {
        return Err(corrupt(
            "it is no registry file of Feast: it has no schema version".into(),
        ));
    }
    let mut projects: Vec<String> = registry
        .projects
        .iter()
        .filter_map(|project| project.spec.as_ref())
        .map(|spec| spec.name.clone())
        .chain(
            registry
                .feature_views
                .iter()
                .filter_map(|view| Some(view.spec.as_ref()?.project.clone())),
        )
        .collect();
    projects.sort();
    projects.dedup();
    let project = match (project, projects.as_slice()) {
        (Some(project), _) => project.to_owned(),
        (None, []) => String::new(),
        (None, [only]) => only.clone(),
        (None, several) => {
            return Err(Error::InvalidRequest(format!(
                "{} holds several projects ({}); name one",
                path.display(),
                several.join(", ")
            )));
        }
    };
    let mut importer = Importer {
        project,
        folder: repository_of(path),
        definitions: Definitions::new(),
        notes: Vec::new(),
    };
    importer.read(&registry);
    importer.definitions.validate()?;
    Ok(Imported {
        definitions: importer.definitions,
        project: importer.project,
        projects,
        notes: importer.notes,
    })
}

/// The folder that relative paths in a registry of Feast start from: that of
/// its `feature_store.yaml`, at or above the registry's own, which it is if
/// there is none.
fn repository_of(registry: &Path) -> PathBuf {
    let registry = absolute(registry);
    let own = folder_of(&registry);
    own.ancestors()
        .find(|dir| dir.join("feature_store.yaml").is_file())
        .unwrap_or(own)
        .to_path_buf()
}

struct Importer {
    project: String,
    folder: PathBuf,
    definitions: Definitions,
    notes: Vec<String>,
}

impl Importer {
    fn read(&mut self, registry: &proto::Registry) {
        for spec in registry
            .entities
            .iter()
            .filter_map(|entity| entity.spec.as_ref())
        {
            if self.wants(&spec.project) && spec.name != DUMMY_ENTITY {
                self.entity(spec);
            }
        }
        for source in &registry.data_sources {
            if self.wants(&source.project) {
                self.source(source);
            }
        }
        for spec in registry
            .feature_views
            .iter()
            .filter_map(|view| view.spec.as_ref())
        {
            if self.wants(&spec.project) {
                self.view(spec);
            }
        }
        for spec in registry
            .stream_feature_views
            .iter()
            .filter_map(|view| view.spec.as_ref())
        {
            if self.wants(&spec.project) {
                self.stream_view(spec);
            }
        }
        let kinds = [
            (
                "on-demand feature view",
                &registry.on_demand_feature_views,
                "it is a Python function",
            ),
            (
                "label view",
                &registry.label_views,
                "labels are columns of entity rows here",
            ),
        ];
        for (kind, views, reason) in kinds {
            for spec in views.iter().filter_map(|view| view.spec.as_ref()) {
                if self.wants(&spec.project) {
                    self.notes
                        .push(format!("{kind} {:?} is left out: {reason}", spec.name));
                }
            }
        }
        for spec in registry
            .feature_services
            .iter()
            .filter_map(|service| service.spec.as_ref())
        {
            if self.wants(&spec.project) {
                self.service(spec);
            }
        }
    }

    fn wants(&self, project: &str) -> bool {
        project == self.project || project.is_empty()
    }

    fn entity(&mut self, spec: &proto::EntitySpec) {
        let mut entity = Entity::new(&spec.name)
            .with_description(&spec.description)
            .with_owner(&spec.owner);
        entity.value_type = type_of(spec.value_type);
        if !spec.join_key.is_empty() {
            entity = entity.with_join_key(&spec.join_key);
        }
        entity.tags = spec.tags.clone();
        self.definitions.entities.insert(spec.name.clone(), entity);
    }

    /// Reads a source of files; its name, unless it is of another kind.
    fn source(&mut self, spec: &proto::DataSource) -> Option<String> {
        let Some(options) = spec
            .file_options
            .as_ref()
            .filter(|_| spec.kind == BATCH_FILE)
        else {
            // A push source stands before the files that it is backed by.
            if let Some(files) = &spec.batch_source {
                self.notes.push(format!(
                    "push source {:?} is left out; the files behind it are kept",
                    spec.name
                ));
                return self.source(files);
            }
            self.notes.push(format!(
                "source {:?} is left out: it is not of files",
                spec.name
            ));
            return None;
        };
        let local = options.uri.strip_prefix("file://").unwrap_or(&options.uri);
        if local.contains("://") {
            self.notes.push(format!(
                "source {:?} is left out: {} is not a file of this machine",
                spec.name, options.uri
            ));
            return None;
        }
        let place = absolute(&self.folder.join(local));
        let name = if spec.name.is_empty() {
            source_name(&options.uri)
        } else {
            spec.name.clone()
        };
        let mut source = FileSource::new(&name, place.to_string_lossy(), &spec.timestamp_field)
            .with_description(&spec.description)
            .with_owner(&spec.owner);
        if !spec.created_timestamp_column.is_empty() {
            source = source.with_created_timestamp_column(&spec.created_timestamp_column);
        }
        source.field_mapping = spec.field_mapping.clone();
        source.tags = spec.tags.clone();
        self.definitions.sources.insert(name.clone(), source);
        Some(name)
    }

    fn view(&mut self, spec: &proto::FeatureViewSpec) {
        let source = spec
            .batch_source
            .as_ref()
            .and_then(|source| self.source(source));
        let Some(source) = source else {
            self.notes.push(format!(
                "feature view {:?} is left out: it has no source of files",
                spec.name
            ));
            return;
        };
        let features = self.fields(&spec.name, &spec.features);
        if features.is_empty() {
            self.notes.push(format!(
                "feature view {:?} is left out: no feature of it is kept",
                spec.name
            ));
            return;
        }
        let mut view = FeatureView::new(&spec.name, source)
            .with_entities(
                spec.entities
                    .iter()
                    .filter(|name| *name != DUMMY_ENTITY)
                    .cloned(),
            )
            .with_features(features)
            .with_online(spec.online)
            .with_description(&spec.description)
            .with_owner(&spec.owner);
        if let Some(ttl) = &spec.ttl {
            view = view.with_ttl(Duration::new(
                u64::try_from(ttl.seconds).unwrap_or(0),
                u32::try_from(ttl.nanos).unwrap_or(0),
            ));
        }
        view.tags = spec.tags.clone();
        for column in spec
            .entity_columns
            .iter()
            .filter(|column| column.name != DUMMY_KEY)
        {
            // Entities whose type Feast does not know are typed by their views.
            if let Some(value_type) = type_of(column.value_type) {
                for name in &view.entities {
                    if let Some(entity) = self.definitions.entities.get_mut(name)
                        && entity.join_key == column.name
                    {
                        entity.value_type = Some(value_type);
                    }
                }
            }
        }
        self.definitions
            .feature_views
            .insert(view.name.clone(), view);
    }

    /// Reads a view whose rows also come by a stream: its files, and what is
    /// aggregated from them.
    fn stream_view(&mut self, spec: &proto::StreamFeatureViewSpec) {
        if spec.user_defined_function.is_some() || spec.feature_transformation.is_some() {
            self.notes.push(format!(
                "stream feature view {:?} is left out: it is a Python function",
                spec.name
            ));
            return;
        }
        // Feast counts the keys of a stream view among its features.
        let keys: Vec<&str> = spec
            .entities
            .iter()
            .filter_map(|name| self.definitions.entities.get(name))
            .map(|entity| entity.join_key.as_str())
            .collect();
        let mut features = Vec::with_capacity(spec.features.len());
        for feature in &spec.features {
            if keys.contains(&feature.name.as_str()) {
                continue;
            }
            let aggregation = spec
                .aggregations
                .iter()
                .find(|aggregation| names_of(aggregation).contains(&feature.name));
            let Some(aggregation) = aggregation else {
                features.push(feature.clone());
                continue;
            };
            match aggregate(aggregation) {
                Ok(aggregate) => {
                    let mut feature = feature.clone();
                    feature.tags.extend(aggregate_tags(&aggregate));
                    features.push(feature);
                }
                Err(reason) => self.notes.push(format!(
                    "feature {}:{} is left out: {reason}",
                    spec.name, feature.name
                )),
            }
        }
        self.view(&proto::FeatureViewSpec {
            name: spec.name.clone(),
            project: spec.project.clone(),
            entities: spec.entities.clone(),
            features,
            tags: spec.tags.clone(),
            ttl: spec.ttl,
            batch_source: spec.batch_source.clone(),
            online: spec.online,
            description: spec.description.clone(),
            owner: spec.owner.clone(),
            entity_columns: spec.entity_columns.clone(),
        });
        self.notes.push(format!(
            "stream feature view {:?} becomes a feature view of its files; push what the stream \
             brings",
            spec.name
        ));
    }

    fn fields(&mut self, view: &str, specs: &[proto::Feature]) -> Vec<Field> {
        let mut fields = Vec::with_capacity(specs.len());
        for spec in specs {
            let Some(value_type) = type_of(spec.value_type) else {
                self.notes.push(format!(
                    "feature {view}:{} is left out: its type (number {}) is not known here",
                    spec.name, spec.value_type
                ));
                continue;
            };
            let mut field = Field::new(&spec.name, value_type).with_description(&spec.description);
            field.tags = spec.tags.clone();
            field.aggregate = aggregate_of_tags(&mut field.tags);
            fields.push(field);
        }
        fields
    }

    fn service(&mut self, spec: &proto::FeatureServiceSpec) {
        let mut views = Vec::new();
        for projection in &spec.features {
            let name = &projection.feature_view_name;
            let Some(view) = self.definitions.feature_views.get(name) else {
                self.notes.push(format!(
                    "feature service {:?} goes without {name:?}, which was left out",
                    spec.name
                ));
                continue;
            };
            let wanted: Vec<&String> = projection
                .feature_columns
                .iter()
                .map(|column| &column.name)
                .filter(|column| view.feature(column).is_some())
                .collect();
            let all = view
                .features
                .iter()
                .map(|feature| &feature.name)
                .eq(wanted.iter().copied());
            let mut part =
                FeatureViewProjection::new(name).with_join_key_map(projection.join_key_map.clone());
            if !all {
                part = part.with_features(wanted);
            }
            if !projection.feature_view_name_alias.is_empty() {
                part = part.with_alias(&projection.feature_view_name_alias);
            }
            views.push(part);
        }
        if views.is_empty() {
            self.notes.push(format!(
                "feature service {:?} is left out: it is empty",
                spec.name
            ));
            return;
        }
        let mut service = FeatureService::new(&spec.name, views)
            .with_description(&spec.description)
            .with_owner(&spec.owner);
        service.tags = spec.tags.clone();
        self.definitions
            .feature_services
            .insert(spec.name.clone(), service);
    }
}

/// The names that Feast may give the feature of an aggregation.
fn names_of(aggregation: &proto::Aggregation) -> Vec<String> {
    if !aggregation.name.is_empty() {
        return vec![aggregation.name.clone()];
    }
    let base = format!("{}_{}", aggregation.function, aggregation.column);
    let window = aggregation.time_window.unwrap_or_default();
    vec![format!("{base}_{}s", window.seconds), base]
}

/// What an aggregation of Feast is here.
fn aggregate(aggregation: &proto::Aggregation) -> Result<Aggregate, String> {
    let function = match aggregation.function.to_ascii_lowercase().as_str() {
        "avg" => "mean".to_owned(),
        "stddev" | "stddev_samp" => "std".to_owned(),
        other => other.to_owned(),
    };
    let function = AggregateFunction::ALL
        .into_iter()
        .find(|known| known.name() == function)
        .ok_or_else(|| format!("{:?} is not computed here", aggregation.function))?;
    let window = aggregation.time_window.unwrap_or_default();
    let window = Duration::new(
        u64::try_from(window.seconds).unwrap_or(0),
        u32::try_from(window.nanos).unwrap_or(0),
    );
    if window.is_zero() {
        return Err("its window has no length".into());
    }
    Ok(Aggregate::new(function, &aggregation.column, window))
}

/// A name for a source that Feast left unnamed: its file's.
fn source_name(uri: &str) -> String {
    let name = uri.trim_end_matches('/').rsplit('/').next().unwrap_or(uri);
    let name = name.strip_suffix(".parquet").unwrap_or(name);
    let safe: String = name
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "_-.".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    if safe.is_empty() {
        "source".into()
    } else {
        safe.replace("__", "_")
    }
}
