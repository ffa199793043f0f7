//! A trained network with all that it takes to apply it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use candle_core::Device;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{EpochLogs, TrainConfig};
use crate::bundle::NewerFields;
use crate::forecast::interval::{Conformal, Spread};
use crate::forecast::{Forecast, Quantiles, Step};
use crate::network::NetworkConfig;
use crate::nn::kernels::numbers;
use crate::nn::layers::Mode;
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
use crate::series::{HolePolicy, MAX_MISSING, SeriesFrame};
use crate::transform::{Preprocessor, Series, TargetScaler, Unused};
use crate::{Error, Loss, Result};

/// The rows that a model was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainingRange {
    /// When the first row was known.
    pub start: DateTime<Utc>,
    /// When the last row was known.
    pub end: DateTime<Utc>,
    /// The number of rows.
    pub rows: usize,
}

/// What the outputs of one step are expressed by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StepFit {
    pub(crate) target: TargetScaler,
    pub(crate) conformal: Conformal,
}

/// Everything about a trained model but its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) network: NetworkConfig,
    pub(crate) config: TrainConfig,
    pub(crate) loss: Loss,
    pub(crate) price: String,
    pub(crate) preprocessor: Preprocessor,
    pub(crate) target: TargetScaler,
    pub(crate) conformal: Conformal,
    /// The steps before the last one, which `target` and `conformal` are of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) earlier: Vec<StepFit>,
    pub(crate) training_range: TrainingRange,
    pub(crate) unused: BTreeMap<String, Unused>,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) history: Vec<EpochLogs>,
    pub(crate) data_hash: Option<String>,
}

impl Manifest {
    /// The sizes that the network is built for.
    pub(crate) fn input(&self) -> InputShape {
        InputShape {
            timesteps: self.config.timesteps,
            features: self.preprocessor.width(),
            outputs: self.config.steps().len() * self.loss.outputs(),
        }
    }

    /// What the outputs of each step are expressed by, nearest first.
    pub(crate) fn steps(&self) -> impl Iterator<Item = (&TargetScaler, &Conformal)> {
        let earlier = self.earlier.iter();
        earlier
            .map(|step| (&step.target, &step.conformal))
            .chain([(&self.target, &self.conformal)])
    }

    /// The scores of each step, nearest first.
    pub(crate) fn conformal(&self) -> impl Iterator<Item = &Conformal> {
        self.steps().map(|(_, conformal)| conformal)
    }

    /// Sets the scores of each step, nearest first.
    pub(crate) fn set_conformal(&mut self, conformal: impl IntoIterator<Item = Conformal>) {
        let earlier = self.earlier.iter_mut().map(|step| &mut step.conformal);
        for (old, new) in earlier.chain([&mut self.conformal]).zip(conformal) {
            *old = new;
        }
    }

    /// Checks what a stored model says of itself; a fitted one is so by construction.
    pub(crate) fn validate(&self) -> Result<()> {
        self.config.validate()?;
        self.network.validate()?;
        self.loss.validate()?;
        if self.earlier.len() + 1 != self.config.steps().len() {
            return Err(Error::series(format!(
                "{} steps do not fit its training for the steps {:?}",
                self.earlier.len() + 1,
                self.config.steps()
            )));
        }
        self.preprocessor.validate()?;
        for (target, conformal) in self.steps() {
            target.validate()?;
            if !conformal.is_valid() {
                return Err(Error::series("the scores of its intervals"));
            }
        }
        let needed = self.config.timesteps + self.config.horizon;
        let TrainingRange { start, end, rows } = self.training_range;
        if rows < needed || end < start {
            return Err(Error::series(format!(
                "a training range of {rows} rows from {start} to {end} is none for {} timesteps \
                 and a horizon of {}",
                self.config.timesteps, self.config.horizon
            )));
        }
        Ok(())
    }
}

/// A trained network with all that it takes to apply it.
///
/// It comes from [`fit`](crate::fit()) or [`load`](Self::load).
#[derive(Debug)]
pub struct Forecaster {
    pub(crate) manifest: Manifest,
    /// Shared by the series of a panel, as the network is.
    pub(crate) parameters: Arc<Parameters>,
    /// What a bundle of a newer format held beyond what is known.
    pub(crate) newer: NewerFields,
    network: Arc<dyn Network>,
    device: Device,
}

impl Forecaster {
    pub(crate) fn new(
        manifest: Manifest,
        network: Arc<dyn Network>,
        parameters: Arc<Parameters>,
        device: Device,
    ) -> Self {
        Self {
            manifest,
            parameters,
            newer: NewerFields::default(),
            network,
            device,
        }
    }

    /// The network that was trained.
    #[cfg(feature = "onnx")]
    pub(crate) fn network_of(&self) -> &dyn Network {
        &*self.network
    }

    /// Forecasts from the last row of the frame.
    ///
    /// # Errors
    ///
    /// The frame must name the same price, have every feature that the model was trained on,
    /// and at least [`required_rows`](Self::required_rows) rows.
    pub fn forecast(&self, frame: &SeriesFrame) -> Result<Forecast> {
        let rows = frame.rows();
        let mut forecasts = self.forecast_at(frame, rows.saturating_sub(1)..rows)?;
        forecasts.pop().ok_or(Error::SeriesTooShort {
            rows,
            needed: self.required_rows(),
        })
    }

    /// Forecasts from each of the rows `origins`, with what is known there.
    ///
    /// The forecast from a row is the same, bit for bit, if all rows after it are taken away. It
    /// carries the instants of its window that have no row.
    ///
    /// # Errors
    ///
    /// As [`forecast`](Self::forecast); [`Error::Holes`] for a window with a hole, unless the
    /// model was trained with [`HolePolicy::Flag`](crate::HolePolicy::Flag); the origins must be rows of the frame.
    pub fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>> {
        if frame.target_name() != self.manifest.price {
            return Err(Error::OtherTarget {
                expected: self.manifest.price.clone(),
                found: frame.target_name().to_owned(),
            });
        }
        if frame.rows() < origins.end {
            return Err(Error::series(format!(
                "row {} is not among its {} rows",
                origins.end - 1,
                frame.rows()
            )));
        }
        if origins.start + 1 < self.required_rows() {
            let rows = origins.start + 1;
            return Err(Error::SeriesTooShort {
                rows,
                needed: self.required_rows(),
            });
        }
        let price = frame.target();
        let series = self.manifest.preprocessor.apply(frame)?;
        let spread = frame.spread();
        origins
            .map(|row| {
                let output = self.output(&series, row)?;
                let missing = self.missing(frame, row)?;
                let mut steps = self.express(&output, frame, row, &spread, row)?.into_iter();
                let Some(first) = steps.next() else {
                    return Err(Error::invalid("horizon", self.horizon(), "at least 1"));
                };
                let forecast = Forecast::new(frame.known_at()[row], price[row], first);
                let forecast = steps.fold(forecast, Forecast::with_step);
                Ok(forecast.with_missing(missing))
            })
            .collect()
    }

    /// Forecasts the next `steps` rows one after the other, each from the forecasts before it.
    ///
    /// The first is [`forecast`](Self::forecast). For the others, the target goes on as forecast,
    /// columns known ahead have their values, and the other features stay as they were last known,
    /// as far as the model lets them. So errors add up, and a model trained for all steps (see
    /// [`TrainConfig::with_steps`]) is the better choice where there is one. The intervals widen
    /// with the square root of the time.
    ///
    /// # Errors
    ///
    /// As [`forecast`](Self::forecast); the model must be one for the next row.
    pub fn forecast_path(&self, frame: &SeriesFrame, steps: usize) -> Result<Vec<Forecast>> {
        if self.horizon() != 1 {
            let expected = "1 to forecast one row after the other";
            return Err(Error::invalid("horizon", self.horizon(), expected));
        }
        let Some(first) = (0 < steps).then(|| self.forecast(frame)).transpose()? else {
            return Ok(Vec::new());
        };
        // The deviation expected is that of the last row that is known, over all steps.
        let (spread, last_known) = (frame.spread(), frame.rows() - 1);
        let (naive, known_until) = (first.naive(), first.known_until());
        let mut missing = first.missing().to_vec();
        let mut path = vec![first];
        let mut frame = frame.clone();
        while path.len() < steps {
            let last = &path[path.len() - 1];
            let Some(time) = last.target_time() else {
                return Err(Error::series("an irregular series has no instants to come"));
            };
            frame = frame.with_row(time, last.point())?;
            let (row, ahead) = (frame.rows() - 1, path.len() + 1);
            let series = self.manifest.preprocessor.apply(&frame)?;
            let output = self.output(&series, row)?;
            let mut steps = self.express(&output, &frame, row, &spread, last_known)?;
            let Some(mut step) = steps.pop() else {
                break;
            };
            // What the network knows of one step's spread says nothing of several.
            let (scale, deviation) = spread.deviation(
                self.manifest.conformal.scale,
                last_known,
                ahead,
                &[step.point],
            );
            let intervals = self
                .manifest
                .conformal
                .intervals(step.point, scale, deviation);
            step.ahead = ahead;
            let unknown = self.missing(&frame, row)?.into_iter();
            missing.extend(unknown);
            missing.sort();
            missing.dedup();
            missing.truncate(MAX_MISSING);
            let step = step.with_intervals(&intervals);
            path.push(Forecast::new(known_until, naive, step).with_missing(missing.clone()));
        }
        Ok(path)
    }

    /// A network's outputs for the window that ends in row `end`, as forecasts of its steps, with
    /// the deviation that was expected in row `known`.
    fn express(
        &self,
        output: &[f32],
        frame: &SeriesFrame,
        end: usize,
        spread: &Spread,
        known: usize,
    ) -> Result<Vec<Step>> {
        let (last, at) = (frame.target()[end], frame.known_at()[end]);
        let loss = &self.manifest.loss;
        let steps = self.manifest.config.steps().zip(self.manifest.steps());
        let outputs = output.chunks_exact(loss.outputs());
        steps
            .zip(outputs)
            .map(|((ahead, (target, conformal)), output)| {
                let point = target.value(last, loss.point(output), at)?;
                if !point.is_finite() {
                    let reason = format!("the forecast from what is known at {at} is not finite");
                    return Err(Error::series(reason));
                }
                let (scale, deviation) = spread.deviation(conformal.scale, known, ahead, &[point]);
                let trained = loss.quantiles(output).into_iter();
                let trained: Vec<(f64, f64)> = trained
                    .map(|(level, value)| Ok((level, target.value(last, value, at)?)))
                    .collect::<Result<_>>()?;
                let intervals = conformal.intervals(point, scale, deviation);
                let quantiles = Quantiles::reconcile(trained, point, &intervals);
                let time = frame.target_time(end, ahead);
                Ok(Step::new(ahead, time, point).with_quantiles(quantiles))
            })
            .collect()
    }

    /// The instants in the window that ends in row `end` that have no row, and those to come for
    /// which a column known ahead has no value.
    fn missing(&self, frame: &SeriesFrame, end: usize) -> Result<Vec<DateTime<Utc>>> {
        let holes = self.manifest.config.holes;
        let mut missing = frame.missing_for_forecast(end, self.required_rows(), holes)?;
        let channels = self.manifest.preprocessor.channels.iter();
        let unknown = channels.filter_map(|channel| channel.unknown_ahead(frame, end));
        let steps: BTreeSet<usize> = unknown.collect();
        let ahead = steps
            .into_iter()
            .filter_map(|step| frame.target_time(end, step));
        let before = missing.len();
        missing.extend(ahead.take(MAX_MISSING.saturating_sub(before)));
        if before < missing.len() && holes != HolePolicy::Flag {
            return Err(Error::Holes {
                until: frame.known_at()[end],
                count: missing.len(),
                missing,
            });
        }
        Ok(missing)
    }

    /// What the network returns for the window that ends in row `end`.
    ///
    /// One window at a time: in a larger batch the sums could be taken in another order, and a
    /// forecast must not depend on what else is forecast with it.
    fn output(&self, series: &Series, end: usize) -> Result<Vec<f32>> {
        let x = series.windows(&[end], self.timesteps(), &self.device)?;
        let output = self.network.forward(&x, &mut Mode::Evaluate)?;
        Ok(numbers(&output)?)
    }

    /// The values forecast from row `end`, step by step.
    pub(crate) fn points(
        &self,
        series: &Series,
        end: usize,
        frame: &SeriesFrame,
    ) -> Result<Vec<f64>> {
        let output = self.output(series, end)?;
        let (last, at) = (frame.target()[end], frame.known_at()[end]);
        let loss = &self.manifest.loss;
        let outputs = output.chunks_exact(loss.outputs());
        let steps = self.manifest.steps().zip(outputs);
        steps
            .map(|((target, _), output)| target.value(last, loss.point(output), at))
            .collect()
    }

    /// Rows that a frame must have for a forecast from its last row.
    pub fn required_rows(&self) -> usize {
        self.timesteps() + self.manifest.preprocessor.lookback()
    }

    /// The features that the network sees, in order.
    pub fn feature_names(&self) -> Vec<&str> {
        self.manifest
            .preprocessor
            .features
            .iter()
            .map(|feature| feature.name.as_str())
            .collect()
    }

    /// The features that were left out, and why.
    pub fn unused_features(&self) -> &BTreeMap<String, Unused> {
        &self.manifest.unused
    }

    /// Notes columns that never became features, and why; what the fit itself left out stays.
    #[must_use]
    pub fn with_unused(mut self, unused: impl IntoIterator<Item = (String, Unused)>) -> Self {
        for (name, reason) in unused {
            self.manifest.unused.entry(name).or_insert(reason);
        }
        self
    }

    /// The name of the column that is forecast.
    pub fn target_name(&self) -> &str {
        &self.manifest.price
    }

    /// Rows in a window.
    pub fn timesteps(&self) -> usize {
        self.manifest.config.timesteps
    }

    /// Steps between the end of a window and its last target.
    pub fn horizon(&self) -> usize {
        self.manifest.config.horizon
    }

    /// The name of the network.
    pub fn model_type(&self) -> &str {
        self.manifest.network.name()
    }

    /// The network and its sizes.
    pub fn network(&self) -> &NetworkConfig {
        &self.manifest.network
    }

    /// How the network was trained.
    pub fn train_config(&self) -> &TrainConfig {
        &self.manifest.config
    }

    /// The rows that the model was trained on, those for validation among them.
    pub fn training_range(&self) -> TrainingRange {
        self.manifest.training_range
    }

    /// What each epoch of training came to.
    pub fn history(&self) -> &[EpochLogs] {
        &self.manifest.history
    }

    /// Figures about the model, by name: those of training and those added later.
    pub fn metrics(&self) -> &BTreeMap<String, f64> {
        &self.manifest.metrics
    }

    /// Adds a figure; one that is not finite is left out.
    #[must_use]
    pub fn with_metric(mut self, name: impl Into<String>, value: f64) -> Self {
        if value.is_finite() {
            self.manifest.metrics.insert(name.into(), value);
        }
        self
    }

    /// The fingerprint of the training data, if one was given.
    pub fn data_hash(&self) -> Option<&str> {
        self.manifest.data_hash.as_deref()
    }

    /// Notes the fingerprint of the training data.
    #[must_use]
    pub fn with_data_hash(mut self, hash: impl Into<String>) -> Self {
        self.manifest.data_hash = Some(hash.into());
        self
    }

    /// The number of trained weights.
    pub fn parameter_count(&self) -> usize {
        self.parameters.count()
    }
}
