//! The point-in-time join: an engine over Arrow that knows keys, times and
//! columns, and no view.
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
//! 4. Windowed aggregates are computed from the rows that lie in the window of
//!    some entity row, which are held ([`windows`]).
//!
//! # When DataFusion has an `ASOF JOIN`
//!
//! DataFusion 56 plans `ASOF JOIN` itself. A view without created timestamps
//! is then `entity ASOF JOIN source MATCH_CONDITION entity.time >= source.time
//! ON keys` with the ttl as a projection over it, and only the request's
//! side would change. Ties by created time and place, the cut-off by created time and the
//! late reading of features are not part of that operator; it takes over when
//! it is as fast on the benchmarks without the last of them.
//!
//! [`ExecutionPlan`]: datafusion::physical_plan::ExecutionPlan

pub(crate) mod aggregate;
mod emit;
mod entity_rows;
pub(crate) mod exec;
mod fill;
mod kept;
pub(crate) mod keys;
mod matched;
pub(crate) mod matching;
mod metrics;
mod run;
pub(crate) mod source;
pub(crate) mod spec;
pub(crate) mod time;
mod timeline;
mod windows;
