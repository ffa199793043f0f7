//! From frames to trained forecasters.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::Device;

use super::calibration::calibrate;
use super::forecaster::{Forecaster, Manifest, StepFit, TrainingRange};
use super::windows::{Ends, PanelSeries, PartWindows, Windows};
use super::{EpochLogs, OnEpoch, TrainConfig, Training};
use crate::forecast::interval::{Conformal, ErrorScale};
use crate::network::NetworkConfig;
use crate::nn::network::InputShape;
use crate::nn::parameters::Parameters;
use crate::series::{SeriesFrame, Timeline};
use crate::transform::channels::Channel;
use crate::transform::{PanelScaling, Preprocessor, TargetScaler, TrainingPart};
use crate::{Error, Result};

/// What one series is seen through: its scaled features, and the scaler of each step's target.
type Fitted = (Preprocessor, Vec<TargetScaler>);

/// Trains one network on all series, and returns a forecaster for each, in their order.
///
/// [`fit`](super::fit()) and [`fit_panel`](super::fit_panel), compiled once and in this crate,
/// whatever the callback's type.
pub(super) fn train(
    network: &NetworkConfig,
    series: &[PanelSeries<'_>],
    config: &TrainConfig,
    device: &Device,
    on_epoch_end: &mut OnEpoch<'_>,
) -> Result<Vec<Forecaster>> {
    // On the CPU, windows are where the network is anyway.
    let resident = !device.is_cpu();
    train_where(network, series, config, (device, resident), on_epoch_end)
}

/// [`train`], with all windows moved to the device first or batch by batch.
pub(super) fn train_where(
    network: &NetworkConfig,
    series: &[PanelSeries<'_>],
    config: &TrainConfig,
    (device, resident): (&Device, bool),
    on_epoch_end: &mut OnEpoch<'_>,
) -> Result<Vec<Forecaster>> {
    config.validate()?;
    network.validate()?;
    let frames: Vec<&SeriesFrame> = series.iter().map(|named| named.frame).collect();
    let Some(names) = frames.first().map(|frame| frame.names()) else {
        return Err(Error::series("there is none"));
    };
    let preprocess = config.preprocess();
    let first = preprocess.lookback(names) + config.timesteps - 1;
    let timeline = Timeline::new(
        &frames,
        first,
        config.horizon,
        config.validation_fraction,
        config.calibration_fraction,
    )?;
    let ends = Ends::new(series, &timeline, first + 1, config)?;
    let parts: Vec<TrainingPart<'_>> = frames
        .iter()
        .map(|frame| {
            let stretch = timeline.train(frame, first);
            TrainingPart {
                frame,
                ends: stretch.ends,
                known: stretch.known,
            }
        })
        .collect();
    let (preprocessor, unused) = Preprocessor::fit(&parts, &preprocess, config.panel_scaling)?;
    let channels = Channel::of(&parts, config.steps(), &preprocess);
    let preprocessor = preprocessor.with_channels(channels);
    let scalers = |parts: &[TrainingPart<'_>]| -> Result<Vec<TargetScaler>> {
        let each = config.steps();
        each.map(|step| TargetScaler::fit(parts, step, &preprocess))
            .collect()
    };
    let fitted: Vec<Fitted> = match (config.panel_scaling, &parts[..]) {
        (PanelScaling::PerSeries, [_, _, ..]) => {
            let own = |(part, named): (&TrainingPart<'_>, &PanelSeries<'_>)| {
                let scalers = scalers(std::slice::from_ref(part));
                let scalers = scalers.map_err(|error| named.error(error))?;
                Ok((preprocessor.refitted(part, &preprocess), scalers))
            };
            parts.iter().zip(series).map(own).collect::<Result<_>>()?
        }
        _ => vec![(preprocessor, scalers(&parts)?); parts.len()],
    };
    let loss = match &config.loss {
        Some(loss) => loss.clone(),
        None => network.default_loss()?,
    };
    let input = InputShape {
        timesteps: config.timesteps,
        features: fitted[0].0.width(),
        outputs: config.steps().len() * loss.outputs(),
    };
    let mut parameters = Parameters::seeded(config.seed, device);
    let built = network.build(input, &mut parameters)?;
    let seen = fitted
        .iter()
        .zip(series)
        .map(|((preprocessor, scalers), named)| {
            let series = preprocessor.apply(named.frame);
            Ok(PartWindows {
                series: series.map_err(|error| named.error(error))?,
                frame: named.frame,
                scalers: scalers.clone(),
            })
        });
    let windows = Windows {
        parts: seen.collect::<Result<_>>()?,
        steps: config.steps(),
        timesteps: config.timesteps,
        device,
    };
    let training = Training {
        network: &*built,
        loss: &loss,
        windows: &windows,
        config,
        resident,
    };
    let history = training.run(&ends, &parameters, on_epoch_end)?;

    let (built, parameters) = (Arc::from(built), Arc::new(parameters));
    let mut forecasters = Vec::with_capacity(series.len());
    for (part, ((preprocessor, scalers), named)) in fitted.into_iter().zip(series).enumerate() {
        let frame = named.frame;
        // The scores come with the calibration.
        let scale = ErrorScale::of(frame.target());
        let steps = scalers.into_iter().map(|target| StepFit {
            target,
            conformal: Conformal::new(scale, Vec::new()),
        });
        let mut earlier: Vec<StepFit> = steps.collect();
        let Some(last) = earlier.pop() else {
            return Err(Error::invalid("horizon", config.horizon, "at least 1"));
        };
        let known_at = frame.known_at();
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
            unused: unused.iter().cloned().collect(),
            metrics: figures(&history),
            history: history.clone(),
            data_hash: None,
        };
        let (built, parameters) = (Arc::clone(&built), Arc::clone(&parameters));
        let mut forecaster = Forecaster::new(manifest, built, parameters, device.clone());
        let calibrated = calibrate(&mut forecaster, &windows.parts[part], &ends, part);
        calibrated.map_err(|error| named.error(error))?;
        forecasters.push(forecaster);
    }
    share_scores(&mut forecasters);
    Ok(forecasters)
}

/// Gives series that are too short for scores of their own those of all others, which are in
/// units of what each series' changes are expected to be.
fn share_scores(forecasters: &mut [Forecaster]) {
    let mut pooled: Vec<Vec<f64>> = Vec::new();
    for forecaster in &*forecasters {
        for (step, own) in forecaster.manifest.conformal().enumerate() {
            pooled.resize_with(pooled.len().max(step + 1), Vec::new);
            pooled[step].extend(own.scores());
        }
    }
    for forecaster in forecasters {
        let shared = forecaster.manifest.conformal().zip(&pooled);
        let shared = shared.map(|(own, pooled)| match own.scores() {
            [] => Conformal::new(own.scale, pooled.clone()),
            _ => own.clone(),
        });
        let shared: Vec<Conformal> = shared.collect();
        forecaster.manifest.set_conformal(shared);
    }
}

/// The figures of the best epoch, whose weights are kept.
fn figures(history: &[EpochLogs]) -> BTreeMap<String, f64> {
    let best = history
        .iter()
        .min_by(|a, b| a.score().total_cmp(&b.score()));
    let mut metrics = BTreeMap::new();
    if let Some(best) = best {
        metrics.insert("best_epoch".to_owned(), best.epoch as f64);
        metrics.insert("loss".to_owned(), best.loss);
        metrics.extend(best.val_loss.map(|loss| ("val_loss".to_owned(), loss)));
    }
    metrics
}
