//! Historical retrieval: what was known at a time, for every entity row.
//!
//! # How the join works
//!
//! All views of a request are joined by one [`ExecutionPlan`], whose inputs
//! are the entity rows and the scans of the views' sources.
//!
//! 1. The entity rows are read, their keys numbered, and the rows of a key
//!    sorted by time. Views with the same keys share this *timeline*.
//! 2. Of each source only keys and timestamps are read, from row groups that
//!    can hold a row in `[min(entity time) - ttl, max(entity time)]`. A
//!    feature row is of use from its event time on, so it belongs to the first
//!    entity time of its key that is not earlier: its *slot*. A slot keeps the
//!    best row it has seen (by event time, created time, place in the source).
//!    Walking the slots of a key forward, the best row so far is the match.
//!    The source is never sorted nor held: memory grows with the entity rows,
//!    time with both.
//! 3. Feature columns are read for the matched rows alone, and the result is
//!    put together in the order of the entity rows while it is consumed.
//!
//! # When DataFusion has an `ASOF JOIN`
//!
//! DataFusion 56 plans `ASOF JOIN` itself. A view without created timestamps
//! is then `entity ASOF JOIN source MATCH_CONDITION entity.time >= source.time
//! ON keys` with the ttl as a projection over it, and only [`request`] would
//! change. Ties by created time and place, the cut-off by created time and the
//! late reading of features are not part of that operator; it takes over when
//! it is as fast on the benchmarks without the last of them.
//!
//! [`ExecutionPlan`]: datafusion::physical_plan::ExecutionPlan

mod aggregate;
mod columns;
mod entities;
mod exec;
mod features;
mod gather;
mod input;
mod join;
mod keys;
mod matching;
#[cfg(feature = "sqlite")]
mod newest;
mod on_demand;
mod open_file;
mod output;
mod paths;
mod period;
mod request;
mod retained;
mod scan;
mod table;
mod time;
mod timeline;
#[cfg(feature = "sqlite")]
mod window_rows;
mod windows;

#[cfg(feature = "sqlite")]
pub(crate) use aggregate::Aggregator;
pub(crate) use columns::{check_type, feature_columns};
pub(crate) use input::{FeatureColumn, Input, SourceTable, Tables};
#[cfg(feature = "sqlite")]
pub(crate) use newest::newest_rows;
#[cfg(feature = "sqlite")]
pub(crate) use on_demand::evaluate as evaluate_on_demand;
pub(crate) use on_demand::parse as parse_on_demand;
pub(crate) use open_file::Identity;
pub(crate) use paths::source_files;
pub(crate) use period::{blocking, entity_rows as entity_rows_of_period};
pub(crate) use request::Request;
#[cfg(feature = "sqlite")]
pub(crate) use request::{Output, RequestView};
pub(crate) use table::{HistoricalTable, time_range};
pub(crate) use time::{beyond_nanos, to_nanos, utc_type};
#[cfg(feature = "sqlite")]
pub(crate) use window_rows::{WindowRows, window_rows};
