//! Importance by the divergence of two densities on a grid.

use std::sync::Arc;

use crate::distribution::Distribution;
use crate::frozen::{FrozenTrial, Param};
use crate::sampler::tpe::normal::log_mass;

/// Cells of the grid of a continuous parameter.
const CELLS: usize = 50;
/// Trials with one distribution, below which it is left out.
const FEW: usize = 2;

/// Marks the trials whose loss is at most the given quantile.
pub(super) fn best_share(losses: &[f64], quantile: f64) -> Vec<bool> {
    let mut sorted = losses.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = ((quantile * losses.len() as f64).ceil() as usize).clamp(1, losses.len()) - 1;
    losses.iter().map(|loss| *loss <= sorted[index]).collect()
}

/// The importance of a parameter for getting from the region into the target.
///
/// A parameter whose distribution differs between trials is measured for each distribution by itself,
/// and the results are added by how many trials each stands for (arXiv:2601.20800).
pub(super) fn importance(
    name: &str,
    trials: &[&Arc<FrozenTrial>],
    target: &[bool],
    region: &[bool],
) -> f64 {
    let count = |marks: &[bool]| marks.iter().filter(|mark| **mark).count() as f64;
    let (in_target, in_region) = (count(target), count(region));
    if in_target == 0.0 {
        return 0.0;
    }
    let mut regimes: Vec<(&Distribution, Vec<usize>)> = Vec::new();
    for (i, trial) in trials.iter().enumerate().filter(|(i, _)| region[*i]) {
        let Some(Param { distribution, .. }) = trial.parameter(name) else {
            continue;
        };
        match regimes
            .iter_mut()
            .find(|(known, _)| *known == &**distribution)
        {
            Some((_, members)) => members.push(i),
            None => regimes.push((distribution, vec![i])),
        }
    }
    let mut sum = 0.0;
    for (distribution, members) in regimes.iter().filter(|(_, members)| members.len() >= FEW) {
        let best: Vec<usize> = members.iter().copied().filter(|i| target[*i]).collect();
        if distribution.is_single() || best.is_empty() {
            continue;
        }
        let (alpha, beta) = (
            best.len() as f64 / in_target,
            members.len() as f64 / in_region,
        );
        let values = |members: &[usize]| -> Vec<f64> {
            let params = members.iter().filter_map(|i| trials[*i].parameter(name));
            params.map(|param| param.internal).collect()
        };
        let top = density(distribution, &values(&best));
        let all = density(distribution, &values(members));
        let divergence: f64 = top
            .iter()
            .zip(&all)
            .map(|(top, all)| all * (top / all - 1.0).powi(2))
            .sum();
        sum += alpha * alpha / beta * divergence;
    }
    sum * (in_target / in_region).powi(2)
}

/// The density of values on the grid of a distribution.
fn density(distribution: &Distribution, values: &[f64]) -> Vec<f64> {
    let counts = counts(distribution, values);
    let seen: Vec<(usize, f64)> = counts
        .iter()
        .enumerate()
        .filter(|(_, c)| **c > 0)
        .map(|(i, c)| (i, *c as f64))
        .collect();
    let total: f64 = seen.iter().map(|(_, count)| count).sum::<f64>() + 1.0;
    let mut density = vec![0.0; counts.len()];
    if distribution.choices_len().is_some() {
        let cells = counts.len() as f64;
        let prior = 1.0 / (seen.len() as f64 + 1.0);
        let row = 1.0 + prior * cells;
        for (cell, value) in density.iter_mut().enumerate() {
            *value = 1.0 / cells / total;
            for (hit, count) in &seen {
                let probability = (prior + if *hit == cell { 1.0 } else { 0.0 }) / row;
                *value += count / total * probability;
            }
        }
    } else {
        let (low, high) = (-0.5, counts.len() as f64 - 0.5);
        let sigma = scott(&seen);
        let prior = (
            (counts.len() - 1) as f64 / 2.0,
            1.0,
            (counts.len() as f64).max(1.0),
        );
        let kernels = seen
            .iter()
            .map(|(cell, count)| (*cell as f64, *count, sigma));
        for (mu, weight, sigma) in kernels.chain([prior]) {
            let all = log_mass((low - mu) / sigma, (high - mu) / sigma);
            for (cell, value) in density.iter_mut().enumerate() {
                let x = cell as f64;
                let mass = log_mass((x - 0.5 - mu) / sigma, (x + 0.5 - mu) / sigma);
                *value += weight / total * (mass - all).exp();
            }
        }
    }
    density.iter_mut().for_each(|value| *value += 1e-12);
    density
}

/// How many values fall into each cell.
fn counts(distribution: &Distribution, values: &[f64]) -> Vec<usize> {
    if let Some(choices) = distribution.choices_len() {
        let mut counts = vec![0; choices];
        values
            .iter()
            .for_each(|value| counts[(*value as usize).min(choices - 1)] += 1);
        return counts;
    }
    let (first, last) = (distribution.first(), distribution.last());
    let cells = match distribution {
        Distribution::Int(d) if d.is_log() => {
            CELLS.min(((last - first + 1.0).ln() / 2_f64.ln()).ceil() as usize + 1)
        }
        other => match other.step() {
            Some(step) => CELLS.min(((last - first) / step).round_ties_even() as usize + 1),
            None => CELLS,
        },
    };
    let (low, high) = (distribution.transform(first), distribution.transform(last));
    let width = (high - low) / (cells - 1) as f64;
    let mut counts = vec![0; cells];
    for value in values {
        // Half-way values go to the lower cell.
        let place = ((distribution.transform(*value) - low) / width - 0.5).ceil();
        counts[(place.max(0.0) as usize).min(cells - 1)] += 1;
    }
    counts
}

/// The width of the kernels by Scott's rule (1992).
fn scott(seen: &[(usize, f64)]) -> f64 {
    let total: f64 = seen.iter().map(|(_, count)| count).sum();
    let mean = seen
        .iter()
        .map(|(cell, count)| *cell as f64 * count)
        .sum::<f64>()
        / total;
    let squares: f64 = seen
        .iter()
        .map(|(cell, count)| (*cell as f64 - mean).powi(2) * count)
        .sum();
    let deviation = (squares / (total - 1.0).max(1.0)).sqrt();
    let mut cumulative = Vec::with_capacity(seen.len());
    seen.iter().fold(0.0, |sum, (_, count)| {
        cumulative.push(sum + count);
        sum + count
    });
    let lower = cumulative.partition_point(|c| *c < (total / 4.0).floor());
    let upper = cumulative.partition_point(|c| *c <= (total * 3.0 / 4.0).floor());
    let range = seen[upper.min(seen.len() - 1)].0 as f64 - seen[lower].0 as f64;
    // At least 90 % of a kernel fall into its own cell.
    (1.059 * (range / 1.34).min(deviation) * total.powf(-0.2)).max(0.5 / 1.64)
}
