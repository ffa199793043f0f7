use candle_core::{Result, Tensor};

use super::{DLinearConfig, InputShape, Network};
use crate::nn::layers::{Linear, Mode};
use crate::nn::parameters::Parameters;

/// Linear in the window relative to its last step, and in that step.
#[derive(Debug)]
pub(super) struct NLinear {
    window: Linear,
    last: Linear,
}

impl NLinear {
    pub(super) fn new(input: InputShape, parameters: &mut Parameters) -> Result<Self> {
        let InputShape {
            timesteps,
            features,
            outputs,
        } = input;
        Ok(Self {
            window: Linear::new(parameters, "window", timesteps * features, outputs)?,
            last: Linear::new(parameters, "last", features, outputs)?,
        })
    }
}

impl Network for NLinear {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let last = x.narrow(1, x.dim(1)? - 1, 1)?;
        let window = self
            .window
            .forward(&x.broadcast_sub(&last)?.flatten_from(1)?)?;
        window + self.last.forward(&last.squeeze(1)?.contiguous()?)?
    }
}

/// Linear in the window's moving average, and in the rest.
#[derive(Debug)]
pub(super) struct DLinear {
    trend: Linear,
    rest: Linear,
    /// (steps, steps): each row averages the steps around one, with the ends repeated.
    average: Tensor,
}

impl DLinear {
    pub(super) fn new(
        config: &DLinearConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let InputShape {
            timesteps,
            features,
            outputs,
        } = input;
        let width = config.moving_average;
        let mut average = vec![0f32; timesteps * timesteps];
        for t in 0..timesteps {
            for k in 0..width {
                let step = (t + k).saturating_sub(width / 2).min(timesteps - 1);
                average[t * timesteps + step] += 1.0 / width as f32;
            }
        }
        let average = Tensor::from_vec(average, (timesteps, timesteps), parameters.device())?;
        Ok(Self {
            trend: Linear::new(parameters, "trend", timesteps * features, outputs)?,
            rest: Linear::new(parameters, "rest", timesteps * features, outputs)?,
            average,
        })
    }
}

impl Network for DLinear {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let trend = self.average.to_dtype(x.dtype())?.broadcast_matmul(x)?;
        let rest = (x - &trend)?;
        self.trend.forward(&trend.flatten_from(1)?)? + self.rest.forward(&rest.flatten_from(1)?)?
    }
}
