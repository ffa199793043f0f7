//! The steps of recurrent layers, number by number: what is done to the hidden units of each row.

use super::math::tanh;
use super::simd::{Kernel, dispatch};

/// The numbers that the widest vector instructions take at a time.
const LANES: usize = 16;

/// What a step does to rows of hidden units.
///
/// Each unit has numbers in up to ten slices. A block of them is copied out with [`load`] and, once
/// all is done, back with [`store`]: so the compiler need not fear that writing one slice changes
/// another, and makes vector instructions of it.
pub(super) trait Units: Sized {
    /// The number of rows, and that of units in each.
    fn size(&self) -> (usize, usize);

    /// Does `N` units of a row, from the unit `at`.
    ///
    /// Implementations are marked `#[inline(always)]`, as are those of [`Kernel`].
    fn block<const FMA: bool, const RELU: bool, const N: usize>(&mut self, row: usize, at: usize);

    #[inline(always)]
    fn run<const FMA: bool, const RELU: bool>(mut self) {
        let (rows, units) = self.size();
        for row in 0..rows {
            let mut at = 0;
            while at + LANES <= units {
                self.block::<FMA, RELU, LANES>(row, at);
                at += LANES;
            }
            while at + 4 <= units {
                self.block::<FMA, RELU, 4>(row, at);
                at += 4;
            }
            for at in at..units {
                self.block::<FMA, RELU, 1>(row, at);
            }
        }
    }

    /// Does all rows, with the rectifier or tanh as the layer's activation.
    fn dispatch(self, relu: bool) {
        if relu {
            dispatch(Relu(self));
        } else {
            dispatch(Tanh(self));
        }
    }
}

/// A step of a layer whose activation is tanh.
pub(super) struct Tanh<S>(pub(super) S);

/// A step of a layer whose activation is the rectifier.
struct Relu<S>(S);

impl<S: Units> Kernel for Tanh<S> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.run::<FMA, false>();
    }
}

impl<S: Units> Kernel for Relu<S> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        self.0.run::<FMA, true>();
    }
}

#[inline(always)]
pub(super) fn load<const N: usize>(from: &[f32], at: usize) -> [f32; N] {
    let mut numbers = [0.0; N];
    numbers.copy_from_slice(&from[at..at + N]);
    numbers
}

#[inline(always)]
pub(super) fn store<const N: usize>(numbers: &[f32; N], to: &mut [f32], at: usize) {
    to[at..at + N].copy_from_slice(numbers);
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
