//! The days that trials are compared on, as they are recorded.

use std::ops::Range;

use btc_models::{SeriesFrame, Target};
use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::instants::instant_text;
use crate::scores::target_range;
use crate::split::Split;

/// The user attribute of a trial that holds its window.
pub(crate) const WINDOW_ATTR: &str = "window";
/// The days that trials are compared on, and what is forecast there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Window {
    /// The hash of the data's tables.
    pub data_hash: String,
    /// The first instant that is forecast.
    #[serde(serialize_with = "instant")]
    pub first_target: DateTime<Utc>,
    /// The last instant that is forecast.
    #[serde(serialize_with = "instant")]
    pub last_target: DateTime<Utc>,
    /// Rows between an origin and its target.
    pub horizon: usize,
    /// What the networks predict of the column.
    pub target: Target,
    /// The column that is forecast.
    pub target_column: String,
}

fn instant<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&instant_text(time))
}

impl Window {
    /// The window of the selection set of a frame.
    pub(crate) fn of_selection(
        frame: &SeriesFrame,
        split: &Split,
        target: &Target,
        data_hash: &str,
    ) -> Option<Self> {
        let (first_target, last_target) = target_range(frame, &split.selection, split.horizon)?;
        Some(Self {
            data_hash: data_hash.to_owned(),
            first_target,
            last_target,
            horizon: split.horizon,
            target: target.clone(),
            target_column: frame.target_name().to_owned(),
        })
    }

    /// Whether scores on one are scores on the other. What a network predicts, the change or the
    /// level, makes no difference to what its forecasts are judged by.
    pub(crate) fn is_comparable(&self, other: &Self) -> bool {
        let target = other.target.clone();
        Self {
            target,
            ..self.clone()
        } == *other
    }

    /// The window as tags of a run.
    pub(crate) fn tags(&self) -> [(&'static str, String); 6] {
        [
            ("data_hash", self.data_hash.clone()),
            ("first_target", instant_text(&self.first_target)),
            ("last_target", instant_text(&self.last_target)),
            ("horizon", self.horizon.to_string()),
            ("target", self.target.to_string()),
            ("target_column", self.target_column.clone()),
        ]
    }

    /// Reads the tags back; none if one is missing or not readable.
    pub(crate) fn from_tags<'a>(tag: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        Some(Self {
            data_hash: tag("data_hash")?.to_owned(),
            first_target: tag("first_target")?.parse().ok()?,
            last_target: tag("last_target")?.parse().ok()?,
            horizon: tag("horizon")?.parse().ok()?,
            target: tag("target")?.parse().ok()?,
            target_column: tag("target_column")?.to_owned(),
        })
    }

    /// The window as an attribute of a trial.
    pub(crate) fn to_attr(&self) -> Value {
        let entries = self.tags().into_iter();
        Value::Object(
            entries
                .map(|(key, text)| (key.to_owned(), text.into()))
                .collect(),
        )
    }

    /// Reads the attribute back.
    pub(crate) fn from_attr(attrs: &Map<String, Value>) -> Option<Self> {
        let window = attrs.get(WINDOW_ATTR)?;
        Self::from_tags(|key| window.get(key)?.as_str())
    }

    /// The origins of the window in a frame.
    pub(crate) fn origins(&self, frame: &SeriesFrame) -> Range<usize> {
        let rows = frame.known_at();
        let row = |instant| rows.partition_point(|time| *time < instant);
        let first = row(self.first_target);
        let end = rows.partition_point(|time| *time <= self.last_target);
        first.saturating_sub(self.horizon)..end.saturating_sub(self.horizon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_survives_tags_and_attributes() {
        let instant = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let window = Window {
            data_hash: "today".into(),
            first_target: instant("2024-01-02T00:00:00Z"),
            last_target: instant("2024-02-02T00:00:00Z"),
            horizon: 1,
            target: Target::LogReturn,
            target_column: "close".into(),
        };
        let tags = window.tags();
        let tag = |key: &str| {
            tags.iter()
                .find(|(known, _)| *known == key)
                .map(|(_, text)| text.as_str())
        };
        assert_eq!(Window::from_tags(tag), Some(window.clone()));
        let attrs = Map::from_iter([(WINDOW_ATTR.to_owned(), window.to_attr())]);
        assert_eq!(Window::from_attr(&attrs), Some(window.clone()));
        let level = Window {
            target: Target::Level,
            ..window.clone()
        };
        assert!(level.is_comparable(&window));
        let other = Window {
            data_hash: "yesterday".into(),
            ..window.clone()
        };
        assert!(!other.is_comparable(&window));
    }
}
