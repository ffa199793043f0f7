//! A convolution over steps and the function after it as one operation.

use std::borrow::Cow;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::activation::Map;
use super::product::{Product, Repeat, Start, sum_products};
use super::sequence::{sum_rows, transpose};
use super::simd::Matrix;
use super::unfold::Unfold;
use super::{values, with_values};

/// The operation on inputs (batch, steps, channels), weights (filters, kernel * channels) and a
/// bias (filters), returning (batch, outputs of the unfolding, filters).
#[derive(Debug)]
pub(crate) struct FusedConvolution {
    pub(crate) unfold: Unfold,
    /// The function of each output.
    pub(crate) map: Option<Map>,
}

/// The windows of a batch: rows that may overlap.
struct Seen<'a> {
    values: Cow<'a, [f32]>,
    /// Numbers from one window to the next.
    stride: usize,
    /// Numbers from one series to the next.
    series: usize,
}

impl FusedConvolution {
    fn seen<'a>(&self, (batch, steps, channels): (usize, usize, usize), x: &'a [f32]) -> Seen<'a> {
        let Unfold {
            kernel,
            dilation,
            before,
            after,
        } = self.unfold;
        if (dilation, before, after) == (1, 0, 0) {
            // The windows lie in the series as they are.
            return Seen {
                values: x.into(),
                stride: channels,
                series: steps * channels,
            };
        }
        let (outputs, inputs) = (self.unfold.outputs(steps), kernel * channels);
        let mut windows = vec![0.0; batch * outputs * inputs];
        self.unfold.gather(batch, steps, channels, x, &mut windows);
        Seen {
            values: windows.into(),
            stride: inputs,
            series: outputs * inputs,
        }
    }
}

impl CustomOp3 for FusedConvolution {
    fn name(&self) -> &'static str {
        "fused-convolution"
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
        let size = x_layout.shape().dims3()?;
        let (batch, steps, channels) = size;
        let x = values(x, x_layout)?;
        let (w, b) = (values(w, w_layout)?, values(b, b_layout)?);
        let (outputs, filters) = (self.unfold.outputs(steps), b.len());
        let inputs = self.unfold.kernel * channels;
        if w.len() != filters * inputs {
            candle_core::bail!(
                "a convolution of {} weights was given {channels} channels",
                w.len()
            );
        }
        let seen = self.seen(size, x);
        let mut transposed = vec![0.0; w.len()];
        transpose(inputs, w, &mut transposed);
        let mut y = vec![0.0; batch * outputs * filters];
        let product = Product {
            k: inputs,
            a: Matrix {
                data: &seen.values,
                row: seen.stride,
                column: 1,
            },
            b: &transposed,
            stride: filters,
        };
        let repeat = Repeat {
            times: batch,
            a: seen.series,
            c: outputs * filters,
        };
        let size = (outputs, filters);
        sum_products(size, &mut y, filters, Start::Row(b), &[product], repeat);
        if let Some(map) = self.map {
            map.apply(&mut y);
        }
        Ok((CpuStorage::F32(y), (batch, outputs, filters).into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let size = x.dims3()?;
        let (batch, steps, channels) = size;
        let (outputs, filters) = (self.unfold.outputs(steps), b.elem_count());
        let inputs = self.unfold.kernel * channels;
        let mut d = with_values(dy, |dy| Ok(dy.to_vec()))?;
        if let Some(map) = self.map {
            with_values(y, |y| {
                map.chain(y, &mut d);
                Ok(())
            })?;
        }
        let mut db = vec![0.0; filters];
        sum_rows(&d, filters, &mut db);
        let mut dw = vec![0.0; filters * inputs];
        with_values(x, |x| {
            let seen = self.seen(size, x);
            let of_series: Vec<Product<'_>> = (0..batch)
                .map(|at| Product {
                    k: outputs,
                    a: Matrix::transposed(&d[at * outputs * filters..], filters),
                    b: &seen.values[at * seen.series..],
                    stride: seen.stride,
                })
                .collect();
            let size = (filters, inputs);
            sum_products(size, &mut dw, inputs, Start::Zero, &of_series, Repeat::ONCE);
            Ok(())
        })?;
        let dx = if x.track_op() {
            let mut d_seen = vec![0.0; batch * outputs * inputs];
            with_values(w, |w| {
                let product = Product {
                    k: filters,
                    a: Matrix::rows(&d, filters),
                    b: w,
                    stride: inputs,
                };
                let (size, start) = ((batch * outputs, inputs), Start::Zero);
                sum_products(size, &mut d_seen, inputs, start, &[product], Repeat::ONCE);
                Ok(())
            })?;
            let mut dx = vec![0.0; x.elem_count()];
            self.unfold
                .scatter(batch, steps, channels, &d_seen, &mut dx);
            Some(Tensor::from_vec(dx, x.shape(), x.device())?)
        } else {
            None
        };
        Ok((
            dx,
            Some(Tensor::from_vec(dw, w.shape(), w.device())?),
            Some(Tensor::from_vec(db, b.shape(), b.device())?),
        ))
    }
}
