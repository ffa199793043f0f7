//! A trained network with all that it takes to apply it.

use std::collections::BTreeMap;
use std::ops::Range;

use candle_core::Device;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{EpochLogs, TrainConfig};
use crate::bundle::NewerFields;
use crate::forecast::interval::{Conformal, LEVELS, Spread};
use crate::forecast::{Forecast, Quantiles, Step};
use crate::network::NetworkConfig;
use crate::nn::layers::Mode;
use crate::nn::network::Network;
use crate::nn::parameters::Parameters;
use crate::series::SeriesFrame;
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
    pub(crate) training_range: TrainingRange,
    pub(crate) unused: BTreeMap<String, Unused>,
    pub(crate) metrics: BTreeMap<String, f64>,
    pub(crate) history: Vec<EpochLogs>,
    pub(crate) data_hash: Option<String>,
}

impl Manifest {
    /// Checks what a stored model says of itself; a fitted one is so by construction.
    pub(crate) fn validate(&self) -> Result<()> {
        self.config.validate()?;
        self.network.validate()?;
        self.loss.validate()?;
        let valid = self.preprocessor.is_valid() && self.target.is_valid();
        if !valid || !self.conformal.is_valid() {
            return Err(Error::series(
                "its features, their scalers, that of the target or the scores of its intervals",
            ));
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
    pub(crate) parameters: Parameters,
    /// What a bundle of a newer format held beyond what is known.
    pub(crate) newer: NewerFields,
    network: Box<dyn Network>,
    device: Device,
}

impl Forecaster {
    pub(crate) fn new(
        manifest: Manifest,
        network: Box<dyn Network>,
        parameters: Parameters,
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
    /// The forecast from a row is the same, bit for bit, if all rows after it are taken away.
    ///
    /// # Errors
    ///
    /// As [`forecast`](Self::forecast); the origins must be rows of the frame.
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
                let step = self.express(&output, frame, row, self.horizon(), &spread, row)?;
                Ok(Forecast::new(frame.known_at()[row], price[row], step))
            })
            .collect()
    }

    /// Forecasts the next `steps` rows one after the other, each from the forecasts before it.
    ///
    /// The first is [`forecast`](Self::forecast). For the others, the price goes on as forecast
    /// and the other features stay as they were last known, as far as the model lets them; so do
    /// errors add up, and a model trained for the wanted horizon is the better choice where there
    /// is one. The intervals widen with the square root of the time.
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
            let mut step = self.express(&output, &frame, row, 1, &spread, last_known)?;
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
            path.push(Forecast::new(
                known_until,
                naive,
                step.with_intervals(&intervals),
            ));
        }
        Ok(path)
    }

    /// A network's outputs for the window that ends in row `end`, as a forecast of the value
    /// `ahead` steps later, with the deviation that was expected in row `known`.
    fn express(
        &self,
        output: &[f32],
        frame: &SeriesFrame,
        end: usize,
        ahead: usize,
        spread: &Spread,
        known: usize,
    ) -> Result<Step> {
        let (last, at) = (frame.target()[end], frame.known_at()[end]);
        let value = |scaled| self.manifest.target.value(last, scaled, at);
        let point = value(self.manifest.loss.point(output))?;
        if !point.is_finite() {
            let reason = format!("the forecast from what is known at {at} is not finite");
            return Err(Error::series(reason));
        }
        let conformal = &self.manifest.conformal;
        let (scale, deviation) = spread.deviation(conformal.scale, known, ahead, &[point]);
        let mut trained = Vec::new();
        for level in LEVELS {
            if let Some((low, high)) = self.manifest.loss.range(output, level) {
                let tail = 0.5 * (1.0 - level);
                trained.extend([(tail, value(low)?), (1.0 - tail, value(high)?)]);
            }
        }
        let intervals = conformal.intervals(point, scale, deviation);
        let quantiles = Quantiles::reconcile(trained, point, &intervals);
        Ok(Step::new(ahead, frame.target_time(end, ahead), point).with_quantiles(quantiles))
    }

    /// What the network returns for the window that ends in row `end`.
    ///
    /// One window at a time: in a larger batch the sums could be taken in another order, and a
    /// forecast must not depend on what else is forecast with it.
    fn output(&self, series: &Series, end: usize) -> Result<Vec<f32>> {
        let x = series.windows(&[end], self.timesteps(), &self.device)?;
        let output = self.network.forward(&x, &mut Mode::Evaluate)?;
        Ok(output.flatten_all()?.to_vec1()?)
    }

    /// The price forecast from row `end`, whose price is `last`.
    pub(crate) fn point(
        &self,
        series: &Series,
        end: usize,
        last: f64,
        at: DateTime<Utc>,
    ) -> Result<f64> {
        let output = self.output(series, end)?;
        let point = self.manifest.loss.point(&output);
        self.manifest.target.value(last, point, at)
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

    /// Rows between the end of a window and its target.
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
