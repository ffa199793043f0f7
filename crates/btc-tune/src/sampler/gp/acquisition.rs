//! Where the next trial promises most: the logarithm of the expected improvement, and its maximum.

use rand::Rng;

use super::model::Model;
use crate::linalg::minimize_in_box;
use crate::sampler::sobol::{DIMENSIONS, Sobol};
use crate::sampler::tpe::normal::{cdf, log_cdf, log_density};

/// What values one coordinate of the unit cube may have.
#[derive(Debug, Clone)]
pub(super) enum Axis {
    Continuous,
    /// The positions of the values, in order.
    Discrete(Vec<f64>),
    Categorical(usize),
}

impl Axis {
    fn snap(&self, x: f64) -> f64 {
        match self {
            Self::Continuous => x.clamp(0.0, 1.0),
            Self::Categorical(choices) => x.round().clamp(0.0, *choices as f64 - 1.0),
            Self::Discrete(values) => {
                let after = values
                    .partition_point(|value| *value < x)
                    .min(values.len() - 1);
                let before = after.saturating_sub(1);
                if x - values[before] < values[after] - x {
                    values[before]
                } else {
                    values[after]
                }
            }
        }
    }
}

/// ln of (φ(z) + z Φ(z)), the expected improvement by a standard normal value.
fn log_improvement(z: f64) -> f64 {
    if z > -1.0 {
        return (log_density(z).exp() + z * cdf(z)).ln();
    }
    if z > -30.0 {
        return log_density(z) + (z * (log_cdf(z) - log_density(z)).exp()).ln_1p();
    }
    // The asymptotic series of the same.
    let square = z * z;
    log_density(z) - square.ln() + (-3.0 / square + 15.0 / (square * square)).ln_1p()
}

/// ln of the expected improvement over `best`, and its gradient.
fn evaluate(model: &Model, best: f64, x: &[f64]) -> (f64, Vec<f64>) {
    let posterior = model.posterior(x);
    let sigma = posterior.variance.sqrt();
    let z = (best - posterior.mean) / sigma;
    let h = log_improvement(z);
    let by_mean = -(log_cdf(z) - h).exp() / sigma;
    let by_sigma = (log_density(z) - h).exp() / sigma;
    let gradient = posterior
        .mean_gradient
        .iter()
        .zip(&posterior.variance_gradient)
        .map(|(m, v)| by_mean * m + by_sigma * v / (2.0 * sigma))
        .collect();
    (sigma.ln() + h, gradient)
}

fn score(model: &Model, best: f64, x: &[f64]) -> f64 {
    let (mean, variance) = model.predict(x);
    let sigma = variance.sqrt();
    sigma.ln() + log_improvement((best - mean) / sigma)
}

/// Finds a point of high expected improvement: many points, then local search from the best.
pub(super) fn maximize(
    model: &Model,
    best: f64,
    incumbent: &[f64],
    axes: &[Axis],
    rng: &mut impl Rng,
) -> Vec<f64> {
    const STARTS: usize = 10;
    let candidates = candidates(axes, incumbent, &model.length_scales(), rng);
    let mut scored: Vec<(f64, Vec<f64>)> = candidates
        .into_iter()
        .map(|x| (score(model, best, &x), x))
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.truncate(STARTS);
    let mut found = scored[0].clone();
    for (value, x) in scored {
        let (value, x) = improve(model, best, axes, value, x);
        if value > found.0 {
            found = (value, x);
        }
    }
    found.1
}

/// The least lower confidence bound over many points, refined around the best of them.
pub(super) fn least_lower_bound(
    model: &Model,
    width: f64,
    tried: &[Vec<f64>],
    axes: &[Axis],
    rng: &mut impl Rng,
) -> f64 {
    let bound = |x: &[f64]| {
        let (mean, variance) = model.predict(x);
        mean - width * variance.sqrt()
    };
    let lengths = model.length_scales();
    let mut least = f64::INFINITY;
    let mut best: Vec<f64> = tried.first().cloned().unwrap_or_default();
    for _ in 0..3 {
        for x in candidates(axes, &best.clone(), &lengths, rng)
            .into_iter()
            .chain(tried.to_vec())
        {
            let value = bound(&x);
            if value < least {
                (least, best) = (value, x);
            }
        }
    }
    least
}

/// Points spread over the cube, and some around the best one known.
fn candidates(
    axes: &[Axis],
    incumbent: &[f64],
    lengths: &[f64],
    rng: &mut impl Rng,
) -> Vec<Vec<f64>> {
    const SPREAD: u32 = 1024;
    const AROUND: usize = 256;
    let unit = |x: u32| f64::from(x) / 2_f64.powi(32);
    let stretch = |axis: &Axis, u: f64| match axis {
        Axis::Categorical(choices) => axis.snap((u * *choices as f64).floor()),
        axis => axis.snap(u),
    };
    let sobol = (axes.len() <= DIMENSIONS).then(|| Sobol::new(axes.len()));
    let shifts: Vec<u32> = axes.iter().map(|_| rng.random()).collect();
    let mut points: Vec<Vec<f64>> = (0..SPREAD)
        .map(|i| {
            let coordinates: Vec<u32> = match &sobol {
                Some(sobol) => sobol.point(i),
                None => axes.iter().map(|_| rng.random()).collect(),
            };
            let shifted = coordinates
                .iter()
                .zip(&shifts)
                .map(|(x, shift)| unit(x ^ shift));
            axes.iter()
                .zip(shifted)
                .map(|(axis, u)| stretch(axis, u))
                .collect()
        })
        .collect();
    for i in 0..AROUND {
        // Some steps are short and some long, all in proportion to how fast the values change.
        let reach = 0.5_f64.powi(1 + (i % 6) as i32);
        let point = axes
            .iter()
            .zip(incumbent)
            .zip(lengths)
            .map(|((axis, x), length)| {
                let u = rng.random::<f64>();
                match axis {
                    Axis::Categorical(_) if u < reach => stretch(axis, rng.random()),
                    Axis::Categorical(_) => *x,
                    axis => axis.snap(x + (2.0 * u - 1.0) * reach * length.min(1.0)),
                }
            })
            .collect();
        points.push(point);
    }
    points
}

/// Climbs: by the gradient along continuous axes, by trial along the others.
fn improve(
    model: &Model,
    best: f64,
    axes: &[Axis],
    mut value: f64,
    mut x: Vec<f64>,
) -> (f64, Vec<f64>) {
    const ROUNDS: usize = 4;
    let continuous: Vec<usize> = (0..axes.len())
        .filter(|i| matches!(axes[*i], Axis::Continuous))
        .collect();
    for _ in 0..ROUNDS {
        let before = value;
        if !continuous.is_empty() {
            let full = |part: &[f64]| {
                let mut full = x.clone();
                continuous.iter().zip(part).for_each(|(i, x)| full[*i] = *x);
                full
            };
            let loss = |part: &[f64]| {
                let (value, gradient) = evaluate(model, best, &full(part));
                (-value, continuous.iter().map(|i| -gradient[*i]).collect())
            };
            let start: Vec<f64> = continuous.iter().map(|i| x[*i]).collect();
            let bounds = vec![(0.0, 1.0); continuous.len()];
            let (part, loss) = minimize_in_box(&loss, &start, &bounds, 40);
            if -loss > value {
                x = full(&part);
                value = -loss;
            }
        }
        for (i, axis) in axes.iter().enumerate() {
            for other in neighbours(axis, x[i]) {
                let old = std::mem::replace(&mut x[i], other);
                let next = score(model, best, &x);
                if next > value {
                    value = next;
                } else {
                    x[i] = old;
                }
            }
        }
        if continuous.len() == axes.len() || value - before < 1e-6 {
            break;
        }
    }
    (value, x)
}

/// Other values along an axis: all if they are few, else some near and far.
fn neighbours(axis: &Axis, x: f64) -> Vec<f64> {
    const FEW: usize = 16;
    match axis {
        Axis::Continuous => Vec::new(),
        Axis::Categorical(choices) => (0..*choices)
            .map(|c| c as f64)
            .filter(|c| *c != x)
            .collect(),
        Axis::Discrete(values) if values.len() <= FEW => {
            values.iter().copied().filter(|value| *value != x).collect()
        }
        Axis::Discrete(values) => {
            let place = values.partition_point(|value| *value < x);
            let mut others = Vec::new();
            let mut step = 1;
            while step < values.len() {
                others.extend(place.checked_sub(step).map(|i| values[i]));
                others.extend(values.get(place + step).copied());
                step *= 2;
            }
            others
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_improvement_is_smooth_across_its_three_forms() {
        for z in [-1.0, -30.0] {
            let (left, right) = (log_improvement(z - 1e-9), log_improvement(z + 1e-9));
            assert!((left - right).abs() < 1e-6, "{z}: {left} {right}");
        }
        assert!((log_improvement(0.0) - log_density(0.0)).abs() < 1e-12);
    }

    #[test]
    fn values_snap_to_the_nearest_allowed() {
        let axis = Axis::Discrete(vec![0.1, 0.5, 0.9]);
        assert_eq!(
            [
                axis.snap(-1.0),
                axis.snap(0.31),
                axis.snap(0.29),
                axis.snap(2.0)
            ],
            [0.1, 0.5, 0.1, 0.9]
        );
        assert_eq!(Axis::Categorical(3).snap(7.0), 2.0);
    }
}
