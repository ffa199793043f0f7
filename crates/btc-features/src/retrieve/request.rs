//! From a selection of features to the views, columns and names of a join.

use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, Schema};

use super::columns::feature_columns;
use super::{FeatureSelection, Wanted};
use crate::definition::{
    Definitions, FeatureView, FeatureViewProjection, FileSource, OnDemandFeatureView,
};
use crate::error::{Error, Result};
use crate::join::keys::KeyForm;
use crate::join::matching::Rules;
use crate::join::source::real_places;
use crate::join::source::{Input, Tables};
use crate::join::spec::ViewJoin;

/// A selection, resolved against the registry.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) views: Vec<RequestView>,
    pub(crate) outputs: Vec<Output>,
    filter_by_created: bool,
}

/// A view (or a projection of one) that a request needs.
#[derive(Debug)]
pub(crate) struct RequestView {
    pub(crate) label: String,
    pub(crate) view: FeatureView,
    source: FileSource,
    /// The columns of the entity rows and of the source that hold the keys.
    keys: Vec<(String, String)>,
    /// The features to read.
    pub(crate) features: Vec<String>,
}

/// A column of the result that is not one of the entity rows'.
#[derive(Debug)]
pub(crate) enum Output {
    /// A feature of `views[view]`.
    Feature {
        view: usize,
        feature: usize,
        name: String,
    },
    /// A feature computed by the request itself.
    OnDemand {
        view: OnDemandFeatureView,
        feature: String,
        name: String,
    },
}

impl Output {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Feature { name, .. } | Self::OnDemand { name, .. } => name,
        }
    }
}

impl Request {
    pub(crate) fn resolve(selection: &FeatureSelection, definitions: &Definitions) -> Result<Self> {
        let mut request = Self {
            views: Vec::new(),
            outputs: Vec::new(),
            filter_by_created: selection.filter_by_created_timestamp,
        };
        let full = selection.full_feature_names;
        match &selection.wanted {
            Wanted::Service(name) => {
                for projection in &definitions.feature_service(name)?.views {
                    let features = if projection.features.is_empty() {
                        features_of(definitions, &projection.view)?
                    } else {
                        projection.features.clone()
                    };
                    for feature in &features {
                        request.add(definitions, projection, feature, full)?;
                    }
                }
            }
            Wanted::Features(references) => {
                for reference in references {
                    let (view, feature) = reference.split_once(':').ok_or_else(|| {
                        Error::InvalidRequest(format!(
                            "{reference:?} names no feature; write \"view:feature\""
                        ))
                    })?;
                    let projection = FeatureViewProjection::new(view);
                    request.add(definitions, &projection, feature, full)?;
                }
            }
        }
        if request.outputs.is_empty() {
            return Err(Error::InvalidRequest("no feature is asked for".into()));
        }
        Ok(request)
    }

    fn add(
        &mut self,
        definitions: &Definitions,
        projection: &FeatureViewProjection,
        feature: &str,
        full: bool,
    ) -> Result<()> {
        let name = if full {
            format!("{}__{feature}", projection.label())
        } else {
            feature.to_owned()
        };
        if let Some(view) = definitions.on_demand_feature_views.get(&projection.view) {
            if view.feature(feature).is_none() {
                return Err(unknown_feature(definitions, &projection.view, feature));
            }
            let feature = feature.to_owned();
            self.outputs.push(Output::OnDemand {
                view: view.clone(),
                feature,
                name,
            });
            return Ok(());
        }
        let view = self.view(definitions, projection)?;
        let feature = self.feature(definitions, view, feature)?;
        self.outputs.push(Output::Feature {
            view,
            feature,
            name,
        });
        Ok(())
    }

    /// The number of a projection among the views of the request.
    pub(crate) fn view(
        &mut self,
        definitions: &Definitions,
        projection: &FeatureViewProjection,
    ) -> Result<usize> {
        if let Some(number) = self
            .views
            .iter()
            .position(|view| view.label == projection.label())
        {
            return Ok(number);
        }
        let Some(view) = definitions.feature_views.get(&projection.view) else {
            let known = definitions
                .feature_views
                .keys()
                .chain(definitions.on_demand_feature_views.keys())
                .map(String::as_str);
            return Err(Error::unknown("feature view", &projection.view, known));
        };
        let source = definitions.source(&view.source)?.clone();
        let keys = definitions
            .join_keys(view)?
            .into_iter()
            .map(|entity| {
                let key = &entity.join_key;
                let of_rows = projection.join_key_map.get(key).unwrap_or(key);
                (of_rows.clone(), source.column_of(key).to_owned())
            })
            .collect();
        self.views.push(RequestView {
            label: projection.label().to_owned(),
            view: view.clone(),
            source,
            keys,
            features: Vec::new(),
        });
        Ok(self.views.len() - 1)
    }

    /// The number of a feature among those that are read of a view.
    pub(crate) fn feature(
        &mut self,
        definitions: &Definitions,
        view: usize,
        feature: &str,
    ) -> Result<usize> {
        let view = &mut self.views[view];
        if let Some(number) = view.features.iter().position(|known| known == feature) {
            return Ok(number);
        }
        if view.view.feature(feature).is_none() {
            return Err(unknown_feature(definitions, &view.view.name, feature));
        }
        view.features.push(feature.to_owned());
        Ok(view.features.len() - 1)
    }

    /// The joins of this request's views to entity rows with these columns,
    /// in the order of `views`.
    pub(crate) fn joins(
        &self,
        entity_rows: &Schema,
        repo_dir: &Path,
        tables: &Tables,
    ) -> Result<Vec<ViewJoin>> {
        let sources = || {
            let sources = self.views.iter().map(|view| &view.source);
            sources.filter(|source| !tables.contains_key(&source.name))
        };
        // Several sources may lie behind one link: if it was replaced while they were opened,
        // they are of different states, and opened again.
        const ATTEMPTS: usize = 100;
        for _ in 0..ATTEMPTS {
            let places = real_places(sources(), repo_dir);
            let joins = self.open(entity_rows, repo_dir, tables);
            if places == real_places(sources(), repo_dir) {
                return joins;
            }
        }
        let changing = sources().next();
        Err(Error::SourceChanged {
            name: changing.map_or_else(String::new, |source| source.name.clone()),
            path: changing.map_or_else(PathBuf::new, |source| source.resolved_path(repo_dir)),
        })
    }

    fn open(
        &self,
        entity_rows: &Schema,
        repo_dir: &Path,
        tables: &Tables,
    ) -> Result<Vec<ViewJoin>> {
        self.views
            .iter()
            .map(|view| {
                let input = Input::open(&view.source, repo_dir, tables)?;
                view.join(entity_rows, input, self.filter_by_created)
            })
            .collect()
    }

    /// Checks that no two columns of the result have one name.
    pub(crate) fn check_names(&self, entity_rows: &Schema) -> Result<()> {
        let mut taken = std::collections::HashMap::new();
        for field in entity_rows.fields() {
            if taken
                .insert(field.name().as_str(), "a column of the entity rows")
                .is_some()
            {
                return Err(Error::Collision {
                    column: field.name().clone(),
                    reason: "the entity rows have it twice; rename one".into(),
                });
            }
        }
        for output in &self.outputs {
            if let Some(other) = taken.insert(output.name(), "another feature") {
                return Err(Error::Collision {
                    column: output.name().to_owned(),
                    reason: format!(
                        "a feature and {other}; ask for full feature names, or rename the column"
                    ),
                });
            }
        }
        Ok(())
    }
}

impl RequestView {
    pub(crate) fn keys(&self) -> &[(String, String)] {
        &self.keys
    }

    pub(crate) fn source(&self) -> &FileSource {
        &self.source
    }

    fn join(
        &self,
        entity_rows: &Schema,
        input: Input,
        filter_by_created: bool,
    ) -> Result<ViewJoin> {
        let object = format!("feature view {:?}", self.view.name);
        let source_keys: Vec<String> = self.keys.iter().map(|(_, column)| column.clone()).collect();
        input.check(&source_keys)?;
        let mut keys = Vec::with_capacity(self.keys.len());
        for (of_rows, of_source) in &self.keys {
            let (column, field) = entity_rows.column_with_name(of_rows).ok_or_else(|| {
                Error::InvalidRequest(format!(
                    "the entity rows have no column {of_rows:?}, by which {object} is joined"
                ))
            })?;
            let source_type = input.column_type(of_source).unwrap_or(&DataType::Null);
            let form = KeyForm::common(field.data_type(), source_type).ok_or_else(|| {
                Error::mismatch(
                    &object,
                    format!(
                        "the key {of_rows:?} is {} in the entity rows and {source_type} in the \
                         source; convert one of them",
                        field.data_type()
                    ),
                )
            })?;
            keys.push((column, form));
        }
        let filter_by_created = filter_by_created && self.source.created_timestamp_column.is_some();
        let ttl = self
            .view
            .ttl
            .map(|ttl| i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX));
        Ok(ViewJoin {
            label: self.label.clone(),
            keys,
            source_keys,
            rules: Rules {
                ttl,
                filter_by_created,
            },
            features: feature_columns(&self.view, &self.features, &input)?,
            input,
        })
    }
}

fn features_of(definitions: &Definitions, view: &str) -> Result<Vec<String>> {
    if let Some(view) = definitions.on_demand_feature_views.get(view) {
        return Ok(view
            .features
            .iter()
            .map(|feature| feature.name.clone())
            .collect());
    }
    let view = definitions.feature_view(view)?;
    Ok(view
        .features
        .iter()
        .map(|feature| feature.name.clone())
        .collect())
}

fn unknown_feature(definitions: &Definitions, view: &str, feature: &str) -> Error {
    let known = features_of(definitions, view).unwrap_or_default();
    match Error::unknown("feature", feature, known.iter().map(String::as_str)) {
        Error::UnknownObject {
            kind, suggestion, ..
        } => Error::UnknownObject {
            kind,
            name: format!("{view}:{feature}"),
            suggestion: suggestion.map(|name| format!("{view}:{name}")),
        },
        other => other,
    }
}
