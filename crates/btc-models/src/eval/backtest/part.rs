//! One fit and the forecasts from it.

use std::ops::Range;

use sha2::{Digest, Sha256};

use super::Config;
use crate::forecast::Forecast;
use crate::forecast::{FitContext, FittedModel, Model};
use crate::series::SeriesFrame;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Part {
    pub(super) model: usize,
    pub(super) seed: usize,
    pub(super) origins: Range<usize>,
}

/// A fingerprint of the frame.
pub(super) fn data_hash(frame: &SeriesFrame) -> String {
    let mut hasher = Sha256::new();
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
    format!("{:x}", hasher.finalize())
}

impl Part {
    /// What the part's result depends on, as one name.
    pub(super) fn key(&self, model: &dyn Model, config: &Config, data: &str) -> String {
        let text = format!(
            "{} {data} {} {:?} {} {}",
            env!("CARGO_PKG_VERSION"),
            config.horizon,
            self.origins,
            self.seed(config),
            model.fingerprint()
        );
        format!("{:x}", Sha256::digest(text))
    }

    fn seed(&self, config: &Config) -> u64 {
        config.seed.wrapping_add(self.seed as u64)
    }

    /// Fits on the rows up to the first origin and forecasts from each origin.
    pub(super) fn run(
        &self,
        model: &dyn Model,
        frame: &SeriesFrame,
        config: &Config,
    ) -> Result<Vec<Forecast>> {
        let first = self.origins.start;
        let context = FitContext::new(config.horizon, self.seed(config));
        let fitted = model.fit(&frame.slice(0..first + 1)?, &context)?;
        let forecasts = self
            .origins
            .clone()
            .map(|origin| one(&*fitted, &frame.slice(0..origin + 1)?, origin))
            .collect::<Result<Vec<_>>>()?;
        let honest = one(&*fitted, frame, first)? == forecasts[0]
            && one(&*fitted, &frame.changed_after(first, |x| 1.7 * x)?, first)? == forecasts[0];
        if !honest {
            return Err(Error::LookAhead {
                model: model.name().to_owned(),
                row: first,
            });
        }
        Ok(forecasts)
    }
}

fn one(model: &dyn FittedModel, frame: &SeriesFrame, origin: usize) -> Result<Forecast> {
    let mut forecasts = model.forecast_at(frame, origin..origin + 1)?;
    forecasts
        .pop()
        .ok_or_else(|| Error::series("a model returned no forecast"))
}
