//! What a feature store is made of: entities, sources, views and services.

mod aggregate;
mod checks;
pub(crate) mod duration;
mod entity;
mod field;
mod file;
mod on_demand;
mod service;
mod set;
mod source;
mod validate;
mod view;

pub use aggregate::{Aggregate, AggregateFunction};
pub use checks::Checks;
pub use entity::Entity;
pub use field::{Field, ValueType};
pub use on_demand::{OnDemandFeature, OnDemandFeatureView};
pub use service::{FeatureService, FeatureViewProjection};
pub use set::{Definitions, ObjectKind};
pub use source::FileSource;
pub use view::FeatureView;

/// Labels of an object: free text by name.
pub type Tags = std::collections::BTreeMap<String, String>;

fn yes() -> bool {
    true
}

fn is_true(value: &bool) -> bool {
    *value
}
