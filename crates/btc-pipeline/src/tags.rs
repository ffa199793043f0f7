//! The tags of runs and versions that several stages read.

/// Tag of a version that says what the hold-out says of it.
pub const VERDICT_TAG: &str = "verdict";
/// Tag of a run and a version that says how far apart the rows are that it was trained on.
pub(crate) const FREQUENCY_TAG: &str = "frequency";
/// Alias of the version that is meant to be used.
pub const CHAMPION: &str = "champion";
