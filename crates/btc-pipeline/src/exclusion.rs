//! Why a trial or run is not compared.

use std::fmt;

use chrono::{DateTime, Utc};
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::instants::instant_text;

/// A trial or run that was not compared, and why.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LeftOut {
    /// The trial's number, which is the run's name.
    pub name: String,
    /// Its run, if it is known.
    pub run_id: Option<String>,
    /// Why it does not count.
    pub reason: Exclusion,
}

/// Why a trial cannot be compared on today's window.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Exclusion {
    /// Its run is not in the tracking store.
    NoRun,
    /// Its run has no bundle.
    NoBundle,
    /// Its bundle cannot be used.
    Unsound {
        /// What is wrong with it.
        problem: String,
    },
    /// It was trained on days that the window judges.
    TrainedInWindow {
        /// The instant up to which it was trained.
        until: DateTime<Utc>,
    },
    /// It forecasts another number of rows ahead.
    OtherHorizon {
        /// Its horizon.
        horizon: usize,
    },
    /// It forecasts another column.
    OtherColumn {
        /// Its column.
        column: String,
    },
    /// It cannot forecast from today's table, for example for want of a feature.
    NoForecast {
        /// The reason.
        problem: String,
    },
    /// It was measured on other days, and the metric cannot be measured anew.
    OtherDays,
    /// It has no value of the metric, or one that is not a number.
    NoValue,
}

impl fmt::Display for Exclusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRun => f.write_str("its run is not in the tracking store"),
            Self::NoBundle => f.write_str("its run has no bundle"),
            Self::Unsound { problem } => write!(f, "its bundle cannot be used: {problem}"),
            Self::TrainedInWindow { until } => write!(
                f,
                "it was trained until {}, on days that are judged",
                instant_text(until)
            ),
            Self::OtherHorizon { horizon } => write!(f, "it forecasts {horizon} rows ahead"),
            Self::OtherColumn { column } => write!(f, "it forecasts {column:?}"),
            Self::NoForecast { problem } => write!(f, "it cannot forecast: {problem}"),
            Self::OtherDays => f.write_str("the metric was measured on other days"),
            Self::NoValue => f.write_str("it has no value of the metric"),
        }
    }
}

impl Serialize for Exclusion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = match self {
            Self::NoRun => "no_run",
            Self::NoBundle => "no_bundle",
            Self::Unsound { .. } => "unsound",
            Self::TrainedInWindow { .. } => "trained_in_window",
            Self::OtherHorizon { .. } => "other_horizon",
            Self::OtherColumn { .. } => "other_column",
            Self::NoForecast { .. } => "no_forecast",
            Self::OtherDays => "other_days",
            Self::NoValue => "no_value",
        };
        let mut fields = serializer.serialize_struct("Exclusion", 2)?;
        fields.serialize_field("kind", kind)?;
        fields.serialize_field("message", &self.to_string())?;
        fields.end()
    }
}
