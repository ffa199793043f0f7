//! What is kept from trial to trial changes nothing.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::frozen::{StudyDirection, TrialId};
use crate::storage::NewTrial;
use crate::{CategoricalDistribution, FloatDistribution, IntDistribution};

fn space() -> SearchSpace {
    let choices = CategoricalDistribution::new(["a", "b", "c"]).unwrap();
    let entries: [(&str, Distribution); 4] = [
        ("c", choices.into()),
        ("l", FloatDistribution::log(1e-3, 1.0).unwrap().into()),
        ("n", IntDistribution::new(1, 9).unwrap().into()),
        ("x", FloatDistribution::new(-5.0, 5.0).unwrap().into()),
    ];
    entries
        .into_iter()
        .map(|(name, d)| (name.into(), Arc::new(d)))
        .collect()
}

/// A trial by a few numbers: its values, its state, which parameter it lacks.
fn trial(number: usize, spec: &(f64, f64, u8, u8, f64, u8)) -> Arc<FrozenTrial> {
    let (x, l, n, c, value, kind) = *spec;
    let mut new = NewTrial::waiting();
    new.state = match kind {
        0 => TrialState::Fail,
        1 => TrialState::Running,
        2 | 3 => TrialState::Pruned,
        _ => TrialState::Complete,
    };
    if new.state == TrialState::Complete {
        new.values = vec![value];
    }
    if kind == 3 {
        new.intermediate_values = vec![(u64::from(n), value)];
    }
    if kind == 5 {
        new.system_attrs
            .insert("constraints:k".to_owned(), value.into());
    }
    let values = [f64::from(c), l, f64::from(n), x];
    for ((name, distribution), internal) in space().into_iter().zip(values) {
        // Some trials lack a parameter, as in a conditional search space.
        if !(kind == 6 && &*name == "l") {
            new.parameters.push(Param {
                name,
                distribution,
                internal,
            });
        }
    }
    Arc::new(new.freeze(TrialId(number as i64), number))
}

proptest! {
    #![proptest_config(btc_testing::cases(48))]

    #[test]
    fn a_sampler_that_followed_a_study_agrees_with_one_that_sees_it_first(
        specs in proptest::collection::vec(
            (-6.0..6.0_f64, 1e-3..1.0_f64, 1..10_u8, 0..3_u8, -1.0..1.0_f64, 0..12_u8), 12..60),
        ends in proptest::collection::vec(0..60_usize, 6),
    ) {
        let directions = [StudyDirection::Maximize];
        let mut trials: Vec<Arc<FrozenTrial>> = Vec::new();
        let follower = TpeSampler::new(1);
        for (number, spec) in specs.iter().enumerate() {
            trials.push(trial(number, spec));
            // Now and then a running trial ends.
            for end in ends.iter().filter(|end| *end % 7 == number % 7) {
                if let Some(old) = trials.get_mut(*end).filter(|t| t.state == TrialState::Running) {
                    let mut ended = FrozenTrial::clone(old);
                    ended.state = TrialState::Complete;
                    ended.values = vec![0.5];
                    *old = Arc::new(ended);
                }
            }
            let view = StudyView { id: StudyId(0), name: "s", directions: &directions, trials: &trials };
            let next = trials.len();
            let fresh = TpeSampler::new(1);
            prop_assert_eq!(
                follower.sample_relative(view, next).unwrap(),
                fresh.sample_relative(view, next).unwrap()
            );
            let next = trial(next, &specs[0]);
            for (name, distribution) in space() {
                prop_assert_eq!(
                    follower.sample_independent(view, &next, &name, &distribution).unwrap(),
                    fresh.sample_independent(view, &next, &name, &distribution).unwrap()
                );
            }
        }
    }

    #[test]
    fn kept_kernels_are_those_built_anew(
        specs in proptest::collection::vec(
            (-6.0..6.0_f64, 1e-3..1.0_f64, 1..10_u8, 0..3_u8, -1.0..1.0_f64, 0..12_u8), 12..80),
    ) {
        let directions = [StudyDirection::Minimize];
        let trials: Vec<_> = specs.iter().enumerate().map(|(i, spec)| trial(i, spec)).collect();
        let view = StudyView { id: StudyId(0), name: "s", directions: &directions, trials: &trials };
        let sampler = TpeSampler::new(1);
        let mut history = History::default();
        for end in 1..=trials.len() {
            history.sync(&trials[..end], &directions);
        }
        let space = space();
        let (below, above) = sampler.estimators(view, trials.len(), &space, &mut history);

        // The plain way: split all trials, take what they have, put kernels on it.
        let used: Vec<&Arc<FrozenTrial>> =
            trials.iter().filter(|t| is_informative(t) || t.state == TrialState::Running).collect();
        let finished = used.iter().filter(|t| is_informative(t)).count();
        let (good, bad) = split::split(&used, &directions, gamma(finished, 1));
        let plain = |positions: &[usize]| {
            let rows: Vec<Vec<f64>> =
                positions.iter().filter_map(|i| observation(used[*i], &space, true)).collect();
            let columns: Vec<Column> = space
                .values()
                .enumerate()
                .map(|(d, distribution)| Column {
                    distribution: distribution.clone(),
                    values: rows.iter().map(|row| row[d]).collect(),
                })
                .collect();
            let config = KernelConfig { prior_weight: 1.0, magic_clip: true, endpoints: false };
            ParzenEstimator::new(&columns, &ramp_weights(rows.len()), config)
        };
        let points = vec![
            vec![0.0, 0.01, 3.0, 0.5], vec![2.0, 1.0, 9.0, 5.0], vec![1.0, 0.001, 1.0, -5.0],
        ];
        for (kept, anew) in [(below, plain(&good)), (above, plain(&bad))] {
            for (a, b) in kept.log_pdf(&points).iter().zip(anew.log_pdf(&points)) {
                prop_assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{} {}", a, b);
            }
        }
    }
}
