//! One network for several series.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::Device;

use super::windows::PanelSeries;
use super::{CallbackError, EpochLogs, Forecaster, TrainConfig, assemble};
use crate::forecast::Forecast;
use crate::network::NetworkConfig;
use crate::series::Panel;
use crate::{Error, Result};

/// Trains one network on all series of a panel: a global model.
///
/// Windows are drawn from all series, and none has rows of two. The split in time is one for all
/// of them: training sees nothing that is known after the last target of training, in whichever
/// series. Each series is scaled by its own training rows, or all by those of all of them; see
/// [`TrainConfig::with_panel_scaling`]. What never changes of a series tells the network which it
/// is. Otherwise it is as [`fit`](crate::fit()), and for a panel of one series it is the same.
///
/// ```
/// use std::ops::ControlFlow;
/// use btc_models::{Hyperparameters, ModelType, NetworkConfig, Panel, SeriesFrame, TrainConfig};
/// use btc_models::{PanelForecaster, fit_panel};
/// use candle_core::Device;
/// use chrono::{DateTime, Days};
///
/// // Two shops, one of which is large and opens later.
/// let shop = |opens: i32, size: f64| {
///     let days = opens..200;
///     let known_at = days.clone().map(|day| DateTime::UNIX_EPOCH + Days::new(day as u64));
///     let sales = days.map(|day| size * (2.0 + (f64::from(day) * 0.9).sin()));
///     SeriesFrame::new(known_at.collect(), [("sales", sales.collect())], "sales")?
///         .with_static("size", size)
/// };
/// let panel = Panel::new([("corner", shop(0, 1.0)?), ("mall", shop(60, 50.0)?)])?;
/// let network = NetworkConfig::new(ModelType::DLinear, &Hyperparameters::default());
/// let config = TrainConfig::default().with_epochs(20);
/// let model = fit_panel(&network, &panel, &config, &Device::Cpu, |_| {
///     Ok(ControlFlow::Continue(()))
/// })?;
///
/// let dir = tempfile::tempdir().unwrap();
/// model.save(&dir.path().join("shops"))?;
/// let model = PanelForecaster::load(&dir.path().join("shops"), &Device::Cpu)?;
/// let forecasts = model.forecast(&panel)?;
/// assert!(20.0 * forecasts["corner"].point() < forecasts["mall"].point());
/// # Ok::<(), btc_models::Error>(())
/// ```
///
/// # Errors
///
/// As [`fit`](crate::fit()); what is wrong with one series is the source of [`Error::InPanel`],
/// which names it. Each must have two windows for training.
pub fn fit_panel(
    network: &NetworkConfig,
    panel: &Panel,
    config: &TrainConfig,
    device: &Device,
    mut on_epoch_end: impl FnMut(&EpochLogs) -> Result<ControlFlow<()>, CallbackError>,
) -> Result<PanelForecaster> {
    let named: Vec<PanelSeries<'_>> = panel
        .iter()
        .map(|(name, frame)| PanelSeries {
            name: Some(name),
            frame,
        })
        .collect();
    let fitted = assemble::train(network, &named, config, device, &mut on_epoch_end)?;
    let names = panel.names().map(str::to_owned);
    Ok(PanelForecaster::new(names.zip(fitted).collect()))
}

/// A network that was trained on several series, with what it takes to apply it to each.
///
/// It comes from [`fit_panel`] or [`load`](Self::load).
#[derive(Debug)]
pub struct PanelForecaster {
    forecasters: BTreeMap<String, Forecaster>,
}

impl PanelForecaster {
    /// The series' forecasters, which share a network and its weights.
    pub(crate) fn new(forecasters: BTreeMap<String, Forecaster>) -> Self {
        Self { forecasters }
    }

    /// The names of the series that it was trained on, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.forecasters.keys().map(String::as_str)
    }

    /// The forecaster of one series; none if it was not trained on such a series.
    pub fn series(&self, name: &str) -> Option<&Forecaster> {
        self.forecasters.get(name)
    }

    /// The forecasters of all series by their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Forecaster)> {
        self.forecasters
            .iter()
            .map(|(name, forecaster)| (name.as_str(), forecaster))
    }

    /// Forecasts from the last row of each series of the panel.
    ///
    /// # Errors
    ///
    /// A series that it was not trained on; as [`Forecaster::forecast`], as the source of
    /// [`Error::InPanel`].
    pub fn forecast(&self, panel: &Panel) -> Result<BTreeMap<String, Forecast>> {
        let each = panel.iter().map(|(name, frame)| {
            let Some(forecaster) = self.forecasters.get(name) else {
                let known: Vec<&str> = self.names().collect();
                return Err(Error::unknown("series", name, &known));
            };
            let forecast = forecaster.forecast(frame);
            let forecast = forecast.map_err(|error| Error::in_panel(name, error))?;
            Ok((name.to_owned(), forecast))
        });
        each.collect()
    }
}
