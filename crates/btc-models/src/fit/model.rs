//! A network as a model of a comparison.

use std::ops::{ControlFlow, Range};

use candle_core::Device;

use super::forecaster::Forecaster;
use super::{TrainConfig, fit};
use crate::forecast::{FittedModel, Forecast, Model};
use crate::network::NetworkConfig;
use crate::series::SeriesFrame;
use crate::{Error, Result};

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
