//! Pruning by a paired test against the best trial, for objectives that average over instances.

use super::{Pruner, Verdict};
use crate::best::best_trial;
use crate::error::{Error, Result};
use crate::frozen::FrozenTrial;
use crate::sampler::StudyView;
use crate::sampler::tpe::normal;

/// Prunes a trial that Wilcoxon's signed-rank test finds worse than the best one on the same steps.
///
/// Steps are instances here, such as folds; a trial reports each instance once, in any order, and
/// returns their mean.
#[derive(Debug, Clone)]
pub struct WilcoxonPruner {
    p_threshold: f64,
    n_startup_steps: usize,
}

impl Default for WilcoxonPruner {
    fn default() -> Self {
        Self {
            p_threshold: 0.1,
            n_startup_steps: 2,
        }
    }
}

impl WilcoxonPruner {
    /// Prunes when the probability of the observed difference falls below `p_threshold`, after at
    /// least `n_startup_steps` common steps.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] unless `p_threshold` is between 0 and 1.
    pub fn new(p_threshold: f64, n_startup_steps: usize) -> Result<Self> {
        if !(0.0..=1.0).contains(&p_threshold) {
            return Err(Error::InvalidSetting {
                reason: format!("p_threshold is between 0 and 1, not {p_threshold}"),
            });
        }
        Ok(Self {
            p_threshold,
            n_startup_steps,
        })
    }
}

impl Pruner for WilcoxonPruner {
    fn prune(&self, study: StudyView<'_>, trial: &FrozenTrial) -> Verdict {
        let direction = study.directions.first().copied().unwrap_or_default();
        let own = &trial.intermediate_values;
        let Ok(best) = best_trial(study.trials, direction) else {
            return false.into();
        };
        let rival = &best.intermediate_values;
        let usable = |values: &std::collections::BTreeMap<u64, f64>| {
            !values.is_empty() && values.values().all(|value| value.is_finite())
        };
        if !usable(own) || !usable(rival) {
            return false.into();
        }
        let differences: Vec<f64> = own
            .iter()
            .filter_map(|(step, value)| Some((value, rival.get(step)?)))
            .map(|(value, other)| direction.as_loss(value - other))
            .collect();
        if differences.len() < self.n_startup_steps.max(2) {
            return false.into();
        }
        let mean = |values: &std::collections::BTreeMap<u64, f64>| {
            direction.as_loss(values.values().sum::<f64>() / values.len() as f64)
        };
        // A trial with the better mean may become the new best, whatever the ranks say.
        let average_is_best = mean(rival) >= mean(own);
        (!average_is_best && greater_p_value(&differences) < self.p_threshold).into()
    }
}

/// The probability of differences at least as positive as these if their signs were random.
///
/// Zeros count half to each side. Without ties and up to 50 differences, and with ties up to 13, the
/// distribution is exact, otherwise normal with a continuity correction.
fn greater_p_value(differences: &[f64]) -> f64 {
    let n = differences.len();
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| differences[*a].abs().total_cmp(&differences[*b].abs()));
    // Ranks in quarters, so that shared ranks and halved zeros stay whole.
    let mut quarters = vec![0_usize; n];
    let mut tie_correction = 0.0;
    let mut start = 0;
    while start < n {
        let mut end = start + 1;
        while end < n && differences[order[end]].abs() == differences[order[start]].abs() {
            end += 1;
        }
        let count = (end - start) as f64;
        tie_correction += count.powi(3) - count;
        for i in &order[start..end] {
            quarters[*i] = 2 * (start + 1 + end);
        }
        start = end;
    }
    let zeros = differences.iter().filter(|d| **d == 0.0).count();
    let irregular = zeros > 0 || tie_correction > 0.0;
    let positive: usize = (0..n)
        .map(|i| match differences[i] {
            d if d > 0.0 => quarters[i],
            d if d < 0.0 => 0,
            _ => quarters[i] / 2,
        })
        .sum();
    if n > 50 || (irregular && n > 13) {
        let n = n as f64;
        let mean = n * (n + 1.0) / 4.0;
        let deviation = ((n * (n + 1.0) * (2.0 * n + 1.0) - tie_correction / 2.0) / 24.0).sqrt();
        let z = (positive as f64 / 4.0 - mean - 0.5) / deviation;
        return normal::cdf(-z);
    }
    let total: usize = quarters.iter().sum();
    // How likely each sum of positive ranks is: every difference goes to one side or the other.
    let mut probability = vec![0.0; total + 1];
    probability[0] = 1.0;
    for (i, quarter) in quarters.iter().enumerate() {
        let (low, high) = match differences[i] == 0.0 {
            true => (quarter / 2, quarter / 2),
            false => (0, *quarter),
        };
        let mut next = vec![0.0; total + 1];
        for (sum, p) in probability.iter().enumerate().filter(|(_, p)| **p > 0.0) {
            next[sum + low] += p / 2.0;
            next[sum + high] += p / 2.0;
        }
        probability = next;
    }
    probability[positive..].iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::assert_close;

    /// Values of `scipy.stats.wilcoxon(d, alternative="greater", zero_method="zsplit")`, SciPy 1.17.
    #[test]
    fn probabilities_agree_with_scipy() {
        assert_close(
            greater_p_value(&[0.1, 0.2, -0.3, 0.4]),
            0.3125,
            1e-12,
            "no ties",
        );
        assert_close(greater_p_value(&[1.0, 1.0, 1.0]), 0.125, 1e-12, "ties");
        assert_close(greater_p_value(&[0.0, 0.0]), 1.0, 1e-12, "zeros");
    }
}
