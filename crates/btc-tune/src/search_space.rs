//! Which parameters a study has.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::distribution::Distribution;
use crate::frozen::{FrozenTrial, TrialState};

/// Parameters by name.
pub type SearchSpace = BTreeMap<Arc<str>, Arc<Distribution>>;

/// Whether a trial tells samplers something about the objective.
pub(crate) fn is_informative(trial: &FrozenTrial) -> bool {
    matches!(trial.state, TrialState::Complete | TrialState::Pruned)
}

/// Returns the parameters that every complete or pruned trial has, with the same distribution in each.
///
/// Parameters with a single possible value are among them.
pub fn intersection_search_space<'a>(
    trials: impl IntoIterator<Item = &'a Arc<FrozenTrial>>,
) -> SearchSpace {
    let mut informative = trials.into_iter().filter(|trial| is_informative(trial));
    let Some(first) = informative.next() else {
        return SearchSpace::new();
    };
    let mut space = space_of(first);
    for trial in informative {
        intersect(&mut space, trial);
    }
    space
}

pub(crate) fn space_of(trial: &FrozenTrial) -> SearchSpace {
    trial
        .parameters
        .iter()
        .map(|p| (p.name.clone(), p.distribution.clone()))
        .collect()
}

pub(crate) fn intersect(space: &mut SearchSpace, trial: &FrozenTrial) {
    space.retain(|name, distribution| {
        trial.parameter(name).is_some_and(|param| {
            Arc::ptr_eq(&param.distribution, distribution) || param.distribution == *distribution
        })
    });
}

/// Returns the parameters split into sets that were always suggested together.
pub fn group_search_space<'a>(
    trials: impl IntoIterator<Item = &'a Arc<FrozenTrial>>,
) -> Vec<SearchSpace> {
    let mut groups: Vec<SearchSpace> = Vec::new();
    for trial in trials.into_iter().filter(|trial| is_informative(trial)) {
        let mut rest = space_of(trial);
        let mut next = Vec::with_capacity(groups.len() + 1);
        for group in groups {
            let (with, without): (SearchSpace, SearchSpace) = group
                .into_iter()
                .partition(|(name, _)| rest.contains_key(name));
            rest.retain(|name, _| !with.contains_key(name));
            next.extend(
                [with, without]
                    .into_iter()
                    .filter(|group| !group.is_empty()),
            );
        }
        if !rest.is_empty() {
            next.push(rest);
        }
        groups = next;
    }
    groups
}
