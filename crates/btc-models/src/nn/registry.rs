//! Implementations that a program registers under a name, so that a bundle can be loaded where
//! they are known.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Settings that travel in a bundle under a name: those of a network, a loss, an optimiser or a
/// schedule of the caller's own.
///
/// They are written as a JSON object beside `"type": NAME`, so they must be a struct with named
/// fields, none of which is called `type`.
pub trait Named: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The name, which is none of the crate's own and stays the same for ever.
    const NAME: &'static str;
}

/// The name and settings of an implementation that is not the crate's own.
#[derive(Debug, Clone, PartialEq)]
pub struct Custom {
    name: String,
    settings: Map<String, Value>,
}

impl Custom {
    /// The settings of `implementation` under its name.
    pub(crate) fn of<C: Named>(implementation: &C) -> Result<Self> {
        let invalid = |expected| Error::invalid(C::NAME, format!("{implementation:?}"), expected);
        let expected = "a struct of values that JSON can hold, none of them called `type`";
        // By way of the text, in which an f32 has no more digits than it needs.
        let value = serde_json::to_string(implementation)
            .and_then(|text| serde_json::from_str(&text))
            .map_err(|_| invalid(expected))?;
        match value {
            Value::Object(settings) if !settings.contains_key("type") => Ok(Self {
                name: C::NAME.to_owned(),
                settings,
            }),
            Value::Null => Ok(Self {
                name: C::NAME.to_owned(),
                settings: Map::new(),
            }),
            _ => Err(invalid(expected)),
        }
    }

    /// The name under which it is registered.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The settings, by their names.
    pub fn settings(&self) -> &Map<String, Value> {
        &self.settings
    }
}

impl Serialize for Custom {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = ("type", Value::String(self.name.clone()));
        let settings = self
            .settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()));
        serializer.collect_map(std::iter::once(name).chain(settings))
    }
}

impl<'de> Deserialize<'de> for Custom {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = Map::deserialize(deserializer)?;
        match settings.shift_remove("type") {
            Some(Value::String(name)) => Ok(Self { name, settings }),
            _ => Err(serde::de::Error::missing_field("type")),
        }
    }
}

/// Gives an enum with `#[serde(tag = "type", remote = "Self")]` and a variant `Custom` its place
/// in JSON: what is tagged with one of the `names` is one of its own variants, all else is custom.
macro_rules! open_enum {
    ($name:ident, $names:expr) => {
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self {
                    Self::Custom(custom) => serde::Serialize::serialize(custom, serializer),
                    own => Self::serialize(own, serializer),
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let value = <serde_json::Value as serde::Deserialize>::deserialize(deserializer)?;
                let own = value["type"]
                    .as_str()
                    .is_some_and(|name| $names.contains(&name));
                if own {
                    Self::deserialize(value).map_err(serde::de::Error::custom)
                } else {
                    <$crate::nn::registry::Custom as serde::Deserialize>::deserialize(value)
                        .map(Self::Custom)
                        .map_err(serde::de::Error::custom)
                }
            }
        }
    };
}
pub(crate) use open_enum;

/// Turns settings into what they are settings of.
type Restore<T> = fn(Value) -> serde_json::Result<Box<T>>;

/// What is registered of one kind, in the whole process.
pub(crate) struct Registry<T: ?Sized + 'static> {
    what: &'static str,
    /// The names of the crate's own, which nothing else may take.
    own: &'static [&'static str],
    entries: RwLock<BTreeMap<&'static str, (TypeId, Restore<T>)>>,
}

impl<T: ?Sized + 'static> Registry<T> {
    pub(crate) const fn new(what: &'static str, own: &'static [&'static str]) -> Self {
        Self {
            what,
            own,
            entries: RwLock::new(BTreeMap::new()),
        }
    }

    /// Registers `C` under its name; the same type may come twice.
    pub(crate) fn register<C: Named>(&self, restore: Restore<T>) -> Result<()> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let id = TypeId::of::<C>();
        let taken = self.own.contains(&C::NAME)
            || entries.get(C::NAME).is_some_and(|(other, _)| *other != id);
        if taken {
            return Err(Error::NameTaken {
                what: self.what,
                name: C::NAME.to_owned(),
            });
        }
        entries.insert(C::NAME, (id, restore));
        Ok(())
    }

    /// What `custom` is the settings of.
    pub(crate) fn restore(&self, custom: &Custom) -> Result<Box<T>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let Some((_, restore)) = entries.get(custom.name.as_str()) else {
            let known: Vec<&str> = self.own.iter().chain(entries.keys()).copied().collect();
            return Err(Error::unknown(self.what, &custom.name, &known));
        };
        restore(Value::Object(custom.settings.clone())).map_err(|error| Error::CustomSettings {
            what: self.what,
            name: custom.name.clone(),
            reason: error.to_string(),
        })
    }
}
