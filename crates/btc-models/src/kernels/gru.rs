//! A whole GRU layer over all steps as one operation, forward and backward through time.
//!
//! The order of the gates is PyTorch's: reset, update, new; the reset gate acts on the hidden
//! state after its weights.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::lstm::{activate, slope};
use super::math::sigmoid;
use super::sequence::{Lease, Output, Pool, SequenceShape, resize, sum_rows, transpose};
use super::simd::{Kernel, Matrix, dispatch, matmul};
use super::{values, with_values};

/// The buffers of one pass.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Transposed weights; in the end, the first become those of their gradient.
    w_ih: Vec<f32>,
    w_hh: Vec<f32>,
    x: Vec<f32>,
    /// Gates after their activation: (steps, batch, 3 hidden).
    gates: Vec<f32>,
    /// What the hidden state gives to the gates: (steps, batch, 3 hidden).
    recurrent: Vec<f32>,
    /// Hidden states, after a block of zeros for the time before: (steps + 1, batch, hidden).
    hidden: Vec<f32>,
    d_out: Vec<f32>,
    d_gates: Vec<f32>,
    d_recurrent: Vec<f32>,
    d_hidden: Vec<f32>,
    d_before: Vec<f32>,
}

/// The operation on inputs (batch, steps, inputs) and packed weights.
///
/// The weights are `weight_ih` (3 hidden, inputs), `weight_hh` (3 hidden, hidden), `bias_ih` and
/// `bias_hh` (3 hidden each), one after the other.
#[derive(Debug)]
pub(crate) struct FusedGru {
    shape: SequenceShape,
    relu: bool,
    output: Output,
    buffers: Lease<Buffers>,
}

impl FusedGru {
    pub(crate) fn new(
        shape: SequenceShape,
        relu: bool,
        output: Output,
        pool: &Pool<Buffers>,
    ) -> Self {
        Self {
            shape,
            relu,
            output,
            buffers: pool.lease(),
        }
    }

    fn split<'a>(&self, weights: &'a [f32]) -> [&'a [f32]; 4] {
        let SequenceShape { inputs, hidden, .. } = self.shape;
        let (w_ih, rest) = weights.split_at(3 * hidden * inputs);
        let (w_hh, rest) = rest.split_at(3 * hidden * hidden);
        let (b_ih, b_hh) = rest.split_at(3 * hidden);
        [w_ih, w_hh, b_ih, b_hh]
    }

    fn forward(&self, x: &[f32], weights: &[f32], s: &mut Buffers) {
        let SequenceShape {
            batch,
            steps,
            inputs,
            hidden,
        } = self.shape;
        let [w_ih, w_hh, b_ih, b_hh] = self.split(weights);
        let (block, wide) = (batch * hidden, batch * 3 * hidden);
        resize(&mut s.x, steps * batch * inputs);
        resize(&mut s.gates, steps * wide);
        resize(&mut s.recurrent, steps * wide);
        resize(&mut s.hidden, (steps + 1) * block);
        if self.shape.transposes_inputs() {
            resize(&mut s.w_ih, w_ih.len());
            transpose(inputs, w_ih, &mut s.w_ih);
        }
        if 1 < steps {
            resize(&mut s.w_hh, w_hh.len());
            transpose(hidden, w_hh, &mut s.w_hh);
        }
        self.shape.time_major(inputs, x, &mut s.x);
        for row in s.gates.chunks_exact_mut(3 * hidden) {
            row.copy_from_slice(b_ih);
        }
        for row in s.recurrent.chunks_exact_mut(3 * hidden) {
            row.copy_from_slice(b_hh);
        }
        matmul(
            (steps * batch, 3 * hidden, inputs),
            &mut s.gates,
            true,
            Matrix::rows(&s.x, inputs),
            match self.shape.transposes_inputs() {
                true => Matrix::rows(&s.w_ih, 3 * hidden),
                false => Matrix::transposed(w_ih, inputs),
            },
        );
        s.hidden[..block].fill(0.0);
        for t in 0..steps {
            let (before, h) = s.hidden.split_at_mut((t + 1) * block);
            let before = &before[t * block..];
            let recurrent = &mut s.recurrent[t * wide..(t + 1) * wide];
            if t > 0 {
                matmul(
                    (batch, 3 * hidden, hidden),
                    recurrent,
                    true,
                    Matrix::rows(before, hidden),
                    Matrix::rows(&s.w_hh, 3 * hidden),
                );
            }
            let gates = &mut s.gates[t * wide..(t + 1) * wide];
            let step = StepForward {
                hidden,
                gates,
                recurrent,
                before,
                h: &mut h[..block],
            };
            if self.relu {
                dispatch(Relu(step));
            } else {
                dispatch(Tanh(step));
            }
        }
    }

    /// The gradient of the weights, and that of the inputs if wanted.
    fn backward(
        &self,
        weights: &[f32],
        d_out: &[f32],
        want_dx: bool,
        s: &mut Buffers,
    ) -> (Vec<f32>, Option<Vec<f32>>) {
        let SequenceShape {
            batch,
            steps,
            inputs,
            hidden,
        } = self.shape;
        let [w_ih, w_hh, b_ih, _] = self.split(weights);
        let (block, wide) = (batch * hidden, batch * 3 * hidden);
        resize(&mut s.d_gates, steps * wide);
        resize(&mut s.d_recurrent, steps * wide);
        resize(&mut s.d_hidden, block);
        resize(&mut s.d_before, block);
        self.shape.gradient(self.output, d_out, &mut s.d_out);
        s.d_hidden.fill(0.0);
        for t in (0..steps).rev() {
            self.shape
                .add_gradient(self.output, t, &s.d_out, &mut s.d_hidden);
            let wide = t * wide..(t + 1) * wide;
            let d_recurrent = &mut s.d_recurrent[wide.clone()];
            let step = StepBackward {
                hidden,
                gates: &s.gates[wide.clone()],
                recurrent: &s.recurrent[wide.clone()],
                before: &s.hidden[t * block..(t + 1) * block],
                d_hidden: &s.d_hidden,
                d_before: &mut s.d_before,
                d_gates: &mut s.d_gates[wide],
                d_recurrent,
            };
            if self.relu {
                dispatch(Relu(step));
            } else {
                dispatch(Tanh(step));
            }
            if t > 0 {
                matmul(
                    (batch, hidden, 3 * hidden),
                    &mut s.d_before,
                    true,
                    Matrix::rows(d_recurrent, 3 * hidden),
                    Matrix::rows(w_hh, hidden),
                );
                std::mem::swap(&mut s.d_hidden, &mut s.d_before);
            }
        }
        let mut d_weights = vec![0.0; weights.len()];
        let (d_w_ih, rest) = d_weights.split_at_mut(w_ih.len());
        let (d_w_hh, rest) = rest.split_at_mut(w_hh.len());
        let (d_b_ih, d_b_hh) = rest.split_at_mut(b_ih.len());
        if self.shape.transposes_inputs() {
            matmul(
                (inputs, 3 * hidden, steps * batch),
                &mut s.w_ih,
                false,
                Matrix::transposed(&s.x, inputs),
                Matrix::rows(&s.d_gates, 3 * hidden),
            );
            transpose(3 * hidden, &s.w_ih, d_w_ih);
        } else {
            matmul(
                (3 * hidden, inputs, steps * batch),
                d_w_ih,
                false,
                Matrix::transposed(&s.d_gates, 3 * hidden),
                Matrix::rows(&s.x, inputs),
            );
        }
        matmul(
            (3 * hidden, hidden, (steps - 1) * batch),
            d_w_hh,
            false,
            Matrix::transposed(&s.d_recurrent[wide..], 3 * hidden),
            Matrix::rows(&s.hidden[block..], hidden),
        );
        sum_rows(&s.d_gates, 3 * hidden, d_b_ih);
        sum_rows(&s.d_recurrent, 3 * hidden, d_b_hh);
        let dx = want_dx.then(|| {
            let mut dx = vec![0.0; steps * batch * inputs];
            matmul(
                (steps * batch, inputs, 3 * hidden),
                &mut dx,
                false,
                Matrix::rows(&s.d_gates, 3 * hidden),
                Matrix::rows(w_ih, inputs),
            );
            self.shape.batch_major(inputs, &dx)
        });
        (d_weights, dx)
    }
}

impl CustomOp2 for FusedGru {
    fn name(&self) -> &'static str {
        "fused-gru"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weights) = (values(x, x_layout)?, values(weights, weights_layout)?);
        let SequenceShape {
            batch,
            steps,
            inputs,
            hidden,
        } = self.shape;
        if x.len() != batch * steps * inputs || weights.len() != 3 * hidden * (inputs + hidden + 2)
        {
            candle_core::bail!("the inputs or weights of a GRU do not have the shape it has");
        }
        let (out, shape) = self.buffers.with(|s| {
            self.forward(x, weights, s);
            self.shape.output(&s.hidden[batch * hidden..], self.output)
        });
        Ok((CpuStorage::F32(out), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        d_out: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (d_weights, dx) = with_values(weights, |w| {
            with_values(d_out, |d_out| {
                Ok(self
                    .buffers
                    .with(|s| self.backward(w, d_out, x.track_op(), s)))
            })
        })?;
        Ok((
            dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device()))
                .transpose()?,
            Some(Tensor::from_vec(
                d_weights,
                weights.shape(),
                weights.device(),
            )?),
        ))
    }
}

/// A step whose new gate uses tanh.
struct Tanh<S>(S);
/// A step whose new gate uses the rectifier.
struct Relu<S>(S);

struct StepForward<'a> {
    hidden: usize,
    gates: &'a mut [f32],
    recurrent: &'a [f32],
    before: &'a [f32],
    h: &'a mut [f32],
}

struct StepBackward<'a> {
    hidden: usize,
    gates: &'a [f32],
    recurrent: &'a [f32],
    before: &'a [f32],
    d_hidden: &'a [f32],
    d_before: &'a mut [f32],
    d_gates: &'a mut [f32],
    d_recurrent: &'a mut [f32],
}

impl StepForward<'_> {
    #[inline(always)]
    fn run<const FMA: bool, const RELU: bool>(self) {
        let n = self.hidden;
        let rows = self
            .gates
            .chunks_exact_mut(3 * n)
            .zip(self.recurrent.chunks_exact(3 * n));
        for (row, (gates, recurrent)) in rows.enumerate() {
            let at = row * n..(row + 1) * n;
            let (both, new) = gates.split_at_mut(2 * n);
            for (x, u) in both.iter_mut().zip(recurrent) {
                *x = sigmoid::<FMA>(*x + u);
            }
            let (reset, update) = both.split_at(n);
            let recurrent = &recurrent[2 * n..3 * n];
            for j in 0..n {
                new[j] = activate::<FMA, RELU>(new[j] + reset[j] * recurrent[j]);
            }
            let before = &self.before[at.clone()];
            let h = &mut self.h[at];
            for j in 0..n {
                h[j] = new[j] + update[j] * (before[j] - new[j]);
            }
        }
    }
}

impl StepBackward<'_> {
    #[inline(always)]
    fn run<const RELU: bool>(self) {
        let n = self.hidden;
        let rows = self
            .d_gates
            .chunks_exact_mut(3 * n)
            .zip(self.d_recurrent.chunks_exact_mut(3 * n));
        for (row, (d_gates, d_recurrent)) in rows.enumerate() {
            let (at, wide) = (row * n..(row + 1) * n, row * 3 * n..(row + 1) * 3 * n);
            let (reset, rest) = self.gates[wide.clone()].split_at(n);
            let (update, new) = rest.split_at(n);
            let recurrent = &self.recurrent[wide][2 * n..3 * n];
            let before = &self.before[at.clone()];
            let dh = &self.d_hidden[at.clone()];
            let d_before = &mut self.d_before[at];
            let (d_reset, rest) = d_gates.split_at_mut(n);
            let (d_update, d_new) = rest.split_at_mut(n);
            for j in 0..n {
                d_new[j] = dh[j] * (1.0 - update[j]) * slope::<RELU>(new[j]);
            }
            for j in 0..n {
                d_update[j] = dh[j] * (before[j] - new[j]) * update[j] * (1.0 - update[j]);
            }
            for j in 0..n {
                d_reset[j] = d_new[j] * recurrent[j] * reset[j] * (1.0 - reset[j]);
            }
            d_recurrent[..n].copy_from_slice(d_reset);
            d_recurrent[n..2 * n].copy_from_slice(d_update);
            let d_last = &mut d_recurrent[2 * n..3 * n];
            for j in 0..n {
                d_last[j] = d_new[j] * reset[j];
            }
            for j in 0..n {
                d_before[j] = dh[j] * update[j];
            }
        }
    }
}

impl Kernel for Tanh<StepForward<'_>> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.run::<FMA, false>();
    }
}

impl Kernel for Relu<StepForward<'_>> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.run::<FMA, true>();
    }
}

impl Kernel for Tanh<StepBackward<'_>> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.run::<false>();
    }
}

impl Kernel for Relu<StepBackward<'_>> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.run::<true>();
    }
}
