//! What features are about: an entity and its join key.

use serde::{Deserialize, Serialize};

use super::{Tags, ValueType};

/// A thing that features describe, and the column that names it.
///
/// ```
/// # use btc_features::{Entity, ValueType};
/// let driver = Entity::new("driver").with_join_key("driver_id").with_value_type(ValueType::Int64);
/// assert_eq!(driver.join_key, "driver_id");
/// assert_eq!(Entity::new("driver").value_type, None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Declared")]
#[non_exhaustive]
pub struct Entity {
    /// The name, unique among entities.
    pub name: String,
    /// The column that holds its key, in sources and entity rows.
    pub join_key: String,
    /// The type of the key; without one, that of the column which holds it in
    /// the first source that is applied.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_type: Option<ValueType>,
    /// What it is, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who answers for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// Labels.
    #[serde(skip_serializing_if = "Tags::is_empty")]
    pub tags: Tags,
}

impl Entity {
    /// An entity whose join key has the entity's own name, and the type that its
    /// column has.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            join_key: name.clone(),
            name,
            value_type: None,
            description: String::new(),
            owner: String::new(),
            tags: Tags::new(),
        }
    }

    /// Names the column that holds the key.
    #[must_use]
    pub fn with_join_key(mut self, join_key: impl Into<String>) -> Self {
        self.join_key = join_key.into();
        self
    }

    /// Sets the type of the key.
    #[must_use]
    pub fn with_value_type(mut self, value_type: ValueType) -> Self {
        self.value_type = Some(value_type);
        self
    }

    /// Says what the entity is.
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

/// An entity as it is written in TOML, where the join key may be left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Declared {
    name: String,
    join_key: Option<String>,
    #[serde(default)]
    value_type: Option<ValueType>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    owner: String,
    #[serde(default)]
    tags: Tags,
}

impl From<Declared> for Entity {
    fn from(declared: Declared) -> Self {
        Self {
            join_key: declared.join_key.unwrap_or_else(|| declared.name.clone()),
            name: declared.name,
            value_type: declared.value_type,
            description: declared.description,
            owner: declared.owner,
            tags: declared.tags,
        }
    }
}
