//! A convolutional LSTM over all steps as one operation, forward and backward through time.
//!
//! It is an LSTM of as many rows as there are positions, where the hidden state that a row sees
//! is that of its neighbours, side by side. Before the first step there is no state.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::lstm::{StepBackward, StepForward};
use super::sequence::{Lease, Output, Pool, SequenceShape, resize, sum_rows, transpose};
use super::simd::{Matrix, matmul};
use super::unfold::Unfold;
use super::units::Units;
use super::{gradients, values};

/// The sizes of the layer's work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConvShape {
    pub(crate) batch: usize,
    pub(crate) steps: usize,
    pub(crate) positions: usize,
    pub(crate) filters: usize,
    /// Neighbours that a filter sees, an odd number.
    pub(crate) kernel: usize,
}

/// The buffers of one pass.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    w_input: Vec<f32>,
    w_hidden: Vec<f32>,
    /// Neighbours' inputs: (steps, rows, kernel).
    seen: Vec<f32>,
    x: Vec<f32>,
    /// Neighbours' hidden states at one step: (rows, kernel * filters).
    around: Vec<f32>,
    d_around: Vec<f32>,
    /// As in an LSTM, gates become their gradients.
    gates: Vec<f32>,
    cell: Vec<f32>,
    active: Vec<f32>,
    hidden: Vec<f32>,
    d_out: Vec<f32>,
    d_hidden: Vec<f32>,
    d_cell: Vec<f32>,
}

/// The operation on inputs (batch, steps, positions) and packed weights, returning the hidden
/// states (batch, steps, positions * filters).
///
/// The weights are those of the inputs (4 filters, kernel), those of the hidden state
/// (4 filters, kernel, filters) and the bias (4 filters), one after the other.
#[derive(Debug)]
pub(crate) struct FusedConvLstm {
    shape: ConvShape,
    relu: bool,
    buffers: Lease<Buffers>,
}

impl FusedConvLstm {
    pub(crate) fn new(shape: ConvShape, relu: bool, pool: &Pool<Buffers>) -> Self {
        Self {
            shape,
            relu,
            buffers: pool.lease(),
        }
    }

    fn unfold(&self) -> Unfold {
        let side = self.shape.kernel / 2;
        Unfold {
            kernel: self.shape.kernel,
            dilation: 1,
            before: side,
            after: side,
        }
    }

    /// Each step is a row of `positions * filters` numbers for copies between orders.
    fn sequence(&self) -> SequenceShape {
        let ConvShape {
            batch,
            steps,
            positions,
            filters,
            ..
        } = self.shape;
        SequenceShape {
            batch,
            steps,
            inputs: positions,
            hidden: positions * filters,
        }
    }

    fn split<'a>(&self, weights: &'a [f32]) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let ConvShape {
            filters, kernel, ..
        } = self.shape;
        let (w_input, rest) = weights.split_at(4 * filters * kernel);
        let (w_hidden, bias) = rest.split_at(4 * filters * kernel * filters);
        (w_input, w_hidden, bias)
    }

    fn forward(&self, x: &[f32], weights: &[f32], s: &mut Buffers) {
        let ConvShape {
            batch,
            steps,
            positions,
            filters: n,
            kernel,
        } = self.shape;
        let (w_input, w_hidden, bias) = self.split(weights);
        let rows = batch * positions;
        let (block, wide) = (rows * n, rows * 4 * n);
        resize(&mut s.w_input, w_input.len());
        resize(&mut s.w_hidden, w_hidden.len());
        transpose(kernel, w_input, &mut s.w_input);
        transpose(kernel * n, w_hidden, &mut s.w_hidden);
        resize(&mut s.x, x.len());
        self.sequence().time_major(positions, x, &mut s.x);
        resize(&mut s.seen, steps * rows * kernel);
        self.unfold()
            .gather(steps * batch, positions, 1, &s.x, &mut s.seen);
        resize(&mut s.around, rows * kernel * n);
        resize(&mut s.gates, steps * wide);
        for buffer in [&mut s.cell, &mut s.active, &mut s.hidden] {
            resize(buffer, steps * block);
        }
        for row in s.gates.chunks_exact_mut(4 * n) {
            row.copy_from_slice(bias);
        }
        matmul(
            (steps * rows, 4 * n, kernel),
            &mut s.gates,
            true,
            Matrix::rows(&s.seen, kernel),
            Matrix::rows(&s.w_input, 4 * n),
        );
        for t in 0..steps {
            let now = t * block..(t + 1) * block;
            let gates = &mut s.gates[t * wide..(t + 1) * wide];
            let (cell_before, cell) = s.cell.split_at_mut(now.start);
            let (hidden_before, h) = s.hidden.split_at_mut(now.start);
            if t > 0 {
                let hidden = &hidden_before[now.start - block..];
                self.unfold()
                    .gather(batch, positions, n, hidden, &mut s.around);
                matmul(
                    (rows, 4 * n, kernel * n),
                    gates,
                    true,
                    Matrix::rows(&s.around, kernel * n),
                    Matrix::rows(&s.w_hidden, 4 * n),
                );
            }
            let step = StepForward {
                hidden: n,
                gates,
                before: (t > 0).then(|| &cell_before[now.start - block..]),
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
        let ConvShape {
            batch,
            steps,
            positions,
            filters: n,
            kernel,
        } = self.shape;
        let (w_input, w_hidden, _) = self.split(weights);
        let rows = batch * positions;
        let (block, wide) = (rows * n, rows * 4 * n);
        let sequence = self.sequence();
        sequence.gradient(Output::Sequence, d_out, &mut s.d_out);
        resize(&mut s.d_around, rows * kernel * n);
        resize(&mut s.d_hidden, block);
        resize(&mut s.d_cell, block);
        s.d_hidden.fill(0.0);
        s.d_cell.fill(0.0);
        s.w_hidden.fill(0.0);
        for t in (0..steps).rev() {
            let now = t * block..(t + 1) * block;
            sequence.add_gradient(Output::Sequence, t, &s.d_out, &mut s.d_hidden);
            let gates = &mut s.gates[t * wide..(t + 1) * wide];
            let step = StepBackward {
                hidden: n,
                gates,
                before: (t > 0).then(|| &s.cell[now.start - block..now.start]),
                active: &s.active[now.clone()],
                d_hidden: &s.d_hidden,
                d_cell: &mut s.d_cell,
            };
            step.dispatch(self.relu);
            if t > 0 {
                let before = &s.hidden[now.start - block..now.start];
                self.unfold()
                    .gather(batch, positions, n, before, &mut s.around);
                // The transposed weights are not needed any more; their gradient takes the place.
                matmul(
                    (kernel * n, 4 * n, rows),
                    &mut s.w_hidden,
                    true,
                    Matrix::transposed(&s.around, kernel * n),
                    Matrix::rows(gates, 4 * n),
                );
                matmul(
                    (rows, kernel * n, 4 * n),
                    &mut s.d_around,
                    false,
                    Matrix::rows(gates, 4 * n),
                    Matrix::rows(w_hidden, kernel * n),
                );
                s.d_hidden.fill(0.0);
                self.unfold()
                    .scatter(batch, positions, n, &s.d_around, &mut s.d_hidden);
            }
        }
        let mut d_weights = vec![0.0; weights.len()];
        let (d_w_input, rest) = d_weights.split_at_mut(w_input.len());
        let (d_w_hidden, d_bias) = rest.split_at_mut(w_hidden.len());
        transpose(4 * n, &s.w_hidden, d_w_hidden);
        matmul(
            (kernel, 4 * n, steps * rows),
            &mut s.w_input,
            false,
            Matrix::transposed(&s.seen, kernel),
            Matrix::rows(&s.gates, 4 * n),
        );
        transpose(4 * n, &s.w_input, d_w_input);
        sum_rows(&s.gates, 4 * n, d_bias);
        let dx = want_dx.then(|| {
            let mut d_seen = vec![0.0; steps * rows * kernel];
            matmul(
                (steps * rows, kernel, 4 * n),
                &mut d_seen,
                false,
                Matrix::rows(&s.gates, 4 * n),
                Matrix::rows(w_input, kernel),
            );
            let mut dx = vec![0.0; steps * rows];
            self.unfold()
                .scatter(steps * batch, positions, 1, &d_seen, &mut dx);
            sequence.batch_major(positions, &dx)
        });
        (d_weights, dx)
    }
}

impl CustomOp2 for FusedConvLstm {
    fn name(&self) -> &'static str {
        "fused-conv-lstm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weights) = (values(x, x_layout)?, values(weights, weights_layout)?);
        let ConvShape {
            batch,
            steps,
            positions,
            filters,
            kernel,
        } = self.shape;
        let expected = 4 * filters * (kernel + kernel * filters + 1);
        if x.len() != batch * steps * positions || weights.len() != expected {
            candle_core::bail!("the inputs or weights of a layer do not have the shape it has");
        }
        let (out, shape) = self.buffers.fill(|s| {
            self.forward(x, weights, s);
            self.sequence().output(&s.hidden, Output::Sequence)
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
                |s| self.backward(weights, d_out, x.track_op(), s),
            )
        })
    }
}
