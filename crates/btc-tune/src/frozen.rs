//! Studies and trials as they are stored.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::choice::float_from_json;
use crate::distribution::Distribution;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "#{}", self.0)
            }
        }
    };
}

id! {
    /// Identifies a study within its storage.
    StudyId
}
id! {
    /// Identifies a trial within its storage, over all studies.
    TrialId
}

/// Whether small or large values are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StudyDirection {
    /// Small values are good.
    #[default]
    Minimize,
    /// Large values are good.
    Maximize,
}

impl StudyDirection {
    /// Turns `value` so that small is good.
    pub(crate) fn as_loss(self, value: f64) -> f64 {
        match self {
            Self::Minimize => value,
            Self::Maximize => -value,
        }
    }
}

impl fmt::Display for StudyDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Minimize => "minimize",
            Self::Maximize => "maximize",
        })
    }
}

impl FromStr for StudyDirection {
    type Err = crate::Error;

    fn from_str(text: &str) -> crate::Result<Self> {
        match text {
            "minimize" => Ok(Self::Minimize),
            "maximize" => Ok(Self::Maximize),
            _ => Err(crate::Error::InvalidSetting {
                reason: format!("a direction is \"minimize\" or \"maximize\", not {text:?}"),
            }),
        }
    }
}

/// Where a trial is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TrialState {
    /// Being evaluated.
    Running,
    /// Ended with values.
    Complete,
    /// Ended early by the pruner.
    Pruned,
    /// Ended without values.
    Fail,
    /// Queued: a worker will take it.
    Waiting,
}

impl TrialState {
    /// Whether the trial has ended and can no longer change.
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Complete | Self::Pruned | Self::Fail)
    }

    /// The upper-case name that databases and exports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "RUNNING",
            Self::Complete => "COMPLETE",
            Self::Pruned => "PRUNED",
            Self::Fail => "FAIL",
            Self::Waiting => "WAITING",
        }
    }
}

impl fmt::Display for TrialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A parameter of a trial: its name, distribution and value.
#[derive(Debug, Clone, PartialEq)]
pub struct Param {
    /// The name the objective suggested it under.
    pub name: Arc<str>,
    /// What values it could have taken.
    pub distribution: Arc<Distribution>,
    /// Its value as a number: the number itself, or the index of the choice.
    pub internal: f64,
}

impl Param {
    /// Its value as a user sees it.
    pub fn value(&self) -> Value {
        self.distribution.to_external(self.internal)
    }
}

/// A trial as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct FrozenTrial {
    /// Identifies it within its storage.
    pub id: TrialId,
    /// 0, 1, 2, ... within its study.
    pub number: usize,
    /// Where it is in its life.
    pub state: TrialState,
    /// One value per objective; of a pruned trial, its last report; empty otherwise.
    pub values: Vec<f64>,
    /// Its parameters in the order they were suggested.
    pub parameters: Vec<Param>,
    /// What it reported, by step.
    pub intermediate_values: BTreeMap<u64, f64>,
    /// Attributes of the user.
    pub user_attrs: Map<String, Value>,
    /// Attributes of samplers, pruners and tools.
    pub system_attrs: Map<String, Value>,
    /// When it began to run.
    pub datetime_start: Option<DateTime<Utc>>,
    /// When it ended.
    pub datetime_complete: Option<DateTime<Utc>>,
}

impl FrozenTrial {
    /// The value of a trial with one objective.
    pub fn value(&self) -> Option<f64> {
        self.values.first().copied()
    }

    /// Its parameters in the order they were suggested, with their values as a user sees them.
    pub fn params(&self) -> impl Iterator<Item = (&str, Value)> {
        self.parameters
            .iter()
            .map(|param| (&*param.name, param.value()))
    }

    /// The value of one parameter.
    pub fn param(&self, name: &str) -> Option<Value> {
        self.parameter(name).map(Param::value)
    }

    /// One parameter.
    pub fn parameter(&self, name: &str) -> Option<&Param> {
        self.parameters.iter().find(|param| &*param.name == name)
    }

    /// The distributions of its parameters in the order they were suggested.
    pub fn distributions(&self) -> impl Iterator<Item = (&str, &Distribution)> {
        self.parameters
            .iter()
            .map(|param| (&*param.name, &*param.distribution))
    }

    /// The largest step it reported.
    pub fn last_step(&self) -> Option<u64> {
        self.intermediate_values
            .last_key_value()
            .map(|(step, _)| *step)
    }

    /// Its constraints by name; a value above 0 says the constraint is violated.
    ///
    /// Both the attribute per constraint of Optuna 5 and the list of earlier versions are read.
    pub fn constraints(&self) -> BTreeMap<String, f64> {
        let mut constraints = BTreeMap::new();
        if let Some(Value::Array(list)) = self.system_attrs.get("constraints") {
            for (i, value) in list.iter().enumerate() {
                constraints.insert(i.to_string(), float_from_json(value).unwrap_or(f64::NAN));
            }
        }
        for (key, value) in &self.system_attrs {
            if let Some(name) = key.strip_prefix("constraints:") {
                constraints.insert(name.to_owned(), float_from_json(value).unwrap_or(f64::NAN));
            }
        }
        constraints
    }

    /// The sum of its violated constraints, 0 if it has none.
    pub fn violation(&self) -> f64 {
        // Most trials have no constraint; they should not pay for a map.
        if !self
            .system_attrs
            .keys()
            .any(|key| key.starts_with("constraints"))
        {
            return 0.0;
        }
        self.constraints()
            .values()
            .filter(|value| **value > 0.0)
            .sum()
    }

    /// How long it ran, if it ended.
    pub fn duration(&self) -> Option<chrono::TimeDelta> {
        Some(self.datetime_complete? - self.datetime_start?)
    }
}

/// A study as it is stored, without its trials.
#[derive(Debug, Clone, PartialEq)]
pub struct FrozenStudy {
    /// Identifies it within its storage.
    pub id: StudyId,
    /// Its unique name.
    pub name: String,
    /// One direction per objective.
    pub directions: Vec<StudyDirection>,
    /// Attributes of the user.
    pub user_attrs: Map<String, Value>,
    /// Attributes of samplers and tools.
    pub system_attrs: Map<String, Value>,
}

/// One line of a list of studies.
#[derive(Debug, Clone, PartialEq)]
pub struct StudySummary {
    /// Identifies it within its storage.
    pub id: StudyId,
    /// Its unique name.
    pub name: String,
    /// One direction per objective.
    pub directions: Vec<StudyDirection>,
    /// How many trials it has, in any state.
    pub n_trials: usize,
    /// The best trial of a study with one objective.
    pub best_trial: Option<Arc<FrozenTrial>>,
    /// The best value of a study with one objective.
    pub best_value: Option<f64>,
    /// When its first trial began.
    pub datetime_start: Option<DateTime<Utc>>,
    /// Attributes of the user.
    pub user_attrs: Map<String, Value>,
    /// Why the rest could not be read, if it could not; it is empty then.
    pub unreadable: Option<String>,
}

impl StudySummary {
    pub(crate) fn unreadable(id: StudyId, name: String, error: crate::Error) -> Self {
        Self {
            id,
            name,
            directions: Vec::new(),
            n_trials: 0,
            best_trial: None,
            best_value: None,
            datetime_start: None,
            user_attrs: Map::new(),
            unreadable: Some(error.to_string()),
        }
    }
}
