//! What values a parameter can take.
//!
//! Inside the crate a parameter value is one `f64`, its *internal representation*: the number itself,
//! or the index of the choice. That is what storages keep and samplers work on.

mod categorical;
mod float;
#[cfg(test)]
mod golden;
mod int;
mod line;

use serde_json::Value;

pub use categorical::CategoricalDistribution;
pub use float::FloatDistribution;
pub use int::IntDistribution;

use crate::choice::Choice;
use crate::error::Result;

/// What values a parameter can take.
#[derive(Debug, Clone, PartialEq)]
pub enum Distribution {
    /// Real numbers.
    Float(FloatDistribution),
    /// Integers.
    Int(IntDistribution),
    /// One of a list.
    Categorical(CategoricalDistribution),
}

impl Distribution {
    /// Reads a distribution as Optuna writes it: `{"name": "FloatDistribution", "attributes": {...}}`,
    /// or the short form `{"type": "float", "low": 0, "high": 1}`.
    ///
    /// ```
    /// use btc_tune::Distribution;
    /// let layers = Distribution::from_json(r#"{"type": "int", "low": 1, "high": 4}"#)?;
    /// assert!(layers.contains(3.0));
    /// # Ok::<(), btc_tune::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Malformed`](crate::Error::Malformed) if the text is no distribution; as the constructors if it makes no sense.
    pub fn from_json(text: &str) -> Result<Self> {
        crate::storage::codec::decode_distribution(text)
    }

    /// Writes the distribution as Optuna does.
    pub fn to_json(&self) -> String {
        crate::storage::codec::encode_distribution(self)
    }

    /// Whether only one value is possible.
    pub fn is_single(&self) -> bool {
        match self {
            Self::Float(d) => d.low == d.high,
            Self::Int(d) => d.low == d.high,
            Self::Categorical(d) => d.choices.len() == 1,
        }
    }

    /// The internal representation of the value of a single-valued distribution, and of the first otherwise.
    pub(crate) fn first(&self) -> f64 {
        match self {
            Self::Float(d) => d.low,
            Self::Int(d) => d.low as f64,
            Self::Categorical(_) => 0.0,
        }
    }

    /// The internal representation of the last value.
    pub(crate) fn last(&self) -> f64 {
        match self {
            Self::Float(d) => d.high,
            Self::Int(d) => d.high as f64,
            Self::Categorical(d) => d.choices.len() as f64 - 1.0,
        }
    }

    /// Whether `internal` represents one of the values.
    pub fn contains(&self, internal: f64) -> bool {
        match self {
            Self::Float(d) => {
                d.low <= internal
                    && internal <= d.high
                    && d.step.is_none_or(|step| {
                        let k = (internal - d.low) / step;
                        (k - k.round_ties_even()).abs() < 1e-8
                    })
            }
            Self::Int(d) => {
                let (low, high, step) = (d.low as f64, d.high as f64, d.step as f64);
                low <= internal && internal <= high && (internal - low) % step == 0.0
            }
            Self::Categorical(d) => internal > -1.0 && internal.trunc() < d.choices.len() as f64,
        }
    }

    /// Returns the value a user sees: a number, or the choice.
    pub fn to_external(&self, internal: f64) -> Value {
        match self {
            Self::Float(_) => crate::choice::float_to_json(internal),
            Self::Int(_) => Value::from(internal as i64),
            Self::Categorical(d) => self
                .index(internal)
                .map_or(Value::Null, |index| d.choices[index].to_json()),
        }
    }

    /// Returns the internal representation of a value a user gave.
    ///
    /// A number outside the range is taken as it is; `None` if the kind is wrong or the choice unknown.
    pub fn to_internal(&self, external: &Value) -> Option<f64> {
        match self {
            Self::Float(_) => external.as_f64().filter(|value| value.is_finite()),
            Self::Int(_) => external.as_f64().filter(|value| value.fract() == 0.0),
            Self::Categorical(d) => {
                let wanted = Choice::from_json(external)?;
                // NaN and infinities travel through JSON as texts.
                let index = d
                    .choices
                    .iter()
                    .position(|choice| *choice == wanted)
                    .or_else(|| {
                        d.choices
                            .iter()
                            .position(|choice| choice.to_json() == *external)
                    })?;
                Some(index as f64)
            }
        }
    }

    /// The index of the choice `internal` stands for.
    pub(crate) fn index(&self, internal: f64) -> Option<usize> {
        match self {
            Self::Categorical(d) if self.contains(internal) => {
                Some((internal.max(0.0) as usize).min(d.choices.len() - 1))
            }
            _ => None,
        }
    }

    /// Whether both may be used for one parameter name of a study; if not, says why.
    ///
    /// Bounds and steps may change from trial to trial; kind, scale and choices may not.
    pub(crate) fn incompatibility(&self, other: &Self) -> Option<&'static str> {
        match (self, other) {
            (
                Self::Float(FloatDistribution { log: a, .. }),
                Self::Float(FloatDistribution { log: b, .. }),
            )
            | (
                Self::Int(IntDistribution { log: a, .. }),
                Self::Int(IntDistribution { log: b, .. }),
            ) => (a != b).then_some("a logarithmic and a linear scale do not mix"),
            (Self::Categorical(a), Self::Categorical(b)) => {
                (a != b).then_some("the choices differ from those used before")
            }
            _ => Some("it was of another kind before"),
        }
    }

    pub(crate) fn is_log(&self) -> bool {
        match self {
            Self::Float(d) => d.log,
            Self::Int(d) => d.log,
            Self::Categorical(_) => false,
        }
    }

    /// The distance between neighbouring internal values, if they are discrete numbers.
    pub(crate) fn step(&self) -> Option<f64> {
        match self {
            Self::Float(d) => d.step,
            Self::Int(d) => Some(d.step as f64),
            Self::Categorical(_) => None,
        }
    }

    /// The number of choices of a categorical distribution.
    pub(crate) fn choices_len(&self) -> Option<usize> {
        match self {
            Self::Categorical(d) => Some(d.choices.len()),
            _ => None,
        }
    }
}

impl From<FloatDistribution> for Distribution {
    fn from(value: FloatDistribution) -> Self {
        Self::Float(value)
    }
}

impl From<IntDistribution> for Distribution {
    fn from(value: IntDistribution) -> Self {
        Self::Int(value)
    }
}

impl From<CategoricalDistribution> for Distribution {
    fn from(value: CategoricalDistribution) -> Self {
        Self::Categorical(value)
    }
}
