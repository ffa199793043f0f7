//! A whole LSTM layer over all steps as one operation, forward and backward through time.
//!
//! The order of the gates is PyTorch's: input, forget, cell, output.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::math::{sigmoid, tanh};
use super::sequence::{Lease, Output, Pool, SequenceShape, resize, sum_rows, transpose};
use super::simd::{Kernel, Matrix, dispatch, matmul};
use super::{values, with_values};

/// The buffers of one pass.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    /// Transposed weights; in the end, the first become those of their gradient.
    w_ih: Vec<f32>,
    w_hh: Vec<f32>,
    /// Inputs in the order of steps.
    x: Vec<f32>,
    /// Gates after their activation: (steps, batch, 4 hidden).
    gates: Vec<f32>,
    /// Cell states, their activation, and hidden states: (steps, batch, hidden).
    cell: Vec<f32>,
    active: Vec<f32>,
    hidden: Vec<f32>,
    d_out: Vec<f32>,
    d_gates: Vec<f32>,
    d_hidden: Vec<f32>,
    d_cell: Vec<f32>,
}

/// The operation on inputs (batch, steps, inputs) and packed weights.
///
/// The weights are `weight_ih` (4 hidden, inputs), `weight_hh` (4 hidden, hidden) and `bias`
/// (4 hidden), one after the other.
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

    fn split<'a>(&self, weights: &'a [f32]) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let SequenceShape { inputs, hidden, .. } = self.shape;
        let (w_ih, rest) = weights.split_at(4 * hidden * inputs);
        let (w_hh, bias) = rest.split_at(4 * hidden * hidden);
        (w_ih, w_hh, bias)
    }

    fn forward(&self, x: &[f32], weights: &[f32], s: &mut Buffers) {
        let SequenceShape {
            batch,
            steps,
            inputs,
            hidden,
        } = self.shape;
        let (w_ih, w_hh, bias) = self.split(weights);
        let (block, wide) = (batch * hidden, batch * 4 * hidden);
        resize(&mut s.x, steps * batch * inputs);
        resize(&mut s.gates, steps * wide);
        for buffer in [&mut s.cell, &mut s.active, &mut s.hidden] {
            resize(buffer, steps * block);
        }
        if self.shape.transposes_inputs() {
            resize(&mut s.w_ih, w_ih.len());
            transpose(inputs, w_ih, &mut s.w_ih);
        }
        if 1 < steps {
            resize(&mut s.w_hh, w_hh.len());
            transpose(hidden, w_hh, &mut s.w_hh);
        }
        self.shape.time_major(inputs, x, &mut s.x);
        for row in s.gates.chunks_exact_mut(4 * hidden) {
            row.copy_from_slice(bias);
        }
        matmul(
            (steps * batch, 4 * hidden, inputs),
            &mut s.gates,
            true,
            Matrix::rows(&s.x, inputs),
            match self.shape.transposes_inputs() {
                true => Matrix::rows(&s.w_ih, 4 * hidden),
                false => Matrix::transposed(w_ih, inputs),
            },
        );
        for t in 0..steps {
            let now = t * block..(t + 1) * block;
            let gates = &mut s.gates[t * wide..(t + 1) * wide];
            let (before, cell) = s.cell.split_at_mut(now.start);
            let (hidden_before, h) = s.hidden.split_at_mut(now.start);
            let before = (t > 0).then(|| &before[now.start - block..]);
            if t > 0 {
                matmul(
                    (batch, 4 * hidden, hidden),
                    gates,
                    true,
                    Matrix::rows(&hidden_before[now.start - block..], hidden),
                    Matrix::rows(&s.w_hh, 4 * hidden),
                );
            }
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
        let (w_ih, w_hh, _) = self.split(weights);
        let (block, wide) = (batch * hidden, batch * 4 * hidden);
        resize(&mut s.d_gates, steps * wide);
        resize(&mut s.d_hidden, block);
        resize(&mut s.d_cell, block);
        self.shape.gradient(self.output, d_out, &mut s.d_out);
        s.d_cell.fill(0.0);
        s.d_hidden.fill(0.0);
        for t in (0..steps).rev() {
            let now = t * block..(t + 1) * block;
            self.shape
                .add_gradient(self.output, t, &s.d_out, &mut s.d_hidden);
            let d_gates = &mut s.d_gates[t * wide..(t + 1) * wide];
            let step = StepBackward {
                hidden,
                gates: &s.gates[t * wide..(t + 1) * wide],
                before: (t > 0).then(|| &s.cell[now.start - block..now.start]),
                active: &s.active[now],
                d_hidden: &s.d_hidden,
                d_cell: &mut s.d_cell,
                d_gates,
            };
            step.dispatch(self.relu);
            if t > 0 {
                matmul(
                    (batch, hidden, 4 * hidden),
                    &mut s.d_hidden,
                    false,
                    Matrix::rows(d_gates, 4 * hidden),
                    Matrix::rows(w_hh, hidden),
                );
            }
        }
        let mut d_weights = vec![0.0; weights.len()];
        let (d_w_ih, rest) = d_weights.split_at_mut(w_ih.len());
        let (d_w_hh, d_bias) = rest.split_at_mut(w_hh.len());
        if self.shape.transposes_inputs() {
            matmul(
                (inputs, 4 * hidden, steps * batch),
                &mut s.w_ih,
                false,
                Matrix::transposed(&s.x, inputs),
                Matrix::rows(&s.d_gates, 4 * hidden),
            );
            transpose(4 * hidden, &s.w_ih, d_w_ih);
        } else {
            matmul(
                (4 * hidden, inputs, steps * batch),
                d_w_ih,
                false,
                Matrix::transposed(&s.d_gates, 4 * hidden),
                Matrix::rows(&s.x, inputs),
            );
        }
        matmul(
            (4 * hidden, hidden, (steps - 1) * batch),
            d_w_hh,
            false,
            Matrix::transposed(&s.d_gates[wide..], 4 * hidden),
            Matrix::rows(&s.hidden, hidden),
        );
        sum_rows(&s.d_gates, 4 * hidden, d_bias);
        let dx = want_dx.then(|| {
            let mut dx = vec![0.0; steps * batch * inputs];
            matmul(
                (steps * batch, inputs, 4 * hidden),
                &mut dx,
                false,
                Matrix::rows(&s.d_gates, 4 * hidden),
                Matrix::rows(w_ih, inputs),
            );
            self.shape.batch_major(inputs, &dx)
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
        let (out, shape) = self.buffers.with(|s| {
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

/// A step whose cell candidate and output use tanh.
struct Tanh<S>(S);
/// A step whose cell candidate and output use the rectifier.
struct Relu<S>(S);

pub(super) struct StepForward<'a> {
    pub(super) hidden: usize,
    pub(super) gates: &'a mut [f32],
    pub(super) before: Option<&'a [f32]>,
    pub(super) cell: &'a mut [f32],
    pub(super) active: &'a mut [f32],
    pub(super) h: &'a mut [f32],
}

pub(super) struct StepBackward<'a> {
    pub(super) hidden: usize,
    pub(super) gates: &'a [f32],
    pub(super) before: Option<&'a [f32]>,
    pub(super) active: &'a [f32],
    pub(super) d_hidden: &'a [f32],
    pub(super) d_cell: &'a mut [f32],
    pub(super) d_gates: &'a mut [f32],
}

#[inline(always)]
pub(super) fn activate<const FMA: bool, const RELU: bool>(x: f32) -> f32 {
    // Not `max`, which would turn a NaN into 0.
    if RELU {
        if x < 0.0 { 0.0 } else { x }
    } else {
        tanh::<FMA>(x)
    }
}

/// The derivative of the activation, from its value.
#[inline(always)]
pub(super) fn slope<const RELU: bool>(y: f32) -> f32 {
    if RELU {
        if y > 0.0 { 1.0 } else { 0.0 }
    } else {
        1.0 - y * y
    }
}

impl StepForward<'_> {
    pub(super) fn dispatch(self, relu: bool) {
        if relu {
            dispatch(Relu(self));
        } else {
            dispatch(Tanh(self));
        }
    }

    #[inline(always)]
    fn run<const FMA: bool, const RELU: bool>(self) {
        let n = self.hidden;
        for (row, gates) in self.gates.chunks_exact_mut(4 * n).enumerate() {
            let at = row * n..(row + 1) * n;
            let (i, rest) = gates.split_at_mut(n);
            let (f, rest) = rest.split_at_mut(n);
            let (g, o) = rest.split_at_mut(n);
            for x in i.iter_mut() {
                *x = sigmoid::<FMA>(*x);
            }
            for x in f.iter_mut() {
                *x = sigmoid::<FMA>(*x);
            }
            for x in g.iter_mut() {
                *x = activate::<FMA, RELU>(*x);
            }
            for x in o.iter_mut() {
                *x = sigmoid::<FMA>(*x);
            }
            let cell = &mut self.cell[at.clone()];
            let active = &mut self.active[at.clone()];
            let h = &mut self.h[at.clone()];
            match self.before {
                Some(before) => {
                    let before = &before[at];
                    for j in 0..n {
                        cell[j] = f[j] * before[j] + i[j] * g[j];
                    }
                }
                None => {
                    for j in 0..n {
                        cell[j] = i[j] * g[j];
                    }
                }
            }
            for j in 0..n {
                active[j] = activate::<FMA, RELU>(cell[j]);
            }
            for j in 0..n {
                h[j] = o[j] * active[j];
            }
        }
    }
}

impl StepBackward<'_> {
    pub(super) fn dispatch(self, relu: bool) {
        if relu {
            dispatch(Relu(self));
        } else {
            dispatch(Tanh(self));
        }
    }

    #[inline(always)]
    fn run<const RELU: bool>(self) {
        let n = self.hidden;
        let rows = self
            .gates
            .chunks_exact(4 * n)
            .zip(self.d_gates.chunks_exact_mut(4 * n));
        for (row, (gates, d_gates)) in rows.enumerate() {
            let at = row * n..(row + 1) * n;
            let (i, rest) = gates.split_at(n);
            let (f, rest) = rest.split_at(n);
            let (g, o) = rest.split_at(n);
            let (di, rest) = d_gates.split_at_mut(n);
            let (df, rest) = rest.split_at_mut(n);
            let (dg, d_o) = rest.split_at_mut(n);
            let active = &self.active[at.clone()];
            let dh = &self.d_hidden[at.clone()];
            let dc = &mut self.d_cell[at.clone()];
            for j in 0..n {
                d_o[j] = dh[j] * active[j] * o[j] * (1.0 - o[j]);
                dc[j] += dh[j] * o[j] * slope::<RELU>(active[j]);
            }
            for j in 0..n {
                di[j] = dc[j] * g[j] * i[j] * (1.0 - i[j]);
                dg[j] = dc[j] * i[j] * slope::<RELU>(g[j]);
            }
            match self.before {
                Some(before) => {
                    let before = &before[at];
                    for j in 0..n {
                        df[j] = dc[j] * before[j] * f[j] * (1.0 - f[j]);
                    }
                }
                None => df.fill(0.0),
            }
            for j in 0..n {
                dc[j] *= f[j];
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

#[cfg(test)]
mod tests {
    use super::super::simd::{Cpu, dispatch_on};
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
            let ran = dispatch_on(
                cpu,
                Tanh(StepForward {
                    hidden,
                    gates: &mut gates,
                    before: Some(&before),
                    cell: &mut cell,
                    active: &mut active,
                    h: &mut h,
                }),
            );
            let mut d_gates = gates.clone();
            let ran = ran
                && dispatch_on(
                    cpu,
                    Tanh(StepBackward {
                        hidden,
                        gates: &gates,
                        before: Some(&before),
                        active: &active,
                        d_hidden: &h.clone(),
                        d_cell: &mut cell,
                        d_gates: &mut d_gates,
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
