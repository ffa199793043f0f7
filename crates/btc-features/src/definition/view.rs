//! A group of features that share a source and entities.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Aggregate, Checks, Field, Tags, duration, is_true, yes};

/// Features of one source, by entity and time.
///
/// ```
/// # use std::time::Duration;
/// # use btc_features::{FeatureView, Field, ValueType};
/// let view = FeatureView::new("driver_stats", "driver_stats_files")
///     .with_entities(["driver"])
///     .with_ttl(Duration::from_secs(10 * 86_400))
///     .with_features([Field::new("trips", ValueType::Int64)]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FeatureView {
    /// The name, unique among views of both kinds.
    pub name: String,
    /// The name of the source.
    pub source: String,
    /// The names of the entities its rows belong to; none for values that hold
    /// for everything, as the price of bitcoin does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<String>,
    /// For how long a value may be used after its event time; without one,
    /// for ever.
    #[serde(default, with = "duration", skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Duration>,
    /// Whether its values go to the online store.
    #[serde(default = "yes", skip_serializing_if = "is_true")]
    pub online: bool,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// Rules that its data must keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checks: Option<Checks>,
    /// The features.
    #[serde(default)]
    pub features: Vec<Field>,
}

impl FeatureView {
    /// A view of the source called `source`, without entities, features or
    /// time to live.
    pub fn new(name: impl Into<String>, source: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            source: source.into(),
            entities: Vec::new(),
            ttl: None,
            online: true,
            description: String::new(),
            owner: String::new(),
            tags: Tags::new(),
            checks: None,
            features: Vec::new(),
        }
    }

    /// Names the entities that a row belongs to.
    #[must_use]
    pub fn with_entities<I>(mut self, entities: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.entities = entities.into_iter().map(Into::into).collect();
        self
    }

    /// Sets for how long a value may be used; zero means for ever.
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = (!ttl.is_zero()).then_some(ttl);
        self
    }

    /// Sets the features.
    #[must_use]
    pub fn with_features(mut self, features: impl IntoIterator<Item = Field>) -> Self {
        self.features = features.into_iter().collect();
        self
    }

    /// Sets rules that its data must keep.
    #[must_use]
    pub fn with_checks(mut self, checks: Checks) -> Self {
        self.checks = Some(checks);
        self
    }

    /// Says whether values go to the online store.
    #[must_use]
    pub fn with_online(mut self, online: bool) -> Self {
        self.online = online;
        self
    }

    /// Says what the view is.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Says who answers for it.
    #[must_use]
    pub fn with_owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = owner.into();
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// The feature called `name`.
    pub fn feature(&self, name: &str) -> Option<&Field> {
        self.features.iter().find(|feature| feature.name == name)
    }

    /// The features that are columns of the source.
    pub(crate) fn plain_features(&self) -> impl Iterator<Item = &Field> {
        self.features
            .iter()
            .filter(|feature| feature.aggregate.is_none())
    }

    /// The features that are computed from trailing windows.
    pub(crate) fn aggregates(&self) -> impl Iterator<Item = (&Field, &Aggregate)> {
        self.features
            .iter()
            .filter_map(|feature| Some((feature, feature.aggregate.as_ref()?)))
    }

    /// The longest window of its aggregates in nanoseconds, if it has any.
    #[cfg_attr(
        not(feature = "sqlite"),
        expect(dead_code, reason = "the online store alone asks for it")
    )]
    pub(crate) fn longest_window(&self) -> Option<i64> {
        self.aggregates()
            .map(|(_, aggregate)| aggregate.nanos())
            .max()
    }
}
