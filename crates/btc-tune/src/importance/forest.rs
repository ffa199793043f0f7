//! A random forest of regression trees, and what it says about its features.

use rand::Rng as _;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::sampler::generator;

/// What values a feature has.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Feature {
    /// Between two bounds.
    Numeric(f64, f64),
    /// An index below a number of choices.
    Categorical(usize),
}

/// What a node asks.
#[derive(Debug, Clone, Copy)]
enum Test {
    AtMost(f64),
    Is(usize),
}

impl Test {
    fn holds(self, x: f64) -> bool {
        match self {
            Self::AtMost(threshold) => x <= threshold,
            Self::Is(choice) => x as usize == choice,
        }
    }
}

/// The part of a feature's values that reaches a leaf.
#[derive(Debug, Clone)]
enum Extent {
    Interval(f64, f64),
    Choices(Vec<bool>),
}

impl Extent {
    fn whole(feature: Feature) -> Self {
        match feature {
            Feature::Numeric(low, high) => Self::Interval(low, high),
            Feature::Categorical(choices) => Self::Choices(vec![true; choices]),
        }
    }

    fn cut(&self, test: Test, holds: bool) -> Self {
        match (self, test) {
            (Self::Interval(low, _), Test::AtMost(t)) if holds => Self::Interval(*low, t),
            (Self::Interval(_, high), Test::AtMost(t)) => Self::Interval(t, *high),
            (Self::Choices(choices), Test::Is(c)) => Self::Choices(
                choices
                    .iter()
                    .enumerate()
                    .map(|(i, kept)| *kept && (i == c) == holds)
                    .collect(),
            ),
            (other, _) => other.clone(),
        }
    }

    /// Its share of all values of the feature.
    fn share(&self, feature: Feature) -> f64 {
        match (self, feature) {
            (Self::Interval(low, high), Feature::Numeric(first, last)) => {
                ((high - low) / (last - first)).max(0.0)
            }
            (Self::Choices(kept), Feature::Categorical(choices)) => {
                kept.iter().filter(|kept| **kept).count() as f64 / choices as f64
            }
            _ => 1.0,
        }
    }
}

struct Leaf {
    value: f64,
    extents: Vec<Extent>,
}

struct Tree {
    leaves: Vec<Leaf>,
    /// Per feature: by how much its splits lowered the summed squared error.
    decreases: Vec<f64>,
}

/// Trees grown on bootstrap samples of the same rows.
pub(super) struct Forest {
    features: Vec<Feature>,
    trees: Vec<Tree>,
}

impl Forest {
    pub(super) fn grow(
        features: &[Feature],
        rows: &[Vec<f64>],
        values: &[f64],
        trees: usize,
        seed: u64,
    ) -> Self {
        let trees = (0..trees)
            .map(|tree| {
                let mut rng = generator(seed, tree, "\0forest");
                let mut sample: Vec<usize> = (0..rows.len())
                    .map(|_| rng.random_range(0..rows.len()))
                    .collect();
                grow_tree(features, rows, values, &mut sample, &mut rng)
            })
            .collect();
        Self {
            features: features.to_vec(),
            trees,
        }
    }

    /// Per feature: the share of the variance over the whole space that it explains by itself.
    pub(super) fn variance_shares(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.features.len()];
        let mut counted = 0;
        for tree in &self.trees {
            let shares: Vec<Vec<f64>> = tree
                .leaves
                .iter()
                .map(|leaf| {
                    leaf.extents
                        .iter()
                        .zip(&self.features)
                        .map(|(e, f)| e.share(*f))
                        .collect()
                })
                .collect();
            let volumes = shares.iter().map(|shares| shares.iter().product());
            let total = variance(
                tree.leaves
                    .iter()
                    .zip(volumes)
                    .map(|(leaf, v)| (leaf.value, v)),
            );
            if total <= 0.0 {
                continue;
            }
            counted += 1;
            for (f, sum) in sums.iter_mut().enumerate() {
                *sum += self.marginal_variance(tree, &shares, f) / total;
            }
        }
        sums.iter()
            .map(|sum| sum / f64::from(counted.max(1)))
            .collect()
    }

    /// The variance along one feature of the mean over all others.
    fn marginal_variance(&self, tree: &Tree, shares: &[Vec<f64>], f: usize) -> f64 {
        let others: Vec<f64> = shares
            .iter()
            .map(|shares| {
                let others = shares.iter().enumerate().filter(|(g, _)| *g != f);
                others.map(|(_, share)| share).product()
            })
            .collect();
        match self.features[f] {
            Feature::Categorical(choices) => {
                let at = |choice: usize| {
                    let reaches = |leaf: &Leaf| matches!(&leaf.extents[f], Extent::Choices(kept) if kept[choice]);
                    mean(
                        tree.leaves
                            .iter()
                            .zip(&others)
                            .filter(|(leaf, _)| reaches(leaf)),
                    )
                };
                variance((0..choices).map(|choice| (at(choice), 1.0)))
            }
            Feature::Numeric(low, high) => {
                let mut edges: Vec<f64> = vec![low, high];
                for leaf in &tree.leaves {
                    if let Extent::Interval(a, b) = leaf.extents[f] {
                        edges.extend([a, b]);
                    }
                }
                edges.sort_by(f64::total_cmp);
                edges.dedup();
                // Each leaf adds to a run of segments; prefix sums do that in one pass.
                let mut weights = vec![0.0; edges.len()];
                let mut sums = vec![0.0; edges.len()];
                for (leaf, other) in tree.leaves.iter().zip(&others) {
                    if let Extent::Interval(a, b) = leaf.extents[f] {
                        let (from, to) = (place(&edges, a), place(&edges, b));
                        weights[from] += other;
                        weights[to] -= other;
                        sums[from] += other * leaf.value;
                        sums[to] -= other * leaf.value;
                    }
                }
                let (mut weight, mut sum) = (0.0, 0.0);
                let segments = edges.windows(2).enumerate().map(|(i, edge)| {
                    weight += weights[i];
                    sum += sums[i];
                    (
                        if weight > 0.0 { sum / weight } else { 0.0 },
                        edge[1] - edge[0],
                    )
                });
                variance(segments)
            }
        }
    }

    /// Per feature: the mean share of the decrease of impurity that its splits brought.
    pub(super) fn impurity_decreases(&self) -> Vec<f64> {
        let mut sums = vec![0.0; self.features.len()];
        for tree in &self.trees {
            let total: f64 = tree.decreases.iter().sum();
            if total > 0.0 {
                sums.iter_mut()
                    .zip(&tree.decreases)
                    .for_each(|(sum, d)| *sum += d / total);
            }
        }
        sums
    }
}

fn place(edges: &[f64], x: f64) -> usize {
    edges.partition_point(|edge| *edge < x)
}

fn mean<'a>(leaves: impl Iterator<Item = (&'a Leaf, &'a f64)>) -> f64 {
    let (sum, weight) = leaves.fold((0.0, 0.0), |(s, w), (leaf, weight)| {
        (s + leaf.value * weight, w + weight)
    });
    if weight > 0.0 { sum / weight } else { 0.0 }
}

fn variance(weighted: impl Iterator<Item = (f64, f64)>) -> f64 {
    let pairs: Vec<(f64, f64)> = weighted.collect();
    let total: f64 = pairs.iter().map(|(_, weight)| weight).sum();
    if total <= 0.0 {
        return 0.0;
    }
    let mean = pairs
        .iter()
        .map(|(value, weight)| value * weight)
        .sum::<f64>()
        / total;
    pairs
        .iter()
        .map(|(value, weight)| weight * (value - mean).powi(2))
        .sum::<f64>()
        / total
}

fn grow_tree(
    features: &[Feature],
    rows: &[Vec<f64>],
    values: &[f64],
    sample: &mut [usize],
    rng: &mut Xoshiro256PlusPlus,
) -> Tree {
    /// Deeper than any useful tree; a list of equal splits could otherwise go on for ever.
    const DEEPEST: usize = 64;
    let mut tree = Tree {
        leaves: Vec::new(),
        decreases: vec![0.0; features.len()],
    };
    let whole: Vec<Extent> = features
        .iter()
        .map(|feature| Extent::whole(*feature))
        .collect();
    let mut open: Vec<(usize, usize, usize, Vec<Extent>)> = vec![(0, sample.len(), 0, whole)];
    while let Some((start, end, depth, extents)) = open.pop() {
        let members = &mut sample[start..end];
        let best = if depth < DEEPEST {
            best_split(features, rows, values, members, rng)
        } else {
            None
        };
        let Some((f, test, decrease)) = best else {
            let value = members.iter().map(|i| values[*i]).sum::<f64>() / members.len() as f64;
            tree.leaves.push(Leaf { value, extents });
            continue;
        };
        tree.decreases[f] += decrease;
        members.sort_by_key(|i| !test.holds(rows[*i][f]));
        let middle = start + members.iter().filter(|i| test.holds(rows[**i][f])).count();
        for (from, to, holds) in [(start, middle, true), (middle, end, false)] {
            let mut child = extents.clone();
            child[f] = child[f].cut(test, holds);
            open.push((from, to, depth + 1, child));
        }
    }
    tree
}

/// The split that lowers the summed squared error most; of equals, one drawn at random.
fn best_split(
    features: &[Feature],
    rows: &[Vec<f64>],
    values: &[f64],
    members: &[usize],
    rng: &mut Xoshiro256PlusPlus,
) -> Option<(usize, Test, f64)> {
    let n = members.len() as f64;
    let total: f64 = members.iter().map(|i| values[*i]).sum();
    if members.len() < 2 || members.iter().all(|i| values[*i] == values[members[0]]) {
        return None;
    }
    // The decrease is the squared sums of the parts over their sizes, less that of the whole.
    let gain = |sum: f64, count: f64| {
        sum * sum / count + (total - sum).powi(2) / (n - count) - total * total / n
    };
    let mut best: Option<(usize, Test, f64)> = None;
    let first = rng.random_range(0..features.len());
    for f in (0..features.len()).map(|k| (first + k) % features.len()) {
        let mut consider = |test: Test, value: f64| {
            if value > best.map_or(1e-12 * total.abs().max(1e-300), |(_, _, most)| most) {
                best = Some((f, test, value));
            }
        };
        match features[f] {
            Feature::Numeric(..) => {
                let mut order = members.to_vec();
                order.sort_by(|a, b| rows[*a][f].total_cmp(&rows[*b][f]));
                let mut sum = 0.0;
                for (k, pair) in order.windows(2).enumerate() {
                    sum += values[pair[0]];
                    let (x, y) = (rows[pair[0]][f], rows[pair[1]][f]);
                    let threshold = 0.5 * (x + y);
                    if x < y && threshold < y {
                        consider(Test::AtMost(threshold), gain(sum, (k + 1) as f64));
                    }
                }
            }
            Feature::Categorical(choices) => {
                let mut sums = vec![(0.0, 0.0); choices];
                for i in members {
                    let sum = &mut sums[(rows[*i][f] as usize).min(choices - 1)];
                    *sum = (sum.0 + values[*i], sum.1 + 1.0);
                }
                for (choice, (sum, count)) in sums.into_iter().enumerate() {
                    if count > 0.0 && count < n {
                        consider(Test::Is(choice), gain(sum, count));
                    }
                }
            }
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_follow_the_variance_a_feature_brings() {
        let mut rng = generator(1, 0, "rows");
        let features = [
            Feature::Numeric(0.0, 1.0),
            Feature::Categorical(3),
            Feature::Numeric(0.0, 1.0),
        ];
        let rows: Vec<Vec<f64>> = (0..400)
            .map(|_| {
                vec![
                    rng.random(),
                    f64::from(rng.random_range(0..3_u32)),
                    rng.random(),
                ]
            })
            .collect();
        // Variances: 36/12 = 3 of the first, 2/3 of the second, none of the third.
        let values: Vec<f64> = rows.iter().map(|row| 6.0 * row[0] + row[1]).collect();
        let forest = Forest::grow(&features, &rows, &values, 32, 1);
        let shares = forest.variance_shares();
        assert!(
            (shares[0] - 3.0 / (3.0 + 2.0 / 3.0)).abs() < 0.05,
            "{shares:?}"
        );
        assert!(
            (shares[1] - 2.0 / 11.0).abs() < 0.05 && shares[2] < 0.01,
            "{shares:?}"
        );
        let decreases = forest.impurity_decreases();
        assert!(
            decreases[0] > decreases[1] && decreases[1] > decreases[2],
            "{decreases:?}"
        );
    }
}
