//! The choices of a categorical parameter.

use crate::choice::Choice;
use crate::error::{Error, Result};

/// The choices of a categorical parameter, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoricalDistribution {
    pub(super) choices: Vec<Choice>,
}

impl CategoricalDistribution {
    /// Describes a parameter that is one of `choices`.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyChoices`] if there is none.
    pub fn new<C: Into<Choice>>(choices: impl IntoIterator<Item = C>) -> Result<Self> {
        let choices: Vec<Choice> = choices.into_iter().map(Into::into).collect();
        if choices.is_empty() {
            return Err(Error::EmptyChoices);
        }
        Ok(Self { choices })
    }

    /// The choices.
    pub fn choices(&self) -> &[Choice] {
        &self.choices
    }
}
