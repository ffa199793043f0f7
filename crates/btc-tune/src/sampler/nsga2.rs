//! Evolution of a population by non-domination and crowding: NSGA-II.
//!
//! Deb et al. (2002). Nothing but the generation of a trial is stored: populations are worked out again
//! from the trials.

use std::sync::Arc;

use rand::Rng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::{RelativeSample, Sampler, StudyView, generator, random};
use crate::best::losses;
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, Param, TrialState};
use crate::hypervolume::non_domination_ranks;
use crate::search_space::{intersect, space_of};

const GENERATION: &str = "NSGAIISampler:generation";

/// Settings of [`Nsga2Sampler`]; the default is that of Optuna.
#[derive(Debug, Clone, PartialEq)]
pub struct Nsga2Config {
    /// Trials of a generation; at least 2.
    pub population_size: usize,
    /// How likely a parameter is drawn anew; one in the number of parameters if `None`.
    pub mutation_probability: Option<f64>,
    /// How likely a child has two parents instead of one.
    pub crossover_probability: f64,
    /// How likely each parameter comes from the second parent.
    pub swapping_probability: f64,
}

impl Default for Nsga2Config {
    fn default() -> Self {
        Self {
            population_size: 50,
            mutation_probability: None,
            crossover_probability: 0.9,
            swapping_probability: 0.5,
        }
    }
}

/// Crosses and mutates the best trials of the generation before; for one or several objectives.
#[derive(Debug, Clone)]
pub struct Nsga2Sampler {
    seed: u64,
    config: Nsga2Config,
}

impl Nsga2Sampler {
    /// Creates a sampler; the same seed and history give the same values.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if the population is smaller than 2 or a probability is not within
    /// 0..=1.
    pub fn new(seed: u64, config: Nsga2Config) -> Result<Self> {
        let probabilities = [
            config.mutation_probability.unwrap_or(0.0),
            config.crossover_probability,
            config.swapping_probability,
        ];
        if config.population_size < 2 || probabilities.iter().any(|p| !(0.0..=1.0).contains(p)) {
            return Err(Error::InvalidSetting {
                reason: "a population has at least 2 members and probabilities are within 0..=1"
                    .to_owned(),
            });
        }
        Ok(Self { seed, config })
    }

    /// The generation of the next trial and the parents it may have.
    fn parents(&self, study: StudyView<'_>) -> (u64, Vec<Arc<FrozenTrial>>) {
        let mut population: Vec<Arc<FrozenTrial>> = Vec::new();
        for generation in 0.. {
            let born: Vec<Arc<FrozenTrial>> = study
                .trials
                .iter()
                .filter(|trial| trial.state == TrialState::Complete)
                .filter(|trial| {
                    trial.system_attrs.get(GENERATION).and_then(|g| g.as_u64()) == Some(generation)
                })
                .take(self.config.population_size)
                .cloned()
                .collect();
            if born.len() < self.config.population_size {
                return (generation, population);
            }
            population.extend(born);
            population = select(population, study, self.config.population_size);
        }
        (0, population)
    }

    fn child(
        &self,
        parents: &[Arc<FrozenTrial>],
        study: StudyView<'_>,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Vec<Param> {
        let Some(first) = parents.first() else {
            return Vec::new();
        };
        let mut space = space_of(first);
        parents[1..]
            .iter()
            .for_each(|parent| intersect(&mut space, parent));
        let standing = Standing::of(parents, study);
        let tournament = |rng: &mut Xoshiro256PlusPlus| {
            let (a, b) = (
                rng.random_range(0..parents.len()),
                rng.random_range(0..parents.len()),
            );
            if standing.is_better(b, a) { b } else { a }
        };
        let mother = tournament(rng);
        let father = if rng.random::<f64>() < self.config.crossover_probability {
            tournament(rng)
        } else {
            mother
        };
        let mutation = self
            .config
            .mutation_probability
            .unwrap_or(1.0 / space.len().max(1) as f64);
        space
            .into_iter()
            .filter_map(|(name, distribution)| {
                let from_father = rng.random::<f64>() < self.config.swapping_probability;
                let mutates = rng.random::<f64>() < mutation;
                let parent = &parents[if from_father { father } else { mother }];
                // What mutates is left out and drawn anew when the objective asks for it.
                let internal = parent.parameter(&name)?.internal;
                (!mutates).then_some(Param {
                    name,
                    distribution,
                    internal,
                })
            })
            .collect()
    }
}

/// How the members of a population compare.
struct Standing {
    violations: Vec<f64>,
    ranks: Vec<usize>,
    crowding: Vec<f64>,
}

impl Standing {
    fn of(population: &[Arc<FrozenTrial>], study: StudyView<'_>) -> Self {
        let points: Vec<Vec<f64>> = population
            .iter()
            .map(|trial| losses(trial, study.directions))
            .collect();
        let ranks = non_domination_ranks(&points);
        let mut crowding = vec![0.0; points.len()];
        for rank in 0..=ranks.iter().copied().max().unwrap_or(0) {
            let front: Vec<usize> = (0..points.len()).filter(|i| ranks[*i] == rank).collect();
            add_crowding(&points, &front, &mut crowding);
        }
        let violations = population.iter().map(|trial| trial.violation()).collect();
        Self {
            violations,
            ranks,
            crowding,
        }
    }

    /// Feasible before infeasible, then by front, then the lonelier one.
    fn is_better(&self, a: usize, b: usize) -> bool {
        (self.violations[a].total_cmp(&self.violations[b]))
            .then(self.ranks[a].cmp(&self.ranks[b]))
            .then(self.crowding[b].total_cmp(&self.crowding[a]))
            .is_lt()
    }
}

/// Adds for each member of a front how far its neighbours are, in each objective.
fn add_crowding(points: &[Vec<f64>], front: &[usize], crowding: &mut [f64]) {
    let objectives = points.first().map_or(0, Vec::len);
    let columns = (0..objectives).map(|k| points.iter().map(|p| p[k]).collect::<Vec<f64>>());
    for column in columns {
        let value = |member: usize| column[member];
        let mut order = front.to_vec();
        order.sort_by(|a, b| value(*a).total_cmp(&value(*b)));
        let (Some(first), Some(last)) = (order.first(), order.last()) else {
            return;
        };
        let range = value(*last) - value(*first);
        crowding[*first] = f64::INFINITY;
        crowding[*last] = f64::INFINITY;
        if range > 0.0 && range.is_finite() {
            for three in order.windows(3) {
                crowding[three[1]] += (value(three[2]) - value(three[0])) / range;
            }
        }
    }
}

/// Keeps the best `size` members.
fn select(
    population: Vec<Arc<FrozenTrial>>,
    study: StudyView<'_>,
    size: usize,
) -> Vec<Arc<FrozenTrial>> {
    let standing = Standing::of(&population, study);
    let mut order: Vec<usize> = (0..population.len()).collect();
    order.sort_by(
        |a, b| match (standing.is_better(*a, *b), standing.is_better(*b, *a)) {
            (true, _) => std::cmp::Ordering::Less,
            (_, true) => std::cmp::Ordering::Greater,
            _ => a.cmp(b),
        },
    );
    order
        .into_iter()
        .take(size)
        .map(|i| population[i].clone())
        .collect()
}

impl Sampler for Nsga2Sampler {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        let (generation, parents) = self.parents(study);
        let mut rng = generator(self.seed, trial, "\0relative");
        let params = self.child(&parents, study, &mut rng);
        let mut sample = RelativeSample {
            params,
            ..RelativeSample::default()
        };
        sample
            .system_attrs
            .insert(GENERATION.to_owned(), generation.into());
        Ok(sample)
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
