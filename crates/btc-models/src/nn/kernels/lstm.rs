//! A whole LSTM layer over all steps as one operation, forward and backward through time.
//!
//! The order of the gates is PyTorch's: input, forget, cell, output.

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
    /// Gates after their activation: (steps, batch, 4 hidden). Going back, their gradients take
    /// their places, which keeps more of the work within the cache.
    gates: Vec<f32>,
    /// Cell states, their activation, and hidden states: (steps, batch, hidden).
    cell: Vec<f32>,
    active: Vec<f32>,
    hidden: Vec<f32>,
    d_out: Vec<f32>,
    d_hidden: Vec<f32>,
    d_cell: Vec<f32>,
}

/// The operation on inputs (batch, steps, inputs) and packed weights.
///
/// The weights are `weight_ih` transposed (inputs, 4 hidden), `bias` (4 hidden) and `weight_hh`
/// (4 hidden, hidden), one after the other.
#[derive(Debug)]
pub(crate) struct FusedLstm {
    shape: SequenceShape,
    relu: bool,
    output: Output,
    buffers: Lease<Buffers>,
}

impl FusedLstm {
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

    /// The weights of the inputs, the bias, and the weights of the hidden states.
    fn split<'a>(&self, weights: &'a [f32]) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let SequenceShape { inputs, hidden, .. } = self.shape;
        let (w_x, rest) = weights.split_at(4 * hidden * inputs);
        let (bias, w_h) = rest.split_at(4 * hidden);
        (w_x, bias, w_h)
    }

    fn forward(&self, x: &[f32], weights: &[f32], s: &mut Buffers) {
        let SequenceShape {
            batch,
            steps,
            inputs,
            hidden,
        } = self.shape;
        let (w_x, bias, w_h) = self.split(weights);
        let (block, wide) = (batch * hidden, batch * 4 * hidden);
        resize(&mut s.gates, steps * wide);
        for buffer in [&mut s.cell, &mut s.active, &mut s.hidden] {
            resize(buffer, steps * block);
        }
        resize(&mut s.transposed, w_h.len());
        transpose(hidden, w_h, &mut s.transposed);
        for t in 0..steps {
            let now = t * block..(t + 1) * block;
            let gates = &mut s.gates[t * wide..(t + 1) * wide];
            let (before, cell) = s.cell.split_at_mut(now.start);
            let (hidden_before, h) = s.hidden.split_at_mut(now.start);
            let before = (t > 0).then(|| &before[now.start - block..]);
            let of_inputs = Product {
                k: inputs,
                a: self.shape.inputs_of_step(x, t),
                b: w_x,
                stride: 4 * hidden,
            };
            let of_hidden = (t > 0).then(|| Product {
                k: hidden,
                a: Matrix::rows(&hidden_before[now.start - block..], hidden),
                b: &s.transposed,
                stride: 4 * hidden,
            });
            let both = [of_inputs, of_hidden.unwrap_or(of_inputs)];
            sum_products(
                (batch, 4 * hidden),
                gates,
                4 * hidden,
                Start::Row(bias),
                &both[..1 + usize::from(t > 0)],
                Repeat::ONCE,
            );
            let step = StepForward {
                hidden,
                gates,
                before,
                cell: &mut cell[..block],
                active: &mut s.active[now],
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
        let (w_x, bias, w_h) = self.split(weights);
        let (block, wide) = (batch * hidden, batch * 4 * hidden);
        resize(&mut s.d_hidden, block);
        resize(&mut s.d_cell, block);
        self.shape.gradient(self.output, d_out, &mut s.d_out);
        s.d_cell.fill(0.0);
        s.d_hidden.fill(0.0);
        for t in (0..steps).rev() {
            let now = t * block..(t + 1) * block;
            self.shape
                .add_gradient(self.output, t, &s.d_out, &mut s.d_hidden);
            let gates = &mut s.gates[t * wide..(t + 1) * wide];
            let step = StepBackward {
                hidden,
                gates,
                before: (t > 0).then(|| &s.cell[now.start - block..now.start]),
                active: &s.active[now],
                d_hidden: &s.d_hidden,
                d_cell: &mut s.d_cell,
            };
            step.dispatch(self.relu);
            if t > 0 {
                sum_products(
                    (batch, hidden),
                    &mut s.d_hidden,
                    hidden,
                    Start::Zero,
                    &[Product {
                        k: 4 * hidden,
                        a: Matrix::rows(gates, 4 * hidden),
                        b: w_h,
                        stride: hidden,
                    }],
                    Repeat::ONCE,
                );
            }
        }
        let mut d_weights = vec![0.0; weights.len()];
        let (d_w_x, rest) = d_weights.split_at_mut(w_x.len());
        let (d_bias, d_w_h) = rest.split_at_mut(bias.len());
        let of_steps: Vec<Product<'_>> = (0..steps)
            .map(|t| Product {
                k: batch,
                a: self.shape.inputs_of_step(x, t).transpose(),
                b: &s.gates[t * wide..],
                stride: 4 * hidden,
            })
            .collect();
        let size = (inputs, 4 * hidden);
        sum_products(
            size,
            d_w_x,
            4 * hidden,
            Start::Zero,
            &of_steps,
            Repeat::ONCE,
        );
        sum_rows(&s.gates, 4 * hidden, d_bias);
        let of_hidden = Product {
            k: (steps - 1) * batch,
            a: Matrix::transposed(&s.gates[wide..], 4 * hidden),
            b: &s.hidden,
            stride: hidden,
        };
        let size = (4 * hidden, hidden);
        sum_products(size, d_w_h, hidden, Start::Zero, &[of_hidden], Repeat::ONCE);
        let dx = want_dx.then(|| {
            resize(&mut s.transposed, w_x.len());
            transpose(4 * hidden, w_x, &mut s.transposed);
            self.shape
                .gradient_of_inputs(4 * hidden, &s.gates, &s.transposed)
        });
        (d_weights, dx)
    }
}

impl CustomOp2 for FusedLstm {
    fn name(&self) -> &'static str {
        "fused-lstm"
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
        if x.len() != batch * steps * inputs || weights.len() != 4 * hidden * (inputs + hidden + 1)
        {
            candle_core::bail!("the inputs or weights of an LSTM do not have the shape it has");
        }
        let (out, shape) = self.buffers.fill(|s| {
            self.forward(x, weights, s);
            self.shape.output(&s.hidden, self.output)
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

/// The gates and states of one step, from what the gates are before their activation.
pub(super) struct StepForward<'a> {
    pub(super) hidden: usize,
    pub(super) gates: &'a mut [f32],
    /// The cell states of the step before, or none if this is the first.
    pub(super) before: Option<&'a [f32]>,
    pub(super) cell: &'a mut [f32],
    pub(super) active: &'a mut [f32],
    pub(super) h: &'a mut [f32],
}

/// The gradients of one step, from those of its hidden and cell states.
pub(super) struct StepBackward<'a> {
    pub(super) hidden: usize,
    /// The gates, which become their gradients before their activation.
    pub(super) gates: &'a mut [f32],
    pub(super) before: Option<&'a [f32]>,
    pub(super) active: &'a [f32],
    pub(super) d_hidden: &'a [f32],
    /// Becomes the gradient of the cell states of the step before.
    pub(super) d_cell: &'a mut [f32],
}

impl StepForward<'_> {
    /// Does the step in two passes.
    ///
    /// Each waits for one exponential, not for two in turn, while the next units' are under way.
    pub(super) fn dispatch(self, relu: bool) {
        let (hidden, cell) = (self.hidden, self.cell);
        let states = CellStates {
            hidden,
            gates: self.gates,
            before: self.before,
            cell,
        };
        states.dispatch(relu);
        let states = HiddenStates {
            hidden,
            gates: self.gates,
            cell,
            active: self.active,
            h: self.h,
        };
        states.dispatch(relu);
    }
}

/// The first pass: gates and cell states.
struct CellStates<'a> {
    hidden: usize,
    gates: &'a mut [f32],
    before: Option<&'a [f32]>,
    cell: &'a mut [f32],
}

/// The second: hidden states.
struct HiddenStates<'a> {
    hidden: usize,
    gates: &'a [f32],
    cell: &'a [f32],
    active: &'a mut [f32],
    h: &'a mut [f32],
}

impl Units for CellStates<'_> {
    fn size(&self) -> (usize, usize) {
        (self.cell.len() / self.hidden, self.hidden)
    }

    #[inline(always)]
    fn block<const FMA: bool, const RELU: bool, const N: usize>(&mut self, row: usize, at: usize) {
        let n = self.hidden;
        let (gates, units) = (row * 4 * n + at, row * n + at);
        let mut i = load::<N>(self.gates, gates);
        let mut f = load::<N>(self.gates, gates + n);
        let mut g = load::<N>(self.gates, gates + 2 * n);
        let mut o = load::<N>(self.gates, gates + 3 * n);
        let before = self.before.map_or([0.0; N], |before| load(before, units));
        let mut cell = [0.0; N];
        for k in 0..N {
            i[k] = sigmoid::<FMA>(i[k]);
            f[k] = sigmoid::<FMA>(f[k]);
            g[k] = activate::<FMA, RELU>(g[k]);
            o[k] = sigmoid::<FMA>(o[k]);
            cell[k] = f[k] * before[k] + i[k] * g[k];
        }
        store(&i, self.gates, gates);
        store(&f, self.gates, gates + n);
        store(&g, self.gates, gates + 2 * n);
        store(&o, self.gates, gates + 3 * n);
        store(&cell, self.cell, units);
    }
}

impl Units for HiddenStates<'_> {
    fn size(&self) -> (usize, usize) {
        (self.h.len() / self.hidden, self.hidden)
    }

    #[inline(always)]
    fn block<const FMA: bool, const RELU: bool, const N: usize>(&mut self, row: usize, at: usize) {
        let n = self.hidden;
        let (output, units) = (row * 4 * n + 3 * n + at, row * n + at);
        let o = load::<N>(self.gates, output);
        let mut active = load::<N>(self.cell, units);
        let mut h = [0.0; N];
        for k in 0..N {
            active[k] = activate::<FMA, RELU>(active[k]);
            h[k] = o[k] * active[k];
        }
        store(&active, self.active, units);
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
        let (gates, units) = (row * 4 * n + at, row * n + at);
        let i = load::<N>(self.gates, gates);
        let f = load::<N>(self.gates, gates + n);
        let g = load::<N>(self.gates, gates + 2 * n);
        let o = load::<N>(self.gates, gates + 3 * n);
        let before = self.before.map_or([0.0; N], |before| load(before, units));
        let active = load::<N>(self.active, units);
        let dh = load::<N>(self.d_hidden, units);
        let mut dc = load::<N>(self.d_cell, units);
        let (mut di, mut df, mut dg, mut d_o) = ([0.0; N], [0.0; N], [0.0; N], [0.0; N]);
        for k in 0..N {
            d_o[k] = dh[k] * active[k] * o[k] * (1.0 - o[k]);
            let d = dc[k] + dh[k] * o[k] * slope::<RELU>(active[k]);
            di[k] = d * g[k] * i[k] * (1.0 - i[k]);
            dg[k] = d * i[k] * slope::<RELU>(g[k]);
            df[k] = d * before[k] * f[k] * (1.0 - f[k]);
            dc[k] = d * f[k];
        }
        store(&di, self.gates, gates);
        store(&df, self.gates, gates + n);
        store(&dg, self.gates, gates + 2 * n);
        store(&d_o, self.gates, gates + 3 * n);
        store(&dc, self.d_cell, units);
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::{Cpu, dispatch_on};
    use super::super::units::Tanh;
    use super::*;

    #[test]
    fn all_sets_of_instructions_agree() {
        // A width that is no multiple of a vector's.
        let (rows, hidden) = (3, 21);
        let numbers = |n: usize, by: usize| -> Vec<f32> {
            (0..n).map(|i| ((i * by) % 17) as f32 / 8.0 - 1.0).collect()
        };
        let run = |cpu| {
            let mut gates = numbers(rows * 4 * hidden, 7);
            let before = numbers(rows * hidden, 5);
            let (mut cell, mut active, mut h) = (before.clone(), before.clone(), before.clone());
            let states = CellStates {
                hidden,
                gates: &mut gates,
                before: Some(&before),
                cell: &mut cell,
            };
            let ran = dispatch_on(cpu, Tanh(states));
            let states = HiddenStates {
                hidden,
                gates: &gates,
                cell: &cell,
                active: &mut active,
                h: &mut h,
            };
            let ran = ran && dispatch_on(cpu, Tanh(states));
            let mut d_gates = gates.clone();
            let ran = ran
                && dispatch_on(
                    cpu,
                    Tanh(StepBackward {
                        hidden,
                        gates: &mut d_gates,
                        before: Some(&before),
                        active: &active,
                        d_hidden: &h.clone(),
                        d_cell: &mut cell,
                    }),
                );
            ran.then(|| [gates, cell, active, h, d_gates].concat())
        };
        let expected = run(Cpu::Portable).unwrap();
        #[cfg(target_arch = "x86_64")]
        for found in [Cpu::Avx2, Cpu::Avx512].into_iter().filter_map(run) {
            assert!(
                expected
                    .iter()
                    .zip(&found)
                    .all(|(a, b)| (a - b).abs() < 1e-6)
            );
        }
        assert!(expected.iter().all(|x| x.is_finite()));
    }
}
