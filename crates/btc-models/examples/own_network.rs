//! A network of one's own forecasts the next 24 hours with quantiles:
//! `cargo run --example own_network`.
#![allow(clippy::print_stdout, reason = "an example shows its result")]

use btc_models::candle_core::{Device, Result as Tensors, Tensor};
use btc_models::nn::layers::{Linear, Mode};
use btc_models::nn::{InputShape, Named, Network, Parameters};
use btc_models::{Forecast, Forecaster, Loss, NetworkConfig, NetworkSpec, fit};
use btc_models::{SeriesFrame, TrainConfig};
use std::{error::Error, ops::ControlFlow};

/// The settings of a linear network through a narrow layer.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Bottleneck {
    width: usize,
}
#[derive(Debug)]
struct Layers(Linear, Linear);

impl Named for Bottleneck {
    const NAME: &'static str = "Bottleneck";
}

impl NetworkSpec for Bottleneck {
    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Tensors<Box<dyn Network>> {
        let inputs = input.timesteps * input.features;
        let hidden = Linear::new(parameters, "in", inputs, self.width)?;
        let output = Linear::new(parameters, "out", self.width, input.outputs)?;
        Ok(Box::new(Layers(hidden, output)))
    }
}

impl Network for Layers {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Tensors<Tensor> {
        self.1.forward(&self.0.forward(&x.flatten_from(1)?)?)
    }
}

pub(crate) fn forecast(dir: &std::path::Path) -> Result<Forecast, Box<dyn Error>> {
    let hour = |n: i64| chrono::DateTime::from_timestamp(1_700_000_000 + 3600 * n, 0);
    let hours = (0..1200).filter_map(hour).collect();
    let load = |n: i32| 50.0 + 20.0 * (f64::from(n) / 3.82).sin() + f64::from(n * n % 7);
    let load = (0..1200).map(load).collect::<Vec<f64>>();
    let frame = SeriesFrame::new(hours, [("load", load)], "load")?;
    let quantiles = vec![0.1, 0.5, 0.9];
    let config = TrainConfig::default()
        .with_timesteps(48)
        .with_steps(24)
        .with_loss(Loss::Pinball { quantiles });
    let network = NetworkConfig::custom(&Bottleneck { width: 8 })?;
    let go_on = |_: &_| Ok(ControlFlow::Continue(()));
    fit(&network, &frame, &config, &Device::Cpu, go_on)?.save(dir)?;
    Ok(Forecaster::load(dir, &Device::Cpu)?.forecast(&frame)?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let forecast = forecast(&std::env::temp_dir().join("own_network"))?;
    println!("{:?}", forecast.quantile(0.9, 24));
    Ok(())
}
