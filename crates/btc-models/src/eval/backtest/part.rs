//! One fit and the forecasts from it.

use std::collections::HashMap;
use std::ops::Range;

use btc_files::{Sha256, sha256};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Config, Vintage};
use crate::forecast::{FitContext, FittedModel, Forecast, Model};
use crate::series::SeriesFrame;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Part {
    pub(super) model: usize,
    pub(super) seed: usize,
    pub(super) origins: Range<usize>,
}

/// What came of a part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Outcome {
    pub(super) forecasts: Vec<Forecast>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
}

/// Where models get what was known at an origin.
pub(super) struct Source<'a> {
    /// The values that forecasts are judged by.
    pub(super) frame: &'a SeriesFrame,
    pub(super) vintage: Option<&'a Vintage<'a>>,
}

impl Source<'_> {
    /// What was known at the row `origin`.
    pub(super) fn known_at(&self, origin: usize) -> Result<SeriesFrame> {
        let Some(vintage) = self.vintage else {
            return self.frame.slice(0..origin + 1);
        };
        let at: DateTime<Utc> = self.frame.known_at()[origin];
        let frame = vintage(at).map_err(|source| Error::Vintage { at, source })?;
        let last = frame.known_at().last().copied();
        if last != Some(at) || frame.target_name() != self.frame.target_name() {
            let found = last.map_or("no row".to_owned(), |last| format!("the row of {last}"));
            let reason = format!(
                "it ends with {found} and has the target {:?}",
                frame.target_name()
            );
            let source = Box::new(Error::series(reason));
            return Err(Error::Vintage { at, source });
        }
        Ok(frame)
    }
}

/// A fingerprint of the frame.
fn data_hash(frame: &SeriesFrame) -> String {
    let mut hasher = Sha256::default();
    hasher.update(frame.target_name());
    hasher.update(frame.frequency().to_string());
    for time in frame.known_at() {
        hasher.update(time.timestamp_micros().to_le_bytes());
    }
    for name in frame.names() {
        hasher.update([0]);
        hasher.update(name);
        for value in frame.column(name).unwrap_or_default() {
            hasher.update(value.to_le_bytes());
        }
    }
    hasher.hex()
}

/// What each part's result depends on, as one name.
///
/// Without vintages that is the whole frame, hashed once. Vintages are hashed, the one of each
/// origin, only where a checkpoint asks for it.
pub(super) fn keys(
    parts: &[Part],
    models: &[&dyn Model],
    source: &Source<'_>,
    config: &Config,
) -> Result<Vec<String>> {
    if config.checkpoint.is_none() {
        return Ok(vec![String::new(); parts.len()]);
    }
    let whole = data_hash(source.frame);
    let mut hashes: HashMap<Range<usize>, String> = HashMap::new();
    let mut data = |origins: &Range<usize>| -> Result<String> {
        if source.vintage.is_none() {
            return Ok(whole.clone());
        }
        if let Some(hash) = hashes.get(origins) {
            return Ok(hash.clone());
        }
        let mut hasher = Sha256::default();
        for origin in origins.clone() {
            hasher.update(data_hash(&source.known_at(origin)?));
        }
        let hash = hasher.hex();
        hashes.insert(origins.clone(), hash.clone());
        Ok(hash)
    };
    parts
        .iter()
        .map(|part| {
            let text = format!(
                "{} {} {} {} {:?} {} {}",
                env!("CARGO_PKG_VERSION"),
                data(&part.origins)?,
                config.horizon,
                config.path,
                part.origins,
                part.seed(config),
                models[part.model].fingerprint()
            );
            Ok(sha256(text))
        })
        .collect()
}

impl Part {
    fn seed(&self, config: &Config) -> u64 {
        config.seed.wrapping_add(self.seed as u64)
    }

    /// Fits on what was known at the first origin and forecasts from each origin.
    pub(super) fn run(
        &self,
        model: &dyn Model,
        source: &Source<'_>,
        config: &Config,
    ) -> Result<Outcome> {
        let first = self.origins.start;
        let mut context = FitContext::new(config.horizon, self.seed(config));
        context.path = config.path;
        #[cfg(feature = "nn")]
        {
            context.device = config.device.clone();
        }
        let training = source.known_at(first)?;
        let fitted = model.fit(&training, &context)?;
        let mut forecasts = vec![one(&*fitted, &training)?];
        for origin in first + 1..self.origins.end {
            forecasts.push(one(&*fitted, &source.known_at(origin)?)?);
        }
        // With vintages a model never gets a row after its origin, and there is nothing to check.
        let frame = source.frame;
        let honest = source.vintage.is_some()
            || at_row(&*fitted, frame, first)? == forecasts[0]
                && at_row(&*fitted, &frame.changed_after(first, |x| 1.7 * x)?, first)?
                    == forecasts[0];
        if !honest {
            return Err(Error::LookAhead {
                model: model.name().to_owned(),
                row: first,
            });
        }
        Ok(Outcome {
            forecasts,
            notes: fitted.notes(),
        })
    }
}

/// The forecast from the last row.
fn one(model: &dyn FittedModel, frame: &SeriesFrame) -> Result<Forecast> {
    let last = frame.rows().checked_sub(1);
    at_row(
        model,
        frame,
        last.ok_or_else(|| Error::series("it has no row"))?,
    )
}

fn at_row(model: &dyn FittedModel, frame: &SeriesFrame, origin: usize) -> Result<Forecast> {
    let mut forecasts = model.forecast_at(frame, origin..origin + 1)?;
    forecasts
        .pop()
        .ok_or_else(|| Error::series("a model returned no forecast"))
}
