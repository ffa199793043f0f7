//! Some parameters fixed, the others left to another sampler.

use serde_json::{Map, Value};

use super::{RelativeSample, Sampler, StudyView};
use crate::distribution::Distribution;
use crate::error::{Error, Result};
use crate::frozen::FrozenTrial;

/// Fixes some parameters and leaves the others to another sampler.
#[derive(Debug)]
pub struct PartialFixedSampler<S> {
    fixed: Map<String, Value>,
    base: S,
}

impl<S: Sampler> PartialFixedSampler<S> {
    /// Creates a sampler that gives the parameters in `fixed` their values and asks `base` for others.
    pub fn new<K: Into<String>, V: Into<Value>>(
        fixed: impl IntoIterator<Item = (K, V)>,
        base: S,
    ) -> Self {
        let fixed = fixed
            .into_iter()
            .map(|(key, value)| (key.into(), value.into()))
            .collect();
        Self { fixed, base }
    }
}

impl<S: Sampler> Sampler for PartialFixedSampler<S> {
    fn sample_relative(&self, study: StudyView<'_>, trial: usize) -> Result<RelativeSample> {
        let mut sample = self.base.sample_relative(study, trial)?;
        sample
            .params
            .retain(|param| !self.fixed.contains_key(&*param.name));
        Ok(sample)
    }

    fn sample_independent(
        &self,
        study: StudyView<'_>,
        trial: &FrozenTrial,
        name: &str,
        distribution: &Distribution,
    ) -> Result<f64> {
        match self.fixed.get(name) {
            Some(value) => internal_of(name, value, distribution),
            None => self
                .base
                .sample_independent(study, trial, name, distribution),
        }
    }

    fn is_exhausted(&self, study: StudyView<'_>) -> bool {
        self.base.is_exhausted(study)
    }
}

/// The internal representation of a value a user wants a parameter to have.
pub(super) fn internal_of(name: &str, value: &Value, distribution: &Distribution) -> Result<f64> {
    distribution
        .to_internal(value)
        .ok_or_else(|| Error::InvalidParameter {
            name: name.to_owned(),
            value: value.to_string(),
            reason: "its distribution does not have this value".to_owned(),
        })
}
