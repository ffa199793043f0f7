//! A whole GRU layer over all steps as one operation, forward and backward through time.
//!
//! The order of the gates is PyTorch's: reset, update, new; the reset gate acts on the hidden
//! state after its weights.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::math::sigmoid;
use super::product::{Product, Repeat, Start, sum_products};
use super::sequence::{Lease, Output, Pool, SequenceShape, resize, sum_rows, transpose};
use super::simd::Matrix;
use super::units::{Units, activate, load, slope, store};
use super::{gradients, values};

/// The buffers of one pass.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// The weights of the hidden states, or going back those of the inputs, transposed.
    transposed: Vec<f32>,
    /// Gates after their activation: (steps, batch, 3 hidden). Going back, they and the next
    /// become their gradients.
    gates: Vec<f32>,
    /// What the hidden state gives to the gates: (steps, batch, 3 hidden).
    recurrent: Vec<f32>,
    /// Hidden states, after a block of zeros for the time before: (steps + 1, batch, hidden).
    hidden: Vec<f32>,
    d_out: Vec<f32>,
    d_hidden: Vec<f32>,
    d_before: Vec<f32>,
}

/// The operation on inputs (batch, steps, inputs) and packed weights.
///
/// The weights are `weight_ih` transposed (inputs, 3 hidden), `bias_ih` (3 hidden), `weight_hh`
/// (3 hidden, hidden) and `bias_hh` (3 hidden), one after the other.
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

    /// The weights of the inputs and their bias, those of the hidden states and theirs.
    fn split<'a>(&self, weights: &'a [f32]) -> [&'a [f32]; 4] {
        let SequenceShape { inputs, hidden, .. } = self.shape;
        let (w_x, rest) = weights.split_at(3 * hidden * inputs);
        let (b_x, rest) = rest.split_at(3 * hidden);
        let (w_h, b_h) = rest.split_at(3 * hidden * hidden);
        [w_x, b_x, w_h, b_h]
    }

    fn forward(&self, x: &[f32], weights: &[f32], s: &mut Buffers) {
        let SequenceShape {
            batch,
            steps,
            inputs,
            hidden,
        } = self.shape;
        let [w_x, b_x, w_h, b_h] = self.split(weights);
        let (block, wide) = (batch * hidden, batch * 3 * hidden);
        resize(&mut s.gates, steps * wide);
        resize(&mut s.recurrent, steps * wide);
        resize(&mut s.hidden, (steps + 1) * block);
        resize(&mut s.transposed, w_h.len());
        transpose(hidden, w_h, &mut s.transposed);
        s.hidden[..block].fill(0.0);
        for t in 0..steps {
            let (before, h) = s.hidden.split_at_mut((t + 1) * block);
            let before = &before[t * block..];
            let recurrent = &mut s.recurrent[t * wide..(t + 1) * wide];
            let gates = &mut s.gates[t * wide..(t + 1) * wide];
            let (size, stride) = ((batch, 3 * hidden), 3 * hidden);
            let of_inputs = [Product {
                k: inputs,
                a: self.shape.inputs_of_step(x, t),
                b: w_x,
                stride,
            }];
            let of_hidden = [Product {
                k: hidden,
                a: Matrix::rows(before, hidden),
                b: &s.transposed,
                stride,
            }];
            // Before the first step there is no state.
            let of_hidden = &of_hidden[..usize::from(t > 0)];
            for (to, bias, products) in [
                (&mut *gates, b_x, &of_inputs[..]),
                (&mut *recurrent, b_h, of_hidden),
            ] {
                sum_products(size, to, stride, Start::Row(bias), products, Repeat::ONCE);
            }
            let step = StepForward {
                hidden,
                gates,
                recurrent,
                before,
                h: &mut h[..block],
            };
            step.dispatch(self.relu);
        }
    }

    /// The gradient of the weights, and that of the inputs if wanted.
    fn backward(
        &self,
        x: &[f32],
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
        let [w_x, b_x, w_h, _] = self.split(weights);
        let (block, wide) = (batch * hidden, batch * 3 * hidden);
        resize(&mut s.d_hidden, block);
        resize(&mut s.d_before, block);
        self.shape.gradient(self.output, d_out, &mut s.d_out);
        s.d_hidden.fill(0.0);
        for t in (0..steps).rev() {
            self.shape
                .add_gradient(self.output, t, &s.d_out, &mut s.d_hidden);
            let wide = t * wide..(t + 1) * wide;
            let recurrent = &mut s.recurrent[wide.clone()];
            let step = StepBackward {
                hidden,
                gates: &mut s.gates[wide],
                recurrent,
                before: &s.hidden[t * block..(t + 1) * block],
                d_hidden: &s.d_hidden,
                d_before: &mut s.d_before,
            };
            step.dispatch(self.relu);
            if t > 0 {
                sum_products(
                    (batch, hidden),
                    &mut s.d_before,
                    hidden,
                    Start::Sum,
                    &[Product {
                        k: 3 * hidden,
                        a: Matrix::rows(recurrent, 3 * hidden),
                        b: w_h,
                        stride: hidden,
                    }],
                    Repeat::ONCE,
                );
                std::mem::swap(&mut s.d_hidden, &mut s.d_before);
            }
        }
        let mut d_weights = vec![0.0; weights.len()];
        let (d_w_x, rest) = d_weights.split_at_mut(w_x.len());
        let (d_b_x, rest) = rest.split_at_mut(b_x.len());
        let (d_w_h, d_b_h) = rest.split_at_mut(w_h.len());
        let of_steps: Vec<Product<'_>> = (0..steps)
            .map(|t| Product {
                k: batch,
                a: self.shape.inputs_of_step(x, t).transpose(),
                b: &s.gates[t * wide..],
                stride: 3 * hidden,
            })
            .collect();
        let size = (inputs, 3 * hidden);
        sum_products(
            size,
            d_w_x,
            3 * hidden,
            Start::Zero,
            &of_steps,
            Repeat::ONCE,
        );
        let of_hidden = Product {
            k: (steps - 1) * batch,
            a: Matrix::transposed(&s.recurrent[wide..], 3 * hidden),
            b: &s.hidden[block..],
            stride: hidden,
        };
        let size = (3 * hidden, hidden);
        sum_products(size, d_w_h, hidden, Start::Zero, &[of_hidden], Repeat::ONCE);
        sum_rows(&s.gates, 3 * hidden, d_b_x);
        sum_rows(&s.recurrent, 3 * hidden, d_b_h);
        let dx = want_dx.then(|| {
            resize(&mut s.transposed, w_x.len());
            transpose(3 * hidden, w_x, &mut s.transposed);
            self.shape
                .gradient_of_inputs(3 * hidden, &s.gates, &s.transposed)
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
        let (out, shape) = self.buffers.fill(|s| {
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
        gradients(x, weights, d_out, |values, weights, d_out| {
            self.buffers.spend(
                |s| self.forward(values, weights, s),
                |s| self.backward(values, weights, d_out, x.track_op(), s),
            )
        })
    }
}

/// The gates and hidden states of one step, from what both sides give to the gates.
struct StepForward<'a> {
    hidden: usize,
    gates: &'a mut [f32],
    recurrent: &'a [f32],
    before: &'a [f32],
    h: &'a mut [f32],
}

/// The gradients of one step, from that of its hidden states.
struct StepBackward<'a> {
    hidden: usize,
    /// The gates, and what the hidden states gave to them; both become gradients.
    gates: &'a mut [f32],
    recurrent: &'a mut [f32],
    before: &'a [f32],
    d_hidden: &'a [f32],
    /// Becomes the part of the gradient that does not pass through the gates.
    d_before: &'a mut [f32],
}

impl Units for StepForward<'_> {
    fn size(&self) -> (usize, usize) {
        (self.h.len() / self.hidden, self.hidden)
    }

    #[inline(always)]
    fn block<const FMA: bool, const RELU: bool, const N: usize>(&mut self, row: usize, at: usize) {
        let n = self.hidden;
        let (gates, units) = (row * 3 * n + at, row * n + at);
        let mut reset = load::<N>(self.gates, gates);
        let mut update = load::<N>(self.gates, gates + n);
        let mut new = load::<N>(self.gates, gates + 2 * n);
        let to_reset = load::<N>(self.recurrent, gates);
        let to_update = load::<N>(self.recurrent, gates + n);
        let to_new = load::<N>(self.recurrent, gates + 2 * n);
        let before = load::<N>(self.before, units);
        let mut h = [0.0; N];
        for k in 0..N {
            reset[k] = sigmoid::<FMA>(reset[k] + to_reset[k]);
            update[k] = sigmoid::<FMA>(update[k] + to_update[k]);
            new[k] = activate::<FMA, RELU>(new[k] + reset[k] * to_new[k]);
            h[k] = new[k] + update[k] * (before[k] - new[k]);
        }
        store(&reset, self.gates, gates);
        store(&update, self.gates, gates + n);
        store(&new, self.gates, gates + 2 * n);
        store(&h, self.h, units);
    }
}

impl Units for StepBackward<'_> {
    fn size(&self) -> (usize, usize) {
        (self.d_hidden.len() / self.hidden, self.hidden)
    }

    #[inline(always)]
    fn block<const _FMA: bool, const RELU: bool, const N: usize>(&mut self, row: usize, at: usize) {
        let n = self.hidden;
        let (gates, units) = (row * 3 * n + at, row * n + at);
        let mut reset = load::<N>(self.gates, gates);
        let mut update = load::<N>(self.gates, gates + n);
        let mut new = load::<N>(self.gates, gates + 2 * n);
        let mut to_new = load::<N>(self.recurrent, gates + 2 * n);
        let before = load::<N>(self.before, units);
        let dh = load::<N>(self.d_hidden, units);
        let mut d_before = [0.0; N];
        for k in 0..N {
            let (r, u) = (reset[k], update[k]);
            let d_new = dh[k] * (1.0 - u) * slope::<RELU>(new[k]);
            d_before[k] = dh[k] * u;
            update[k] = dh[k] * (before[k] - new[k]) * u * (1.0 - u);
            reset[k] = d_new * to_new[k] * r * (1.0 - r);
            new[k] = d_new;
            to_new[k] = d_new * r;
        }
        store(&reset, self.gates, gates);
        store(&update, self.gates, gates + n);
        store(&new, self.gates, gates + 2 * n);
        store(&reset, self.recurrent, gates);
        store(&update, self.recurrent, gates + n);
        store(&to_new, self.recurrent, gates + 2 * n);
        store(&d_before, self.d_before, units);
    }
}
