//! Windows of a series as a batch of tensors, with their targets.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::TrainConfig;
use crate::series::{SeriesFrame, Split};
use crate::transform::{Series, TargetScaler};
use crate::{Error, Result};

impl Series {
    /// The windows that end at the rows `ends`: (ends, timesteps, features).
    pub(crate) fn windows(
        &self,
        ends: &[usize],
        timesteps: usize,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut batch = Vec::with_capacity(ends.len() * timesteps * self.width);
        for end in ends {
            let start = end + 1 - timesteps;
            batch.extend_from_slice(&self.data[start * self.width..(end + 1) * self.width]);
        }
        Tensor::from_vec(batch, (ends.len(), timesteps, self.width), device)
    }
}

/// The rows in which the windows of a fit end. None of these windows has a hole, and all their
/// targets have a value.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) train: Vec<usize>,
    pub(super) validation: Vec<usize>,
    pub(super) calibration: Vec<usize>,
}

impl Ends {
    /// Those of a split, for windows whose features look at `length` rows.
    pub(super) fn new(
        frame: &SeriesFrame,
        split: &Split,
        length: usize,
        config: &TrainConfig,
    ) -> Result<Self> {
        let usable = |ends: &Range<usize>| -> Result<Vec<usize>> {
            let (ends, horizon) = (ends.clone(), config.horizon);
            let mut usable = frame.training_windows(ends, length, horizon, config.holes)?;
            usable.retain(|end| {
                config
                    .steps()
                    .all(|step| frame.row_at(*end, step).is_some())
            });
            Ok(usable)
        };
        let ends = Self {
            train: usable(&split.train)?,
            validation: usable(&split.validation)?,
            calibration: usable(&split.calibration)?,
        };
        if ends.train.len() < 2 {
            // Without a hole there are two of them, which the split has seen to.
            return Err(frame.holes_error(0..frame.rows()));
        }
        Ok(ends)
    }
}

/// Scaled features and targets of a frame.
#[derive(Debug)]
pub(super) struct Windows<'a> {
    pub(super) series: Series,
    pub(super) frame: &'a SeriesFrame,
    /// The steps ahead that are forecast.
    pub(super) steps: Range<usize>,
    /// What the target of each step is expressed by.
    pub(super) scalers: Vec<TargetScaler>,
    pub(super) timesteps: usize,
    pub(super) device: &'a Device,
}

impl Windows<'_> {
    /// The windows that end in `ends`, and their scaled targets: all steps of the first, then
    /// those of the next.
    pub(super) fn batch(&self, ends: &[usize]) -> Result<(Tensor, Vec<f32>)> {
        let x = self.series.windows(ends, self.timesteps, self.device)?;
        let mut targets = Vec::with_capacity(ends.len() * self.scalers.len());
        for &end in ends {
            let (last, at) = (self.frame.target()[end], self.frame.known_at()[end]);
            for (step, scaler) in self.steps.clone().zip(&self.scalers) {
                targets.push(scaler.scaled(last, self.actual(end, step)?, at)? as f32);
            }
        }
        Ok((x, targets))
    }

    /// The value `step` steps after row `end`.
    pub(super) fn actual(&self, end: usize, step: usize) -> Result<f64> {
        self.frame.target_at(end, step).ok_or_else(|| {
            let at = self.frame.known_at()[end];
            Error::series(format!("it has no value {step} steps after {at}"))
        })
    }
}
