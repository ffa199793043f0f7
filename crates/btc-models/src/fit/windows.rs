//! Windows of a series as a batch of tensors.

use candle_core::{Device, Tensor};

use crate::transform::Series;

impl Series {
    /// The windows that end at the rows `ends`: (ends, timesteps, features).
    pub(crate) fn windows(
        &self,
        ends: &[usize],
        timesteps: usize,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        let mut batch = Vec::with_capacity(ends.len() * timesteps * self.width);
        for end in ends {
            let start = end + 1 - timesteps;
            batch.extend_from_slice(&self.data[start * self.width..(end + 1) * self.width]);
        }
        Tensor::from_vec(batch, (ends.len(), timesteps, self.width), device)
    }
}
