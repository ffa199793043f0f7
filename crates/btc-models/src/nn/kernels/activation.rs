//! Functions applied to each number on its own, and dropout.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::math::{sigmoid, tanh};
use super::simd::{Kernel, dispatch};
use super::{values, with_values};

/// A function of one number whose derivative follows from its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Map {
    /// x, or 0 where x is negative.
    Relu,
    /// x, or this times x where x is negative.
    LeakyRelu(f32),
    /// 1 / (1 + exp(-x)).
    Sigmoid,
    /// The hyperbolic tangent.
    Tanh,
}

/// Applies a [`Map`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapped(pub(crate) Map);

impl Map {
    /// Replaces each number by the function of it.
    pub(super) fn apply(self, y: &mut [f32]) {
        dispatch(Forward { map: self, y });
    }

    /// Replaces the gradient of each value `y` by that of its argument.
    pub(super) fn chain(self, y: &[f32], d: &mut [f32]) {
        dispatch(Backward { map: self, y, d });
    }
}

struct Forward<'a> {
    map: Map,
    /// Arguments, which become values.
    y: &'a mut [f32],
}

struct Backward<'a> {
    map: Map,
    y: &'a [f32],
    /// The gradient of the value, which becomes that of the argument.
    d: &'a mut [f32],
}

#[inline(always)]
fn each(y: &mut [f32], f: impl Fn(f32) -> f32) {
    for y in y {
        *y = f(*y);
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
            Map::Relu => each(self.y, |x| if x < 0.0 { 0.0 } else { x }),
            Map::LeakyRelu(a) => each(self.y, |x| if x < 0.0 { a * x } else { x }),
            Map::Sigmoid => each(self.y, sigmoid::<FMA>),
            Map::Tanh => each(self.y, tanh::<FMA>),
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
        let mut y = values(x, layout)?.to_vec();
        self.0.apply(&mut y);
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let d = with_values(y, |y| {
            with_values(dy, |dy| {
                let mut d = dy.to_vec();
                self.0.chain(y, &mut d);
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

#[cfg(test)]
mod tests {
    use super::super::simd::{Cpu, dispatch_on};
    use super::*;

    /// Every set of instructions that this machine has must give what the portable one gives.
    #[test]
    fn all_sets_of_instructions_agree() {
        let x: Vec<f32> = (-500..=500).map(|i| i as f32 / 50.0).collect();
        for map in [Map::Relu, Map::LeakyRelu(0.5), Map::Sigmoid, Map::Tanh] {
            let run = |cpu| {
                let (mut y, mut d) = (x.clone(), vec![1.0; x.len()]);
                let ran = dispatch_on(cpu, Forward { map, y: &mut y })
                    && dispatch_on(
                        cpu,
                        Backward {
                            map,
                            y: &y,
                            d: &mut d,
                        },
                    );
                ran.then_some((y, d))
            };
            let (y, d) = run(Cpu::Portable).unwrap();
            #[cfg(target_arch = "x86_64")]
            for (other_y, other_d) in [Cpu::Avx2, Cpu::Avx512].into_iter().filter_map(run) {
                let near =
                    |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
                assert!(near(&y, &other_y) && near(&d, &other_d), "{map:?}");
            }
            assert!(y.iter().chain(&d).all(|x| x.is_finite()));
        }
    }
}
