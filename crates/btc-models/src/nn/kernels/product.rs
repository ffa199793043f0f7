//! Products of the matrices of small networks.
//!
//! A general product copies its factors into an order of its own, which at these sizes takes as
//! long as the product. These take rows of the right factor as they lie, in blocks of a few rows
//! and columns whose sums stay in registers.
//!
//! Each number is summed up product by product and, in each, from the first number to the last,
//! whatever the sizes: it does not depend on how many rows are asked for at once.
#![expect(
    clippy::needless_range_loop,
    reason = "loops over constant ranges are unrolled, so that sums stay in registers"
)]

use super::math::fma;
use super::simd::{Kernel, LaneKernel, Lanes, Matrix, dispatch, dispatch_lanes, matmul_into};

/// The numbers whose products are summed up beside each other.
const WIDTH: usize = 16;
/// The rows of a block at most: with two vectors each, as many sums as there are registers for.
const ROWS: usize = 6;
/// Columns beyond which rows of the right factor are so far apart that they compete for the same
/// places of the cache, and a general product's copies pay.
const WIDE: usize = 256;

/// A product that is part of a sum: `a`, whose rows or columns are without gaps, times `b`, `k`
/// rows of numbers that follow each other, `stride` numbers apart. Rows may overlap.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product<'a> {
    pub(super) k: usize,
    pub(super) a: Matrix<'a>,
    pub(super) b: &'a [f32],
    pub(super) stride: usize,
}

/// What a sum of products starts from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Start<'a> {
    /// Nothing.
    Zero,
    /// A row that is the same for all rows, such as a bias.
    Row(&'a [f32]),
    /// What is there.
    Sum,
}

/// Work of the same shape that is done several times, with `a` and the sum so many numbers further
/// on each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Repeat {
    pub(super) times: usize,
    pub(super) a: usize,
    pub(super) c: usize,
}

impl Repeat {
    pub(super) const ONCE: Self = Self {
        times: 1,
        a: 0,
        c: 0,
    };
}

/// Sets `c` (m x n, rows `stride` numbers apart) to the sum of the products and their start.
///
/// It runs on the calling thread alone.
///
/// # Panics
///
/// Panics if a slice is too short, or a factor has gaps in both rows and columns.
pub(super) fn sum_products(
    (m, n): (usize, usize),
    c: &mut [f32],
    stride: usize,
    start: Start<'_>,
    products: &[Product<'_>],
    repeat: Repeat,
) {
    let dense = |product: &Product<'_>| product.a.row == 1 || product.a.column == 1;
    assert!(
        products.iter().all(dense),
        "a factor has gaps in rows and columns"
    );
    let sum = Sum {
        m,
        n,
        c,
        stride,
        start,
        products,
        repeat,
    };
    if WIDE < n {
        sum.general();
    } else {
        dispatch_lanes(sum);
    }
}

struct Sum<'a> {
    m: usize,
    n: usize,
    c: &'a mut [f32],
    stride: usize,
    start: Start<'a>,
    products: &'a [Product<'a>],
    repeat: Repeat,
}

impl LaneKernel for Sum<'_> {
    #[inline(always)]
    fn run<V: Lanes, S: Lanes>(mut self) {
        let (n, width) = (self.n, V::COUNT);
        let mut j = 0;
        while j + 2 * width <= n {
            self.columns::<V, 2>(j, 0);
            j += 2 * width;
        }
        // Some of the columns before once more: a whole block is faster than its parts.
        if j + width < n && 2 * width <= n {
            self.columns::<V, 2>(n - 2 * width, 2 * width - (n - j));
            return;
        }
        while j < n && width <= n {
            let rest = (n - j).min(width);
            self.columns::<V, 1>(j + rest - width, width - rest);
            j += rest;
        }
        for j in j..n {
            self.columns::<S, 1>(j, 0);
        }
    }
}

impl Sum<'_> {
    /// The `C` vectors of columns from `j`, all rows of all repetitions; the first `skip` columns
    /// are there.
    #[inline(always)]
    fn columns<V: Lanes, const C: usize>(&mut self, j: usize, skip: usize) {
        for time in 0..self.repeat.times {
            let (mut i, mut blocks) = (0, self.m.div_ceil(ROWS));
            while i < self.m {
                // Rows are shared out evenly: a block of few keeps few sums under way.
                let rows = (self.m - i).div_ceil(blocks);
                match rows {
                    6 => self.block::<V, 6, C>(time, i, j, skip),
                    5 => self.block::<V, 5, C>(time, i, j, skip),
                    4 => self.block::<V, 4, C>(time, i, j, skip),
                    3 => self.block::<V, 3, C>(time, i, j, skip),
                    2 => self.block::<V, 2, C>(time, i, j, skip),
                    _ => self.block::<V, 1, C>(time, i, j, skip),
                }
                i += rows;
                blocks -= 1;
            }
        }
    }

    #[inline(always)]
    fn block<V: Lanes, const R: usize, const C: usize>(
        &mut self,
        time: usize,
        i: usize,
        j: usize,
        skip: usize,
    ) {
        let (stride, from) = (self.stride, time * self.repeat.c + i * self.stride + j);
        let mut sums = [[V::splat(0.0); C]; R];
        for r in 0..R {
            for c in 0..C {
                match self.start {
                    Start::Zero => {}
                    Start::Row(row) => sums[r][c] = V::load(row, j + c * V::COUNT),
                    Start::Sum => {
                        sums[r][c] = V::load(self.c, from + r * stride + c * V::COUNT);
                    }
                }
            }
        }
        for product in self.products {
            product.add(&product.a.data[time * self.repeat.a..], i, j, &mut sums);
        }
        for r in 0..R {
            for c in 0..C {
                let skip = skip.saturating_sub(c * V::COUNT).min(V::COUNT);
                sums[r][c].store(skip, self.c, from + r * stride + c * V::COUNT);
            }
        }
    }

    /// The same by products of any size.
    fn general(self) {
        for time in 0..self.repeat.times {
            let c = &mut self.c[time * self.repeat.c..];
            let mut accumulate = match self.start {
                Start::Zero => false,
                Start::Sum => true,
                Start::Row(row) => {
                    for c in c.chunks_mut(self.stride).take(self.m) {
                        c[..self.n].copy_from_slice(&row[..self.n]);
                    }
                    true
                }
            };
            for product in self.products {
                let a = Matrix {
                    data: &product.a.data[time * self.repeat.a..],
                    ..product.a
                };
                let b = Matrix {
                    data: product.b,
                    row: product.stride,
                    column: 1,
                };
                let size = (self.m, self.n, product.k);
                matmul_into(size, c, self.stride, accumulate, a, b);
                accumulate = true;
            }
        }
    }
}

impl Product<'_> {
    /// Adds a block of the product, from row `i` of `a` and column `j`.
    #[inline(always)]
    fn add<V: Lanes, const R: usize, const C: usize>(
        &self,
        a: &[f32],
        i: usize,
        j: usize,
        sums: &mut [[V; C]; R],
    ) {
        if self.k == 0 {
            return;
        }
        // In a variable of their own, the sums stay in registers.
        let mut own = *sums;
        let mut to = j;
        if self.a.row == 1 {
            let mut from = i;
            for _ in 0..self.k {
                let (x, y) = (&a[from..from + R], &self.b[to..to + C * V::COUNT]);
                let mut columns = [V::splat(0.0); C];
                for c in 0..C {
                    columns[c] = V::load(y, c * V::COUNT);
                }
                for r in 0..R {
                    let x = V::splat(x[r]);
                    for c in 0..C {
                        own[r][c] = x.mul_add(columns[c], own[r][c]);
                    }
                }
                from += self.a.column;
                to += self.stride;
            }
        } else {
            // Of the same length, so that one check of an index serves them all.
            let mut rows = [&a[..0]; R];
            for r in 0..R {
                rows[r] = &a[(i + r) * self.a.row..][..self.k];
            }
            for p in 0..self.k {
                let y = &self.b[to..to + C * V::COUNT];
                let mut columns = [V::splat(0.0); C];
                for c in 0..C {
                    columns[c] = V::load(y, c * V::COUNT);
                }
                for r in 0..R {
                    let x = V::splat(rows[r][p]);
                    for c in 0..C {
                        own[r][c] = x.mul_add(columns[c], own[r][c]);
                    }
                }
                to += self.stride;
            }
        }
        *sums = own;
    }
}

/// Sets `y` (rows, outputs) to the products of `x`, rows of `inputs` numbers, with each of the
/// rows of `w`, which are as long, and adds `b`.
///
/// It is for few outputs: see [`sum_products`] for many.
pub(super) fn dot_rows(inputs: usize, x: &[f32], w: &[f32], b: &[f32], y: &mut [f32]) {
    dispatch(DotRows { inputs, x, w, b, y });
}

struct DotRows<'a> {
    inputs: usize,
    x: &'a [f32],
    w: &'a [f32],
    b: &'a [f32],
    y: &'a mut [f32],
}

impl Kernel for DotRows<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let rows = self.x.chunks_exact(self.inputs);
        for (x, y) in rows.zip(self.y.chunks_exact_mut(self.b.len())) {
            let weights = self.w.chunks_exact(self.inputs).zip(self.b);
            for (y, (w, b)) in y.iter_mut().zip(weights) {
                *y = b + dot::<FMA>(x, w);
            }
        }
    }
}

#[inline(always)]
fn dot<const FMA: bool>(x: &[f32], w: &[f32]) -> f32 {
    let (x, x_rest) = x.as_chunks::<WIDTH>();
    let (w, w_rest) = w.as_chunks::<WIDTH>();
    let mut sums = [0.0; WIDTH];
    for (x, w) in x.iter().zip(w) {
        for (sum, (x, w)) in sums.iter_mut().zip(x.iter().zip(w)) {
            *sum = fma::<FMA>(*x, *w, *sum);
        }
    }
    let mut width = WIDTH / 2;
    while 0 < width {
        for at in 0..width {
            sums[at] += sums[at + width];
        }
        width /= 2;
    }
    x_rest
        .iter()
        .zip(w_rest)
        .fold(sums[0], |sum, (x, w)| fma::<FMA>(*x, *w, sum))
}

#[cfg(test)]
mod tests {
    use super::super::simd::portable_lanes;
    use super::*;

    fn numbers(n: usize, by: usize) -> Vec<f32> {
        (0..n)
            .map(|i| ((i * by) % 23) as f32 / 11.0 - 1.0)
            .collect()
    }

    /// m x n: a (m x k) times b, twice, on a start; once with rows and once with columns of `a`.
    #[test]
    fn sums_equal_those_of_single_numbers() {
        let sizes = [1, 2, 4, 7, 8, 13, 16, 19, 33];
        for (m, n) in sizes.iter().flat_map(|m| sizes.map(|n| (*m, n))) {
            let (k, times, stride) = (5, 2, n + 3);
            let (a, by_column) = (numbers(times * m * k, 7), numbers(times * m * k, 5));
            let (b, bias) = (numbers(k * stride, 3), numbers(n, 2));
            let products = [
                Product {
                    k,
                    a: Matrix::rows(&a, k),
                    b: &b,
                    stride,
                },
                Product {
                    k: k - 1,
                    a: Matrix::transposed(&by_column, m),
                    b: &b,
                    stride,
                },
            ];
            let repeat = Repeat {
                times,
                a: m * k,
                c: m * stride,
            };
            let before = numbers(times * m * stride, 11);
            for start in [Start::Zero, Start::Row(&bias), Start::Sum] {
                let mut expected = before.clone();
                for (time, i, j) in (0..times * m * n).map(|at| (at / (m * n), at / n % m, at % n))
                {
                    let (c, a_at) = (time * m * stride + i * stride + j, time * m * k);
                    let from = match start {
                        Start::Zero => 0.0,
                        Start::Row(row) => row[j],
                        Start::Sum => before[c],
                    };
                    let rows = (0..k).map(|p| a[a_at + i * k + p] * b[p * stride + j]);
                    let columns =
                        (0..k - 1).map(|p| by_column[a_at + p * m + i] * b[p * stride + j]);
                    expected[c] = from + rows.sum::<f32>() + columns.sum::<f32>();
                }
                let run = |by: &dyn Fn(Sum<'_>)| {
                    let mut c = before.clone();
                    by(Sum {
                        m,
                        n,
                        c: &mut c,
                        stride,
                        start,
                        products: &products,
                        repeat,
                    });
                    let far = |(a, b): (&f32, &f32)| (a - b).abs();
                    let farthest = c.iter().zip(&expected).map(far).fold(0.0, f32::max);
                    assert!(farthest < 1e-5, "{m} x {n}, {start:?}: {farthest}");
                };
                run(&|sum| sum.general());
                run(&|sum| portable_lanes(sum));
                run(&|sum| dispatch_lanes(sum));
            }
        }
    }

    #[test]
    fn a_row_does_not_depend_on_the_others() {
        let (n, k) = (21, 9);
        let (a, b) = (numbers(13 * k, 7), numbers(k * n, 3));
        let product = |m: usize| {
            let mut c = vec![0.0; m * n];
            let products = [Product {
                k,
                a: Matrix::rows(&a, k),
                b: &b,
                stride: n,
            }];
            sum_products((m, n), &mut c, n, Start::Zero, &products, Repeat::ONCE);
            c
        };
        let all = product(13);
        for m in 1..13 {
            assert_eq!(product(m), all[..m * n]);
        }
    }

    #[test]
    fn dots_equal_those_of_single_numbers() {
        for inputs in [1, 15, 16, 35] {
            let (x, w, b) = (numbers(4 * inputs, 7), numbers(2 * inputs, 5), [0.5, -1.0]);
            let mut y = vec![0.0; 8];
            dot_rows(inputs, &x, &w, &b, &mut y);
            for (at, y) in y.iter().enumerate() {
                let (x, w) = (&x[at / 2 * inputs..], &w[at % 2 * inputs..][..inputs]);
                let sum: f32 = x.iter().zip(w).map(|(x, w)| x * w).sum();
                assert!((y - sum - b[at % 2]).abs() < 1e-5);
            }
        }
    }
}
