//! Training a network on a series.

mod calibration;
mod config;
mod forecaster;
mod model;
mod windows;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Instant;

use candle_core::Device;
use serde::{Deserialize, Serialize};

pub use config::TrainConfig;
pub(crate) use forecaster::Manifest;
pub use forecaster::{Forecaster, TrainingRange};
pub use model::NetworkModel;

use forecaster::StepFit;
use windows::{Ends, Windows};

use crate::forecast::interval::{Conformal, ErrorScale};
use crate::network::NetworkConfig;
use crate::nn::kernels::{numbers, with_slope};
use crate::nn::layers::Mode;
use crate::nn::network::{InputShape, Network};
use crate::nn::optimizer::{Schedule, Trainer};
use crate::nn::parameters::Parameters;
use crate::nn::random::Stream;
use crate::series::{SeriesFrame, Split};
use crate::transform::channels::Channel;
use crate::transform::{Preprocessor, TargetScaler};
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

/// The error type of a callback.
pub type CallbackError = Box<dyn std::error::Error + Send + Sync>;

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
    train(network, frame, config, device, &mut on_epoch_end)
}

/// [`fit`], compiled once and in this crate, whatever the callback's type.
fn train(
    network: &NetworkConfig,
    frame: &SeriesFrame,
    config: &TrainConfig,
    device: &Device,
    on_epoch_end: &mut dyn FnMut(&EpochLogs) -> Result<ControlFlow<()>, CallbackError>,
) -> Result<Forecaster> {
    config.validate()?;
    network.validate()?;
    let preprocess = config.preprocess();
    let first = preprocess.lookback(frame.names()) + config.timesteps - 1;
    let split = Split::new(
        frame.rows(),
        first,
        config.horizon,
        config.validation_fraction,
    )?
    .with_calibration(config.horizon, config.calibration_fraction)?;
    let ends = Ends::new(frame, &split, first + 1, config)?;
    let training_rows = split.train.end;
    let (preprocessor, unused) = Preprocessor::fit(frame, training_rows, &preprocess)?;
    let channels = Channel::of(frame, training_rows, config.steps(), &preprocess);
    let preprocessor = preprocessor.with_channels(channels);
    let scalers = config
        .steps()
        .map(|step| TargetScaler::fit(frame, split.train.clone(), step, &preprocess))
        .collect::<Result<Vec<TargetScaler>>>()?;
    let loss = match &config.loss {
        Some(loss) => loss.clone(),
        None => network.default_loss()?,
    };

    let input = InputShape {
        timesteps: config.timesteps,
        features: preprocessor.width(),
        outputs: scalers.len() * loss.outputs(),
    };
    let mut parameters = Parameters::seeded(config.seed, device);
    let built = network.build(input, &mut parameters)?;
    let windows = Windows {
        series: preprocessor.apply(frame)?,
        frame,
        steps: config.steps(),
        scalers,
        timesteps: config.timesteps,
        device,
    };
    let training = Training {
        network: &*built,
        loss: &loss,
        windows: &windows,
        config,
    };
    let history = training.run(&ends, &parameters, on_epoch_end)?;

    let mut metrics = BTreeMap::new();
    let best = history.iter().min_by(|a, b| score(a).total_cmp(&score(b)));
    if let Some(best) = best {
        metrics.insert("best_epoch".to_owned(), best.epoch as f64);
        metrics.insert("loss".to_owned(), best.loss);
        metrics.extend(best.val_loss.map(|loss| ("val_loss".to_owned(), loss)));
    }
    let known_at = frame.known_at();
    // The scores come with the calibration.
    let scale = ErrorScale::of(frame.target());
    let steps = windows.scalers.iter().map(|target| StepFit {
        target: *target,
        conformal: Conformal::new(scale, Vec::new()),
    });
    let mut earlier: Vec<StepFit> = steps.collect();
    let Some(last) = earlier.pop() else {
        return Err(Error::invalid("horizon", config.horizon, "at least 1"));
    };
    let manifest = Manifest {
        network: network.clone(),
        config: config.clone(),
        loss: loss.clone(),
        price: frame.target_name().to_owned(),
        preprocessor,
        target: last.target,
        conformal: last.conformal,
        earlier,
        training_range: TrainingRange {
            start: known_at[0],
            end: known_at[known_at.len() - 1],
            rows: frame.rows(),
        },
        unused: unused.into_iter().collect(),
        metrics,
        history,
        data_hash: None,
    };
    let mut forecaster = Forecaster::new(manifest, built, parameters, device.clone());
    calibration::calibrate(&mut forecaster, &windows, &ends)?;
    Ok(forecaster)
}

/// The loss by which epochs are compared.
fn score(logs: &EpochLogs) -> f64 {
    logs.val_loss.unwrap_or(logs.loss)
}

/// A network under training.
struct Training<'a> {
    network: &'a dyn Network,
    loss: &'a Loss,
    windows: &'a Windows<'a>,
    config: &'a TrainConfig,
}

impl Training<'_> {
    /// Trains and leaves the best epoch's weights in `parameters`.
    fn run(
        &self,
        ends: &Ends,
        parameters: &Parameters,
        on_epoch_end: &mut dyn FnMut(&EpochLogs) -> Result<ControlFlow<()>, CallbackError>,
    ) -> Result<Vec<EpochLogs>> {
        let config = self.config;
        let began = Instant::now();
        let mut order = ends.train.clone();
        let mut shuffling = Stream::new(config.seed, "shuffle");
        let mut dropping = Stream::new(config.seed, "dropout");
        let mut trainer = Trainer::new(config.optimizer, parameters.vars());
        let batches = order.len().div_ceil(config.batch_size);
        let steps = (batches * config.epochs) as f64;
        let mut history: Vec<EpochLogs> = Vec::new();
        let mut best: Option<(f64, Vec<Vec<f32>>)> = None;
        let (mut lr, mut waited, mut plateau) = (config.lr, 0, 0);
        // The gradients of a step are kept until the next has its own. Freed at once, they would
        // leave so much memory unused that the allocator gives it back to the system, to ask for it
        // again in every step.
        let mut kept = None;

        for epoch in 0..config.epochs {
            if config.shuffle {
                shuffling.shuffle(&mut order);
            }
            let mut sum = 0.0;
            for (batch, ends) in order.chunks(config.batch_size).enumerate() {
                let (x, targets) = self.windows.batch(ends)?;
                let output = self.network.forward(&x, &mut Mode::Train(&mut dropping))?;
                let (loss, slope) = self.loss.evaluate(&numbers(&output)?, &targets);
                if !loss.is_finite() {
                    return Err(Error::Diverged { epoch });
                }
                sum += loss * ends.len() as f64;
                let gradients = with_slope(&output, slope)?.backward()?;
                let progress = (epoch * batches + batch) as f64 / steps;
                let rate = lr * config.schedule.factor(progress);
                trainer.step(&gradients, rate, config.clip_norm)?;
                // Its buffers serve the next step.
                drop(output);
                kept.replace(gradients);
            }
            let (val_loss, val_relative_mae) = match ends.validation.is_empty() {
                true => (None, None),
                false => {
                    let (loss, relative) = self.evaluate(&ends.validation)?;
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
            if !score(&logs).is_finite() {
                return Err(Error::Diverged { epoch });
            }
            if best
                .as_ref()
                .is_none_or(|(lowest, _)| score(&logs) < *lowest)
            {
                best = Some((score(&logs), parameters.snapshot()?));
                (waited, plateau) = (0, 0);
            } else {
                (waited, plateau) = (waited + 1, plateau + 1);
            }
            if let Schedule::Plateau { factor, patience } = config.schedule
                && patience < plateau
            {
                lr *= factor;
                plateau = 0;
            }
            history.push(logs);
            if on_epoch_end(&logs).map_err(Error::Callback)?.is_break() {
                break;
            }
            if config.patience.is_some_and(|patience| patience <= waited) {
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
    fn evaluate(&self, ends: &[usize]) -> Result<(f64, Option<f64>)> {
        let windows = self.windows;
        let (mut loss, mut error, mut naive) = (0.0, 0.0, 0.0);
        for ends in ends.chunks(256) {
            let (x, targets) = windows.batch(ends)?;
            let output = self.network.forward(&x, &mut Mode::Evaluate)?;
            let outputs = numbers(&output)?;
            loss += self.loss.evaluate(&outputs, &targets).0 * ends.len() as f64;
            let mut outputs = outputs.chunks(self.loss.outputs());
            for &end in ends {
                let (last, at) = (windows.frame.target()[end], windows.frame.known_at()[end]);
                for (step, scaler) in windows.steps.clone().zip(&windows.scalers) {
                    let output = outputs.next().unwrap_or_default();
                    let actual = windows.actual(end, step)?;
                    let point = scaler.value(last, self.loss.point(output), at)?;
                    error += (point - actual).abs();
                    naive += (last - actual).abs();
                }
            }
        }
        let relative = error / naive;
        Ok((
            loss / ends.len() as f64,
            relative.is_finite().then_some(relative),
        ))
    }
}
