//! The volume that points dominate, and the subset of points that dominates most. All are losses.

use crate::best::{dominates, lexicographic};

/// Returns the volume between the points and `reference`; points beyond it count nothing.
pub(crate) fn hypervolume(points: &[Vec<f64>], reference: &[f64]) -> f64 {
    let inside: Vec<Vec<f64>> = points
        .iter()
        .filter(|point| point.iter().zip(reference).all(|(x, r)| x < r))
        .cloned()
        .collect();
    volume(non_dominated(inside), reference)
}

/// Keeps the points no other one dominates, each once, in lexicographic order.
fn non_dominated(mut points: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    points.sort_by(|a, b| lexicographic(a, b));
    points.dedup();
    let mut front: Vec<Vec<f64>> = Vec::new();
    for point in points {
        if !front.iter().any(|other| dominates(other, &point)) {
            front.push(point);
        }
    }
    front
}

/// Sums what each point adds to those after it (While et al. 2012, the WFG algorithm).
fn volume(front: Vec<Vec<f64>>, reference: &[f64]) -> f64 {
    if reference.len() == 2 {
        let mut total = 0.0;
        let mut ceiling = reference[1];
        for point in &front {
            total += (reference[0] - point[0]) * (ceiling - point[1]);
            ceiling = point[1];
        }
        return total;
    }
    (0..front.len())
        .map(|i| {
            let point = &front[i];
            let own: f64 = point.iter().zip(reference).map(|(x, r)| r - x).product();
            let limited = front[i + 1..]
                .iter()
                .map(|other| other.iter().zip(point).map(|(a, b)| a.max(*b)).collect())
                .collect();
            own - volume(non_dominated(limited), reference)
        })
        .sum()
}

/// Splits points into fronts; returns the rank of each, 0 for those nothing dominates.
pub(crate) fn non_domination_ranks(points: &[Vec<f64>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).collect();
    order.sort_by(|a, b| lexicographic(&points[*a], &points[*b]));
    let mut fronts: Vec<Vec<usize>> = Vec::new();
    let mut ranks = vec![0; points.len()];
    for i in order {
        // Only earlier points can dominate this one, and fronts are dominated one after the other.
        let rank = fronts.partition_point(|front| {
            front
                .iter()
                .any(|other| dominates(&points[*other], &points[i]))
        });
        if rank == fronts.len() {
            fronts.push(Vec::new());
        }
        fronts[rank].push(i);
        ranks[i] = rank;
    }
    ranks
}

/// Chooses `count` points that together dominate much, one by one, always the one that adds most.
///
/// Copies of a point are chosen only after all distinct points.
pub(crate) fn select_by_hypervolume(
    points: &[Vec<f64>],
    count: usize,
    reference: &[f64],
) -> Vec<usize> {
    let mut distinct: Vec<usize> = Vec::new();
    let mut copies: Vec<usize> = Vec::new();
    for i in 0..points.len() {
        if distinct.iter().any(|j| points[*j] == points[i]) {
            copies.push(i);
        } else {
            distinct.push(i);
        }
    }
    let mut chosen: Vec<usize> = Vec::new();
    let mut front: Vec<Vec<f64>> = Vec::new();
    let mut covered = 0.0;
    // What a point adds can only shrink, so the gain of an earlier round is an upper bound.
    let mut bounds = vec![f64::INFINITY; points.len()];
    while chosen.len() < count.min(distinct.len()) {
        let mut open: Vec<usize> = distinct
            .iter()
            .copied()
            .filter(|i| !chosen.contains(i))
            .collect();
        open.sort_by(|a, b| bounds[*b].total_cmp(&bounds[*a]).then(a.cmp(b)));
        let mut best: Option<(usize, f64)> = None;
        for i in open {
            if best.is_some_and(|(_, gain)| bounds[i] < gain) {
                break;
            }
            front.push(points[i].clone());
            let gain = finite_or(hypervolume(&front, reference) - covered, f64::INFINITY);
            front.pop();
            bounds[i] = gain;
            let better = best.is_none_or(|(j, most)| gain > most || (gain == most && i < j));
            if better {
                best = Some((i, gain));
            }
        }
        let Some((i, _)) = best else { break };
        chosen.push(i);
        front.push(points[i].clone());
        covered = finite_or(hypervolume(&front, reference), 0.0);
    }
    chosen.extend(copies);
    chosen.truncate(count);
    chosen
}

fn finite_or(value: f64, other: f64) -> f64 {
    if value.is_finite() { value } else { other }
}

/// A point somewhat beyond the worst value of each objective.
pub(crate) fn reference_point(points: &[Vec<f64>]) -> Vec<f64> {
    let objectives = points.first().map_or(0, Vec::len);
    (0..objectives)
        .map(|k| {
            let worst = points
                .iter()
                .map(|p| p[k])
                .fold(f64::NEG_INFINITY, f64::max);
            let reference = (1.1 * worst).max(0.9 * worst);
            if reference == 0.0 { 1e-12 } else { reference }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn volumes_of_boxes_are_added_without_their_overlap() {
        let points = vec![vec![0.0, 2.0], vec![1.0, 1.0], vec![2.0, 0.0]];
        assert_eq!(hypervolume(&points, &[3.0, 3.0]), 6.0);
        let cubes = vec![vec![0.0, 0.0, 1.0], vec![1.0, 1.0, 0.0]];
        assert_eq!(hypervolume(&cubes, &[2.0, 2.0, 2.0]), 4.0 + 2.0 - 1.0);
        assert_eq!(hypervolume(&[vec![4.0, 4.0]], &[3.0, 3.0]), 0.0);
    }

    #[test]
    fn ranks_peel_fronts() {
        let points = vec![
            vec![1.0, 1.0],
            vec![0.0, 3.0],
            vec![2.0, 2.0],
            vec![2.0, 2.0],
        ];
        assert_eq!(non_domination_ranks(&points), [0, 0, 1, 1]);
    }

    #[test]
    fn copies_are_chosen_last() {
        let points = vec![vec![0.0, 1.0], vec![0.0, 1.0], vec![1.0, 0.0]];
        assert_eq!(select_by_hypervolume(&points, 2, &[2.0, 2.0]), [0, 2]);
    }

    proptest! {
        #![proptest_config(btc_testing::cases(256))]

        #[test]
        fn volume_agrees_with_counting_cells(points in proptest::collection::vec(proptest::collection::vec(0_u8..6, 3), 1..7)) {
            let as_floats: Vec<Vec<f64>> = points.iter().map(|p| p.iter().map(|x| f64::from(*x)).collect()).collect();
            let mut cells = 0;
            for x in 0..6 { for y in 0..6 { for z in 0..6 {
                if points.iter().any(|p| p[0] <= x && p[1] <= y && p[2] <= z) { cells += 1; }
            }}}
            prop_assert_eq!(hypervolume(&as_floats, &[6.0, 6.0, 6.0]), f64::from(cells));
        }
    }
}
