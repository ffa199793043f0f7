//! A network as a model of a comparison.

use std::ops::{ControlFlow, Range};

use super::forecaster::Forecaster;
use super::{TrainConfig, fit};
use crate::forecast::{FitContext, FittedModel, Forecast, Model};
use crate::network::NetworkConfig;
use crate::series::SeriesFrame;
use crate::{Error, Result};

impl FittedModel for Forecaster {
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>> {
        Forecaster::forecast_at(self, frame, origins)
    }
}

/// A network whose first training diverged.
#[derive(Debug)]
struct Retried {
    forecaster: Forecaster,
    note: String,
}

impl FittedModel for Retried {
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>> {
        self.forecaster.forecast_at(frame, origins)
    }

    fn notes(&self) -> Vec<String> {
        vec![self.note.clone()]
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
    /// A network with its training; horizon and seed of `config` give way to those of the fit,
    /// and all steps up to the horizon are forecast if either asks for them.
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

    fn fit(&self, frame: &SeriesFrame, context: &FitContext) -> Result<Box<dyn FittedModel>> {
        let mut config = self
            .config
            .clone()
            .with_horizon(context.horizon)
            .with_seed(context.seed);
        config.path |= context.path;
        let train = |config: &TrainConfig| {
            fit(&self.network, frame, config, &context.device, |_| {
                Ok(ControlFlow::Continue(()))
            })
        };
        match train(&config) {
            // A learning rate that is too high for one refit must not end a whole comparison.
            Err(Error::Diverged { epoch }) => {
                let gentle = TrainConfig {
                    lr: config.lr / 10.0,
                    ..config
                }
                .with_clip_norm(1.0);
                Ok(Box::new(Retried {
                    forecaster: train(&gentle)?,
                    note: format!(
                        "training diverged in epoch {epoch} and was repeated with a tenth of the \
                         learning rate and gradients clipped to a norm of 1"
                    ),
                }))
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
