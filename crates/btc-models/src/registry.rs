//! Implementations that a program registers under a name, so that what was stored with them can
//! be read where they are known.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// Settings that travel in a bundle under a name: those of a network, a loss, a transform, a
/// scaler, an optimiser, a schedule, a callback or a metric of the caller's own.
///
/// They are written as a JSON object beside `"type": NAME`, so they must be a struct with named
/// fields, none of which is called `type`.
pub trait Named: Serialize + DeserializeOwned + fmt::Debug + Send + Sync + 'static {
    /// The name, which is none of the crate's own and stays the same for ever.
    const NAME: &'static str;
}

/// The name and settings of an implementation of `T` that is not the crate's own.
///
/// It can be read where the name is not registered, and is of no use there: whatever it is part
/// of is refused with [`Error::NotRegistered`] before it is used.
pub struct Custom<T: ?Sized> {
    name: String,
    settings: Map<String, Value>,
    /// What the settings are settings of, once it was asked for.
    restored: OnceLock<Arc<T>>,
}

impl<T: ?Sized> fmt::Debug for Custom<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Custom")
            .field("name", &self.name)
            .field("settings", &self.settings)
            .finish()
    }
}

impl<T: ?Sized> Clone for Custom<T> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            settings: self.settings.clone(),
            restored: self.restored.clone(),
        }
    }
}

impl<T: ?Sized> PartialEq for Custom<T> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.settings == other.settings
    }
}

impl<T: ?Sized> Eq for Custom<T> {}

impl<T: ?Sized> Custom<T> {
    fn new(name: String, settings: Map<String, Value>) -> Self {
        Self {
            name,
            settings,
            restored: OnceLock::new(),
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

impl<T: ?Sized + 'static> Custom<T> {
    /// Registers `C` and takes down the settings of `implementation` under its name.
    pub(crate) fn register<C: Named>(
        registry: &Registry<T>,
        restore: Restore<T>,
        implementation: &C,
    ) -> Result<Self> {
        registry.register::<C>(restore)?;
        let invalid = |expected| Error::invalid(C::NAME, format!("{implementation:?}"), expected);
        let expected = "a struct of values that JSON can hold, none of them called `type`";
        // By way of the text, in which an f32 has no more digits than it needs.
        let value = serde_json::to_string(implementation)
            .and_then(|text| serde_json::from_str(&text))
            .map_err(|_| invalid(expected))?;
        match value {
            Value::Object(settings) if !settings.contains_key("type") => {
                Ok(Self::new(C::NAME.to_owned(), settings))
            }
            Value::Null => Ok(Self::new(C::NAME.to_owned(), Map::new())),
            _ => Err(invalid(expected)),
        }
    }

    /// The implementation called `name` with no settings given.
    pub(crate) fn named(name: &str) -> Self {
        Self::new(name.to_owned(), Map::new())
    }

    /// What it is the settings of.
    pub(crate) fn get(&self, registry: &Registry<T>) -> Result<&T> {
        if self.restored.get().is_none() {
            let _ = self.restored.set(registry.restore(self)?);
        }
        // Whoever came first, it is there now.
        self.restored
            .get()
            .map(Arc::as_ref)
            .ok_or_else(|| registry.unknown(&self.name))
    }
}

impl<T: ?Sized> Serialize for Custom<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let name = ("type", Value::String(self.name.clone()));
        let settings = self
            .settings
            .iter()
            .map(|(key, value)| (key.as_str(), value.clone()));
        serializer.collect_map(std::iter::once(name).chain(settings))
    }
}

impl<'de, T: ?Sized> Deserialize<'de> for Custom<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut settings = Map::deserialize(deserializer)?;
        match settings.shift_remove("type") {
            Some(Value::String(name)) => Ok(Self::new(name, settings)),
            _ => Err(serde::de::Error::missing_field("type")),
        }
    }
}

/// Gives an enum with `#[serde(remote = "Self")]` and a variant `Custom` its place in JSON: a
/// text, or an object whose `type` is one of the `names`, is one of its own variants; any other
/// object is custom.
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
                let named = |name: &str| $names.contains(&name);
                if value.is_string() || value["type"].as_str().is_some_and(named) {
                    Self::deserialize(value).map_err(serde::de::Error::custom)
                } else {
                    serde::Deserialize::deserialize(value)
                        .map(Self::Custom)
                        .map_err(serde::de::Error::custom)
                }
            }
        }
    };
}
pub(crate) use open_enum;

/// The registry of one kind of thing, and the function by which a program adds to it.
macro_rules! registry {
    (
        $(#[$doc:meta])*
        $vis:vis $register:ident, $registry:ident: dyn $spec:ident, $what:literal, $names:expr
    ) => {
        pub(crate) static $registry: $crate::registry::Registry<dyn $spec> =
            $crate::registry::Registry::new($what, stringify!($register), &$names);

        $(#[$doc])*
        ///
        /// Settings that are given as a value are registered with it; a program that only loads
        /// calls this.
        ///
        /// # Errors
        ///
        /// The name is one of the crate's own, or another type's.
        $vis fn $register<C: $crate::registry::Named + $spec>() -> $crate::Result<()> {
            $registry.register::<C>($crate::registry::restored!(C, $spec))
        }
    };
}
pub(crate) use registry;

/// How settings of the type become what they are settings of.
macro_rules! restored {
    ($type:ident, $spec:ident) => {
        |settings| {
            let spec: $type = serde_json::from_value(settings)?;
            let spec: std::sync::Arc<dyn $spec> = std::sync::Arc::new(spec);
            Ok(spec)
        }
    };
}
pub(crate) use restored;

/// Turns settings into what they are settings of.
pub(crate) type Restore<T> = fn(Value) -> serde_json::Result<Arc<T>>;

/// What is registered of one kind, in the whole process.
pub(crate) struct Registry<T: ?Sized + 'static> {
    what: &'static str,
    /// The function that registers.
    register: &'static str,
    /// The names of the crate's own, which nothing else may take.
    own: &'static [&'static str],
    entries: RwLock<BTreeMap<&'static str, (TypeId, Restore<T>)>>,
}

impl<T: ?Sized + 'static> Registry<T> {
    pub(crate) const fn new(
        what: &'static str,
        register: &'static str,
        own: &'static [&'static str],
    ) -> Self {
        Self {
            what,
            register,
            own,
            entries: RwLock::new(BTreeMap::new()),
        }
    }

    /// The names of the crate's own.
    pub(crate) const fn own(&self) -> &'static [&'static str] {
        self.own
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

    /// The error for a name that is not registered.
    fn unknown(&self, name: &str) -> Error {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let known: Vec<&str> = self.own.iter().chain(entries.keys()).copied().collect();
        Error::not_registered(self.what, self.register, name, &known)
    }

    /// What `custom` is the settings of.
    fn restore(&self, custom: &Custom<T>) -> Result<Arc<T>> {
        let restore = {
            let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
            entries
                .get(custom.name.as_str())
                .map(|(_, restore)| *restore)
        };
        let restore = restore.ok_or_else(|| self.unknown(&custom.name))?;
        restore(Value::Object(custom.settings.clone())).map_err(|error| Error::CustomSettings {
            what: self.what,
            name: custom.name.clone(),
            reason: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) trait Shape: Send + Sync {
        fn area(&self) -> f64;
    }

    registry! {
        /// Registers a shape.
        register_shape, SHAPES: dyn Shape, "shape", ["point"]
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Square {
        side: f64,
    }

    impl Named for Square {
        const NAME: &'static str = "square";
    }

    impl Shape for Square {
        fn area(&self) -> f64 {
            self.side * self.side
        }
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Other;

    impl Named for Other {
        const NAME: &'static str = "square";
    }

    impl Shape for Other {
        fn area(&self) -> f64 {
            0.0
        }
    }

    fn read(text: &str) -> Custom<dyn Shape> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_name_has_one_type_and_its_settings_come_back() {
        register_shape::<Square>().unwrap();
        register_shape::<Square>().unwrap();
        let taken = register_shape::<Other>().unwrap_err();
        assert!(matches!(taken, Error::NameTaken { .. }), "{taken}");
        let custom =
            Custom::register(&SHAPES, restored!(Square, Shape), &Square { side: 3.0 }).unwrap();
        let text = serde_json::to_string(&custom).unwrap();
        assert_eq!(text, r#"{"type":"square","side":3.0}"#);
        assert_eq!(read(&text), custom);
        assert_eq!(read(&text).get(&SHAPES).unwrap().area(), 9.0);
    }

    #[test]
    fn what_is_not_registered_says_how_to_register_it() {
        register_shape::<Square>().unwrap();
        let error = read(r#"{"type":"sqare"}"#).get(&SHAPES).err().unwrap();
        let message = error.to_string();
        for part in ["\"sqare\"", "\"square\"?", "register_shape"] {
            assert!(message.contains(part), "{message}");
        }
        let unread = read(r#"{"type":"square","side":"long"}"#);
        let error = unread.get(&SHAPES).err().unwrap();
        assert!(matches!(error, Error::CustomSettings { .. }), "{error}");
    }
}
