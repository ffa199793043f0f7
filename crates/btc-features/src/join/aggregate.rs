//! What windowed aggregates compute: the one place for requests of both kinds,
//! so that a value online has the bits that it has offline.

use std::cmp::Ordering;

use arrow::array::{
    Array, ArrayRef, AsArray, DynComparator, Float64Array, Int64Array, UInt32Array,
    make_comparator, new_null_array,
};
use arrow::compute::{SortOptions, take};
use arrow::datatypes::{DataType, Float64Type, Int64Type};

use crate::cast::{Unfit, cast_exact};
use crate::definition::AggregateFunction;

/// Computes one value a window from the values of rows.
pub(crate) struct Aggregator<'a> {
    values: &'a ArrayRef,
    kind: Kind<'a>,
}

/// What is collected, with what it takes to compute it.
enum Kind<'a> {
    Counts(Vec<Option<i64>>),
    Integers {
        values: &'a Int64Array,
        sums: Vec<Option<i128>>,
    },
    Floats {
        function: AggregateFunction,
        values: &'a Float64Array,
        results: Vec<Option<f64>>,
        /// The values of a window, nulls left out.
        scratch: Vec<f64>,
    },
    /// The row that each window takes its value from.
    Picks {
        function: AggregateFunction,
        compare: Option<DynComparator>,
        rows: Vec<Option<u32>>,
    },
}

impl<'a> Aggregator<'a> {
    /// Computes `function` of `values`, which have the type that
    /// [`Window`](super::source::Window) says.
    pub(crate) fn new(function: AggregateFunction, values: &'a ArrayRef) -> Result<Self, Unfit> {
        let wrong = |error: arrow::error::ArrowError| Unfit {
            row: 0,
            reason: error.to_string(),
        };
        let kind = match (function, values.data_type()) {
            (AggregateFunction::Count, _) => Kind::Counts(Vec::new()),
            (AggregateFunction::Sum, DataType::Int64) => Kind::Integers {
                values: values.as_primitive::<Int64Type>(),
                sums: Vec::new(),
            },
            (AggregateFunction::Sum | AggregateFunction::Mean | AggregateFunction::Std, _) => {
                Kind::Floats {
                    function,
                    values: values
                        .as_primitive_opt::<Float64Type>()
                        .ok_or_else(|| Unfit {
                            row: 0,
                            reason: format!("{function} takes no {}", values.data_type()),
                        })?,
                    results: Vec::new(),
                    scratch: Vec::new(),
                }
            }
            (AggregateFunction::Min | AggregateFunction::Max, _) => Kind::Picks {
                function,
                compare: Some(
                    make_comparator(values, values, SortOptions::default()).map_err(wrong)?,
                ),
                rows: Vec::new(),
            },
            (AggregateFunction::Last, _) => Kind::Picks {
                function,
                compare: None,
                rows: Vec::new(),
            },
        };
        Ok(Self { values, kind })
    }

    /// Adds the result of one window, whose rows come in the order of time.
    pub(crate) fn push(&mut self, rows: &[u32]) {
        let valid = |row: &&u32| self.values.is_valid(**row as usize);
        match &mut self.kind {
            Kind::Counts(counts) => {
                let count = match self.values.null_count() {
                    0 => rows.len(),
                    _ => rows.iter().filter(valid).count(),
                };
                counts.push(Some(count as i64));
            }
            Kind::Integers { values, sums } => {
                let mut there = rows.iter().filter(valid).peekable();
                sums.push(there.peek().is_some().then(|| {
                    let rows = rows.iter().filter(valid);
                    rows.map(|row| i128::from(values.value(*row as usize)))
                        .sum()
                }));
            }
            Kind::Floats {
                function,
                values,
                results,
                scratch,
            } => {
                scratch.clear();
                let there = rows.iter().filter(valid);
                scratch.extend(there.map(|row| values.value(*row as usize)));
                results.push(match function {
                    AggregateFunction::Mean => mean(scratch),
                    AggregateFunction::Std => sample_deviation(scratch),
                    _ => (!scratch.is_empty()).then(|| sum(scratch)),
                });
            }
            Kind::Picks {
                function,
                compare,
                rows: picks,
            } => {
                let picked = match compare {
                    None => rows.iter().rev().find(valid),
                    Some(compare) => rows.iter().filter(valid).reduce(|best, row| {
                        let order = compare(*row as usize, *best as usize);
                        let better = match function {
                            AggregateFunction::Min => Ordering::Less,
                            _ => Ordering::Greater,
                        };
                        if order == better { row } else { best }
                    }),
                };
                picks.push(picked.copied());
            }
        }
    }

    /// The results as a column of the declared type; a row of the error is the
    /// number of the window.
    pub(crate) fn finish(self, data_type: &DataType) -> Result<ArrayRef, Unfit> {
        let results: ArrayRef = match self.kind {
            Kind::Counts(counts) => std::sync::Arc::new(Int64Array::from(counts)),
            Kind::Integers { sums, .. } => {
                let sums = sums
                    .into_iter()
                    .enumerate()
                    .map(|(row, sum)| {
                        sum.map(|sum| {
                            i64::try_from(sum).map_err(|_| Unfit {
                                row,
                                reason: format!("the sum {sum} is no {data_type}"),
                            })
                        })
                        .transpose()
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                std::sync::Arc::new(Int64Array::from(sums))
            }
            Kind::Floats { results, .. } => std::sync::Arc::new(Float64Array::from(results)),
            Kind::Picks { rows, .. } if self.values.is_empty() => {
                new_null_array(data_type, rows.len())
            }
            Kind::Picks { rows, .. } => {
                take(self.values, &UInt32Array::from(rows), None).map_err(|error| Unfit {
                    row: 0,
                    reason: error.to_string(),
                })?
            }
        };
        cast_exact(&results, data_type)
    }
}

/// The sum of numbers with the error of each step carried along, so that it
/// does not grow with their count (Neumaier, Rundungsfehleranalyse einiger
/// Verfahren zur Summation endlicher Summen, 1974).
fn sum(values: &[f64]) -> f64 {
    let (mut sum, mut rest) = (0.0_f64, 0.0);
    for value in values {
        let next = sum + value;
        rest += if sum.abs() >= value.abs() {
            (sum - next) + value
        } else {
            (value - next) + sum
        };
        sum = next;
    }
    // Of infinities and NaN there is no error to carry.
    if sum.is_finite() { sum + rest } else { sum }
}

fn mean(values: &[f64]) -> Option<f64> {
    let first = *values.first()?;
    // Of equal values the mean is the value, to the last bit.
    if values.iter().all(|value| *value == first) {
        return Some(first);
    }
    Some(sum(values) / values.len() as f64)
}

/// The standard deviation of a sample, from the distances to its mean.
fn sample_deviation(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::StringArray;

    use super::*;

    #[track_caller]
    fn check(function: AggregateFunction, values: &[Option<f64>], expected: Option<f64>) {
        let column: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let rows: Vec<u32> = (0..values.len() as u32).collect();
        let mut aggregator = Aggregator::new(function, &column).unwrap();
        aggregator.push(&rows);
        let result = aggregator.finish(&DataType::Float64).unwrap();
        let result: Vec<Option<f64>> = result.as_primitive::<Float64Type>().iter().collect();
        let bits = |value: Option<f64>| value.map(f64::to_bits);
        assert_eq!(
            bits(result[0]),
            bits(expected),
            "{function} of {values:?}: {result:?}"
        );
    }

    #[test]
    fn by_hand() {
        use AggregateFunction::{Count, Last, Max, Mean, Min, Std, Sum};
        let some = [Some(4.0), None, Some(1.0), Some(7.0), None];
        check(Count, &some, Some(3.0));
        check(Sum, &some, Some(12.0));
        check(Mean, &some, Some(4.0));
        check(Std, &some, Some(3.0));
        check(Min, &some, Some(1.0));
        check(Max, &some, Some(7.0));
        check(Last, &some, Some(7.0));
        for nothing in [&[][..], &[None, None]] {
            check(Count, nothing, Some(0.0));
            for function in [Sum, Mean, Std, Min, Max, Last] {
                check(function, nothing, None);
            }
        }
        check(Std, &[Some(3.0)], None);
        // 0.1 three times is not 0.3 in binary, and still one value.
        check(Mean, &[Some(0.1); 3], Some(0.1));
        check(Std, &[Some(0.1); 3], Some(0.0));
        // What a plain sum would lose.
        check(Sum, &[Some(1e16), Some(1.0), Some(-1e16)], Some(1.0));
        let nan = [Some(1.0), Some(f64::NAN), Some(2.0)];
        for function in [Sum, Mean, Std, Max] {
            let column: ArrayRef = Arc::new(Float64Array::from(nan.to_vec()));
            let mut aggregator = Aggregator::new(function, &column).unwrap();
            aggregator.push(&[0, 1, 2]);
            let result = aggregator.finish(&DataType::Float64).unwrap();
            assert!(
                result.as_primitive::<Float64Type>().value(0).is_nan(),
                "{function}"
            );
        }
        check(Min, &nan, Some(1.0));
        check(Sum, &[Some(f64::INFINITY), Some(1.0)], Some(f64::INFINITY));
    }

    #[test]
    fn integers_are_summed_exactly_or_refused() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX, 1, -1]));
        let mut aggregator = Aggregator::new(AggregateFunction::Sum, &column).unwrap();
        aggregator.push(&[0, 1, 2]);
        let result = aggregator.finish(&DataType::Int64).unwrap();
        assert_eq!(result.as_primitive::<Int64Type>().value(0), i64::MAX);
        let mut aggregator = Aggregator::new(AggregateFunction::Sum, &column).unwrap();
        aggregator.push(&[2]);
        aggregator.push(&[0, 1]);
        let unfit = aggregator.finish(&DataType::Int64).unwrap_err();
        assert_eq!(unfit.row, 1);
    }

    #[test]
    fn text_has_a_least_a_greatest_and_a_last() {
        let column: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "c", "b"]));
        for (function, expected) in [
            (AggregateFunction::Min, "a"),
            (AggregateFunction::Max, "c"),
            (AggregateFunction::Last, "b"),
        ] {
            let mut aggregator = Aggregator::new(function, &column).unwrap();
            aggregator.push(&[0, 1, 2, 3]);
            let result = aggregator.finish(&DataType::Utf8).unwrap();
            assert_eq!(result.as_string::<i32>().value(0), expected);
        }
    }
}
