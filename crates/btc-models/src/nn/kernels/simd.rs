//! The only module with `unsafe` code: choosing instructions at run time, vectors, and the call of
//! `gemm`.
//!
//! A kernel is plain safe Rust, inlined into a function that is compiled for a certain set of
//! instructions. Calling such a function is unsafe, because it is undefined on a CPU without
//! them; [`Cpu::detect`] is what makes it sound.
#![expect(
    unsafe_code,
    reason = "calling functions compiled for CPU features found at run time, and gemm's raw interface"
)]

use gemm::{Parallelism, gemm};

use super::math::fma;

/// Some numbers that are worked on at a time.
///
/// Kernels that must keep many sums in registers name their vectors; in others the compiler finds
/// them.
pub(crate) trait Lanes: Copy {
    /// How many numbers.
    const COUNT: usize;

    /// The same number in each place.
    fn splat(x: f32) -> Self;

    /// The numbers from `at`.
    fn load(from: &[f32], at: usize) -> Self;

    /// Writes all but the first `skip` numbers to their places from `at`.
    fn store(self, skip: usize, to: &mut [f32], at: usize);

    /// `self` times `y` plus `sum`.
    fn mul_add(self, y: Self, sum: Self) -> Self;
}

/// Work on vectors of a kind that the machine has; see [`Kernel`].
pub(crate) trait LaneKernel {
    /// Does the work, with `S` for single numbers.
    fn run<V: Lanes, S: Lanes>(self);
}

/// Numbers that the compiler makes vectors of, if any.
#[derive(Debug, Clone, Copy)]
struct Plain<const N: usize, const FMA: bool>([f32; N]);

impl<const N: usize, const FMA: bool> Lanes for Plain<N, FMA> {
    const COUNT: usize = N;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; N])
    }

    #[inline(always)]
    fn load(from: &[f32], at: usize) -> Self {
        let mut numbers = [0.0; N];
        numbers.copy_from_slice(&from[at..at + N]);
        Self(numbers)
    }

    #[inline(always)]
    fn store(self, skip: usize, to: &mut [f32], at: usize) {
        to[at + skip..at + N].copy_from_slice(&self.0[skip..]);
    }

    #[inline(always)]
    fn mul_add(mut self, y: Self, sum: Self) -> Self {
        for ((x, y), sum) in self.0.iter_mut().zip(y.0).zip(sum.0) {
            *x = fma::<FMA>(*x, y, sum);
        }
        self
    }
}

/// A register of AVX2. Nothing makes one but kernels that [`dispatch_lanes`] runs where there are
/// such registers.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy)]
struct Avx(std::arch::x86_64::__m256);

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx {
    const COUNT: usize = 8;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        // SAFETY: this runs where AVX2 was found.
        Self(unsafe { std::arch::x86_64::_mm256_set1_ps(x) })
    }

    #[inline(always)]
    fn load(from: &[f32], at: usize) -> Self {
        let numbers = &from[at..at + Self::COUNT];
        // SAFETY: as for `splat`; the slice holds the numbers that are read.
        Self(unsafe { std::arch::x86_64::_mm256_loadu_ps(numbers.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, skip: usize, to: &mut [f32], at: usize) {
        let mut numbers = [0.0; Self::COUNT];
        let to = &mut to[at..at + Self::COUNT];
        if skip == 0 {
            // SAFETY: as for `splat`; the slice holds the numbers that are written.
            unsafe { std::arch::x86_64::_mm256_storeu_ps(to.as_mut_ptr(), self.0) };
        } else {
            // SAFETY: as for `splat`; the array holds the numbers that are written.
            unsafe { std::arch::x86_64::_mm256_storeu_ps(numbers.as_mut_ptr(), self.0) };
            to[skip..].copy_from_slice(&numbers[skip..]);
        }
    }

    #[inline(always)]
    fn mul_add(self, y: Self, sum: Self) -> Self {
        // SAFETY: as for `splat`; AVX2 is not taken without a fused multiply-add.
        Self(unsafe { std::arch::x86_64::_mm256_fmadd_ps(self.0, y.0, sum.0) })
    }
}

/// Runs `kernel` on the best vectors of this machine.
pub(crate) fn dispatch_lanes<K: LaneKernel>(kernel: K) {
    match Cpu::detect() {
        // SAFETY: `detect` has found AVX2; every CPU with AVX-512 has it.
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx2 | Cpu::Avx512 => unsafe { avx2_lanes(kernel) },
        Cpu::Portable => portable_lanes(kernel),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2_lanes<K: LaneKernel>(kernel: K) {
    kernel.run::<Avx, Plain<1, true>>();
}

pub(crate) fn portable_lanes<K: LaneKernel>(kernel: K) {
    const FMA: bool = cfg!(target_arch = "aarch64");
    kernel.run::<Plain<4, FMA>, Plain<1, FMA>>();
}

/// Work that is compiled once for each set of instructions.
///
/// Implementations of `run` are marked `#[inline(always)]`, as are the functions they call;
/// otherwise they are compiled for the least of all CPUs.
pub(crate) trait Kernel {
    /// Does the work; `FMA` says whether a fused multiply-add is one instruction.
    fn run<const FMA: bool>(self);
}

/// The sets of instructions that kernels are compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cpu {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Portable,
}

impl Cpu {
    /// The best set that this machine has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            // The standard library asks the CPU once and remembers the answer.
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("fma")
            {
                return Self::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Self::Avx2;
            }
        }
        Self::Portable
    }
}

/// Runs `kernel` with the best instructions of this machine.
pub(crate) fn dispatch<K: Kernel>(kernel: K) {
    match Cpu::detect() {
        // SAFETY: `detect` has found every feature that `avx512` is compiled for.
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx512 => unsafe { avx512(kernel) },
        // SAFETY: `detect` has found every feature that `avx2` is compiled for.
        #[cfg(target_arch = "x86_64")]
        Cpu::Avx2 => unsafe { avx2(kernel) },
        Cpu::Portable => portable(kernel),
    }
}

/// Runs `kernel` with the instructions of `cpu`, if this machine has them.
#[cfg(test)]
pub(crate) fn dispatch_on<K: Kernel>(cpu: Cpu, kernel: K) -> bool {
    match (cpu, Cpu::detect()) {
        // SAFETY: `detect` has found AVX-512.
        #[cfg(target_arch = "x86_64")]
        (Cpu::Avx512, Cpu::Avx512) => unsafe { avx512(kernel) },
        // SAFETY: `detect` has found AVX2; every CPU with AVX-512 has it.
        #[cfg(target_arch = "x86_64")]
        (Cpu::Avx2, Cpu::Avx2 | Cpu::Avx512) => unsafe { avx2(kernel) },
        (Cpu::Portable, _) => portable(kernel),
        #[cfg(target_arch = "x86_64")]
        _ => return false,
    }
    true
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
fn avx512<K: Kernel>(kernel: K) {
    kernel.run::<true>();
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<K: Kernel>(kernel: K) {
    kernel.run::<true>();
}

fn portable<K: Kernel>(kernel: K) {
    // Every 64-bit ARM has a fused multiply-add; elsewhere it would be a call of a function.
    kernel.run::<{ cfg!(target_arch = "aarch64") }>();
}

/// A matrix in a slice: element (i, j) is at `i * row + j * column`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row: usize,
    pub(crate) column: usize,
}

impl<'a> Matrix<'a> {
    /// Rows of `width` values, one after the other.
    pub(crate) fn rows(data: &'a [f32], width: usize) -> Self {
        Self {
            data,
            row: width,
            column: 1,
        }
    }

    /// The transpose of rows of `width` values.
    pub(crate) fn transposed(data: &'a [f32], width: usize) -> Self {
        Self {
            data,
            row: 1,
            column: width,
        }
    }

    /// The same with rows and columns swapped.
    pub(crate) fn transpose(self) -> Self {
        Self {
            data: self.data,
            row: self.column,
            column: self.row,
        }
    }

    fn holds(&self, rows: usize, columns: usize) -> bool {
        (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// Sets `c` (m x n, rows one after the other) to `a` (m x k) times `b` (k x n), or adds it.
///
/// It runs on the calling thread alone, so that the result does not depend on the number of
/// threads; at the sizes of these networks more threads would not be faster either.
///
/// # Panics
///
/// Panics if a slice is too short.
pub(crate) fn matmul(
    (m, n, k): (usize, usize, usize),
    c: &mut [f32],
    accumulate: bool,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    matmul_into((m, n, k), c, n, accumulate, a, b);
}

/// [`matmul`] whose product has its rows `stride` numbers apart.
///
/// # Panics
///
/// Panics if a slice is too short, or if the rows of the product overlap.
pub(crate) fn matmul_into(
    (m, n, k): (usize, usize, usize),
    c: &mut [f32],
    stride: usize,
    accumulate: bool,
    a: Matrix<'_>,
    b: Matrix<'_>,
) {
    if m == 0 || n == 0 {
        return;
    }
    assert!(
        n <= stride && (m - 1) * stride + n <= c.len(),
        "the product does not fit"
    );
    if k == 0 {
        if !accumulate {
            for row in c.chunks_mut(stride).take(m) {
                row[..n].fill(0.0);
            }
        }
        return;
    }
    assert!(a.holds(m, k) && b.holds(k, n), "a factor is too short");
    // SAFETY: the assertions above bound the largest index that is read or written, and `c` is
    // borrowed exclusively. Sizes and strides of slices fit an isize.
    unsafe {
        gemm(
            m,
            n,
            k,
            c.as_mut_ptr(),
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a.column as isize,
            a.row as isize,
            b.data.as_ptr(),
            b.column as isize,
            b.row as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
