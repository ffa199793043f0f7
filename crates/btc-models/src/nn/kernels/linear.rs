//! A linear layer as one operation: f(x) wᵀ + b, where f may be a function of each number and
//! dropout.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::activation::Map;
use super::product::{Product, Repeat, Start, dot_rows, sum_products};
use super::sequence::{sum_rows, transpose};
use super::simd::Matrix;
use super::{values, with_values};

/// Outputs from which on the weights are transposed, so that several are summed up at once.
const MANY: usize = 16;

/// The operation on inputs, rows of `inputs` numbers, weights (outputs, inputs) and a bias
/// (outputs), returning a tensor of the shape `out`.
#[derive(Debug)]
pub(crate) struct FusedLinear {
    pub(crate) inputs: usize,
    pub(crate) out: Shape,
    pub(crate) before: Before,
}

/// What is done to each input first.
#[derive(Debug, Default)]
pub(crate) struct Before {
    pub(crate) map: Option<Map>,
    /// What the values are multiplied by then; it is not trained.
    pub(crate) mask: Option<Vec<f32>>,
}

impl Before {
    /// The inputs after it; `None` if it does nothing.
    fn apply(&self, x: &[f32]) -> Option<Vec<f32>> {
        if self.map.is_none() && self.mask.is_none() {
            return None;
        }
        let mut x = x.to_vec();
        if let Some(map) = self.map {
            map.apply(&mut x);
        }
        self.drop(&mut x);
        Some(x)
    }

    fn drop(&self, x: &mut [f32]) {
        for (x, keep) in x.iter_mut().zip(self.mask.iter().flatten()) {
            *x *= keep;
        }
    }

    /// Turns the gradient of what [`apply`](Self::apply) returned into that of the inputs.
    fn chain(&self, x: &[f32], d: &mut [f32]) {
        self.drop(d);
        if let Some(map) = self.map {
            let mut y = x.to_vec();
            map.apply(&mut y);
            map.chain(&y, d);
        }
    }
}

impl CustomOp3 for FusedLinear {
    fn name(&self) -> &'static str {
        "fused-linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = values(x, x_layout)?;
        let (w, b) = (values(w, w_layout)?, values(b, b_layout)?);
        let (inputs, outputs) = (self.inputs, b.len());
        let rows = self.out.elem_count() / outputs.max(1);
        if x.len() != rows * inputs || w.len() != outputs * inputs {
            candle_core::bail!(
                "a linear layer of {inputs} inputs was given {:?}",
                x_layout.shape()
            );
        }
        let before = self.before.apply(x);
        let x = before.as_deref().unwrap_or(x);
        let mut y = vec![0.0; rows * outputs];
        if outputs < MANY {
            dot_rows(inputs, x, w, b, &mut y);
        } else {
            let mut transposed = vec![0.0; w.len()];
            transpose(inputs, w, &mut transposed);
            let product = Product {
                k: inputs,
                a: Matrix::rows(x, inputs),
                b: &transposed,
                stride: outputs,
            };
            let size = (rows, outputs);
            sum_products(
                size,
                &mut y,
                outputs,
                Start::Row(b),
                &[product],
                Repeat::ONCE,
            );
        }
        Ok((CpuStorage::F32(y), self.out.clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (inputs, outputs) = (self.inputs, b.elem_count());
        let rows = self.out.elem_count() / outputs;
        let mut dw = vec![0.0; outputs * inputs];
        let mut db = vec![0.0; outputs];
        let dx = with_values(dy, |dy| {
            sum_rows(dy, outputs, &mut db);
            with_values(x, |x| {
                let before = self.before.apply(x);
                let of_weights = Product {
                    k: rows,
                    a: Matrix::transposed(dy, outputs),
                    b: before.as_deref().unwrap_or(x),
                    stride: inputs,
                };
                let size = (outputs, inputs);
                sum_products(
                    size,
                    &mut dw,
                    inputs,
                    Start::Zero,
                    &[of_weights],
                    Repeat::ONCE,
                );
                Ok(())
            })?;
            if !x.track_op() {
                return Ok(None);
            }
            with_values(w, |w| {
                let mut dx = vec![0.0; rows * inputs];
                let of_inputs = Product {
                    k: outputs,
                    a: Matrix::rows(dy, outputs),
                    b: w,
                    stride: inputs,
                };
                let size = (rows, inputs);
                sum_products(
                    size,
                    &mut dx,
                    inputs,
                    Start::Zero,
                    &[of_inputs],
                    Repeat::ONCE,
                );
                with_values(x, |x| {
                    self.before.chain(x, &mut dx);
                    Ok(())
                })?;
                Ok(Some(dx))
            })
        })?;
        let tensor =
            |values: Vec<f32>, like: &Tensor| Tensor::from_vec(values, like.shape(), like.device());
        Ok((
            dx.map(|dx| tensor(dx, x)).transpose()?,
            Some(tensor(dw, w)?),
            Some(tensor(db, b)?),
        ))
    }
}
