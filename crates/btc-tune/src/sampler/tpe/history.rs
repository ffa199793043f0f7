//! What the sampler knows of the finished trials, kept from one trial to the next.
//!
//! Finished trials never change, so each is looked at once: its rank among the others, and its place in
//! the order of every parameter. What is kept only saves time; it decides nothing.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;

use super::kernel::{Kernel, KernelConfig, Line, categorical};
use crate::distribution::Distribution;
use crate::frozen::{FrozenTrial, StudyDirection, TrialState};
use crate::search_space::{SearchSpace, intersect, is_informative, space_of};

/// Where a finished trial ranks: smaller is better.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank {
    /// Complete, pruned, infeasible.
    class: u8,
    /// Pruned trials: how far they came, negated.
    step: i64,
    loss: f64,
    position: u32,
}

impl Rank {
    fn new(trial: &FrozenTrial, direction: StudyDirection, position: usize) -> Self {
        let position = position as u32;
        let violation = trial.violation();
        if violation > 0.0 {
            return Self {
                class: 2,
                step: 0,
                loss: violation,
                position,
            };
        }
        if trial.state == TrialState::Complete {
            let loss = direction.as_loss(trial.value().unwrap_or(f64::NAN));
            return Self {
                class: 0,
                step: 0,
                loss,
                position,
            };
        }
        let (step, loss) = super::split::pruned_key(trial, direction);
        Self {
            class: 1,
            step,
            loss,
            position,
        }
    }

    fn order(&self, other: &Self) -> Ordering {
        (self.class.cmp(&other.class))
            .then(self.step.cmp(&other.step))
            .then(self.loss.total_cmp(&other.loss))
            .then(self.position.cmp(&other.position))
    }
}

/// The finished trials of one study.
#[derive(Debug, Default)]
pub(super) struct History {
    directions: Vec<StudyDirection>,
    /// By position: the finished trial that was looked at.
    seen: Vec<Option<Arc<FrozenTrial>>>,
    /// Before this position all trials are finished and known.
    settled: usize,
    informative: usize,
    ranking: Vec<Rank>,
    space: Option<SearchSpace>,
    /// Whether a value has no place on its line, such as 0 on a logarithmic scale.
    has_misfits: bool,
    columns: HashMap<Arc<str>, ColumnCache>,
}

/// The values of one numeric parameter.
#[derive(Debug)]
struct ColumnCache {
    distribution: Arc<Distribution>,
    /// By position, on the line of the kernels; NaN where a trial lacks the parameter.
    values: Vec<f64>,
    /// Positions in order of value.
    order: Vec<u32>,
    /// By position: a width and the factor that belongs to it.
    factors: Vec<(f64, f64)>,
    /// The line on which those are the widths among all values, if they are.
    whole: Option<Line>,
}

/// Trials left out of the kernels beyond which it does not pay to go round each.
const FEW: usize = 64;

impl History {
    /// Looks at what is new, or at everything if the trials are not those seen before.
    pub(super) fn sync(&mut self, trials: &[Arc<FrozenTrial>], directions: &[StudyDirection]) {
        let same = self.directions == directions
            && self.seen.len() <= trials.len()
            && self
                .seen
                .iter()
                .zip(trials)
                .all(|(seen, trial)| seen.as_ref().is_none_or(|seen| Arc::ptr_eq(seen, trial)));
        if !same {
            *self = Self {
                directions: directions.to_vec(),
                ..Self::default()
            };
        }
        self.seen.resize(trials.len(), None);
        for column in self.columns.values_mut() {
            column.values.resize(trials.len(), f64::NAN);
            column.factors.resize(trials.len(), (0.0, 0.0));
        }
        for (position, trial) in trials.iter().enumerate().skip(self.settled) {
            if self.seen[position].is_none() && trial.state.is_finished() {
                self.learn(position, trial);
            }
        }
        while self.seen.get(self.settled).is_some_and(Option::is_some) {
            self.settled += 1;
        }
    }

    fn learn(&mut self, position: usize, trial: &Arc<FrozenTrial>) {
        self.seen[position] = Some(trial.clone());
        if !is_informative(trial) {
            return;
        }
        self.informative += 1;
        if let [direction] = self.directions[..] {
            let rank = Rank::new(trial, direction, position);
            let place = self
                .ranking
                .partition_point(|other| other.order(&rank).is_lt());
            self.ranking.insert(place, rank);
        }
        match &mut self.space {
            Some(space) => intersect(space, trial),
            None => self.space = Some(space_of(trial)),
        }
        for param in &trial.parameters {
            self.has_misfits |= !param.distribution.transform(param.internal).is_finite();
            if let Some(column) = self.columns.get_mut(&param.name) {
                column.insert(position, param.internal);
            }
        }
    }

    /// The number of complete and pruned trials.
    pub(super) fn informative(&self) -> usize {
        self.informative
    }

    /// The parameters all complete and pruned trials have in common.
    pub(super) fn intersection(&self) -> SearchSpace {
        self.space.clone().unwrap_or_default()
    }

    /// Whether every complete and pruned trial has a usable value for every name of a space.
    pub(super) fn is_complete(&self, space: &SearchSpace) -> bool {
        let common = self.space.as_ref();
        !self.has_misfits
            && space
                .keys()
                .all(|name| common.is_some_and(|c| c.contains_key(name)))
    }

    /// Positions of the best trials of a study with one objective, in order of the trials.
    pub(super) fn best(&self, count: usize) -> Vec<usize> {
        let mut best: Vec<usize> = self
            .ranking
            .iter()
            .take(count)
            .map(|rank| rank.position as usize)
            .collect();
        best.sort_unstable();
        best
    }

    /// Puts kernels on the trials at `rows`, which are in order; `running` has the values of those
    /// among them that have not ended.
    pub(super) fn kernels(
        &mut self,
        space: &SearchSpace,
        rows: &[usize],
        running: &HashMap<usize, Vec<f64>>,
        config: KernelConfig,
    ) -> Vec<Kernel> {
        let mut row_of = vec![u32::MAX; self.seen.len()];
        for (row, position) in rows.iter().enumerate() {
            row_of[*position] = row as u32;
        }
        let left_out = if running.is_empty() && rows.len() + FEW >= self.informative {
            let is_left_out = |position: &usize| {
                row_of[*position] == u32::MAX
                    && self.seen[*position]
                        .as_ref()
                        .is_some_and(|t| is_informative(t))
            };
            Some(
                (0..row_of.len())
                    .filter(is_left_out)
                    .collect::<Vec<usize>>(),
            )
        } else {
            None
        };
        space
            .iter()
            .enumerate()
            .map(|(d, (name, distribution))| {
                if let Some(choices) = distribution.choices_len() {
                    let values: Vec<f64> = rows
                        .iter()
                        .map(|position| match running.get(position) {
                            Some(values) => values[d],
                            None => self.internal(*position, name),
                        })
                        .collect();
                    return categorical(&values, choices, config);
                }
                if let Some(left_out) = &left_out {
                    return self
                        .column(name, distribution)
                        .kernel_without(left_out, rows, config);
                }
                let mut extra: Vec<(usize, f64)> = running
                    .iter()
                    .map(|(position, values)| (*position, distribution.transform(values[d])))
                    .collect();
                extra.sort_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)));
                let column = self.column(name, distribution);
                column.kernel(&row_of, rows.len(), &extra, config)
            })
            .collect()
    }

    fn internal(&self, position: usize, name: &str) -> f64 {
        let trial = self.seen[position].as_ref();
        trial
            .and_then(|trial| trial.parameter(name))
            .map_or(0.0, |param| param.internal)
    }

    fn column(&mut self, name: &Arc<str>, distribution: &Arc<Distribution>) -> &mut ColumnCache {
        let seen = &self.seen;
        let column = self
            .columns
            .entry(name.clone())
            .or_insert_with(|| ColumnCache::new(distribution.clone(), name, seen));
        if !Arc::ptr_eq(&column.distribution, distribution) && column.distribution != *distribution
        {
            // Other bounds give other widths and masses.
            *column = ColumnCache::new(distribution.clone(), name, seen);
        }
        column
    }
}

impl ColumnCache {
    fn new(distribution: Arc<Distribution>, name: &str, seen: &[Option<Arc<FrozenTrial>>]) -> Self {
        let values: Vec<f64> = seen
            .iter()
            .map(|trial| {
                let param = trial
                    .as_ref()
                    .filter(|t| is_informative(t))
                    .and_then(|t| t.parameter(name));
                param.map_or(f64::NAN, |param| distribution.transform(param.internal))
            })
            .collect();
        let mut order: Vec<u32> = (0..values.len() as u32)
            .filter(|i| !values[*i as usize].is_nan())
            .collect();
        order.sort_by(|a, b| values[*a as usize].total_cmp(&values[*b as usize]));
        let factors = vec![(0.0, 0.0); values.len()];
        Self {
            distribution,
            values,
            order,
            factors,
            whole: None,
        }
    }

    fn insert(&mut self, position: usize, internal: f64) {
        let value = self.distribution.transform(internal);
        if value.is_nan() {
            return;
        }
        self.values[position] = value;
        let place = self.place(position);
        self.order.insert(place, position as u32);
        if let Some(line) = self.whole {
            for place in place.saturating_sub(1)..(place + 2).min(self.order.len()) {
                self.measure(&line, place);
            }
        }
    }

    /// The place in the order that the value at a position has, or would have.
    fn place(&self, position: usize) -> usize {
        let value = self.values[position];
        self.order.partition_point(|other| {
            let other = *other as usize;
            let order = self.values[other].total_cmp(&value);
            order.then(other.cmp(&position)).is_lt()
        })
    }

    /// Finds the width at a place among all values, and its factor.
    fn measure(&mut self, line: &Line, place: usize) {
        let at = |place: usize| self.order.get(place).map(|p| self.values[*p as usize]);
        let position = self.order[place] as usize;
        let left = place.checked_sub(1).and_then(at);
        let width = line.width(left, self.values[position], at(place + 1));
        if self.factors[position].0 != width {
            self.factors[position] = (width, line.factor(self.values[position], width));
        }
    }

    /// Kernels on `rows`, which are all trials but those `left_out`: only next to these is anything
    /// other than among all values.
    fn kernel_without(
        &mut self,
        left_out: &[usize],
        rows: &[usize],
        config: KernelConfig,
    ) -> Kernel {
        let line = Line::new(&self.distribution, rows.len(), config);
        if self.whole != Some(line) {
            (0..self.order.len()).for_each(|place| self.measure(&line, place));
            self.whole = Some(line);
        }
        let mu = rows.iter().map(|position| self.values[*position]).collect();
        let (mut sigma, mut factors): (Vec<f64>, Vec<f64>) =
            rows.iter().map(|position| self.factors[*position]).unzip();
        let mut holes: Vec<usize> = left_out
            .iter()
            .filter(|position| !self.values[**position].is_nan())
            .map(|position| self.place(*position))
            .collect();
        holes.sort_unstable();
        let is_hole = |place: &usize| holes.binary_search(place).is_ok();
        let before = |place: usize| (0..place).rev().find(|place| !is_hole(place));
        let after = |place: usize| (place + 1..self.order.len()).find(|place| !is_hole(place));
        let value = |place: usize| self.values[self.order[place] as usize];
        for place in holes
            .iter()
            .flat_map(|hole| [before(*hole), after(*hole)])
            .flatten()
        {
            let position = self.order[place] as usize;
            let width = line.width(
                before(place).map(value),
                value(place),
                after(place).map(value),
            );
            if let Ok(row) = rows.binary_search(&position)
                && sigma[row] != width
            {
                sigma[row] = width;
                factors[row] = line.factor(value(place), width);
            }
        }
        line.kernel(&self.distribution, mu, sigma, factors)
    }

    /// Kernels on `count` rows; `extra` are the rows of running trials in order of value.
    fn kernel(
        &mut self,
        row_of: &[u32],
        count: usize,
        extra: &[(usize, f64)],
        config: KernelConfig,
    ) -> Kernel {
        let line = Line::new(&self.distribution, count, config);
        self.whole = None;
        let mut mu = vec![0.0; count];
        let mut sigma = vec![0.0; count];
        let mut factors = vec![0.0; count];
        let values = &self.values;
        let cached = self
            .order
            .iter()
            .map(|position| (*position as usize, values[*position as usize]))
            .filter(|(position, _)| row_of[*position] != u32::MAX);
        let memo = &mut self.factors;
        line.bandwidths(
            Merge {
                left: cached.peekable(),
                right: extra.iter().peekable(),
            },
            |position, width| {
                let row = row_of[position] as usize;
                let value = values[position];
                sigma[row] = width;
                if value.is_nan() {
                    return;
                }
                mu[row] = value;
                if memo[position].0 != width {
                    memo[position] = (width, line.factor(value, width));
                }
                factors[row] = memo[position].1;
            },
        );
        for (position, value) in extra {
            let row = row_of[*position] as usize;
            mu[row] = *value;
            factors[row] = line.factor(*value, sigma[row]);
        }
        line.kernel(&self.distribution, mu, sigma, factors)
    }
}

/// Two sorted sequences as one.
struct Merge<'a, L: Iterator<Item = (usize, f64)>> {
    left: std::iter::Peekable<L>,
    right: std::iter::Peekable<std::slice::Iter<'a, (usize, f64)>>,
}

impl<L: Iterator<Item = (usize, f64)>> Iterator for Merge<'_, L> {
    type Item = (usize, f64);

    fn next(&mut self) -> Option<Self::Item> {
        // Of equal values the earlier trial comes first, as in a stable sort.
        match (self.left.peek(), self.right.peek()) {
            (Some((p, left)), Some((q, right))) if right.total_cmp(left).then(q.cmp(p)).is_lt() => {
                self.right.next().copied()
            }
            (None, Some(_)) => self.right.next().copied(),
            _ => self.left.next(),
        }
    }
}
