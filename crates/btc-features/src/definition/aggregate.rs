//! Windowed aggregates: a feature computed from the rows of a trailing window.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ValueType, duration};

/// What a windowed aggregate computes from the values in its window. Nulls are
/// no values; a NaN makes sums, means and standard deviations NaN, and is
/// greater than every number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AggregateFunction {
    /// The number of values, or of rows if no column is named; 0 in an empty
    /// window.
    Count,
    /// The sum; null in an empty window. Of integers it is exact, and one
    /// beyond the declared type is an error.
    Sum,
    /// The arithmetic mean; null in an empty window.
    Mean,
    /// The standard deviation of the sample, with n - 1 in the denominator;
    /// null below two values.
    Std,
    /// The minimum; null in an empty window.
    Min,
    /// The maximum; null in an empty window.
    Max,
    /// The latest value that is not null; null in an empty window.
    Last,
}

impl AggregateFunction {
    /// Every function.
    pub const ALL: [Self; 7] = [
        Self::Count,
        Self::Sum,
        Self::Mean,
        Self::Std,
        Self::Min,
        Self::Max,
        Self::Last,
    ];

    /// The name, as it is written in TOML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Sum => "sum",
            Self::Mean => "mean",
            Self::Std => "std",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
        }
    }

    /// Whether a feature of this type can hold what the function gives.
    pub(crate) fn gives(self, value_type: ValueType) -> bool {
        use ValueType::{Float32, Float64, Int32, Int64, String, UnixTimestamp};
        match self {
            Self::Count => matches!(value_type, Int32 | Int64),
            Self::Sum => matches!(value_type, Int32 | Int64 | Float32 | Float64),
            Self::Mean | Self::Std => matches!(value_type, Float32 | Float64),
            Self::Min | Self::Max => matches!(
                value_type,
                Int32 | Int64 | Float32 | Float64 | UnixTimestamp | String
            ),
            Self::Last => true,
        }
    }
}

impl fmt::Display for AggregateFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A function over the rows of one key in a trailing window.
///
/// At an instant `t` the window holds the rows whose event time is after
/// `t - window` and not after `t`. Of a source with a created timestamp, the
/// rows of one key and event time are versions of one row, of which the newest
/// counts (with `filter_by_created_timestamp`, the newest that was written by
/// `t`); of a source without one, each row counts. The window says how far
/// back values count, the time to live of the view does not.
///
/// ```
/// # use std::time::Duration;
/// # use btc_features::{Aggregate, AggregateFunction, Definitions, Field, ValueType};
/// let week = Duration::from_secs(7 * 86_400);
/// let mean = Field::new("mean_close_7d", ValueType::Float64)
///     .with_aggregate(Aggregate::new(AggregateFunction::Mean, "close", week));
///
/// let declared = Definitions::from_toml(r#"
///     [[source]]
///     name = "ohlcv"
///     path = "data"
///
///     [[feature_view]]
///     name = "ohlcv"
///     source = "ohlcv"
///     features = [{ name = "mean_close_7d", type = "Float64", aggregate = { function = "mean", column = "close", window = "7d" } }]
/// "#)?;
/// assert_eq!(declared.feature_view("ohlcv")?.features, [mean]);
/// # Ok::<(), btc_features::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Aggregate {
    /// What is computed.
    pub function: AggregateFunction,
    /// The column that holds the values, named as a feature is; without one,
    /// rows are counted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// How far back rows count.
    #[serde(with = "duration::required")]
    pub window: Duration,
}

impl Aggregate {
    /// `function` of a column's values within `window`.
    pub fn new(function: AggregateFunction, column: impl Into<String>, window: Duration) -> Self {
        Self {
            function,
            column: Some(column.into()),
            window,
        }
    }

    /// The number of rows within `window`.
    pub fn count_rows(window: Duration) -> Self {
        Self {
            function: AggregateFunction::Count,
            column: None,
            window,
        }
    }

    /// Says what is wrong with the aggregate as a feature of this type, if
    /// something is.
    pub(crate) fn problem(&self, value_type: ValueType) -> Option<String> {
        let function = self.function;
        if self.window.is_zero() {
            return Some("its window is empty; give it a length, as \"7d\"".into());
        }
        if self.column.as_deref().is_none_or(str::is_empty) && function != AggregateFunction::Count
        {
            return Some(format!("{function} needs a column"));
        }
        if !function.gives(value_type) {
            let types: Vec<&str> = ValueType::ALL
                .into_iter()
                .filter(|known| function.gives(*known))
                .map(ValueType::name)
                .collect();
            return Some(format!(
                "{function} gives no {value_type}; declare {}",
                types.join(" or ")
            ));
        }
        None
    }

    /// The type that the function takes the values in for a feature of this
    /// type; `None` if it only looks at which are null. Integers are summed as
    /// such if that is what is declared.
    pub(crate) fn values(&self, value_type: ValueType) -> Option<ValueType> {
        match self.function {
            AggregateFunction::Count => None,
            AggregateFunction::Sum if matches!(value_type, ValueType::Int32 | ValueType::Int64) => {
                Some(ValueType::Int64)
            }
            AggregateFunction::Sum | AggregateFunction::Mean | AggregateFunction::Std => {
                Some(ValueType::Float64)
            }
            AggregateFunction::Min | AggregateFunction::Max | AggregateFunction::Last => {
                Some(value_type)
            }
        }
    }

    /// The window in nanoseconds.
    pub(crate) fn nanos(&self) -> i64 {
        i64::try_from(self.window.as_nanos()).unwrap_or(i64::MAX)
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let column = self.column.as_deref().unwrap_or("*");
        let window = duration::format_duration(self.window);
        write!(f, "{}({column}) over {window}", self.function)
    }
}
