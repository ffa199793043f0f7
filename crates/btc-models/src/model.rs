use std::fmt::Debug;
use std::ops::{ControlFlow, Range};

use candle_core::Device;

use crate::config::TrainConfig;
use crate::fit::fit;
use crate::forecaster::{Forecast, Forecaster};
use crate::frame::SeriesFrame;
use crate::network::NetworkConfig;
use crate::{Error, Result};

/// Something that can be fitted to a frame: a network or a baseline.
///
/// Fitting depends on the arguments alone and may run on several threads at once.
pub trait Model: Debug + Send + Sync {
    /// A short name, distinct among the models of a comparison.
    fn name(&self) -> &str;

    /// Fits to all rows of the frame, to forecast `horizon` rows ahead.
    ///
    /// # Errors
    ///
    /// A frame that is too short or otherwise of no use.
    fn fit(&self, frame: &SeriesFrame, horizon: usize, seed: u64) -> Result<Box<dyn FittedModel>>;

    /// Whether the seed makes a difference.
    fn is_random(&self) -> bool {
        false
    }

    /// Everything that the result depends on besides frame, horizon and seed.
    fn fingerprint(&self) -> String {
        self.name().to_owned()
    }
}

/// A model after fitting.
pub trait FittedModel: Debug + Send + Sync {
    /// Forecasts from each of the rows `origins`, with the rows up to it alone.
    ///
    /// # Errors
    ///
    /// A frame that lacks what the model was fitted to, or rows.
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>>;
}

impl FittedModel for Forecaster {
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>> {
        Forecaster::forecast_at(self, frame, origins)
    }
}

/// A network that is trained anew for each fit.
#[derive(Debug, Clone)]
pub struct NetworkModel {
    name: String,
    network: NetworkConfig,
    config: TrainConfig,
}

impl NetworkModel {
    /// A network with its training; horizon and seed of `config` give way to those of the fit.
    pub fn new(name: impl Into<String>, network: NetworkConfig, config: TrainConfig) -> Self {
        Self {
            name: name.into(),
            network,
            config,
        }
    }
}

impl Model for NetworkModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn fit(&self, frame: &SeriesFrame, horizon: usize, seed: u64) -> Result<Box<dyn FittedModel>> {
        let config = self.config.clone().with_horizon(horizon).with_seed(seed);
        let fitted = fit(&self.network, frame, &config, &Device::Cpu, |_| {
            Ok(ControlFlow::Continue(()))
        });
        match fitted {
            // A learning rate that is too high for one refit must not end a whole comparison.
            Err(Error::Diverged { .. }) => {
                let gentle = TrainConfig {
                    lr: config.lr / 10.0,
                    ..config
                }
                .with_clip_norm(1.0);
                let fitted = fit(&self.network, frame, &gentle, &Device::Cpu, |_| {
                    Ok(ControlFlow::Continue(()))
                })?;
                Ok(Box::new(fitted))
            }
            fitted => Ok(Box::new(fitted?)),
        }
    }

    fn is_random(&self) -> bool {
        true
    }

    fn fingerprint(&self) -> String {
        // The configuration holds numbers and names only, which JSON can express.
        let config = serde_json::to_string(&(&self.network, &self.config));
        format!(
            "{}:{}",
            self.name,
            config.expect("a configuration can be written as JSON")
        )
    }
}
