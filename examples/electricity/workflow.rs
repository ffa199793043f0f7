//! Hourly electricity load, 24 hours ahead with quantiles, by a network of one's own.
use std::{error::Error, path::Path, sync::Arc};

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampSecondArray};
use btc_models::candle_core::{Result as Tensors, Tensor};
use btc_models::nn::{InputShape, Named, Network, Parameters, layers::Linear, layers::Mode};
use btc_models::{Loss, NetworkConfig, NetworkSpec, TrainConfig};
use btc_pipeline::{EVENT_TIMESTAMP, Prediction, Proposal, SpaceFn, TableFn, Workflow};

#[derive(Debug)]
struct Affine(Linear);
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct AffineConfig {}
impl Named for AffineConfig {
    const NAME: &'static str = "Affine";
}
impl NetworkSpec for AffineConfig {
    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Tensors<Box<dyn Network>> {
        let inputs = input.timesteps * input.features;
        let layer = Linear::new(parameters, "affine", inputs, input.outputs)?;
        Ok(Box::new(Affine(layer)))
    }
}
impl Network for Affine {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Tensors<Tensor> {
        self.0.forward(&x.flatten_from(1)?)
    }
}

fn load() -> Result<RecordBatch, Box<dyn Error + Send + Sync>> {
    let load = |hour: i32| 50.0 + 20.0 * (f64::from(hour) / 3.82).sin() + f64::from(hour * 37 % 11);
    let load = Float64Array::from_iter_values((0..1200).map(load));
    let hours = TimestampSecondArray::from_iter_values((0..1200).map(|hour| 3600 * hour));
    let columns: [ArrayRef; 2] = [Arc::new(hours), Arc::new(load)];
    let columns = [EVENT_TIMESTAMP, "load"].into_iter().zip(columns);
    Ok(RecordBatch::try_from_iter(columns)?)
}

pub(crate) async fn forecast(folder: &Path) -> Result<Prediction, Box<dyn Error>> {
    let client = btc_track::TrackingClient::in_memory(folder)?;
    let mut workflow = Workflow::new("load", TableFn::new(load), client)
        .with_target_column("load")
        .with_horizon(24.try_into()?);
    workflow.search.space = Arc::new(SpaceFn::new(10, |trial| {
        let epochs = trial.suggest_categorical("epochs", &[10, 20])?;
        let quantiles = vec![0.1, 0.5, 0.9];
        let training = TrainConfig::default().with_steps(24).with_epochs(epochs);
        Ok(Proposal {
            network: NetworkConfig::custom(&AffineConfig {})?,
            training: training.with_loss(Loss::Pinball { quantiles }),
        })
    }));
    workflow.search.n_trials = 2.try_into()?;
    workflow.register.allow_worse_than_naive = true;
    let table = workflow.table(None).await?;
    workflow.search(&table, &())?;
    workflow.register(&table)?;
    Ok(workflow.predict(&table)?)
}
