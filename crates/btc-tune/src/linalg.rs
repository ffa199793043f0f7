//! The little linear algebra that CMA-ES and Gaussian processes need, on small dense matrices.

/// A square matrix in rows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Matrix {
    n: usize,
    data: Vec<f64>,
}

impl Matrix {
    pub(crate) fn zeros(n: usize) -> Self {
        Self {
            n,
            data: vec![0.0; n * n],
        }
    }

    pub(crate) fn identity(n: usize) -> Self {
        let mut matrix = Self::zeros(n);
        (0..n).for_each(|i| matrix.set(i, i, 1.0));
        matrix
    }

    pub(crate) fn at(&self, i: usize, j: usize) -> f64 {
        self.data[i * self.n + j]
    }

    pub(crate) fn set(&mut self, i: usize, j: usize, value: f64) {
        self.data[i * self.n + j] = value;
    }

    pub(crate) fn row(&self, i: usize) -> &[f64] {
        &self.data[i * self.n..(i + 1) * self.n]
    }

    pub(crate) fn times(&self, x: &[f64]) -> Vec<f64> {
        (0..self.n).map(|i| dot(self.row(i), x)).collect()
    }

    /// Returns the lower triangular L with L Lᵀ = self, or `None` if self is not positive definite.
    pub(crate) fn cholesky(&self) -> Option<Self> {
        let n = self.n;
        let mut l = Self::zeros(n);
        for i in 0..n {
            for j in 0..=i {
                let sum = self.at(i, j) - dot(&l.row(i)[..j], &l.row(j)[..j]);
                if i == j {
                    if sum <= 0.0 || !sum.is_finite() {
                        return None;
                    }
                    l.set(i, i, sum.sqrt());
                } else {
                    let value = sum / l.at(j, j);
                    l.set(i, j, value);
                }
            }
        }
        Some(l)
    }

    /// Solves L x = b for a lower triangular self.
    pub(crate) fn solve_lower(&self, b: &[f64]) -> Vec<f64> {
        let mut x = b.to_vec();
        for i in 0..self.n {
            let sum = x[i] - dot(&self.row(i)[..i], &x[..i]);
            x[i] = sum / self.at(i, i);
        }
        x
    }

    /// Solves Lᵀ x = b for a lower triangular self.
    pub(crate) fn solve_upper(&self, b: &[f64]) -> Vec<f64> {
        let mut x = b.to_vec();
        for i in (0..self.n).rev() {
            x[i] /= self.at(i, i);
            let value = x[i];
            for (x, l) in x[..i].iter_mut().zip(self.row(i)) {
                *x -= value * l;
            }
        }
        x
    }

    /// Returns the inverse of L Lᵀ for a lower triangular self.
    pub(crate) fn inverse_of_product(&self) -> Self {
        let n = self.n;
        // Row i of `inverse` is column i of L⁻¹, so that the products below run along rows.
        let mut inverse = Self::zeros(n);
        for i in 0..n {
            inverse.set(i, i, 1.0 / self.at(i, i));
            for j in i + 1..n {
                let sum = dot(&self.row(j)[i..j], &inverse.row(i)[i..j]);
                let value = -sum / self.at(j, j);
                inverse.set(i, j, value);
            }
        }
        let mut product = Self::zeros(n);
        for i in 0..n {
            for j in 0..=i {
                let value = dot(&inverse.row(i)[i..], &inverse.row(j)[i..]);
                product.set(i, j, value);
                product.set(j, i, value);
            }
        }
        product
    }

    /// Returns the eigenvalues and the eigenvectors, in columns, of a symmetric self.
    ///
    /// Cyclic Jacobi rotations; see Golub and Van Loan, Matrix Computations, §8.5.
    pub(crate) fn eigen(&self) -> (Vec<f64>, Self) {
        const SWEEPS: usize = 60;
        let n = self.n;
        let mut a = self.clone();
        let mut v = Self::identity(n);
        for _ in 0..SWEEPS {
            let off: f64 = (0..n)
                .flat_map(|i| (0..i).map(move |j| (i, j)))
                .map(|(i, j)| a.at(i, j).powi(2))
                .sum();
            let scale: f64 = (0..n).map(|i| a.at(i, i).powi(2)).sum();
            if off <= 1e-30 * scale || off == 0.0 {
                break;
            }
            for p in 0..n {
                for q in p + 1..n {
                    rotate(&mut a, &mut v, p, q);
                }
            }
        }
        ((0..n).map(|i| a.at(i, i)).collect(), v)
    }
}

/// Makes `a[p][q]` zero.
fn rotate(a: &mut Matrix, v: &mut Matrix, p: usize, q: usize) {
    let apq = a.at(p, q);
    if apq == 0.0 {
        return;
    }
    let tau = (a.at(q, q) - a.at(p, p)) / (2.0 * apq);
    let t = tau.signum() / (tau.abs() + (1.0 + tau * tau).sqrt());
    let c = 1.0 / (1.0 + t * t).sqrt();
    let s = t * c;
    for k in 0..a.n {
        let (x, y) = (a.at(k, p), a.at(k, q));
        a.set(k, p, c * x - s * y);
        a.set(k, q, s * x + c * y);
    }
    for k in 0..a.n {
        let (x, y) = (a.at(p, k), a.at(q, k));
        a.set(p, k, c * x - s * y);
        a.set(q, k, s * x + c * y);
        let (x, y) = (v.at(k, p), v.at(k, q));
        v.set(k, p, c * x - s * y);
        v.set(k, q, s * x + c * y);
    }
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// A function with its gradient.
pub(crate) type WithGradient<'a> = dyn Fn(&[f64]) -> (f64, Vec<f64>) + 'a;

/// Minimises a function within a box, from `start`, by projected L-BFGS with Armijo steps.
///
/// `f` returns the value and the gradient. Nocedal and Wright, Numerical Optimization, §7.2.
pub(crate) fn minimize_in_box(
    f: &WithGradient<'_>,
    start: &[f64],
    bounds: &[(f64, f64)],
    iterations: usize,
) -> (Vec<f64>, f64) {
    const MEMORY: usize = 8;
    let project = |x: &mut [f64]| {
        x.iter_mut()
            .zip(bounds)
            .for_each(|(x, (low, high))| *x = x.clamp(*low, *high));
    };
    let mut x = start.to_vec();
    project(&mut x);
    let (mut value, mut gradient) = f(&x);
    let mut pairs: Vec<(Vec<f64>, Vec<f64>, f64)> = Vec::new();
    for _ in 0..iterations {
        // A coordinate that sits on its bound and wants to leave the box stays where it is.
        let free: Vec<bool> = (0..x.len())
            .map(|i| {
                !((x[i] <= bounds[i].0 && gradient[i] > 0.0)
                    || (x[i] >= bounds[i].1 && gradient[i] < 0.0))
            })
            .collect();
        let masked: Vec<f64> = gradient
            .iter()
            .zip(&free)
            .map(|(g, free)| if *free { *g } else { 0.0 })
            .collect();
        if !value.is_finite() || masked.iter().all(|g| g.abs() < 1e-7) {
            break;
        }
        let mut direction = two_loop(&masked, &pairs);
        direction
            .iter_mut()
            .zip(&free)
            .for_each(|(d, free)| *d = if *free { -*d } else { 0.0 });
        if dot(&direction, &masked) >= 0.0 {
            pairs.clear();
            direction = masked.iter().map(|g| -g).collect();
        }
        let mut step = if pairs.is_empty() {
            // Nothing is known of the curvature yet: a tenth of the box at most.
            let longest = direction.iter().fold(0.0_f64, |m, d| m.max(d.abs()));
            (0.1 / longest).min(1.0)
        } else {
            1.0
        };
        let mut moved = None;
        for _ in 0..25 {
            let mut candidate: Vec<f64> = x
                .iter()
                .zip(&direction)
                .map(|(x, d)| x + step * d)
                .collect();
            project(&mut candidate);
            let (next, next_gradient) = f(&candidate);
            let gain: f64 = candidate
                .iter()
                .zip(&x)
                .zip(&gradient)
                .map(|((c, x), g)| (c - x) * g)
                .sum();
            if next.is_finite() && next <= value + 1e-4 * gain {
                moved = Some((candidate, next, next_gradient));
                break;
            }
            step *= 0.4;
        }
        let Some((candidate, next, next_gradient)) = moved else {
            break;
        };
        let s: Vec<f64> = candidate.iter().zip(&x).map(|(a, b)| a - b).collect();
        let y: Vec<f64> = next_gradient
            .iter()
            .zip(&gradient)
            .map(|(a, b)| a - b)
            .collect();
        let curvature = dot(&s, &y);
        if curvature > 1e-12 {
            if pairs.len() == MEMORY {
                pairs.remove(0);
            }
            pairs.push((s, y, 1.0 / curvature));
        }
        let change = value - next;
        (x, value, gradient) = (candidate, next, next_gradient);
        if change.abs() < 1e-9 * value.abs().max(1.0) {
            break;
        }
    }
    (x, value)
}

/// The product of the approximate inverse Hessian and a gradient.
fn two_loop(gradient: &[f64], pairs: &[(Vec<f64>, Vec<f64>, f64)]) -> Vec<f64> {
    let mut q = gradient.to_vec();
    let mut alphas = Vec::with_capacity(pairs.len());
    for (s, y, rho) in pairs.iter().rev() {
        let alpha = rho * dot(s, &q);
        q.iter_mut().zip(y).for_each(|(q, y)| *q -= alpha * y);
        alphas.push(alpha);
    }
    if let Some((_, y, rho)) = pairs.last() {
        let scale = 1.0 / (rho * dot(y, y));
        q.iter_mut().for_each(|q| *q *= scale);
    }
    for ((s, y, rho), alpha) in pairs.iter().zip(alphas.iter().rev()) {
        let beta = rho * dot(y, &q);
        q.iter_mut()
            .zip(s)
            .for_each(|(q, s)| *q += (alpha - beta) * s);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(btc_testing::cases(256))]

        #[test]
        fn factors_multiply_to_the_matrix(entries in proptest::collection::vec(-2.0..2.0_f64, 25)) {
            let n = 5;
            // A Aᵀ + I is positive definite.
            let mut m = Matrix::identity(n);
            for i in 0..n { for j in 0..n {
                let sum: f64 = (0..n).map(|k| entries[i * n + k] * entries[j * n + k]).sum();
                m.set(i, j, m.at(i, j) + sum);
            }}
            let l = m.cholesky().unwrap();
            let inverse = l.inverse_of_product();
            let (values, vectors) = m.eigen();
            let b: Vec<f64> = entries[..n].to_vec();
            let x = l.solve_upper(&l.solve_lower(&b));
            for (i, b) in b.iter().enumerate() {
                prop_assert!((dot(m.row(i), &x) - b).abs() < 1e-8);
                for j in 0..n {
                    let unit: f64 = dot(m.row(i), inverse.row(j));
                    prop_assert!((unit - f64::from(u8::from(i == j))).abs() < 1e-8);
                    let back: f64 = (0..n).map(|k| vectors.at(i, k) * values[k] * vectors.at(j, k)).sum();
                    prop_assert!((back - m.at(i, j)).abs() < 1e-8);
                }
            }
        }
    }

    #[test]
    fn the_minimum_is_found_inside_and_on_the_bound() {
        let rosenbrock = |x: &[f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            (
                a * a + 100.0 * b * b,
                vec![-2.0 * a - 400.0 * x[0] * b, 200.0 * b],
            )
        };
        let (x, value) = minimize_in_box(&rosenbrock, &[-1.2, 1.0], &[(-5.0, 5.0); 2], 300);
        assert!(value < 1e-8 && (x[0] - 1.0).abs() < 1e-3, "{x:?} {value}");
        let (x, _) = minimize_in_box(&rosenbrock, &[-1.2, 0.4], &[(-5.0, 0.5), (-5.0, 5.0)], 300);
        assert!(
            (x[0] - 0.5).abs() < 1e-6 && (x[1] - 0.25).abs() < 1e-4,
            "{x:?}"
        );
    }

    #[test]
    fn an_indefinite_matrix_has_no_factor() {
        let mut m = Matrix::identity(2);
        m.set(0, 1, 2.0);
        m.set(1, 0, 2.0);
        assert!(m.cholesky().is_none());
    }
}
