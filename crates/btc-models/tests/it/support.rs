//! Series made for the tests.

use std::ops::ControlFlow;

use btc_models::{
    Forecaster, Hyperparameters, ModelType, NetworkConfig, SeriesFrame, TrainConfig, fit,
};
use candle_core::Device;
use chrono::{DateTime, Days, Utc};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

/// Normal numbers of a seed.
pub(crate) fn normals(seed: u64, n: usize) -> Vec<f64> {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    (0..n)
        .map(|_| {
            let (u, v): (f64, f64) = (random.random(), random.random());
            (-2.0 * (1.0 - u).ln()).sqrt() * (std::f64::consts::TAU * v).cos()
        })
        .collect()
}

/// A frame of daily rows; the first column is the target.
pub(crate) fn frame(columns: &[(&str, Vec<f64>)]) -> SeriesFrame {
    let start: DateTime<Utc> = "2020-01-01T00:00:00Z".parse().unwrap();
    let rows = columns[0].1.len() as u64;
    let days = (0..rows).map(|day| start + Days::new(day)).collect();
    SeriesFrame::new(days, columns.iter().cloned(), columns[0].0).unwrap()
}

/// Prices whose logarithm changes by `returns`.
pub(crate) fn prices(returns: &[f64]) -> Vec<f64> {
    let mut log = 100f64.ln();
    std::iter::once(100.0)
        .chain(returns.iter().map(|r| {
            log += r;
            log.exp()
        }))
        .collect()
}

/// A random walk with a feature that knows nothing.
pub(crate) fn random_walk(seed: u64, rows: usize) -> SeriesFrame {
    let returns: Vec<f64> = normals(seed, rows - 1).iter().map(|x| 0.03 * x).collect();
    let noise = normals(seed + 1000, rows).iter().map(|x| x.exp()).collect();
    frame(&[("close", prices(&returns)), ("volume", noise)])
}

/// A network of small sizes, without dropout where `dropout` is false.
pub(crate) fn network(model: ModelType, dropout: bool) -> NetworkConfig {
    let small = Hyperparameters::default().with_units(16).with_filters(16);
    let mut network = NetworkConfig::new(model, &small);
    if let NetworkConfig::ConvLstm2d(config) = &mut network {
        config.filters = 8;
    }
    if !dropout {
        match &mut network {
            NetworkConfig::Lstm(config) => config.dropout = 0.0,
            NetworkConfig::Gru(config) => config.dropout = 0.0,
            NetworkConfig::Attention(config) => config.dropout = 0.0,
            NetworkConfig::Tcn(config) => config.dropout = 0.0,
            NetworkConfig::PatchTst(config) => config.dropout = 0.0,
            _ => {}
        }
    }
    network
}

/// Trains without a callback.
pub(crate) fn train(
    network: &NetworkConfig,
    frame: &SeriesFrame,
    config: &TrainConfig,
) -> Forecaster {
    fit(network, frame, config, &Device::Cpu, |_| {
        Ok(ControlFlow::Continue(()))
    })
    .unwrap()
}
