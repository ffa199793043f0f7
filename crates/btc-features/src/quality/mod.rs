//! The quality of features: how fresh they are, what is missing, and whether
//! their values have changed; and rules that say what is good enough.

mod drift;
mod profile;
mod rules;
mod statistics;

pub use rules::Violation;
pub use statistics::{FeatureStatistics, NumericSummary, ViewStatistics};
