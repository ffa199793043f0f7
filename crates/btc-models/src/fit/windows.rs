//! Windows of a series as a batch of tensors, with their targets.

use std::ops::Range;

use candle_core::{Device, Tensor};

use super::TrainConfig;
use crate::series::{SeriesFrame, Stretch, Timeline};
use crate::transform::{Series, TargetScaler};
use crate::{Error, Result};

impl Series {
    /// The rows of the window that ends in row `end`.
    pub(crate) fn window(&self, end: usize, timesteps: usize) -> &[f32] {
        let start = end + 1 - timesteps;
        &self.data[start * self.width..(end + 1) * self.width]
    }

    /// The windows that end at the rows `ends`: (ends, timesteps, features).
    pub(crate) fn windows(
        &self,
        ends: &[usize],
        timesteps: usize,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut batch = Vec::with_capacity(ends.len() * timesteps * self.width);
        for end in ends {
            batch.extend_from_slice(self.window(*end, timesteps));
        }
        Tensor::from_vec(batch, (ends.len(), timesteps, self.width), device)
    }
}

/// Where a window ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// The series that it is of; no window has rows of two.
    pub(super) part: usize,
    /// Its last row there.
    pub(super) row: usize,
}

/// The rows in which the windows of a fit end. None of these windows has a hole, and all their
/// targets have a value.
#[derive(Debug)]
pub(super) struct Ends {
    pub(super) train: Vec<End>,
    pub(super) validation: Vec<End>,
    pub(super) calibration: Vec<End>,
}

impl Ends {
    /// Those of a split in time, for windows whose features look at `length` rows.
    pub(super) fn new(
        series: &[PanelSeries<'_>],
        timeline: &Timeline,
        length: usize,
        config: &TrainConfig,
    ) -> Result<Self> {
        let mut ends = Self {
            train: Vec::new(),
            validation: Vec::new(),
            calibration: Vec::new(),
        };
        let first = length - 1;
        for (part, named) in series.iter().enumerate() {
            let frame = named.frame;
            let usable = |stretch: Stretch| -> Result<Vec<End>> {
                let rows = stretch.ends.clone();
                let rows = frame.training_windows(rows, length, config.horizon, config.holes)?;
                let is_known = |row: &usize| {
                    let target = |step| frame.row_at(*row, step);
                    config
                        .steps()
                        .all(|step| target(step).is_some_and(|target| target < stretch.known))
                };
                let rows = rows.into_iter().filter(is_known);
                Ok(rows.map(|row| End { part, row }).collect())
            };
            let stretch = timeline.train(frame, first);
            let train = usable(stretch.clone()).map_err(|error| named.error(error))?;
            if train.len() < 2 {
                let error = match stretch.ends.len() {
                    // A single series has that many, which its split has seen to.
                    0 | 1 => Error::SeriesTooShort {
                        rows: frame.rows(),
                        needed: length + config.horizon + 1,
                    },
                    _ => frame.holes_error(0..frame.rows()),
                };
                return Err(named.error(error));
            }
            ends.train.extend(train);
            for (all, stretch) in [
                (&mut ends.validation, timeline.validation(frame, first)),
                (&mut ends.calibration, timeline.calibration(frame, first)),
            ] {
                all.extend(usable(stretch).map_err(|error| named.error(error))?);
            }
        }
        Ok(ends)
    }

    /// The rows of one series among `ends`.
    pub(super) fn rows(ends: &[End], part: usize) -> Vec<usize> {
        let own = ends.iter().filter(|end| end.part == part);
        own.map(|end| end.row).collect()
    }
}

/// A frame, and its name if it is one of several.
#[derive(Debug, Clone, Copy)]
pub(super) struct PanelSeries<'a> {
    pub(super) name: Option<&'a str>,
    pub(super) frame: &'a SeriesFrame,
}

impl PanelSeries<'_> {
    /// The error of this series.
    pub(super) fn error(&self, error: Error) -> Error {
        match self.name {
            Some(name) => Error::in_panel(name, error),
            None => error,
        }
    }
}

/// Scaled features and targets of all series of a fit.
#[derive(Debug)]
pub(super) struct Windows<'a> {
    pub(super) parts: Vec<PartWindows<'a>>,
    /// The steps ahead that are forecast.
    pub(super) steps: Range<usize>,
    pub(super) timesteps: usize,
    pub(super) device: &'a Device,
}

/// Scaled features and targets of one series.
#[derive(Debug)]
pub(super) struct PartWindows<'a> {
    pub(super) series: Series,
    pub(super) frame: &'a SeriesFrame,
    /// What the target of each step is expressed by.
    pub(super) scalers: Vec<TargetScaler>,
}

impl Windows<'_> {
    /// The windows that end in `ends`, and their scaled targets: all steps of the first, then
    /// those of the next.
    pub(super) fn batch(&self, ends: &[End]) -> Result<(Tensor, Vec<f32>)> {
        let width = self.parts.first().map_or(0, |part| part.series.width);
        let mut batch = Vec::with_capacity(ends.len() * self.timesteps * width);
        for end in ends {
            let series = &self.parts[end.part].series;
            batch.extend_from_slice(series.window(end.row, self.timesteps));
        }
        let shape = (ends.len(), self.timesteps, width);
        let x = Tensor::from_vec(batch, shape, self.device)?;
        Ok((x, self.targets(ends)?))
    }

    /// The scaled targets of the windows that end in `ends`, step by step.
    pub(super) fn targets(&self, ends: &[End]) -> Result<Vec<f32>> {
        let mut targets = Vec::with_capacity(ends.len() * self.steps.len());
        for &End { part, row } in ends {
            let part = &self.parts[part];
            let (last, at) = (part.frame.target()[row], part.frame.known_at()[row]);
            for (step, scaler) in self.steps.clone().zip(&part.scalers) {
                targets.push(scaler.scaled(last, part.actual(row, step)?, at)? as f32);
            }
        }
        Ok(targets)
    }
}

impl PartWindows<'_> {
    /// The value `step` steps after row `end`.
    pub(super) fn actual(&self, end: usize, step: usize) -> Result<f64> {
        self.frame.target_at(end, step).ok_or_else(|| {
            let at = self.frame.known_at()[end];
            Error::series(format!("it has no value {step} steps after {at}"))
        })
    }
}
