//! The days that a registration judges by, and what a model comes to on them.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;

use arrow::array::RecordBatch;
use btc_models::candle_core::Device;
use btc_models::{Forecaster, Frequency, SeriesFrame, Target, validate_bundle};
use btc_track::{Run, TrackingClient, open_artifacts};
use chrono::{DateTime, Utc};

use crate::bundles::BUNDLE;
use crate::columns::PRICE;
use crate::comparable::Frames;
use crate::error::describe;
use crate::exclusion::Exclusion;
use crate::frame::frame_of_columns;
use crate::scores::{Outcomes, target_range};
use crate::search_config::DEFAULT_PREDICTION_LENGTH;
use crate::split::{DEFAULT_HOLDOUT, Split};
use crate::window::Window;
use crate::{Error, Result};

/// What is judged on how many rows, where the caller says so; else as in the newest run.
pub(crate) struct Counts<'a> {
    pub(crate) prediction_length: Option<usize>,
    pub(crate) horizon: Option<NonZeroUsize>,
    pub(crate) target_column: Option<&'a str>,
    pub(crate) holdout: Option<usize>,
    pub(crate) data_hash: &'a str,
}

/// The days of today's table that choose, and those that judge.
pub(crate) struct Days {
    pub(crate) window: Window,
    /// The instants that are held out, first and last; none if there are none.
    pub(crate) holdout: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// How far apart the rows are.
    pub(crate) frequency: Frequency,
}

impl Days {
    /// Counts back from the end of the table as the newest run's search did.
    pub(crate) fn of(counts: &Counts<'_>, runs: &[Run], table: &RecordBatch) -> Result<Self> {
        let recorded = |key: &str| {
            let number = |run: &Run| run.param(key)?.parse::<usize>().ok();
            runs.iter().rev().find_map(number)
        };
        let tag = |key: &str| runs.iter().rev().find_map(|run| run.tag(key));
        let target_column = counts
            .target_column
            .or_else(|| tag("target_column"))
            .unwrap_or(PRICE);
        let horizon = counts
            .horizon
            .or_else(|| recorded("horizon").and_then(NonZeroUsize::new));
        let selection = counts
            .prediction_length
            .or_else(|| recorded("prediction_length"))
            .unwrap_or(DEFAULT_PREDICTION_LENGTH);
        let holdout = counts
            .holdout
            .or_else(|| recorded("holdout"))
            .unwrap_or(DEFAULT_HOLDOUT);
        let target: Target = tag("target")
            .and_then(|name| name.parse().ok())
            .unwrap_or_default();
        let frame = frame_of_columns(table, &[], target_column)?;
        let split = Split::with_horizon(
            frame.rows(),
            selection,
            holdout,
            recorded("timesteps").unwrap_or(1),
            horizon.unwrap_or(NonZeroUsize::MIN),
        )?;
        let window = Window::of_selection(&frame, &split, &target, counts.data_hash);
        let window = window.ok_or(Error::TooShort {
            rows: frame.rows(),
            needed: frame.rows() + 1,
            holdout,
            selection,
            timesteps: 1,
        })?;
        Ok(Self {
            window,
            holdout: target_range(&frame, &split.holdout, split.horizon),
            frequency: frame.frequency(),
        })
    }

    /// The origins of the hold-out in a frame.
    pub(crate) fn holdout_origins(&self, frame: &SeriesFrame) -> Range<usize> {
        match self.holdout {
            Some((first_target, last_target)) => Window {
                first_target,
                last_target,
                ..self.window.clone()
            }
            .origins(frame),
            None => 0..0,
        }
    }
}

/// The columns of a table that a model needs.
pub(crate) struct TableFrames<'a> {
    pub(crate) table: &'a RecordBatch,
    pub(crate) target_column: &'a str,
}

impl Frames for TableFrames<'_> {
    fn frame_for(&self, forecaster: &Forecaster) -> Result<SeriesFrame> {
        frame_of_columns(self.table, &forecaster.feature_names(), self.target_column)
    }
}

/// What a run's bundle came to on the days held out.
pub(crate) struct Judged {
    pub(crate) model_type: String,
    pub(crate) bundle_hash: String,
    pub(crate) outcomes: Outcomes,
}

/// Reads a run's bundle and lets it forecast the hold-out.
pub(crate) fn judge(
    client: &TrackingClient,
    device: &Device,
    run: &Run,
    tables: &TableFrames<'_>,
    days: &Days,
) -> Result<Result<Judged, Exclusion>> {
    let Some(folder) = open_artifacts(client, run, BUNDLE)? else {
        return Ok(Err(Exclusion::NoBundle));
    };
    let unsound = |error: btc_models::Error| Exclusion::Unsound {
        problem: describe(&error),
    };
    let read = |folder: &Path| {
        let info = validate_bundle(folder).map_err(unsound)?;
        let forecaster = Forecaster::load(folder, device).map_err(unsound)?;
        let outcomes =
            holdout_outcomes(&forecaster, tables, days).map_err(|error| Exclusion::NoForecast {
                problem: describe(&error),
            })?;
        Ok(Judged {
            model_type: forecaster.model_type().to_string(),
            bundle_hash: info.content_hash,
            outcomes,
        })
    };
    Ok(read(folder.path()))
}

pub(crate) fn holdout_outcomes(
    forecaster: &Forecaster,
    tables: &TableFrames<'_>,
    days: &Days,
) -> Result<Outcomes> {
    let frame = tables.frame_for(forecaster)?;
    let origins = days.holdout_origins(&frame);
    if origins.is_empty() {
        return Ok(Outcomes::default());
    }
    let forecasts = forecaster.forecast_at(&frame, origins)?;
    Ok(Outcomes::of(&forecasts, &frame))
}
