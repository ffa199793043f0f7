//! From a selection of features to a join: views and names on this side, keys
//! and columns on the engine's.

mod columns;
mod entity_rows;
#[cfg(feature = "sqlite")]
mod newest;
mod on_demand;
mod period;
mod request;
mod selection;
mod table;
#[cfg(feature = "sqlite")]
mod window_rows;

pub(crate) use columns::{check_type, feature_columns, key_type};
pub use entity_rows::EntityRows;
pub(crate) use entity_rows::nanos;
#[cfg(feature = "sqlite")]
pub(crate) use newest::newest_rows;
#[cfg(feature = "sqlite")]
pub(crate) use on_demand::evaluate as evaluate_on_demand;
pub(crate) use on_demand::parse as parse_on_demand;
pub(crate) use period::entity_rows as entity_rows_of_period;
pub(crate) use request::Request;
#[cfg(feature = "sqlite")]
pub(crate) use request::{Output, RequestView};
pub use selection::FeatureSelection;
pub(crate) use selection::Wanted;
pub(crate) use table::{HistoricalTable, time_range};
#[cfg(feature = "sqlite")]
pub(crate) use window_rows::{WindowRows, window_rows};
