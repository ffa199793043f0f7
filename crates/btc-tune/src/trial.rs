//! A trial while it runs.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::attr::Attr;
use crate::choice::Choice;
use crate::distribution::{
    CategoricalDistribution, Distribution, FloatDistribution, IntDistribution,
};
use crate::error::{Error, Result};
use crate::frozen::{FrozenTrial, Param, TrialId};
use crate::storage::{AttrScope, TrialUpdate};
use crate::study::Study;

/// Why an objective ended without values.
///
/// Any error becomes `Failed` through `?`; that is why this type is not an error itself.
pub enum ObjectiveError {
    /// The pruner said the trial should end.
    Pruned,
    /// Somebody wanted the evaluation to stop: a signal, or the stop flag of the run. The trial is
    /// queued again, and the run ends.
    Interrupted,
    /// Something went wrong.
    Failed(Box<dyn std::error::Error + Send + Sync>),
}

impl fmt::Debug for ObjectiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pruned => f.write_str("Pruned"),
            Self::Interrupted => f.write_str("Interrupted"),
            Self::Failed(error) => f.debug_tuple("Failed").field(error).finish(),
        }
    }
}

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for ObjectiveError {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// How a trial ended: with values, pruned, failed, or broken off.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// With one value per objective; a value that is not a number makes it a failure.
    Complete(Vec<f64>),
    /// Early; its last report becomes its value.
    Pruned,
    /// Without values.
    Failed,
    /// By an interruption: without values, and to be evaluated again.
    Interrupted,
}

impl From<f64> for Outcome {
    fn from(value: f64) -> Self {
        Self::Complete(vec![value])
    }
}

impl From<Vec<f64>> for Outcome {
    fn from(values: Vec<f64>) -> Self {
        Self::Complete(values)
    }
}

impl<const N: usize> From<[f64; N]> for Outcome {
    fn from(values: [f64; N]) -> Self {
        Self::Complete(values.to_vec())
    }
}

impl From<&ObjectiveError> for Outcome {
    fn from(error: &ObjectiveError) -> Self {
        match error {
            ObjectiveError::Pruned => Self::Pruned,
            ObjectiveError::Interrupted => Self::Interrupted,
            ObjectiveError::Failed(_) => Self::Failed,
        }
    }
}

/// A running trial: asks for parameter values, and reports how it goes.
///
/// A trial belongs to one thread at a time. Everything it does is stored at once.
#[derive(Debug)]
pub struct Trial {
    study: Study,
    frozen: FrozenTrial,
    ordinal: usize,
    relative: Vec<Param>,
    fixed: Map<String, Value>,
    /// The trials the sampler saw when this one began, and sees for its remaining parameters.
    history: Arc<[Arc<FrozenTrial>]>,
    /// Whether the pruner sees the same, instead of what other trials reported since.
    isolated: bool,
}

/// How a trial is when it begins.
#[derive(Debug)]
pub(crate) struct Begun {
    pub(crate) frozen: FrozenTrial,
    pub(crate) ordinal: usize,
    pub(crate) relative: Vec<Param>,
    pub(crate) history: Arc<[Arc<FrozenTrial>]>,
    pub(crate) isolated: bool,
}

impl Trial {
    pub(crate) fn new(study: Study, begun: Begun) -> Self {
        let Begun {
            frozen,
            ordinal,
            relative,
            history,
            isolated,
        } = begun;
        let fixed = match frozen.system_attrs.get("fixed_params") {
            Some(Value::Object(fixed)) => fixed.clone(),
            _ => Map::new(),
        };
        Self {
            study,
            frozen,
            ordinal,
            relative,
            fixed,
            history,
            isolated,
        }
    }

    /// Identifies the trial within its storage.
    pub fn id(&self) -> TrialId {
        self.frozen.id
    }

    /// 0, 1, 2, ... within its study.
    pub fn number(&self) -> usize {
        self.frozen.number
    }

    /// Its number among the trials of the study that repeat no other. A trial that is tried again,
    /// since it was interrupted or its worker died, has the ordinal of the first try.
    ///
    /// Seed by it whatever is random in an objective: then a study that was broken off and resumed
    /// gives the same results as one that ran through.
    pub fn ordinal(&self) -> usize {
        self.ordinal
    }

    /// The trial as samplers and pruners are to see it: under its ordinal.
    fn undisturbed(&self) -> Cow<'_, FrozenTrial> {
        if self.frozen.number == self.ordinal {
            return Cow::Borrowed(&self.frozen);
        }
        Cow::Owned(FrozenTrial {
            number: self.ordinal,
            ..self.frozen.clone()
        })
    }

    /// The study it belongs to.
    pub fn study(&self) -> &Study {
        &self.study
    }

    /// Its parameters so far, in the order they were suggested.
    pub fn params(&self) -> Vec<(String, Value)> {
        self.frozen
            .params()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Its state so far.
    pub fn frozen(&self) -> &FrozenTrial {
        &self.frozen
    }

    /// Suggests a real number; a range `low..=high` or a [`FloatDistribution`] says which.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`], [`Error::IncompatibleDistribution`], or what the storage reports.
    pub fn suggest_float<D>(&mut self, name: &str, distribution: D) -> Result<f64>
    where
        D: TryInto<FloatDistribution>,
        Error: From<D::Error>,
    {
        let distribution: FloatDistribution = distribution.try_into()?;
        self.suggest_internal(name, distribution.into())
    }

    /// Suggests an integer; a range `low..=high` or an [`IntDistribution`] says which.
    ///
    /// # Errors
    ///
    /// As [`suggest_float`](Self::suggest_float).
    pub fn suggest_int<D>(&mut self, name: &str, distribution: D) -> Result<i64>
    where
        D: TryInto<IntDistribution>,
        Error: From<D::Error>,
    {
        let distribution: IntDistribution = distribution.try_into()?;
        self.suggest_internal(name, distribution.into())
            .map(|value| value as i64)
    }

    /// Suggests one of `choices`, each a text, number, truth value or null.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyChoices`]; [`Error::InvalidDistribution`] if a choice is a list or an object;
    /// as [`suggest_float`](Self::suggest_float).
    pub fn suggest_categorical<T: Clone + Serialize>(
        &mut self,
        name: &str,
        choices: &[T],
    ) -> Result<T> {
        let scalars: Vec<Choice> = choices.iter().map(to_choice).collect::<Result<_>>()?;
        let distribution = Distribution::from(CategoricalDistribution::new(scalars)?);
        let internal = self.suggest_internal(name, distribution)?;
        let index = (internal.max(0.0) as usize).min(choices.len() - 1);
        Ok(choices[index].clone())
    }

    /// Suggests a value for any distribution.
    ///
    /// # Errors
    ///
    /// As [`suggest_float`](Self::suggest_float).
    pub fn suggest(&mut self, name: &str, distribution: impl Into<Distribution>) -> Result<Value> {
        let distribution = distribution.into();
        let internal = self.suggest_internal(name, distribution.clone())?;
        Ok(distribution.to_external(internal))
    }

    fn suggest_internal(&mut self, name: &str, distribution: Distribution) -> Result<f64> {
        if let Some(known) = self.frozen.parameter(name) {
            if let Some(reason) = known.distribution.incompatibility(&distribution) {
                return Err(Error::IncompatibleDistribution {
                    name: name.to_owned(),
                    reason: reason.to_owned(),
                });
            }
            return Ok(known.internal);
        }
        let param = self.choose(name, distribution)?;
        let internal = param.internal;
        self.apply(TrialUpdate::Param(param.clone()))?;
        self.frozen.parameters.push(param);
        Ok(internal)
    }

    fn choose(&self, name: &str, distribution: Distribution) -> Result<Param> {
        let relative = self.relative.iter().find(|param| &*param.name == name);
        // Sharing the distribution of the search space makes later comparisons cheap.
        let (shared_name, shared) = match relative {
            Some(param) if *param.distribution == distribution => {
                (param.name.clone(), param.distribution.clone())
            }
            _ => (name.into(), Arc::new(distribution)),
        };
        let param = |internal| Param {
            name: shared_name,
            distribution: shared.clone(),
            internal,
        };
        if let Some(value) = self.fixed.get(name) {
            let internal = shared
                .to_internal(value)
                .ok_or_else(|| Error::InvalidParameter {
                    name: name.to_owned(),
                    value: value.to_string(),
                    reason: "the queue fixed a value its distribution does not have".to_owned(),
                })?;
            return Ok(param(internal));
        }
        if shared.is_single() {
            return Ok(param(shared.first()));
        }
        if let Some(relative) = relative {
            let fits = relative.distribution.incompatibility(&shared).is_none()
                && shared.contains(relative.internal);
            if fits {
                return Ok(param(relative.internal));
            }
        }
        let internal = self.study.sampler().sample_independent(
            self.study.view(&self.history),
            &self.undisturbed(),
            name,
            &shared,
        )?;
        Ok(param(internal))
    }

    /// Reports a value at a step, for the pruner and for plots.
    ///
    /// The first report of a step counts; a later one of the same step is ignored.
    ///
    /// # Errors
    ///
    /// [`Error::SeveralObjectives`] if the study has more than one; what the storage reports.
    pub fn report(&mut self, step: u64, value: f64) -> Result<()> {
        self.study
            .need_one_objective("reporting intermediate values")?;
        if self.frozen.intermediate_values.contains_key(&step) {
            return Ok(());
        }
        self.apply(TrialUpdate::Intermediate { step, value })?;
        self.frozen.intermediate_values.insert(step, value);
        Ok(())
    }

    /// Whether the pruner advises to end the trial now; then return [`ObjectiveError::Pruned`].
    ///
    /// # Errors
    ///
    /// [`Error::SeveralObjectives`] if the study has more than one; what the storage reports.
    pub fn should_prune(&mut self) -> Result<bool> {
        self.study.need_one_objective("pruning")?;
        let latest;
        let trials: &[Arc<FrozenTrial>] = if self.isolated {
            &self.history
        } else {
            latest = self.study.undisturbed(&self.study.trials()?);
            &latest
        };
        let verdict = self
            .study
            .pruner()
            .prune(self.study.view(trials), &self.undisturbed());
        for (key, value) in verdict.system_attrs {
            self.set_attr(AttrScope::System, &key, value)?;
        }
        Ok(verdict.prune)
    }

    /// Sets an attribute of the user's own.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn set_user_attr(&mut self, key: &str, value: impl Into<Attr>) -> Result<()> {
        self.set_attr(AttrScope::User, key, value.into().0)
    }

    /// Sets an attribute for tools, such as the run a trial is linked to.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn set_system_attr(&mut self, key: &str, value: impl Into<Attr>) -> Result<()> {
        self.set_attr(AttrScope::System, key, value.into().0)
    }

    /// Sets the value of a constraint; above 0 it is violated.
    ///
    /// # Errors
    ///
    /// What the storage reports.
    pub fn set_constraint(&mut self, name: &str, value: f64) -> Result<()> {
        let value = crate::choice::float_to_json(value);
        self.set_attr(AttrScope::System, &format!("constraints:{name}"), value)
    }

    fn set_attr(&mut self, scope: AttrScope, key: &str, value: Value) -> Result<()> {
        let key = key.to_owned();
        self.apply(TrialUpdate::Attr {
            scope,
            key: key.clone(),
            value: value.clone(),
        })?;
        match scope {
            AttrScope::User => self.frozen.user_attrs.insert(key, value),
            AttrScope::System => self.frozen.system_attrs.insert(key, value),
        };
        Ok(())
    }

    fn apply(&self, update: TrialUpdate) -> Result<()> {
        self.study.storage().update_trial(self.frozen.id, &[update])
    }
}

fn to_choice<T: Serialize>(choice: &T) -> Result<Choice> {
    let invalid = |reason: String| Error::InvalidDistribution { reason };
    let value = serde_json::to_value(choice).map_err(|error| invalid(error.to_string()))?;
    Choice::from_json(&value).ok_or_else(|| {
        invalid(format!(
            "a choice is a text, number, truth value or null, not {value}"
        ))
    })
}
