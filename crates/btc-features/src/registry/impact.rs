//! What uses what: which objects break when one changes.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Plan, Registry};
use crate::definition::{Definitions, FeatureService, ObjectKind};

/// An object that uses another, directly or by way of others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[non_exhaustive]
pub struct Dependent {
    /// Its kind.
    pub kind: ObjectKind,
    /// Its name.
    pub name: String,
}

impl Registry {
    /// What uses the object of this kind and name, directly or by way of other
    /// objects, in the order of kinds and names: the views of an entity or a
    /// source, the on-demand views and services of a view, and the data sets
    /// that were made of any of them.
    ///
    /// ```
    /// # use btc_features::{Definitions, FeatureService, FeatureStore, FeatureView, Field};
    /// # use btc_features::{FileSource, ObjectKind, ValueType};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let mut store = FeatureStore::init(dir.path(), "bitcoin")?;
    /// store.apply(
    ///     &Definitions::new()
    ///         .with_source(FileSource::new("prices", "prices.parquet", "event_timestamp"))
    ///         .with_feature_view(
    ///             FeatureView::new("ohlcv", "prices")
    ///                 .with_features([Field::new("close", ValueType::Float64)]),
    ///         )
    ///         .with_feature_service(FeatureService::new("daily", ["ohlcv"])),
    /// )?;
    /// let users = store.registry().dependents(ObjectKind::Source, "prices");
    /// let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
    /// assert_eq!(names, ["ohlcv", "daily"]);
    /// # Ok::<(), btc_features::Error>(())
    /// ```
    pub fn dependents(&self, kind: ObjectKind, name: &str) -> Vec<Dependent> {
        let start = Dependent {
            kind,
            name: name.to_owned(),
        };
        let mut found = BTreeSet::new();
        let mut open = vec![start.clone()];
        while let Some(used) = open.pop() {
            for user in self.direct(&used) {
                if found.insert(user.clone()) {
                    open.push(user);
                }
            }
        }
        found.remove(&start);
        found.into_iter().collect()
    }

    /// What uses an object without anything in between.
    fn direct(&self, used: &Dependent) -> Vec<Dependent> {
        let definitions = &self.definitions;
        let name = used.name.as_str();
        let views = |uses: &dyn Fn(&crate::definition::FeatureView) -> bool| {
            let users = definitions.feature_views.values().filter(|view| uses(view));
            users
                .map(|view| dependent(ObjectKind::FeatureView, &view.name))
                .collect()
        };
        match used.kind {
            ObjectKind::Entity => views(&|view| view.entities.iter().any(|entity| entity == name)),
            ObjectKind::Source => views(&|view| view.source == name),
            ObjectKind::FeatureView | ObjectKind::OnDemandFeatureView => {
                let on_demand = definitions
                    .on_demand_feature_views
                    .values()
                    .filter(|view| view.sources.iter().any(|source| source == name))
                    .map(|view| dependent(ObjectKind::OnDemandFeatureView, &view.name));
                let services = services_of(definitions, name);
                let services =
                    services.map(|service| dependent(ObjectKind::FeatureService, &service.name));
                let prefix = format!("{name}:");
                let datasets = self.saved_datasets.values();
                let datasets = datasets
                    .filter(|dataset| dataset.features.iter().any(|f| f.starts_with(&prefix)))
                    .map(|dataset| dependent(ObjectKind::SavedDataset, &dataset.name));
                on_demand.chain(services).chain(datasets).collect()
            }
            ObjectKind::FeatureService => {
                let datasets = self.saved_datasets.values();
                datasets
                    .filter(|dataset| dataset.service.as_deref() == Some(name))
                    .map(|dataset| dependent(ObjectKind::SavedDataset, &dataset.name))
                    .collect()
            }
            ObjectKind::SavedDataset => Vec::new(),
        }
    }

    /// Says of each object that a plan changes or removes what uses it.
    pub(crate) fn note_impact(&self, plan: &mut Plan) {
        for change in &plan.changes {
            if change.action == super::Action::Create {
                continue;
            }
            let users: Vec<String> = self
                .dependents(change.kind, &change.name)
                .into_iter()
                // What is removed along with it is told of by itself.
                .filter(|user| {
                    !plan.changes.iter().any(|other| {
                        other.action == super::Action::Delete
                            && (other.kind, &other.name) == (user.kind, &user.name)
                    })
                })
                .map(|user| format!("{} {:?}", user.kind, user.name))
                .collect();
            if !users.is_empty() {
                plan.notes.push(format!(
                    "{} {:?} is used by {}",
                    change.kind,
                    change.name,
                    users.join(", ")
                ));
            }
        }
    }
}

fn dependent(kind: ObjectKind, name: &str) -> Dependent {
    Dependent {
        kind,
        name: name.to_owned(),
    }
}

fn services_of<'a>(
    definitions: &'a Definitions,
    view: &'a str,
) -> impl Iterator<Item = &'a FeatureService> {
    definitions
        .feature_services
        .values()
        .filter(move |service| service.views.iter().any(|part| part.view == view))
}
