//! The end of a forward pass: a number whose gradient is known.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{fused, values, with_values};

/// The product of a tensor with numbers that are not trained, summed up; going back it gives the
/// tensor these numbers as its gradient.
#[derive(Debug)]
struct Slope(Vec<f32>);

impl CustomOp1 for Slope {
    fn name(&self) -> &'static str {
        "slope"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let sum = values(x, layout)?.iter().zip(&self.0).map(|(x, s)| x * s);
        Ok((CpuStorage::F32(vec![sum.sum()]), Shape::from(())))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, d: &Tensor) -> Result<Option<Tensor>> {
        let d: f32 = d.to_scalar()?;
        let slope = self.0.iter().map(|slope| d * slope).collect::<Vec<_>>();
        Tensor::from_vec(slope, x.shape(), x.device()).map(Some)
    }
}

/// A number whose gradient with respect to `output` is `slope`.
pub(crate) fn with_slope(output: &Tensor, slope: Vec<f32>) -> Result<Tensor> {
    if slope.len() != output.elem_count() {
        candle_core::bail!(
            "a gradient of {} does not fit {:?}",
            slope.len(),
            output.shape()
        );
    }
    if fused(output) {
        return output.contiguous()?.apply_op1(Slope(slope));
    }
    let slope = Tensor::from_vec(slope, output.shape(), output.device())?;
    output.mul(&slope.to_dtype(output.dtype())?)?.sum_all()
}

/// The numbers of a tensor of f32, row by row.
pub(crate) fn numbers(tensor: &Tensor) -> Result<Vec<f32>> {
    if fused(tensor) {
        return with_values(tensor, |values| Ok(values.to_vec()));
    }
    tensor.flatten_all()?.to_vec1()
}
