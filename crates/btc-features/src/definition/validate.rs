//! What can be wrong with definitions whatever the data: names and references.

use std::collections::BTreeMap;

use super::{
    Definitions, FeatureService, FeatureView, FeatureViewProjection, ObjectKind,
    OnDemandFeatureView,
};
use crate::error::{Error, Result};

impl Definitions {
    /// Checks names and references.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDefinition`] for the first object that cannot work and
    /// [`Error::UnknownObject`] for the first name that nothing has.
    pub fn validate(&self) -> Result<()> {
        self.check_names_apart()?;
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
            let mut names = Names::default();
            for name in source.field_mapping.values() {
                if names.insert(name).is_some() {
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

    /// Checks that no two names of a kind differ in case alone: SQL folds case,
    /// as the tables of the online store and the columns of expressions do.
    /// Views of both kinds share one set of names.
    fn check_names_apart(&self) -> Result<()> {
        fn apart<'a>(all: impl Iterator<Item = (ObjectKind, &'a String)>) -> Result<()> {
            let mut names: BTreeMap<String, (ObjectKind, &str)> = BTreeMap::new();
            for (kind, name) in all {
                if let Some((other_kind, other)) = names.insert(folded(name), (kind, name)) {
                    let how = if other == name {
                        "have one name"
                    } else {
                        "differ in upper and lower case only"
                    };
                    return Err(Error::Conflict(format!(
                        "{other_kind} {other:?} and {kind} {name:?} {how}; rename one"
                    )));
                }
            }
            Ok(())
        }
        apart(self.entities.keys().map(|name| (ObjectKind::Entity, name)))?;
        apart(self.sources.keys().map(|name| (ObjectKind::Source, name)))?;
        let views = self
            .feature_views
            .keys()
            .map(|name| (ObjectKind::FeatureView, name));
        let on_demand = self.on_demand_feature_views.keys();
        let on_demand = on_demand.map(|name| (ObjectKind::OnDemandFeatureView, name));
        apart(views.chain(on_demand))?;
        let services = self.feature_services.keys();
        apart(services.map(|name| (ObjectKind::FeatureService, name)))
    }

    fn validate_view(&self, view: &FeatureView) -> Result<()> {
        check_name(ObjectKind::FeatureView, &view.name)?;
        let object = object(ObjectKind::FeatureView, &view.name);
        let source = self
            .source(&view.source)
            .map_err(|error| Error::invalid(&object, error.to_string()))?;
        let mut taken = Names::default();
        taken.insert(&source.timestamp_field);
        if let Some(created) = &source.created_timestamp_column {
            taken.insert(created);
        }
        let entities = self
            .join_keys(view)
            .map_err(|error| Error::invalid(&object, error.to_string()))?;
        for entity in entities {
            if let Some(other) = taken.insert(&entity.join_key) {
                return Err(Error::invalid(
                    object,
                    format!(
                        "the key {:?} is there twice, or a timestamp{}",
                        entity.join_key,
                        spelled(other, &entity.join_key)
                    ),
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
            if let Some(aggregate) = &feature.aggregate
                && let Some(problem) = aggregate.problem(feature.value_type)
            {
                return Err(Error::invalid(
                    object,
                    format!("the aggregate {:?}: {problem}", feature.name),
                ));
            }
            if let Some(other) = taken.insert(&feature.name) {
                return Err(Error::invalid(
                    object,
                    format!(
                        "the feature {:?} is there twice, or is also a key or a timestamp{}; \
                         map the column to another name (field_mapping)",
                        feature.name,
                        spelled(other, &feature.name)
                    ),
                ));
            }
        }
        Ok(())
    }

    fn validate_on_demand(&self, view: &OnDemandFeatureView) -> Result<()> {
        check_name(ObjectKind::OnDemandFeatureView, &view.name)?;
        let object = object(ObjectKind::OnDemandFeatureView, &view.name);
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
        if let Some(field) = view.request.iter().find(|field| field.aggregate.is_some()) {
            return Err(Error::invalid(
                object,
                format!(
                    "{:?} comes with the request and has no window to aggregate; declare the \
                     aggregate in a feature view",
                    field.name
                ),
            ));
        }
        let mut names = Names::default();
        for name in view
            .request
            .iter()
            .map(|field| &field.name)
            .chain(view.features.iter().map(|feature| &feature.name))
        {
            check_column(&object, name)?;
            if let Some(other) = names.insert(name) {
                return Err(Error::invalid(
                    object,
                    format!("{name:?} is there twice{}", spelled(other, name)),
                ));
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
        let mut labels = Names::default();
        for projection in &service.views {
            let invalid = |error: Error| Error::invalid(&object, error.to_string());
            if let Some(other) = labels.insert(projection.label()) {
                return Err(Error::invalid(
                    object,
                    format!(
                        "{:?} is there twice{}; give one an alias",
                        projection.label(),
                        spelled(other, projection.label())
                    ),
                ));
            }
            check_name(ObjectKind::FeatureView, projection.label()).map_err(invalid)?;
            let (known, keys): (Vec<&str>, Vec<&str>) =
                if let Some(view) = self.on_demand_feature_views.get(&projection.view) {
                    ambiguous_source(service, view)
                        .map_or(Ok(()), |reason| Err(Error::invalid(&object, reason)))?;
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

/// Says which source of an on-demand view a service has several times and never
/// under its own name, so that nothing says which one is meant.
fn ambiguous_source(service: &FeatureService, view: &OnDemandFeatureView) -> Option<String> {
    view.sources.iter().find_map(|source| {
        let labels: Vec<&str> = service
            .views
            .iter()
            .filter(|projection| projection.view == *source)
            .map(FeatureViewProjection::label)
            .collect();
        (labels.len() > 1 && !labels.contains(&source.as_str())).then(|| {
            format!(
                "{:?} is computed from {source:?}, which is there several times, as {}; let one \
                 keep its own name",
                view.name,
                labels.join(" and ")
            )
        })
    })
}

/// Names that must differ in more than case.
#[derive(Default)]
struct Names<'a>(BTreeMap<String, &'a str>);

impl<'a> Names<'a> {
    /// Adds a name; gives back the one that was there, if they are the same
    /// but for case.
    fn insert(&mut self, name: &'a str) -> Option<&'a str> {
        self.0.insert(folded(name), name)
    }
}

/// A name as SQL compares it.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

/// Says how the other of two equal names is spelled, if not the same.
fn spelled(other: &str, name: &str) -> String {
    if other == name {
        String::new()
    } else {
        format!(" (as {other:?}: case does not tell names apart)")
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong with definitions in TOML.
    fn problem(text: &str) -> String {
        Definitions::from_toml(text)
            .unwrap()
            .validate()
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn names_that_differ_in_case_alone_are_refused_for_every_kind() {
        let source = "[[source]]\nname = \"s\"\npath = \"p\"\n";
        let view = |name: &str, features: &str| {
            format!("[[feature_view]]\nname = {name:?}\nsource = \"s\"\nfeatures = [{features}]\n")
        };
        let x = "{ name = \"x\", type = \"Float64\" }";
        let on_demand = |name: &str| {
            format!(
                "[[on_demand_feature_view]]\nname = {name:?}\nfeatures = \
                 [{{ name = \"y\", type = \"Float64\", expression = \"1.0\" }}]\n"
            )
        };
        let service = |name: &str, views: &str| {
            format!("[[feature_service]]\nname = {name:?}\nviews = [{views}]\n")
        };
        let prices = view("prices", x);
        for (text, names) in [
            (
                format!("{source}{prices}{}", view("Prices", x)),
                ["prices", "Prices"],
            ),
            (
                format!("{source}{prices}{}", on_demand("PRICES")),
                ["prices", "PRICES"],
            ),
            (
                format!("{source}{prices}{}", on_demand("prices")),
                ["prices", "on-demand"],
            ),
            (
                format!("{}{}", on_demand("straße"), on_demand("STRAßE")),
                ["straße", "STRAßE"],
            ),
            (
                "[[entity]]\nname = \"Driver\"\n[[entity]]\nname = \"driver\"".into(),
                ["Driver", "driver"],
            ),
            (
                format!("{source}{}", source.replace("\"s\"", "\"S\"")),
                ["\"S\"", "\"s\""],
            ),
            (
                format!(
                    "{source}{prices}{}{}",
                    service("a", "{ view = \"prices\" }"),
                    service("A", "{ view = \"prices\" }")
                ),
                ["\"a\"", "\"A\""],
            ),
            (
                format!(
                    "{source}{prices}{}",
                    service(
                        "a",
                        "{ view = \"prices\" }, { view = \"prices\", alias = \"Prices\" }"
                    )
                ),
                ["Prices", "prices"],
            ),
            (
                format!(
                    "{source}{}",
                    view("v", &format!("{x}, {}", x.replace("\"x\"", "\"X\"")))
                ),
                ["\"X\"", "\"x\""],
            ),
        ] {
            let problem = problem(&text);
            for name in names {
                assert!(problem.contains(name), "{text}\n{problem}");
            }
        }
    }

    #[test]
    fn a_view_may_be_called_as_its_source_and_its_service() {
        let text = "[[source]]\nname = \"ohlcv\"\npath = \"p\"\n[[feature_view]]\n\
                    name = \"ohlcv\"\nsource = \"ohlcv\"\n\
                    features = [{ name = \"x\", type = \"Float64\" }]\n\
                    [[feature_service]]\nname = \"ohlcv\"\nviews = [{ view = \"ohlcv\" }]";
        Definitions::from_toml(text).unwrap().validate().unwrap();
    }
}
