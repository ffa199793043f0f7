//! One fit and the forecasts from it.

use std::ops::Range;

use candle_core::Tensor;
use sha2::{Digest, Sha256};

use super::Config;
use crate::forecast::Forecast;
use crate::forecast::{FittedModel, Model};
use crate::series::SeriesFrame;
use crate::{Error, Result};

#[derive(Debug)]
pub(super) struct Part {
    pub(super) model: usize,
    pub(super) seed: usize,
    pub(super) origins: Range<usize>,
}

/// A fingerprint of the frame.
pub(super) fn data_hash(frame: &SeriesFrame) -> Result<String> {
    let mut hasher = Sha256::new();
    hasher.update(frame.price_name());
    for name in frame.names() {
        hasher.update([0]);
        hasher.update(name);
    }
    for time in frame.known_at() {
        hasher.update(time.timestamp_micros().to_le_bytes());
    }
    for value in frame.values().flatten_all()?.to_vec1::<f64>()? {
        hasher.update(value.to_le_bytes());
    }
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
        hex(&Sha256::digest(text))
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
        let fitted = model.fit(
            &frame.slice(0..first + 1)?,
            config.horizon,
            self.seed(config),
        )?;
        let forecasts = self
            .origins
            .clone()
            .map(|origin| one(&*fitted, &frame.slice(0..origin + 1)?, origin))
            .collect::<Result<Vec<_>>>()?;
        let honest = one(&*fitted, frame, first)? == forecasts[0]
            && one(&*fitted, &corrupted(frame, first)?, first)? == forecasts[0];
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

/// The frame with other values in the rows after `row`.
fn corrupted(frame: &SeriesFrame, row: usize) -> Result<SeriesFrame> {
    let known = frame.values().narrow(0, 0, row + 1)?;
    let later = frame.values().narrow(0, row + 1, frame.rows() - row - 1)?;
    let values = Tensor::cat(&[known, (later * 1.7)?], 0)?;
    let known_at = frame.known_at().to_vec();
    SeriesFrame::new(known_at, frame.names().to_vec(), values, frame.price_name())
}
