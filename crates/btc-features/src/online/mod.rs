//! The newest values of features, by key, in a SQLite file that Feast reads
//! and writes too.

mod key;
mod materialize;
mod proto;
mod push;
mod read;
mod sqlite;
mod value;
mod windows;

pub use materialize::MaterializeReport;
pub use read::{
    FeatureStatus, OnlineFeatures, OnlineMetadata, OnlineRequest, OnlineResult, OnlineSelection,
};

pub(crate) use sqlite::OnlineDatabase;
pub(crate) use value::json_column;
