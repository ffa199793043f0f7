//! Which trials count as good and which as bad.

use std::sync::Arc;

use crate::best::losses;
use crate::frozen::{FrozenTrial, StudyDirection, TrialState};
use crate::hypervolume::{non_domination_ranks, reference_point, select_by_hypervolume};

/// Splits trials into the `n_below` good ones and the rest; returns positions in the given order.
///
/// Complete trials go first by value, then pruned ones by how far they came, then infeasible ones by
/// how much they violate. Running trials are taken for bad, so that parallel workers spread out.
pub(crate) fn split(
    trials: &[&Arc<FrozenTrial>],
    directions: &[StudyDirection],
    n_below: usize,
) -> (Vec<usize>, Vec<usize>) {
    let mut complete: Vec<usize> = Vec::new();
    let mut pruned: Vec<(i64, f64, usize)> = Vec::new();
    let mut infeasible: Vec<(f64, usize)> = Vec::new();
    let mut above: Vec<usize> = Vec::new();
    for (position, trial) in trials.iter().enumerate() {
        let violation = trial.violation();
        match trial.state {
            TrialState::Running => above.push(position),
            _ if violation > 0.0 => infeasible.push((violation, position)),
            TrialState::Complete => complete.push(position),
            _ => {
                let (step, value) =
                    pruned_key(trial, directions.first().copied().unwrap_or_default());
                pruned.push((step, value, position));
            }
        }
    }
    let mut ranked = if directions.len() > 1 {
        rank_front_by_front(trials, complete, directions, n_below)
    } else {
        let direction = directions.first().copied().unwrap_or_default();
        let loss = |position: &usize| {
            let value = trials[*position].value().unwrap_or(f64::NAN);
            direction.as_loss(value)
        };
        // A stable sort: of equal trials the earlier is better.
        complete.sort_by(|a, b| loss(a).total_cmp(&loss(b)));
        complete
    };
    pruned.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
    infeasible.sort_by(|a, b| a.0.total_cmp(&b.0));
    ranked.extend(pruned.into_iter().map(|(_, _, position)| position));
    ranked.extend(infeasible.into_iter().map(|(_, position)| position));

    let mut below: Vec<usize> = ranked.drain(..n_below.min(ranked.len())).collect();
    above.extend(ranked);
    below.sort_unstable();
    above.sort_unstable();
    (below, above)
}

/// Pruned trials that came farther are better, then those whose last report is smaller.
pub(super) fn pruned_key(trial: &FrozenTrial, direction: StudyDirection) -> (i64, f64) {
    match trial.intermediate_values.last_key_value() {
        Some((step, value)) => {
            let loss = direction.as_loss(*value);
            let loss = if loss.is_nan() { f64::INFINITY } else { loss };
            (-i64::try_from(*step).unwrap_or(i64::MAX), loss)
        }
        None => (1, 0.0),
    }
}

/// Orders trials of several objectives: whole fronts, and within the front that does not fit into
/// `n_below`, those that dominate most.
fn rank_front_by_front(
    trials: &[&Arc<FrozenTrial>],
    complete: Vec<usize>,
    directions: &[StudyDirection],
    n_below: usize,
) -> Vec<usize> {
    let points: Vec<Vec<f64>> = complete
        .iter()
        .map(|p| losses(trials[*p], directions))
        .collect();
    let ranks = non_domination_ranks(&points);
    let last_rank = ranks.iter().copied().max().unwrap_or(0);
    let mut ranked: Vec<usize> = Vec::with_capacity(complete.len());
    for rank in 0..=last_rank {
        let front: Vec<usize> = (0..complete.len()).filter(|i| ranks[*i] == rank).collect();
        let room = n_below.saturating_sub(ranked.len());
        if front.len() <= room || room == 0 {
            ranked.extend(front.iter().map(|i| complete[*i]));
            continue;
        }
        let front_points: Vec<Vec<f64>> = front.iter().map(|i| points[*i].clone()).collect();
        let chosen = select_by_hypervolume(&front_points, room, &reference_point(&front_points));
        ranked.extend(chosen.iter().map(|k| complete[front[*k]]));
        let rest = (0..front.len()).filter(|k| !chosen.contains(k));
        ranked.extend(rest.map(|k| complete[front[k]]));
    }
    ranked
}
