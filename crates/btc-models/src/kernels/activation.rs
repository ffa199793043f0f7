//! Functions applied to each number on its own, and dropout.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::math::{sigmoid, tanh};
use super::simd::{Kernel, dispatch};
use super::{values, with_values};

/// A function of one number whose derivative follows from its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Map {
    Relu,
    /// x, or this times x where x is negative.
    LeakyRelu(f32),
    Sigmoid,
    Tanh,
}

/// Applies a [`Map`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapped(pub(crate) Map);

struct Forward<'a> {
    map: Map,
    x: &'a [f32],
    y: &'a mut [f32],
}

struct Backward<'a> {
    map: Map,
    y: &'a [f32],
    /// The gradient of the value, which becomes that of the argument.
    d: &'a mut [f32],
}

#[inline(always)]
fn each(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32) {
    for (x, y) in x.iter().zip(y) {
        *y = f(*x);
    }
}

#[inline(always)]
fn scale(y: &[f32], d: &mut [f32], slope: impl Fn(f32) -> f32) {
    for (y, d) in y.iter().zip(d) {
        *d *= slope(*y);
    }
}

impl Kernel for Forward<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match self.map {
            Map::Relu => each(self.x, self.y, |x| if x < 0.0 { 0.0 } else { x }),
            Map::LeakyRelu(a) => each(self.x, self.y, |x| if x < 0.0 { a * x } else { x }),
            Map::Sigmoid => each(self.x, self.y, sigmoid::<FMA>),
            Map::Tanh => each(self.x, self.y, tanh::<FMA>),
        }
    }
}

impl Kernel for Backward<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        match self.map {
            Map::Relu => scale(self.y, self.d, |y| if y > 0.0 { 1.0 } else { 0.0 }),
            Map::LeakyRelu(a) => scale(self.y, self.d, |y| if y < 0.0 { a } else { 1.0 }),
            Map::Sigmoid => scale(self.y, self.d, |y| y * (1.0 - y)),
            Map::Tanh => scale(self.y, self.d, |y| 1.0 - y * y),
        }
    }
}

impl CustomOp1 for Mapped {
    fn name(&self) -> &'static str {
        "map"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = values(x, layout)?;
        let mut y = vec![0.0; x.len()];
        dispatch(Forward {
            map: self.0,
            x,
            y: &mut y,
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let d = with_values(y, |y| {
            with_values(dy, |dy| {
                let mut d = dy.to_vec();
                dispatch(Backward {
                    map: self.0,
                    y,
                    d: &mut d,
                });
                Ok(d)
            })
        })?;
        Tensor::from_vec(d, x.shape(), x.device()).map(Some)
    }
}

/// Multiplies by a mask that is not trained.
#[derive(Debug)]
pub(crate) struct Dropped(pub(crate) Vec<f32>);

impl Dropped {
    fn times(&self, x: &[f32]) -> Vec<f32> {
        x.iter().zip(&self.0).map(|(x, m)| x * m).collect()
    }
}

impl CustomOp1 for Dropped {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((
            CpuStorage::F32(self.times(values(x, layout)?)),
            layout.shape().clone(),
        ))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let d = with_values(dy, |dy| Ok(self.times(dy)))?;
        Tensor::from_vec(d, x.shape(), x.device()).map(Some)
    }
}
