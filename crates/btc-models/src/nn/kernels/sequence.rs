//! What the fused recurrent layers share: shapes, the order of steps, and reused buffers.

use std::sync::{Arc, Mutex};

use super::product::{Product, Repeat, Start, sum_products};
use super::simd::{Kernel, Matrix, dispatch};

/// The sizes of a recurrent layer's work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SequenceShape {
    pub(crate) batch: usize,
    pub(crate) steps: usize,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
}

/// Which hidden states a recurrent layer returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// The last: (batch, hidden).
    Last,
    /// All: (batch, steps, hidden).
    Sequence,
}

impl SequenceShape {
    /// Copies (batch, steps, width) into (steps, batch, width).
    pub(crate) fn time_major(&self, width: usize, from: &[f32], to: &mut [f32]) {
        for b in 0..self.batch {
            for t in 0..self.steps {
                let (i, j) = ((b * self.steps + t) * width, (t * self.batch + b) * width);
                to[j..j + width].copy_from_slice(&from[i..i + width]);
            }
        }
    }

    /// The inputs of step `t`, rows (batch, inputs) out of all inputs (batch, steps, inputs).
    pub(super) fn inputs_of_step<'a>(&self, x: &'a [f32], t: usize) -> Matrix<'a> {
        Matrix {
            data: &x[t * self.inputs..],
            row: self.steps * self.inputs,
            column: 1,
        }
    }

    /// The gradient of the inputs (batch, steps, inputs) from that of what they were multiplied
    /// to, (steps, batch, width), and the transposed weights (width, inputs).
    pub(super) fn gradient_of_inputs(
        &self,
        width: usize,
        gradient: &[f32],
        weights: &[f32],
    ) -> Vec<f32> {
        let mut dx = vec![0.0; self.batch * self.steps * self.inputs];
        for (t, gradient) in gradient.chunks_exact(self.batch * width).enumerate() {
            let product = Product {
                k: width,
                a: Matrix::rows(gradient, width),
                b: weights,
                stride: self.inputs,
            };
            sum_products(
                (self.batch, self.inputs),
                &mut dx[t * self.inputs..],
                self.steps * self.inputs,
                Start::Zero,
                &[product],
                Repeat::ONCE,
            );
        }
        dx
    }

    /// Copies (steps, batch, width) into (batch, steps, width).
    pub(crate) fn batch_major(&self, width: usize, from: &[f32]) -> Vec<f32> {
        let mut to = vec![0.0; from.len()];
        for b in 0..self.batch {
            for t in 0..self.steps {
                let (i, j) = ((b * self.steps + t) * width, (t * self.batch + b) * width);
                to[i..i + width].copy_from_slice(&from[j..j + width]);
            }
        }
        to
    }

    /// The hidden states to return, out of all of them in the order of steps.
    pub(crate) fn output(&self, hidden: &[f32], output: Output) -> (Vec<f32>, candle_core::Shape) {
        match output {
            Output::Last => {
                let block = self.batch * self.hidden;
                (
                    hidden[(self.steps - 1) * block..].to_vec(),
                    (self.batch, self.hidden).into(),
                )
            }
            Output::Sequence => (
                self.batch_major(self.hidden, hidden),
                (self.batch, self.steps, self.hidden).into(),
            ),
        }
    }

    /// Spreads the gradient of what `output` returned over all steps, in their order.
    ///
    /// For the last state alone, `to` is one block; the other steps have no gradient of their own.
    pub(crate) fn gradient(&self, output: Output, gradient: &[f32], to: &mut Vec<f32>) {
        resize(to, gradient.len());
        match output {
            Output::Last => to.copy_from_slice(gradient),
            Output::Sequence => self.time_major(self.hidden, gradient, to),
        }
    }

    /// Adds what the caller knows of the gradient of the hidden state of step `t` to `dh`.
    pub(crate) fn add_gradient(&self, output: Output, t: usize, gradient: &[f32], dh: &mut [f32]) {
        let block = self.batch * self.hidden;
        let part = match output {
            Output::Last if t + 1 == self.steps => gradient,
            Output::Last => return,
            Output::Sequence => &gradient[t * block..(t + 1) * block],
        };
        for (dh, g) in dh.iter_mut().zip(part) {
            *dh += g;
        }
    }
}

/// Makes `buffer` hold `length` numbers of any value.
pub(crate) fn resize(buffer: &mut Vec<f32>, length: usize) {
    if buffer.len() != length {
        buffer.clear();
        buffer.resize(length, 0.0);
    }
}

/// Writes the transpose of rows of `width` numbers.
///
/// Products of matrices take rows whose numbers follow each other as they are; others are copied
/// for every product anew, which is worth avoiding for weights that are used in every step.
pub(crate) fn transpose(width: usize, from: &[f32], to: &mut [f32]) {
    if !from.is_empty() {
        dispatch(Transpose { width, from, to });
    }
}

struct Transpose<'a> {
    width: usize,
    from: &'a [f32],
    to: &'a mut [f32],
}

/// The side of the blocks that are transposed at a time: a block's columns are a vector each.
const BLOCK: usize = 16;

impl Kernel for Transpose<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let Self { width, from, to } = self;
        let rows = from.len() / width;
        for top in (0..rows).step_by(BLOCK) {
            for left in (0..width).step_by(BLOCK) {
                if top + BLOCK <= rows && left + BLOCK <= width {
                    let mut block = [[0.0; BLOCK]; BLOCK];
                    for (row, block) in block.iter_mut().enumerate() {
                        block.copy_from_slice(&from[(top + row) * width + left..][..BLOCK]);
                    }
                    for column in 0..BLOCK {
                        let out = &mut to[(left + column) * rows + top..][..BLOCK];
                        for (out, row) in out.iter_mut().zip(&block) {
                            *out = row[column];
                        }
                    }
                    continue;
                }
                for column in left..(left + BLOCK).min(width) {
                    let out = &mut to[column * rows..][..rows];
                    for row in top..(top + BLOCK).min(rows) {
                        out[row] = from[row * width + column];
                    }
                }
            }
        }
    }
}

/// Adds up the rows of `width` numbers.
pub(crate) fn sum_rows(rows: &[f32], width: usize, sum: &mut [f32]) {
    dispatch(RowSum { rows, width, sum });
}

struct RowSum<'a> {
    rows: &'a [f32],
    width: usize,
    sum: &'a mut [f32],
}

impl Kernel for RowSum<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.sum.fill(0.0);
        for row in self.rows.chunks_exact(self.width) {
            for (sum, x) in self.sum.iter_mut().zip(row) {
                *sum += x;
            }
        }
    }
}

/// Buffers that one layer uses again and again, a set for each call under way.
#[derive(Debug)]
pub(crate) struct Pool<W>(Arc<Mutex<Vec<W>>>);

impl<W> Default for Pool<W> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// A set of buffers, which goes back to its pool when dropped.
#[derive(Debug)]
pub(crate) struct Lease<W> {
    pool: Pool<W>,
    leased: Mutex<Leased<W>>,
}

#[derive(Debug)]
struct Leased<W> {
    buffers: Option<W>,
    /// Whether a way back has overwritten what the way forward left.
    spent: bool,
}

impl<W> Leased<W> {
    fn buffers(&mut self) -> &mut W {
        self.buffers
            .as_mut()
            .expect("only dropping takes the buffers")
    }
}

impl<W: Default> Pool<W> {
    pub(crate) fn lease(&self) -> Lease<W> {
        let buffers = lock(&self.0).pop().unwrap_or_default();
        Lease {
            pool: Pool(Arc::clone(&self.0)),
            leased: Mutex::new(Leased {
                buffers: Some(buffers),
                spent: false,
            }),
        }
    }
}

impl<W> Lease<W> {
    /// Goes forward, which fills the buffers.
    pub(crate) fn fill<T>(&self, forward: impl FnOnce(&mut W) -> T) -> T {
        let mut leased = lock(&self.leased);
        leased.spent = false;
        forward(leased.buffers())
    }

    /// Goes back, which may overwrite the buffers. Whoever does so again goes forward first.
    pub(crate) fn spend<T>(
        &self,
        forward: impl FnOnce(&mut W),
        backward: impl FnOnce(&mut W) -> T,
    ) -> T {
        let mut leased = lock(&self.leased);
        if leased.spent {
            forward(leased.buffers());
        }
        leased.spent = true;
        backward(leased.buffers())
    }
}

impl<W> Drop for Lease<W> {
    fn drop(&mut self) {
        if let Some(buffers) = lock(&self.leased).buffers.take() {
            lock(&self.pool.0).push(buffers);
        }
    }
}

/// Buffers hold no invariant that a panic could break, so a poisoned lock is as good as any.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
