//! A named selection of features, as a model asks for them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Tags;

/// The part of a view that a service uses, and under which name.
///
/// ```
/// # use btc_features::FeatureViewProjection;
/// let origin = FeatureViewProjection::new("location_stats")
///     .with_alias("origin")
///     .with_join_key_map([("location_id", "origin_id")])
///     .with_features(["temperature"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FeatureViewProjection {
    /// The view.
    pub view: String,
    /// The name that takes the place of the view's in the columns' full names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The features, in this order; every feature of the view when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub features: Vec<String>,
    /// The columns of the entity rows by the join key they stand for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub join_key_map: BTreeMap<String, String>,
}

impl FeatureViewProjection {
    /// Every feature of a view, under its own name.
    pub fn new(view: impl Into<String>) -> Self {
        Self {
            view: view.into(),
            alias: None,
            features: Vec::new(),
            join_key_map: BTreeMap::new(),
        }
    }

    /// Lets `alias` take the place of the view's name.
    #[must_use]
    pub fn with_alias(mut self, alias: impl Into<String>) -> Self {
        self.alias = Some(alias.into());
        self
    }

    /// Chooses features.
    #[must_use]
    pub fn with_features<I>(mut self, features: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.features = features.into_iter().map(Into::into).collect();
        self
    }

    /// Says which column of the entity rows stands for which join key, as
    /// `(join key, column)`.
    #[must_use]
    pub fn with_join_key_map<I, K, V>(mut self, map: I) -> Self
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        self.join_key_map = map
            .into_iter()
            .map(|(key, name)| (key.into(), name.into()))
            .collect();
        self
    }

    /// The alias, or the name of the view.
    pub fn label(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.view)
    }
}

impl From<&str> for FeatureViewProjection {
    fn from(view: &str) -> Self {
        Self::new(view)
    }
}

impl From<String> for FeatureViewProjection {
    fn from(view: String) -> Self {
        Self::new(view)
    }
}

/// The features that one model uses, under one name.
///
/// ```
/// # use btc_features::FeatureService;
/// let service = FeatureService::new("daily_bitcoin_v1", ["ohlcv", "blockchain"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FeatureService {
    /// The name, unique among services.
    pub name: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// The views and their features, in the order of the result's columns.
    pub views: Vec<FeatureViewProjection>,
}

impl FeatureService {
    /// A service over views or projections of views.
    pub fn new<I>(name: impl Into<String>, views: I) -> Self
    where
        I: IntoIterator<Item: Into<FeatureViewProjection>>,
    {
        Self {
            name: name.into(),
            description: String::new(),
            owner: String::new(),
            tags: Tags::new(),
            views: views.into_iter().map(Into::into).collect(),
        }
    }

    /// Says what the service is for.
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
}
