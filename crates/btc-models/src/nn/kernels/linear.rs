//! A linear layer as one operation: x wᵀ + b.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::sequence::sum_rows;
use super::simd::{Matrix, matmul};
use super::{values, with_values};

/// The operation on inputs (rows, inputs), weights (outputs, inputs) and a bias (outputs).
#[derive(Debug)]
pub(crate) struct FusedLinear;

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
        let (rows, inputs) = x_layout.shape().dims2()?;
        let (outputs, w_inputs) = w_layout.shape().dims2()?;
        if inputs != w_inputs || b_layout.shape().dims1()? != outputs {
            candle_core::bail!("a linear layer of {w_inputs} inputs was given {inputs}");
        }
        let (x, w, b) = (
            values(x, x_layout)?,
            values(w, w_layout)?,
            values(b, b_layout)?,
        );
        let mut y = Vec::with_capacity(rows * outputs);
        for _ in 0..rows {
            y.extend_from_slice(b);
        }
        matmul(
            (rows, outputs, inputs),
            &mut y,
            true,
            Matrix::rows(x, inputs),
            Matrix::transposed(w, inputs),
        );
        Ok((CpuStorage::F32(y), (rows, outputs).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (rows, inputs) = x.dims2()?;
        let outputs = b.dims1()?;
        let (dx, dw, db) = with_values(dy, |dy| {
            let dx = if x.track_op() {
                with_values(w, |w| {
                    let mut dx = vec![0.0; rows * inputs];
                    matmul(
                        (rows, inputs, outputs),
                        &mut dx,
                        false,
                        Matrix::rows(dy, outputs),
                        Matrix::rows(w, inputs),
                    );
                    Ok(Some(dx))
                })?
            } else {
                None
            };
            let dw = with_values(x, |x| {
                let mut dw = vec![0.0; outputs * inputs];
                matmul(
                    (outputs, inputs, rows),
                    &mut dw,
                    false,
                    Matrix::transposed(dy, outputs),
                    Matrix::rows(x, inputs),
                );
                Ok(dw)
            })?;
            let mut db = vec![0.0; outputs];
            sum_rows(dy, outputs, &mut db);
            Ok((dx, dw, db))
        })?;
        Ok((
            dx.map(|dx| Tensor::from_vec(dx, x.shape(), x.device()))
                .transpose()?,
            Some(Tensor::from_vec(dw, w.shape(), w.device())?),
            Some(Tensor::from_vec(db, b.shape(), b.device())?),
        ))
    }
}
