//! All combinations of a search space that only shows itself while it is explored.

use rand::Rng as _;

use super::{Sampler, StudyView, generator};
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, TrialState};

/// Tries every combination of a discrete search space once; the study ends after the last.
///
/// Parameters may depend on others. Floats need a step.
#[derive(Debug, Clone)]
pub struct BruteForceSampler {
    seed: u64,
}

/// What was explored below one choice.
#[derive(Debug, Default)]
struct Node {
    /// The parameter asked for here, once a trial has got this far.
    name: Option<String>,
    /// Its values with what lies below.
    children: Vec<(f64, Node)>,
    /// Whether a trial ended here.
    is_leaf: bool,
    /// Whether a trial is on its way through here.
    is_running: bool,
}

impl Node {
    fn add(&mut self, trial: &FrozenTrial, skip: usize) {
        let mut node = self;
        for param in trial.parameters.iter().skip(skip) {
            // A trial that ran with another program order has no place here.
            if node
                .name
                .as_deref()
                .is_some_and(|name| name != &*param.name)
            {
                return;
            }
            if node.name.is_none() {
                node.name = Some(param.name.to_string());
                let grid = param.distribution.grid().unwrap_or_default();
                node.children = grid
                    .into_iter()
                    .map(|value| (value, Node::default()))
                    .collect();
            }
            let place = node
                .children
                .iter()
                .position(|(value, _)| *value == param.internal);
            let place = place.unwrap_or_else(|| {
                node.children.push((param.internal, Node::default()));
                node.children.len() - 1
            });
            node = &mut node.children[place].1;
        }
        if trial.state.is_finished() {
            node.is_leaf = true;
        } else {
            node.is_running = true;
        }
    }

    /// The number of places known that nobody has explored; running ones count as explored.
    fn open(&self) -> usize {
        match self.name {
            Some(_) => self.children.iter().map(|(_, child)| child.open()).sum(),
            None => usize::from(!self.is_running && !self.is_leaf),
        }
    }

    fn has_running(&self) -> bool {
        self.is_running || self.children.iter().any(|(_, c)| c.has_running())
    }
}

impl BruteForceSampler {
    /// Creates a sampler; the seed decides the order.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// What is known below the values `trial` has so far.
    fn tree(&self, study: StudyView<'_>, trial: Option<&FrozenTrial>) -> Node {
        let prefix = trial.map_or(&[][..], |trial| &trial.parameters);
        let mut tree = Node::default();
        for other in study.trials {
            let same = trial.is_some_and(|trial| trial.id == other.id);
            let counts = other.state != TrialState::Waiting && !same;
            let below = other.parameters.len() >= prefix.len()
                && prefix
                    .iter()
                    .zip(&other.parameters)
                    .all(|(a, b)| a.name == b.name && a.internal == b.internal);
            if counts && below {
                tree.add(other, prefix.len());
            }
        }
        tree
    }
}

impl Sampler for BruteForceSampler {
    fn sample_independent(
        &self,
        study: StudyView<'_>,
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        let grid = distribution.grid().ok_or_else(|| Error::InvalidSetting {
            reason: format!(
                "trying every value of {name:?} needs a step, and at most ten million values"
            ),
        })?;
        let tree = self.tree(study, Some(trial));
        let open = |value: f64| match &tree.name {
            Some(known) if known == name => {
                let child = tree.children.iter().find(|(v, _)| *v == value);
                child.map_or(1, |(_, child)| child.open())
            }
            _ => 1,
        };
        // Values with more left below them come up more often, so that all leaves are alike.
        let weights: Vec<usize> = grid.iter().map(|value| open(*value)).collect();
        let total: usize = weights.iter().sum();
        let mut rng = generator(self.seed, trial.number, name);
        if total == 0 {
            return Ok(grid[rng.random_range(0..grid.len())]);
        }
        let mut pick = rng.random_range(0..total);
        for (value, weight) in grid.iter().zip(weights) {
            if pick < weight {
                return Ok(*value);
            }
            pick -= weight;
        }
        Ok(grid[grid.len() - 1])
    }

    fn is_exhausted(&self, study: StudyView<'_>) -> bool {
        let tree = self.tree(study, None);
        tree.name.is_some() && tree.open() == 0 && !tree.has_running()
    }
}
