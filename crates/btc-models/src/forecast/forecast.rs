//! What a model says about a value to come.

use chrono::{DateTime, Days, Utc};
use serde::{Deserialize, Serialize};

use super::interval::Interval;
use crate::{Error, Result};

/// A forecast of the price, in the price's unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The price expected.
    pub point: f64,
    /// The last known price: what a forecast without any skill would be.
    pub naive: f64,
    /// Ranges around the point, from the narrowest to the widest.
    pub intervals: Vec<Interval>,
    /// Nothing that became known after this was used.
    pub known_until: DateTime<Utc>,
    /// When the price is expected.
    pub target_time: DateTime<Utc>,
}

/// The time `rows` days after `time`.
pub(crate) fn after(time: DateTime<Utc>, rows: usize) -> Result<DateTime<Utc>> {
    time.checked_add_days(Days::new(rows as u64))
        .ok_or_else(|| Error::series(format!("no time is {rows} days after {time}")))
}
