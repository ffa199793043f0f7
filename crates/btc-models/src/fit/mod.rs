//! Training a network on a series.

mod assemble;
mod calibration;
mod callback;
mod config;
mod forecaster;
mod model;
mod panel;
mod resident;
mod schedule;
mod windows;

use std::ops::ControlFlow;
use std::time::Instant;

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

pub use callback::{Callback, CallbackError, CallbackSpec, OnEpochEnd, register_callback};
pub use config::TrainConfig;
pub(crate) use forecaster::Manifest;
pub use forecaster::{Forecaster, TrainingRange};
pub use model::NetworkModel;
pub use panel::{PanelForecaster, fit_panel};
pub use schedule::{Schedule, ScheduleSpec, TrainingProgress, register_schedule};

use resident::Resident;
use windows::{End, Ends, PanelSeries, Windows};

use crate::network::NetworkConfig;
use crate::nn::kernels::{numbers, with_slope};
use crate::nn::layers::Mode;
use crate::nn::network::Network;
use crate::nn::optimizer::Trainer;
use crate::nn::parameters::Parameters;
use crate::nn::random::Stream;
use crate::series::SeriesFrame;
use crate::{Error, Loss, Result};

/// What an epoch of training came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EpochLogs {
    /// The epoch, counted from 0.
    pub epoch: usize,
    /// The mean loss over the training windows, while the weights were changing.
    pub loss: f64,
    /// The loss over the validation windows after the epoch; `None` if there are none.
    pub val_loss: Option<f64>,
    /// The mean absolute error of the point forecasts over the validation windows after the
    /// epoch, in the target column's unit, relative to that of repeating the last value: below 1
    /// is better than that. It is the same measure whatever the loss. `None` without validation
    /// windows or where the last value has no error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_relative_mae: Option<f64>,
    /// The seconds since training began.
    #[serde(default)]
    pub seconds: f64,
}

impl EpochLogs {
    /// The loss by which epochs are compared: that over the validation windows if there are any.
    pub fn score(&self) -> f64 {
        self.val_loss.unwrap_or(self.loss)
    }
}

/// Trains a network on a frame, all of which is its training range.
///
/// The last `validation_fraction` of the windows is kept for validation and calibration; features,
/// target and their scalers are fitted on the rows before. The weights of the epoch with the lowest
/// validation loss are kept, and the widths of intervals come from the calibration windows, which
/// are none of those. A window is used if it has no hole, and its targets, which are found by their
/// instants, have values.
///
/// Beside the features the network sees, in each row of a window, the values that columns known
/// ahead have at the steps that are forecast, and what is the same in all rows: numbers, and 1 or
/// 0 for each word of a category. `on_epoch_end` is called after each epoch and may end training,
/// with an error or without.
///
/// The result depends on the arguments alone: on one machine, the same seed gives the same bits,
/// whatever the number of threads.
///
/// ```
/// use std::ops::ControlFlow;
/// use btc_models::{Hyperparameters, ModelType, NetworkConfig, SeriesFrame, TrainConfig, fit};
/// use candle_core::Device;
/// use chrono::{DateTime, Days};
///
/// let start = DateTime::from_timestamp(1_600_000_000, 0).unwrap();
/// let days = (0..60).map(|day| start + Days::new(day)).collect();
/// let close: Vec<f64> = (0..60).map(|day| 100.0 + f64::from(day % 7)).collect();
/// let frame = SeriesFrame::new(days, [("close", close)], "close")?;
/// let network = NetworkConfig::new(ModelType::Cnn, &Hyperparameters::default());
/// let config = TrainConfig::default().with_epochs(5).with_seed(1);
/// let forecaster = fit(&network, &frame, &config, &Device::Cpu, |logs| {
///     assert!(logs.loss.is_finite());
///     Ok(ControlFlow::Continue(()))
/// })?;
/// let forecast = forecaster.forecast(&frame)?;
/// assert!(forecast.point() > 0.0);
/// # Ok::<(), btc_models::Error>(())
/// ```
///
/// # Errors
///
/// A frame too short or a configuration out of range, [`Error::Holes`] for a window with a hole
/// under [`HolePolicy::Refuse`](crate::HolePolicy::Refuse) or too few without one, a feature that contains the target,
/// divergence, an error of the callback.
pub fn fit(
    network: &NetworkConfig,
    frame: &SeriesFrame,
    config: &TrainConfig,
    device: &Device,
    mut on_epoch_end: impl FnMut(&EpochLogs) -> Result<ControlFlow<()>, CallbackError>,
) -> Result<Forecaster> {
    let named = [PanelSeries { name: None, frame }];
    let mut fitted = assemble::train(network, &named, config, device, &mut on_epoch_end)?;
    fitted.pop().ok_or_else(|| Error::series("there is none"))
}

/// A callback of any type.
type OnEpoch<'a> = dyn FnMut(&EpochLogs) -> Result<ControlFlow<()>, CallbackError> + 'a;

/// Windows that are evaluated at once.
const EVALUATED: usize = 256;

/// A network under training.
struct Training<'a> {
    network: &'a dyn Network,
    loss: &'a Loss,
    windows: &'a Windows<'a>,
    config: &'a TrainConfig,
    /// Whether all windows are where the network is, so that no step waits for the host.
    resident: bool,
}

impl Training<'_> {
    /// Trains and leaves the best epoch's weights in `parameters`.
    fn run(
        &self,
        ends: &Ends,
        parameters: &Parameters,
        on_epoch_end: &mut OnEpoch<'_>,
    ) -> Result<Vec<EpochLogs>> {
        let config = self.config;
        let began = Instant::now();
        let moved = |ends: &[End]| match self.resident && !ends.is_empty() {
            true => Resident::new(self.windows, ends).map(Some),
            false => Ok(None),
        };
        let (resident, judged) = (moved(&ends.train)?, moved(&ends.validation)?);
        let mut order: Vec<usize> = (0..ends.train.len()).collect();
        let mut shuffling = Stream::new(config.seed, "shuffle");
        let mut dropping = Stream::new(config.seed, "dropout");
        let mut trainer = Trainer::new(&config.optimizer, parameters.vars())?;
        let batches = order.len().div_ceil(config.batch_size);
        let steps = batches * config.epochs;
        let mut history: Vec<EpochLogs> = Vec::new();
        let mut best: Option<(f64, Vec<Tensor>)> = None;
        let mut callbacks: Vec<_> = config.callbacks.iter().map(|own| own.start()).collect();
        let mut waited = 0;
        // The gradients of a step are kept until the next has its own. Freed at once, they would
        // leave so much memory unused that the allocator gives it back to the system, to ask for it
        // again in every step.
        let mut kept = None;

        for epoch in 0..config.epochs {
            if config.shuffle {
                shuffling.shuffle(&mut order);
            }
            let mut sum = 0.0;
            if let Some(resident) = &resident {
                let mut epoch_steps = resident.epoch(&order, config.batch_size)?;
                for batch in 0..batches {
                    let progress = TrainingProgress::new(epoch * batches + batch, steps, &history);
                    let rate = config.schedule.rate(config.lr, &progress);
                    let (x, targets) = epoch_steps.batch(batch)?;
                    let output = self.network.forward(&x, &mut Mode::Train(&mut dropping))?;
                    let gradients = epoch_steps.gradients(&output, &targets, self.loss)?;
                    trainer.step(&gradients, rate, config.clip_norm)?;
                    kept.replace(gradients);
                }
                sum = epoch_steps.loss()?;
                if !sum.is_finite() {
                    return Err(Error::Diverged { epoch });
                }
            }
            // Where the network is on the CPU.
            let on_host = if self.resident { &[][..] } else { &order };
            for (batch, chosen) in on_host.chunks(config.batch_size).enumerate() {
                let ends: Vec<End> = chosen.iter().map(|at| ends.train[*at]).collect();
                let (x, targets) = self.windows.batch(&ends)?;
                let output = self.network.forward(&x, &mut Mode::Train(&mut dropping))?;
                let (loss, slope) = self.loss.evaluate(&numbers(&output)?, &targets);
                if !loss.is_finite() {
                    return Err(Error::Diverged { epoch });
                }
                sum += loss * ends.len() as f64;
                let gradients = with_slope(&output, slope)?.backward()?;
                let progress = TrainingProgress::new(epoch * batches + batch, steps, &history);
                let rate = config.schedule.rate(config.lr, &progress);
                trainer.step(&gradients, rate, config.clip_norm)?;
                // Its buffers serve the next step.
                drop(output);
                kept.replace(gradients);
            }
            let (val_loss, val_relative_mae) = match ends.validation.is_empty() {
                true => (None, None),
                false => {
                    let (loss, relative) = self.evaluate(&ends.validation, judged.as_ref())?;
                    (Some(loss), relative)
                }
            };
            let seconds = began.elapsed().as_secs_f64();
            let logs = EpochLogs {
                epoch,
                loss: sum / order.len() as f64,
                val_loss,
                val_relative_mae,
                seconds,
            };
            let score = logs.score();
            if !score.is_finite() {
                return Err(Error::Diverged { epoch });
            }
            if best.as_ref().is_none_or(|(lowest, _)| score < *lowest) {
                best = Some((score, parameters.snapshot()?));
                waited = 0;
            } else {
                waited += 1;
            }
            history.push(logs);
            let mut ended = on_epoch_end(&logs).map_err(Error::Callback)?.is_break();
            for callback in &mut callbacks {
                ended |= callback
                    .on_epoch_end(&logs)
                    .map_err(Error::Callback)?
                    .is_break();
            }
            if ended || config.patience.is_some_and(|patience| patience <= waited) {
                break;
            }
        }
        if let Some((_, weights)) = best {
            parameters.restore(&weights)?;
        }
        Ok(history)
    }

    /// The mean loss over the windows that end in `ends`, without dropout, and the mean absolute
    /// error of their point forecasts relative to that of repeating the last value.
    fn evaluate(&self, ends: &[End], resident: Option<&Resident>) -> Result<(f64, Option<f64>)> {
        let order: Vec<usize> = (0..ends.len()).collect();
        let moved = resident.map(|resident| resident.epoch(&order, EVALUATED));
        let moved = moved.transpose()?;
        let windows = self.windows;
        let mut loss = 0.0;
        let mut errors = vec![(0.0, 0.0); windows.parts.len()];
        for (batch, ends) in ends.chunks(EVALUATED).enumerate() {
            let (x, targets) = match &moved {
                Some(moved) => (moved.batch(batch)?.0, windows.targets(ends)?),
                None => windows.batch(ends)?,
            };
            let output = self.network.forward(&x, &mut Mode::Evaluate)?;
            let outputs = numbers(&output)?;
            loss += self.loss.evaluate(&outputs, &targets).0 * ends.len() as f64;
            let mut outputs = outputs.chunks(self.loss.outputs());
            for &End { part, row } in ends {
                let (own, (error, naive)) = (&windows.parts[part], &mut errors[part]);
                let (last, at) = (own.frame.target()[row], own.frame.known_at()[row]);
                for (step, scaler) in windows.steps.clone().zip(&own.scalers) {
                    let output = outputs.next().unwrap_or_default();
                    let actual = own.actual(row, step)?;
                    let point = scaler.value(last, self.loss.point(output), at)?;
                    *error += (point - actual).abs();
                    *naive += (last - actual).abs();
                }
            }
        }
        // Series of any size count the same.
        let ratios = errors.iter().map(|(error, naive)| error / naive);
        let ratios: Vec<f64> = ratios.filter(|ratio| ratio.is_finite()).collect();
        let relative = ratios.iter().sum::<f64>() / ratios.len() as f64;
        Ok((
            loss / ends.len() as f64,
            relative.is_finite().then_some(relative),
        ))
    }
}
