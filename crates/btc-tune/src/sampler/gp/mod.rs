//! Bayesian optimisation with a Gaussian process.

mod acquisition;
pub(crate) mod model;

use rand_xoshiro::Xoshiro256PlusPlus;

use self::acquisition::Axis;
use self::model::Model;
use super::{RelativeSample, Sampler, StudyView, announce, generator, random};
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, Param, TrialState};
use crate::search_space::{SearchSpace, intersection_search_space};

/// Trials before the model is used.
const STARTUP: usize = 10;
/// Trials the model is made of; the best and the latest of more.
const MOST: usize = 400;

/// Models the objective by a Gaussian process and tries where the expected improvement is largest.
///
/// For studies with one objective; strong with few trials that take long. The work grows with the cube
/// of the number of trials, so the model is made of 400 of them at most.
#[derive(Debug, Clone)]
pub struct GpSampler {
    seed: u64,
}

impl GpSampler {
    /// Creates a sampler; the same seed and history give the same values.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    fn propose(
        &self,
        study: StudyView<'_>,
        trial: usize,
        space: &SearchSpace,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Option<Vec<f64>> {
        let direction = study.directions.first().copied().unwrap_or_default();
        let axes: Vec<Axis> = space
            .values()
            .map(|distribution| axis(distribution))
            .collect();
        let mut observed: Vec<(Vec<f64>, f64)> = study
            .trials
            .iter()
            .filter(|t| t.state == TrialState::Complete)
            .filter_map(|t| Some((place(t, space)?, direction.as_loss(t.value()?))))
            .collect();
        thin(&mut observed);
        let (points, losses): (Vec<_>, Vec<_>) = observed.into_iter().unzip();
        let values = standardise(&tame(&losses));
        let best = values.iter().copied().min_by(f64::total_cmp)?;
        let incumbent = points[values.iter().position(|value| *value == best)?].clone();
        let categorical = axes
            .iter()
            .map(|axis| matches!(axis, Axis::Categorical(_)))
            .collect();
        let running: Vec<Vec<f64>> = study
            .trials
            .iter()
            .filter(|t| t.state == TrialState::Running && t.number != trial)
            .filter_map(|t| place(t, space))
            .collect();
        let model = Model::fit(points, &values, categorical)?.believing(running, &values);
        let point = acquisition::maximize(&model, best, &incumbent, &axes, rng);
        Some(
            space
                .values()
                .zip(point)
                .map(|(d, x)| denormalise(d, x))
                .collect(),
        )
    }
}

/// Keeps the better half and the latest if there are too many.
fn thin(observed: &mut Vec<(Vec<f64>, f64)>) {
    if observed.len() <= MOST {
        return;
    }
    let mut order: Vec<usize> = (0..observed.len()).collect();
    order.sort_by(|a, b| observed[*a].1.total_cmp(&observed[*b].1));
    let mut keep = vec![false; observed.len()];
    order[..MOST / 2].iter().for_each(|i| keep[*i] = true);
    let mut room = MOST / 2;
    for kept in keep.iter_mut().rev().filter(|kept| !**kept) {
        if room == 0 {
            break;
        }
        *kept = true;
        room -= 1;
    }
    let mut keep = keep.into_iter();
    observed.retain(|_| keep.next().unwrap_or(false));
}

/// Draws in the bad end of losses that reach far beyond the middle: there a process would spend all its
/// flexibility where nobody wants to go. The order stays, and so does the shape of the good half.
fn tame(losses: &[f64]) -> Vec<f64> {
    /// How many times farther the worst may be from the median than the best is.
    const FAR: f64 = 8.0;
    let mut sorted: Vec<f64> = losses
        .iter()
        .copied()
        .filter(|loss| loss.is_finite())
        .collect();
    sorted.sort_by(f64::total_cmp);
    let (Some(best), Some(worst)) = (sorted.first(), sorted.last()) else {
        return losses.to_vec();
    };
    let half = sorted[sorted.len() / 2] - best;
    if !(half > 0.0 && worst - best > (FAR + 1.0) * half) {
        return losses.to_vec();
    }
    losses
        .iter()
        .map(|loss| ((loss - best) / half).ln_1p())
        .collect()
}

/// Mean 0 and deviation 1; infinities become the worst and best finite values.
fn standardise(losses: &[f64]) -> Vec<f64> {
    let finite = || losses.iter().copied().filter(|loss| loss.is_finite());
    let low = finite().min_by(f64::total_cmp).unwrap_or(0.0);
    let high = finite().max_by(f64::total_cmp).unwrap_or(0.0);
    let clipped: Vec<f64> = losses.iter().map(|loss| loss.clamp(low, high)).collect();
    let n = clipped.len() as f64;
    let mean = clipped.iter().sum::<f64>() / n;
    let deviation = (clipped.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let deviation = if deviation > 0.0 && deviation.is_finite() {
        deviation
    } else {
        1.0
    };
    clipped
        .into_iter()
        .map(|x| (x - mean) / deviation)
        .collect()
}

fn axis(distribution: &Distribution) -> Axis {
    /// Beyond this many values an axis is as good as continuous.
    const MANY: usize = 4096;
    if let Some(choices) = distribution.choices_len() {
        return Axis::Categorical(choices);
    }
    match distribution.step().and_then(|_| distribution.grid()) {
        Some(grid) if grid.len() <= MANY => Axis::Discrete(
            grid.into_iter()
                .map(|x| normalise(distribution, x))
                .collect(),
        ),
        _ => Axis::Continuous,
    }
}

fn normalise(distribution: &Distribution, internal: f64) -> f64 {
    if distribution.choices_len().is_some() {
        return internal.trunc();
    }
    let (low, high) = distribution.transformed_bounds();
    (distribution.transform(internal) - low) / (high - low)
}

fn denormalise(distribution: &Distribution, x: f64) -> f64 {
    if distribution.choices_len().is_some() {
        return x;
    }
    let (low, high) = distribution.transformed_bounds();
    distribution.untransform(low + x * (high - low))
}

/// Where a trial is in the cube, by its parameters or what it announced.
fn place(trial: &FrozenTrial, space: &SearchSpace) -> Option<Vec<f64>> {
    let announced = announce::announced(announce::GP, trial);
    space
        .iter()
        .map(|(name, distribution)| {
            let internal = match trial.parameter(name) {
                Some(param) => param.internal,
                None => distribution.to_internal(announced.get(&**name)?)?,
            };
            Some(normalise(distribution, internal)).filter(|x| x.is_finite())
        })
        .collect()
}

/// With high probability the best value is no farther than this from the best possible.
///
/// The least upper confidence bound of what was tried, less the least lower confidence bound anywhere.
/// `None` if there is nothing to model.
pub(crate) fn regret_bound(study: StudyView<'_>) -> Option<f64> {
    let direction = study.directions.first().copied().unwrap_or_default();
    let complete = study
        .trials
        .iter()
        .filter(|t| t.state == TrialState::Complete);
    let mut space = intersection_search_space(complete.clone());
    space.retain(|_, distribution| !distribution.is_single());
    if space.is_empty() {
        return None;
    }
    let mut observed: Vec<(Vec<f64>, f64)> = complete
        .filter_map(|t| Some((place(t, &space)?, direction.as_loss(t.value()?))))
        .filter(|(_, loss)| loss.is_finite())
        .collect();
    // The better half says enough of the region that matters.
    observed.sort_by(|a, b| a.1.total_cmp(&b.1));
    let keep = (observed.len() / 2).max(20).min(observed.len());
    observed.truncate(keep.min(MOST));
    let (points, losses): (Vec<_>, Vec<_>) = observed.into_iter().unzip();
    let values = standardise(&losses);
    let n = losses.len() as f64;
    let mean = losses.iter().sum::<f64>() / n;
    let deviation = (losses.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    let axes: Vec<Axis> = space
        .values()
        .map(|distribution| axis(distribution))
        .collect();
    let categorical = axes
        .iter()
        .map(|axis| matches!(axis, Axis::Categorical(_)))
        .collect();
    let model = Model::fit(points.clone(), &values, categorical)?;
    // The width of Srinivas et al. (2010) at a probability of .9, a fifth of it as Makarova et al.
    // (2022) use it.
    let d = space.len() as f64;
    let beta = 2.0 * (d * n * n * std::f64::consts::PI.powi(2) / (6.0 * 0.1)).ln() / 5.0;
    let width = beta.max(0.0).sqrt();
    let upper = points.iter().map(|x| {
        let (mean, variance) = model.predict(x);
        mean + width * variance.sqrt()
    });
    let upper = upper.min_by(f64::total_cmp)?;
    let mut rng = generator(0, 0, "\0regret");
    let lower = acquisition::least_lower_bound(&model, width, &points, &axes, &mut rng);
    Some((upper - lower) * deviation.max(1e-10))
}

impl Sampler for GpSampler {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        if study.directions.len() > 1 {
            return Err(Error::SeveralObjectives {
                operation: "the Gaussian process sampler",
                objectives: study.directions.len(),
            });
        }
        let complete = || {
            study
                .trials
                .iter()
                .filter(|t| t.state == TrialState::Complete)
        };
        let mut space = intersection_search_space(complete());
        space.retain(|_, distribution| !distribution.is_single());
        if complete().count() < STARTUP || space.is_empty() {
            return Ok(RelativeSample::default());
        }
        let mut rng = generator(self.seed, trial, "\0relative");
        let Some(values) = self.propose(study, trial, &space, &mut rng) else {
            return Ok(RelativeSample::default());
        };
        let params: Vec<Param> = space
            .into_iter()
            .zip(values)
            .map(|((name, distribution), internal)| Param {
                name,
                distribution,
                internal,
            })
            .collect();
        let system_attrs = announce::announce(announce::GP, &params);
        Ok(RelativeSample {
            params,
            system_attrs,
        })
    }

    fn sample_independent(
        &self,
        _study: StudyView<'_>,
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        Ok(random::sample(
            distribution,
            &mut generator(self.seed, trial.number, name),
        ))
    }
}
