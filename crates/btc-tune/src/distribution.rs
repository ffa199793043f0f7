//! What values a parameter can take.
//!
//! Inside the crate a parameter value is one `f64`, its *internal representation*: the number itself,
//! or the index of the choice. That is what storages keep and samplers work on.

use std::ops::RangeInclusive;

use serde_json::Value;

use crate::choice::Choice;
use crate::decimal;
use crate::error::{Error, Result};

/// The range of a real parameter.
///
/// ```
/// use btc_tune::FloatDistribution;
/// let rate = FloatDistribution::log(1e-5, 1e-1)?;
/// let dropout = FloatDistribution::stepped(0.0, 0.6, 0.05)?;
/// assert_eq!((rate.is_log(), dropout.step()), (true, Some(0.05)));
/// assert!(FloatDistribution::new(1.0, 0.0).is_err());
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct FloatDistribution {
    low: f64,
    high: f64,
    log: bool,
    step: Option<f64>,
}

impl FloatDistribution {
    /// Describes values between `low` and `high`, both included.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `low <= high` and both are finite.
    pub fn new(low: f64, high: f64) -> Result<Self> {
        Self::build(low, high, false, None)
    }

    /// Describes values that are sampled uniformly on the scale of their logarithm.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `0 < low <= high` and both are finite.
    pub fn log(low: f64, high: f64) -> Result<Self> {
        Self::build(low, high, true, None)
    }

    /// Describes the values `low`, `low + step`, ...; `high` is lowered to the last that fits.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `low <= high`, both finite, and `step > 0`.
    pub fn stepped(low: f64, high: f64, step: f64) -> Result<Self> {
        Self::build(low, high, false, Some(step))
    }

    pub(crate) fn build(low: f64, high: f64, log: bool, step: Option<f64>) -> Result<Self> {
        let invalid = |reason: String| Err(Error::InvalidDistribution { reason });
        if !(low.is_finite() && high.is_finite()) {
            return invalid(format!("bounds must be finite, not {low} and {high}"));
        }
        if low > high {
            return invalid(format!("low must not exceed high, but {low} > {high}"));
        }
        if log && low <= 0.0 {
            return invalid(format!(
                "low must be above 0 on a logarithmic scale, not {low}"
            ));
        }
        if !(high - low).is_finite() {
            return invalid(format!(
                "the width of {low} to {high} is beyond the largest number; choose narrower bounds"
            ));
        }
        let mut high = high;
        if let Some(step) = step {
            if log {
                return invalid("a step and a logarithmic scale exclude each other".to_owned());
            }
            if !(step > 0.0 && step.is_finite()) {
                return invalid(format!("step must be a number above 0, not {step}"));
            }
            high = decimal::last_step(low, high, step);
        }
        Ok(Self {
            low,
            high,
            log,
            step,
        })
    }

    /// The smallest value.
    pub fn low(&self) -> f64 {
        self.low
    }

    /// The largest value.
    pub fn high(&self) -> f64 {
        self.high
    }

    /// Whether values are sampled on the scale of their logarithm.
    pub fn is_log(&self) -> bool {
        self.log
    }

    /// The distance between neighbouring values, if they are discrete.
    pub fn step(&self) -> Option<f64> {
        self.step
    }
}

/// The range of an integer parameter.
///
/// ```
/// use btc_tune::IntDistribution;
/// let units = IntDistribution::log(16, 1024)?;
/// let batch = IntDistribution::stepped(16, 250, 16)?;
/// assert_eq!((units.is_log(), batch.high()), (true, 240));
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntDistribution {
    low: i64,
    high: i64,
    log: bool,
    step: i64,
}

impl IntDistribution {
    /// Describes the integers from `low` to `high`, both included.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `low <= high`.
    pub fn new(low: i64, high: i64) -> Result<Self> {
        Self::build(low, high, false, 1)
    }

    /// Describes integers that are sampled uniformly on the scale of their logarithm.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `1 <= low <= high`.
    pub fn log(low: i64, high: i64) -> Result<Self> {
        Self::build(low, high, true, 1)
    }

    /// Describes `low`, `low + step`, ...; `high` is lowered to the last that fits.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidDistribution`] unless `low <= high` and `step >= 1`.
    pub fn stepped(low: i64, high: i64, step: i64) -> Result<Self> {
        Self::build(low, high, false, step)
    }

    pub(crate) fn build(low: i64, high: i64, log: bool, step: i64) -> Result<Self> {
        // Beyond 2^53 neighbouring integers share one f64, which is what storages keep.
        const LARGEST: u64 = 1 << 53;
        if low.unsigned_abs() > LARGEST || high.unsigned_abs() > LARGEST {
            return Err(Error::InvalidDistribution {
                reason: format!("bounds must lie within ±2^53, not {low} and {high}"),
            });
        }
        Self::read(low, high, log, step)
    }

    /// As `build`, for what another program has stored, which may be wider.
    pub(crate) fn read(low: i64, high: i64, log: bool, step: i64) -> Result<Self> {
        // The width of these bounds is an i64 too.
        const WIDEST: u64 = 1 << 62;
        let invalid = |reason: String| Err(Error::InvalidDistribution { reason });
        if low > high {
            return invalid(format!("low must not exceed high, but {low} > {high}"));
        }
        if low.unsigned_abs() >= WIDEST || high.unsigned_abs() >= WIDEST {
            return invalid(format!(
                "bounds must lie within ±2^62, not {low} and {high}"
            ));
        }
        if step < 1 {
            return invalid(format!("step must be at least 1, not {step}"));
        }
        if log && low < 1 {
            return invalid(format!(
                "low must be at least 1 on a logarithmic scale, not {low}"
            ));
        }
        if log && step != 1 {
            return invalid("a step and a logarithmic scale exclude each other".to_owned());
        }
        Ok(Self {
            low,
            high: low + (high - low) / step * step,
            log,
            step,
        })
    }

    /// The smallest value.
    pub fn low(&self) -> i64 {
        self.low
    }

    /// The largest value.
    pub fn high(&self) -> i64 {
        self.high
    }

    /// Whether values are sampled on the scale of their logarithm.
    pub fn is_log(&self) -> bool {
        self.log
    }

    /// The distance between neighbouring values.
    pub fn step(&self) -> i64 {
        self.step
    }
}

/// The choices of a categorical parameter, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct CategoricalDistribution {
    choices: Vec<Choice>,
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
    /// [`Error::Malformed`] if the text is no distribution; as the constructors if it makes no sense.
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

    /// The interval samplers draw from: logarithms on a logarithmic scale, half a step wider on each
    /// side where values are discrete. Categorical: the range of the index.
    pub(crate) fn transformed_bounds(&self) -> (f64, f64) {
        match self {
            Self::Float(d) if d.log => (d.low.ln(), d.high.ln()),
            Self::Float(d) => {
                let half = d.step.map_or(0.0, |step| step / 2.0);
                (d.low - half, d.high + half)
            }
            Self::Int(d) if d.log => ((d.low as f64 - 0.5).ln(), (d.high as f64 + 0.5).ln()),
            Self::Int(d) => {
                let half = d.step as f64 / 2.0;
                (d.low as f64 - half, d.high as f64 + half)
            }
            Self::Categorical(d) => (-0.5, d.choices.len() as f64 - 0.5),
        }
    }

    /// Takes an internal value to the line [`transformed_bounds`](Self::transformed_bounds) lies on.
    pub(crate) fn transform(&self, internal: f64) -> f64 {
        if self.is_log() {
            internal.ln()
        } else {
            internal
        }
    }

    /// Takes a point of that line to the nearest value of the distribution.
    pub(crate) fn untransform(&self, x: f64) -> f64 {
        match self {
            Self::Float(d) if d.log => x.exp().clamp(d.low, below(d.high, d.low)),
            Self::Float(d) => match d.step {
                Some(step) => {
                    let k = ((x - d.low) / step).round_ties_even();
                    (d.low + k * step).clamp(d.low, d.high)
                }
                None => x.clamp(d.low, below(d.high, d.low)),
            },
            Self::Int(d) if d.log => x.exp().round_ties_even().clamp(d.low as f64, d.high as f64),
            Self::Int(d) => {
                let (low, step) = (d.low as f64, d.step as f64);
                (low + ((x - low) / step + 0.5).floor() * step).clamp(low, d.high as f64)
            }
            Self::Categorical(d) => x.round().clamp(0.0, d.choices.len() as f64 - 1.0),
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

    /// Every possible internal value, or `None` where they are too many to list.
    pub(crate) fn grid(&self) -> Option<Vec<f64>> {
        const MOST: f64 = 1e7;
        let count = match self {
            Self::Float(FloatDistribution {
                low,
                high,
                step: Some(step),
                ..
            }) => ((high - low) / step).round() + 1.0,
            Self::Float(d) if d.low == d.high => 1.0,
            Self::Float(_) => return None,
            Self::Int(d) => ((d.high - d.low) / d.step) as f64 + 1.0,
            Self::Categorical(d) => d.choices.len() as f64,
        };
        if count > MOST {
            return None;
        }
        let step = self.step().unwrap_or(1.0);
        let last = self.last();
        Some(
            (0..count as usize)
                .map(|k| (self.first() + k as f64 * step).min(last))
                .collect(),
        )
    }
}

/// The largest number below `high`, but not below `low`: the upper bound is exclusive when sampling.
fn below(high: f64, low: f64) -> f64 {
    if high > low { high.next_down() } else { high }
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

impl TryFrom<RangeInclusive<f64>> for FloatDistribution {
    type Error = Error;

    fn try_from(range: RangeInclusive<f64>) -> Result<Self> {
        Self::new(*range.start(), *range.end())
    }
}

impl TryFrom<RangeInclusive<i64>> for IntDistribution {
    type Error = Error;

    fn try_from(range: RangeInclusive<i64>) -> Result<Self> {
        Self::new(*range.start(), *range.end())
    }
}

impl TryFrom<RangeInclusive<i32>> for IntDistribution {
    type Error = Error;

    fn try_from(range: RangeInclusive<i32>) -> Result<Self> {
        Self::new(i64::from(*range.start()), i64::from(*range.end()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Choice;
    use crate::golden::{assert_close, cases, float, known, list};
    use crate::storage::codec::{decode_distribution, encode_distribution};

    #[test]
    fn values_are_what_optuna_makes_of_them() {
        let cases = cases("distribution.json");
        known(
            &cases,
            &[
                "optuna",
                "distributions",
                "constructor_errors",
                "read_compat",
                "compatible_old_new",
            ],
        );
        for case in list(&cases, "distributions") {
            known(
                case,
                &[
                    "json",
                    "kind",
                    "single",
                    "repr",
                    "contains",
                    "to_external_of",
                    "uniform_bounds",
                    "untransform",
                ],
            );
            let text = case["json"].as_str().unwrap();
            let distribution = decode_distribution(text).unwrap();
            assert_eq!(encode_distribution(&distribution), text);
            assert_eq!(
                distribution.is_single(),
                case["single"].as_bool().unwrap(),
                "{text}"
            );
            for pair in list(case, "contains") {
                let inside = pair[1].as_bool().unwrap();
                assert_eq!(
                    distribution.contains(float(&pair[0])),
                    inside,
                    "{} in {text}",
                    pair[0]
                );
            }
            for pair in list(case, "repr") {
                check_representation(&distribution, pair, text);
            }
            for pair in case["to_external_of"].as_array().into_iter().flatten() {
                let external = distribution.to_external(float(&pair[0]));
                assert_close(float(&external), float(&pair[1]), 0.0, text);
            }
            if let Some(bounds) = case["uniform_bounds"].as_array() {
                let (low, high) = distribution.transformed_bounds();
                assert_close(low, float(&bounds[0]), 1e-15, text);
                assert_close(high, float(&bounds[1]), 1e-15, text);
            }
            for triple in case["untransform"].as_array().into_iter().flatten() {
                let value = distribution.untransform(float(&triple[1]));
                assert_close(
                    value,
                    float(&triple[2]),
                    1e-14,
                    &format!("{triple} of {text}"),
                );
            }
        }
    }

    fn check_representation(distribution: &Distribution, case: &Value, text: &str) {
        known(case, &["external", "external_type", "internal", "back"]);
        let internal = float(&case["internal"]);
        let external = match &case["external"] {
            Value::Object(special) => crate::choice::float_to_json(float(&special["$float"])),
            external => external.clone(),
        };
        match distribution {
            Distribution::Categorical(d) => {
                // Equal choices share the first index, so it is the choice that is compared.
                assert_eq!(
                    distribution.to_internal(&external),
                    Some(internal),
                    "{external} {text}"
                );
                let choice = &d.choices()[internal as usize];
                let same = choice.to_json() == external
                    || Choice::from_json(&external).is_some_and(|other| other == *choice);
                assert!(same, "{external} of {text}");
            }
            _ => {
                if distribution.contains(internal) {
                    assert_eq!(
                        distribution.to_internal(&external),
                        Some(internal),
                        "{text}"
                    );
                    assert_eq!(float(&distribution.to_external(internal)), float(&external));
                }
            }
        }
    }

    #[test]
    fn nonsense_is_refused_where_optuna_refuses_it() {
        assert!(FloatDistribution::new(1.0, 0.0).is_err());
        assert!(FloatDistribution::log(0.0, 1.0).is_err());
        assert!(FloatDistribution::build(1.0, 2.0, true, Some(0.1)).is_err());
        assert!(FloatDistribution::stepped(0.0, 1.0, 0.0).is_err());
        assert!(FloatDistribution::new(f64::NAN, 0.0).is_err());
        assert!(IntDistribution::log(0, 5).is_err());
        assert!(IntDistribution::build(1, 5, true, 2).is_err());
        assert!(IntDistribution::stepped(0, 1, 0).is_err());
        assert!(IntDistribution::new(i64::MIN, i64::MAX).is_err());
        assert!(CategoricalDistribution::new(Vec::<Choice>::new()).is_err());
    }

    #[test]
    fn texts_of_earlier_versions_are_read() {
        for case in list(&cases("distribution.json"), "read_compat") {
            known(case, &["in", "class", "as_new"]);
            let distribution = decode_distribution(case["in"].as_str().unwrap()).unwrap();
            assert_eq!(
                encode_distribution(&distribution),
                case["as_new"].as_str().unwrap()
            );
        }
    }

    #[test]
    fn a_name_keeps_its_kind_scale_and_choices() {
        for case in list(&cases("distribution.json"), "compatible_old_new") {
            let [old, new] =
                [0, 1].map(|i| decode_distribution(case[i].as_str().unwrap()).unwrap());
            let compatible = case[2].as_bool().unwrap_or(false);
            assert_eq!(old.incompatibility(&new).is_none(), compatible, "{case}");
        }
    }
}
