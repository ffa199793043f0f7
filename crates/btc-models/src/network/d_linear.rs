//! Linear maps of the window's moving average and of the rest (after Zeng et al. 2023).

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, odd_size};
use crate::nn::layers::{Linear, Mode};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// A linear map of the window's moving average, and one of the rest (after Zeng et al. 2023).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DLinearConfig {
    /// Steps of the moving average, an odd number.
    pub moving_average: usize,
}

settings!(DLinearConfig {
    with_moving_average(moving_average: usize),
});

impl From<&Hyperparameters> for DLinearConfig {
    fn from(_: &Hyperparameters) -> Self {
        Self { moving_average: 5 }
    }
}

impl NetworkSpec for DLinearConfig {
    fn validate(&self) -> crate::Result<()> {
        odd_size("moving_average", self.moving_average)
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let InputShape {
            timesteps,
            features,
            outputs,
        } = input;
        let width = self.moving_average;
        let mut average = vec![0f32; timesteps * timesteps];
        for t in 0..timesteps {
            for k in 0..width {
                let step = (t + k).saturating_sub(width / 2).min(timesteps - 1);
                average[t * timesteps + step] += 1.0 / width as f32;
            }
        }
        let average = Tensor::from_vec(average, (timesteps, timesteps), parameters.device())?;
        Ok(Box::new(DLinear {
            trend: Linear::new(parameters, "trend", timesteps * features, outputs)?,
            rest: Linear::new(parameters, "rest", timesteps * features, outputs)?,
            average,
        }))
    }
}

#[derive(Debug)]
struct DLinear {
    trend: Linear,
    rest: Linear,
    /// (steps, steps): each row averages the steps around one, with the ends repeated.
    average: Tensor,
}

impl Network for DLinear {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let trend = self.average.to_dtype(x.dtype())?.broadcast_matmul(x)?;
        let rest = (x - &trend)?;
        self.trend.forward(&trend.flatten_from(1)?)? + self.rest.forward(&rest.flatten_from(1)?)?
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let average = graph.weight(&self.average)?;
        let trend = graph.mix(&average, x);
        let rest = graph.sub(x, &trend);
        let (trend, rest) = (graph.flatten(&trend)?, graph.flatten(&rest)?);
        let trend = self.trend.export(graph, &trend)?;
        let rest = self.rest.export(graph, &rest)?;
        Ok(graph.add(&trend, &rest))
    }
}
