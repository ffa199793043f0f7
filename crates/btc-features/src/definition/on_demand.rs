//! Features computed from others when they are asked for.

use serde::{Deserialize, Serialize};

use super::{Field, Tags, ValueType};

/// A feature computed from other columns by an SQL expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OnDemandFeature {
    /// The name, unique within its view.
    pub name: String,
    /// The type of its values.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// DataFusion SQL over features (`close` or `ohlcv.close`) and the columns
    /// of the request.
    pub expression: String,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

impl OnDemandFeature {
    /// The value of `expression`, as a `value_type`.
    pub fn new(
        name: impl Into<String>,
        value_type: ValueType,
        expression: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            value_type,
            expression: expression.into(),
            description: String::new(),
            tags: Tags::new(),
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn with_tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Says what the values are.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }
}

/// Features computed at the time of a request, from features of other views
/// and from columns that the request brings along.
///
/// ```
/// # use btc_features::{Field, OnDemandFeature, OnDemandFeatureView, ValueType};
/// let ratios = OnDemandFeatureView::new("ratios")
///     .with_sources(["ohlcv"])
///     .with_request([Field::new("budget", ValueType::Float64)])
///     .with_features([OnDemandFeature::new("coins", ValueType::Float64, "budget / close")]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OnDemandFeatureView {
    /// The name, unique among views of both kinds.
    pub name: String,
    /// The names of the views whose features the expressions use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<String>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Labels.
    #[serde(default, skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
    /// The columns that a request must bring along.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub request: Vec<Field>,
    /// The features.
    #[serde(default)]
    pub features: Vec<OnDemandFeature>,
}

impl OnDemandFeatureView {
    /// A view without features.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            sources: Vec::new(),
            description: String::new(),
            owner: String::new(),
            tags: Tags::new(),
            request: Vec::new(),
            features: Vec::new(),
        }
    }

    /// Names the views whose features the expressions use.
    #[must_use]
    pub fn with_sources<I>(mut self, views: I) -> Self
    where
        I: IntoIterator<Item: Into<String>>,
    {
        self.sources = views.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the columns that a request must bring along.
    #[must_use]
    pub fn with_request(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.request = fields.into_iter().collect();
        self
    }

    /// Sets the features.
    #[must_use]
    pub fn with_features(mut self, features: impl IntoIterator<Item = OnDemandFeature>) -> Self {
        self.features = features.into_iter().collect();
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
    pub fn feature(&self, name: &str) -> Option<&OnDemandFeature> {
        self.features.iter().find(|feature| feature.name == name)
    }
}
