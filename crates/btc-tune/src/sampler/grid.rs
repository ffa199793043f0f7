//! All combinations of given values, each once.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng as _;
use serde_json::{Map, Value};

use super::partial_fixed::internal_of;
use super::{RelativeSample, Sampler, StudyView, generator};
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, TrialState};

/// Tries all combinations of given values, in an order drawn by the seed; the study ends after the last.
///
/// ```
/// use std::num::NonZeroUsize;
/// use std::sync::Arc;
/// use btc_tune::{GridSampler, InMemoryStorage, Study};
/// let grid = GridSampler::new([("x", vec![1.into(), 2.into()]), ("y", vec!["a".into(), "b".into()])], 0)?;
/// let study = Study::builder("grid", Arc::new(InMemoryStorage::new())).sampler(grid).create()?;
/// study.optimize(NonZeroUsize::new(100).unwrap(), |trial| {
///     let y = trial.suggest_categorical("y", &["a", "b"])?;
///     Ok(trial.suggest_int("x", 1..=2)? as f64 + if y == "a" { 0.0 } else { 10.0 })
/// })?;
/// assert_eq!(study.trials()?.len(), 4);
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GridSampler {
    values: BTreeMap<String, Vec<Value>>,
    cells: usize,
    seed: u64,
}

const GRID_ID: &str = "grid_id";
const SEARCH_SPACE: &str = "search_space";

impl GridSampler {
    /// Creates a sampler for the product of the values of each name.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if a name has no values, or there are more than 10 million cells.
    pub fn new<K: Into<String>>(
        values: impl IntoIterator<Item = (K, Vec<Value>)>,
        seed: u64,
    ) -> Result<Self> {
        const MOST: usize = 10_000_000;
        let values: BTreeMap<String, Vec<Value>> = values
            .into_iter()
            .map(|(name, values)| (name.into(), values))
            .collect();
        let cells = values
            .values()
            .try_fold(1_usize, |cells, v| cells.checked_mul(v.len()));
        match cells {
            Some(cells) if (1..=MOST).contains(&cells) => Ok(Self {
                values,
                cells,
                seed,
            }),
            _ => Err(Error::InvalidSetting {
                reason: "a grid needs a value for each name and at most ten million cells"
                    .to_owned(),
            }),
        }
    }

    /// The number of combinations.
    pub fn cells(&self) -> usize {
        self.cells
    }

    fn space(&self) -> Value {
        self.values
            .iter()
            .map(|(name, values)| (name.clone(), Value::from(values.clone())))
            .collect::<Map<_, _>>()
            .into()
    }

    /// The cells that trials of this grid stand for.
    fn taken(
        &self,
        study: StudyView<'_>,
        counts: impl Fn(&FrozenTrial) -> bool,
    ) -> BTreeSet<usize> {
        let space = self.space();
        study
            .trials
            .iter()
            .filter(|trial| counts(trial) && trial.system_attrs.get(SEARCH_SPACE) == Some(&space))
            .filter_map(|trial| usize::try_from(trial.system_attrs.get(GRID_ID)?.as_u64()?).ok())
            .collect()
    }

    /// The cell of a new trial: one nobody has taken; else one that is still running elsewhere.
    fn cell(&self, study: StudyView<'_>, trial: usize) -> usize {
        let open = |taken: &BTreeSet<usize>| -> Vec<usize> {
            (0..self.cells)
                .filter(|cell| !taken.contains(cell))
                .collect()
        };
        let mut cells = open(&self.taken(study, |t| {
            t.number != trial && t.state != TrialState::Waiting
        }));
        if cells.is_empty() {
            cells = open(&self.taken(study, |t| t.state.is_finished()));
        }
        let mut rng = generator(self.seed, trial, "\0grid");
        match cells.len() {
            0 => rng.random_range(0..self.cells),
            n => cells[rng.random_range(0..n)],
        }
    }

    fn value(&self, cell: usize, name: &str) -> Option<&Value> {
        let mut rest = cell;
        // The last name changes fastest, as in nested loops.
        for (key, values) in self.values.iter().rev() {
            if key == name {
                return values.get(rest % values.len());
            }
            rest /= values.len();
        }
        None
    }
}

impl Sampler for GridSampler {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        let mut system_attrs = Map::new();
        system_attrs.insert(SEARCH_SPACE.to_owned(), self.space());
        system_attrs.insert(GRID_ID.to_owned(), self.cell(study, trial).into());
        Ok(RelativeSample {
            params: Vec::new(),
            system_attrs,
        })
    }

    fn sample_independent(
        &self,
        study: StudyView<'_>,
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        let kept = trial.system_attrs.get(GRID_ID).and_then(Value::as_u64);
        let cell = kept.and_then(|cell| usize::try_from(cell).ok());
        let cell = cell.unwrap_or_else(|| self.cell(study, trial.number));
        let value = self
            .value(cell, name)
            .ok_or_else(|| Error::InvalidSetting {
                reason: format!("the grid has no values for parameter {name:?}"),
            })?;
        internal_of(name, value, distribution)
    }

    fn is_exhausted(&self, study: StudyView<'_>) -> bool {
        // A cell that failed is not tried again: it would fail again, and the study would never end.
        self.taken(study, |t| t.state.is_finished()).len() >= self.cells
    }
}
