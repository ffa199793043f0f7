//! What can be wrong with definitions whatever the data: names and references.

use std::collections::BTreeSet;

use super::{Definitions, FeatureService, FeatureView, ObjectKind, OnDemandFeatureView};
use crate::error::{Error, Result};

impl Definitions {
    /// Checks names and references.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDefinition`] for the first object that cannot work and
    /// [`Error::UnknownObject`] for the first name that nothing has.
    pub fn validate(&self) -> Result<()> {
        for name in self.entities.keys() {
            check_name(ObjectKind::Entity, name)?;
        }
        for source in self.sources.values() {
            check_name(ObjectKind::Source, &source.name)?;
            let object = object(ObjectKind::Source, &source.name);
            if source.path.is_empty() {
                return Err(Error::invalid(
                    object,
                    "its path is empty; name a file or folder",
                ));
            }
            let mut names = BTreeSet::new();
            for name in source.field_mapping.values() {
                if !names.insert(name) {
                    return Err(Error::invalid(
                        object,
                        format!("two columns are mapped to {name:?}; keep one"),
                    ));
                }
            }
        }
        for view in self.feature_views.values() {
            self.validate_view(view)?;
        }
        for view in self.on_demand_feature_views.values() {
            self.validate_on_demand(view)?;
        }
        for service in self.feature_services.values() {
            self.validate_service(service)?;
        }
        Ok(())
    }

    fn validate_view(&self, view: &FeatureView) -> Result<()> {
        check_name(ObjectKind::FeatureView, &view.name)?;
        let object = object(ObjectKind::FeatureView, &view.name);
        let source = self
            .source(&view.source)
            .map_err(|error| Error::invalid(&object, error.to_string()))?;
        let mut taken = BTreeSet::from([source.timestamp_field.as_str()]);
        if let Some(created) = &source.created_timestamp_column {
            taken.insert(created);
        }
        let entities = self
            .join_keys(view)
            .map_err(|error| Error::invalid(&object, error.to_string()))?;
        for entity in entities {
            if !taken.insert(&entity.join_key) {
                return Err(Error::invalid(
                    object,
                    format!("the key {:?} is there twice", entity.join_key),
                ));
            }
        }
        if view.features.is_empty() {
            return Err(Error::invalid(
                object,
                "it has no features; declare at least one",
            ));
        }
        if let Some(problem) = view.checks.as_ref().and_then(|checks| checks.problem()) {
            return Err(Error::invalid(object, format!("its checks: {problem}")));
        }
        for feature in &view.features {
            check_column(&object, &feature.name)?;
            if !taken.insert(&feature.name) {
                return Err(Error::invalid(
                    object,
                    format!(
                        "the feature {:?} is there twice, or is also a key or a timestamp; \
                         map the column to another name (field_mapping)",
                        feature.name
                    ),
                ));
            }
        }
        Ok(())
    }

    fn validate_on_demand(&self, view: &OnDemandFeatureView) -> Result<()> {
        check_name(ObjectKind::OnDemandFeatureView, &view.name)?;
        let object = object(ObjectKind::OnDemandFeatureView, &view.name);
        if self.feature_views.contains_key(&view.name) {
            return Err(Error::Conflict(format!(
                "{:?} is the name of a feature view and of an on-demand feature view; rename one",
                view.name
            )));
        }
        for name in &view.sources {
            self.feature_view(name)
                .map_err(|error| Error::invalid(&object, error.to_string()))?;
        }
        if view.features.is_empty() {
            return Err(Error::invalid(
                object,
                "it has no features; declare at least one",
            ));
        }
        let mut names = BTreeSet::new();
        for name in view
            .request
            .iter()
            .map(|field| &field.name)
            .chain(view.features.iter().map(|feature| &feature.name))
        {
            check_column(&object, name)?;
            if !names.insert(name) {
                return Err(Error::invalid(object, format!("{name:?} is there twice")));
            }
        }
        Ok(())
    }

    fn validate_service(&self, service: &FeatureService) -> Result<()> {
        check_name(ObjectKind::FeatureService, &service.name)?;
        let object = object(ObjectKind::FeatureService, &service.name);
        if service.views.is_empty() {
            return Err(Error::invalid(object, "it has no views; name at least one"));
        }
        let mut labels = BTreeSet::new();
        for projection in &service.views {
            let invalid = |error: Error| Error::invalid(&object, error.to_string());
            if !labels.insert(projection.label()) {
                return Err(Error::invalid(
                    object,
                    format!("{:?} is there twice; give one an alias", projection.label()),
                ));
            }
            check_name(ObjectKind::FeatureView, projection.label()).map_err(invalid)?;
            let (known, keys): (Vec<&str>, Vec<&str>) =
                if let Some(view) = self.on_demand_feature_views.get(&projection.view) {
                    (
                        view.features.iter().map(|f| f.name.as_str()).collect(),
                        Vec::new(),
                    )
                } else {
                    let view = self.feature_view(&projection.view).map_err(invalid)?;
                    let keys = self.join_keys(view).map_err(invalid)?;
                    (
                        view.features.iter().map(|f| f.name.as_str()).collect(),
                        keys.iter().map(|entity| entity.join_key.as_str()).collect(),
                    )
                };
            for feature in &projection.features {
                if !known.contains(&feature.as_str()) {
                    let error = Error::unknown("feature", feature, known.iter().copied());
                    return Err(Error::invalid(
                        object,
                        format!("in view {:?}, {error}", projection.view),
                    ));
                }
            }
            for key in projection.join_key_map.keys() {
                if !keys.contains(&key.as_str()) {
                    let error = Error::unknown("join key", key, keys.iter().copied());
                    return Err(Error::invalid(
                        object,
                        format!("in view {:?}, {error}", projection.view),
                    ));
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn object(kind: ObjectKind, name: &str) -> String {
    format!("{kind} {name:?}")
}

/// `:` and `__` part views from features, so names are kept clear of them.
fn check_name(kind: ObjectKind, name: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || "_-.".contains(c);
    if name.is_empty() || !name.chars().all(allowed) || name.contains("__") {
        return Err(Error::invalid(
            object(kind, name),
            "a name is made of letters, digits, '_', '-' and '.', without \"__\"",
        ));
    }
    Ok(())
}

fn check_column(object: &str, name: &str) -> Result<()> {
    if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
        return Err(Error::invalid(
            object,
            format!("{name:?} cannot be a feature's name; leave out ':' and control characters"),
        ));
    }
    Ok(())
}
