//! The windows that a convolution over steps sees, as rows of a matrix.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{values, with_values};

/// (batch, steps, channels) into (batch, outputs, kernel * channels).
///
/// Output `t` sees the steps `t - before + k * dilation` for `k` in `0..kernel`; steps outside
/// the series count as zero.
#[derive(Debug, Clone, Copy)]
pub struct Unfold {
    /// Steps that a window sees.
    pub kernel: usize,
    /// Steps from one that it sees to the next.
    pub dilation: usize,
    /// Zeros assumed before the first step.
    pub before: usize,
    /// Zeros assumed after the last step.
    pub after: usize,
}

impl Unfold {
    /// Windows of `kernel` steps that lie within the series.
    pub fn within(kernel: usize) -> Self {
        Self {
            kernel,
            dilation: 1,
            before: 0,
            after: 0,
        }
    }

    /// As many windows as steps, each of which ends at its step.
    pub fn causal(kernel: usize, dilation: usize) -> Self {
        Self {
            kernel,
            dilation,
            before: kernel.saturating_sub(1) * dilation,
            after: 0,
        }
    }

    /// The number of outputs for `steps` steps; 0 if the kernel is longer than the series.
    pub fn outputs(&self, steps: usize) -> usize {
        (steps + self.before + self.after).saturating_sub((self.kernel - 1) * self.dilation)
    }

    /// Writes the windows of (batch, steps, channels). What lies outside the series is not
    /// written: it must be zero before.
    pub(super) fn gather(
        &self,
        batch: usize,
        steps: usize,
        channels: usize,
        from: &[f32],
        to: &mut [f32],
    ) {
        self.pairs(batch, steps, channels, |at, window| {
            to[window..window + channels].copy_from_slice(&from[at..at + channels]);
        });
    }

    /// Adds up for each step what its windows hold.
    pub(super) fn scatter(
        &self,
        batch: usize,
        steps: usize,
        channels: usize,
        from: &[f32],
        to: &mut [f32],
    ) {
        self.pairs(batch, steps, channels, |at, window| {
            let from = &from[window..window + channels];
            for (sum, x) in to[at..at + channels].iter_mut().zip(from) {
                *sum += x;
            }
        });
    }

    /// Calls `f` with the offset of every step that exists in the series and in the windows.
    fn pairs(&self, batch: usize, steps: usize, channels: usize, mut f: impl FnMut(usize, usize)) {
        let outputs = self.outputs(steps);
        for b in 0..batch {
            for t in 0..outputs {
                for k in 0..self.kernel {
                    let Some(step) = (t + k * self.dilation).checked_sub(self.before) else {
                        continue;
                    };
                    if step < steps {
                        let from = (b * steps + step) * channels;
                        let to = ((b * outputs + t) * self.kernel + k) * channels;
                        f(from, to);
                    }
                }
            }
        }
    }
}

impl CustomOp1 for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, steps, channels) = layout.shape().dims3()?;
        let x = values(x, layout)?;
        let shape = (batch, self.outputs(steps), self.kernel * channels);
        let mut y = vec![0.0; shape.0 * shape.1 * shape.2];
        self.gather(batch, steps, channels, x, &mut y);
        Ok((CpuStorage::F32(y), shape.into()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let (batch, steps, channels) = x.dims3()?;
        let dx = with_values(dy, |dy| {
            let mut dx = vec![0.0; x.elem_count()];
            self.scatter(batch, steps, channels, dy, &mut dx);
            Ok(dx)
        })?;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}
