//! A matrix of weights that is multiplied with in every step.

use super::sequence::{resize, transpose};
use super::simd::{Matrix, matmul_into};

/// The columns of a panel: as many as the widest vector instructions take at a time.
const WIDTH: usize = 64;

/// Weights (outputs, inputs), transposed and cut into panels of some outputs each.
///
/// The rows of a panel follow each other in memory. Those of the whole transposed matrix would be
/// kilobytes apart, and so compete for the same few places of the cache.
#[derive(Debug, Default)]
pub(super) struct Panels {
    inputs: usize,
    values: Vec<f32>,
}

impl Panels {
    /// Takes `weights`, rows of `inputs` numbers.
    pub(super) fn fill(&mut self, inputs: usize, weights: &[f32]) {
        self.inputs = inputs;
        resize(&mut self.values, weights.len());
        let panels = self.values.chunks_mut(WIDTH * inputs);
        for (rows, panel) in weights.chunks(WIDTH * inputs).zip(panels) {
            transpose(inputs, rows, panel);
        }
    }

    /// Adds the product of `x`, rows of inputs, with the transposed weights to `y`, rows of
    /// outputs.
    pub(super) fn add_product(&self, x: &[f32], y: &mut [f32]) {
        let outputs = self.values.len() / self.inputs;
        let rows = y.len() / outputs;
        for (at, panel) in self.values.chunks(WIDTH * self.inputs).enumerate() {
            let width = panel.len() / self.inputs;
            matmul_into(
                (rows, width, self.inputs),
                &mut y[at * WIDTH..],
                outputs,
                true,
                Matrix::rows(x, self.inputs),
                Matrix::rows(panel, width),
            );
        }
    }
}
