//! The synthetic market, for trying things out.

use btc_ingest::{PullReport, SAMPLE_DAYS, pull_sample};
use chrono::NaiveDate;

use crate::instants::close_of;
use crate::{Project, Result};

/// The last day of the synthetic market: fixed, so that everyone sees the same.
pub const SAMPLE_LAST_DAY: NaiveDate = match NaiveDate::from_ymd_opt(2024, 12, 31) {
    Some(day) => day,
    None => NaiveDate::MAX,
};
const SEED: u64 = 0;

/// Stores the synthetic market as the project's data, labelled as such.
///
/// # Errors
///
/// [`crate::Error::Ingest`] if the folder holds real data or cannot be written.
pub fn retrieve_sample(project: &Project) -> Result<PullReport> {
    let now = close_of(SAMPLE_LAST_DAY);
    Ok(pull_sample(
        project.data_dir(),
        SEED,
        SAMPLE_LAST_DAY,
        SAMPLE_DAYS,
        now,
    )?)
}
