//! A network of the caller's own.

use btc_models::candle_core::{Result, Tensor};
use btc_models::nn::layers::{Linear, Mode};
use btc_models::nn::{InputShape, Named, Network, Parameters};
use btc_models::{Error, Forecaster, NetworkConfig, NetworkSpec, TrainConfig, register_network};
use candle_core::Device;
use serde::{Deserialize, Serialize};

use crate::support::{random_walk, train};

#[path = "../../examples/own_network.rs"]
#[allow(dead_code, reason = "its main function is the test below")]
mod example;

#[test]
fn the_example_trains_saves_loads_and_forecasts_24_hours() {
    let dir = tempfile::tempdir().unwrap();
    let forecast = example::forecast(dir.path()).unwrap();
    assert_eq!(forecast.steps().count(), 24);
    let [low, high] = [0.1, 0.9].map(|level| forecast.quantile(level, 24).unwrap());
    assert!(low < high && 20.0 < low && high < 90.0, "{low} {high}");
}

#[derive(Debug, Serialize, Deserialize)]
struct TwoLayers {
    width: usize,
}

#[derive(Debug)]
struct Built(Linear, Linear);

impl Named for TwoLayers {
    const NAME: &'static str = "TwoLayers";
}

impl NetworkSpec for TwoLayers {
    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let inputs = input.timesteps * input.features;
        Ok(Box::new(Built(
            Linear::new(parameters, "first", inputs, self.width)?,
            Linear::new(parameters, "second", self.width, input.outputs)?,
        )))
    }
}

impl Network for Built {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        self.1
            .forward(&self.0.forward(&x.flatten_from(1)?)?.tanh()?)
    }
}

#[test]
fn an_own_network_is_trained_saved_and_loaded_by_its_name() {
    let frame = random_walk(4, 90);
    let network = NetworkConfig::custom(&TwoLayers { width: 6 }).unwrap();
    let forecaster = train(&network, &frame, &TrainConfig::default().with_epochs(2));
    let dir = tempfile::tempdir().unwrap();
    forecaster.save(dir.path()).unwrap();
    let loaded = Forecaster::load(dir.path(), &Device::Cpu).unwrap();
    assert_eq!(loaded.model_type(), "TwoLayers");
    assert_eq!(loaded.network(), &network);
    assert_eq!(
        loaded.forecast(&frame).unwrap(),
        forecaster.forecast(&frame).unwrap()
    );
    register_network::<TwoLayers>().unwrap();
    let unknown: NetworkConfig = serde_json::from_str(r#"{"type": "TwoLayer"}"#).unwrap();
    let error = unknown.default_loss().unwrap_err();
    assert!(
        matches!(&error, Error::NotRegistered { known, .. } if known.iter().any(|x| x == "TwoLayers"))
    );
}
