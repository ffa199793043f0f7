//! From a table to the numbers that networks are fitted on.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use btc_models::{SeriesFrame, Unused};

use crate::columns::{EVENT_TIMESTAMP, Numbers, PRICE, frequency_of, instants, numbers};
use crate::{Error, Result};

/// What a training table gives the networks, and what it could not give.
#[derive(Debug, Clone)]
pub struct TrainingFrame {
    /// The numbers that networks are fitted on.
    pub series: SeriesFrame,
    /// The columns that are no features, and why.
    pub unused: BTreeMap<String, Unused>,
    /// The columns with integers or decimals that a 64-bit float cannot hold exactly; such values
    /// were rounded to the nearest float.
    pub rounded: Vec<String>,
}

impl TrainingFrame {
    /// What a person should know about the columns, one sentence each.
    pub fn remarks(&self) -> Vec<String> {
        let unused = self
            .unused
            .iter()
            .map(|(name, reason)| format!("column {name:?} is not used as a feature: {reason}"));
        let rounded = self.rounded.iter().map(|name| {
            format!(
                "column {name:?} holds whole numbers beyond 2^53, which are rounded to the nearest \
                 64-bit float"
            )
        });
        unused.chain(rounded).collect()
    }
}

impl From<SeriesFrame> for TrainingFrame {
    fn from(series: SeriesFrame) -> Self {
        Self {
            series,
            unused: BTreeMap::new(),
            rounded: Vec::new(),
        }
    }
}

/// Turns a training table into the numbers that networks are fitted on, to forecast
/// [`PRICE`].
///
/// # Errors
///
/// As [`frame_for`].
pub fn frame(table: &RecordBatch, unseen: usize) -> Result<TrainingFrame> {
    frame_for(table, PRICE, unseen)
}

/// Turns a training table into the numbers that networks are fitted on, to forecast the column
/// `target`.
///
/// Every column of integers, floats, decimals or truth values is a feature; the others are named
/// in [`TrainingFrame::unused`]. Rows before the features begin are left out. A feature that
/// begins late, in the second half of the table, does not count for that, nor one without any
/// value: the fit fills or leaves out such features and says so. Where the features begin is
/// decided without a look at the last `unseen` rows.
///
/// # Errors
///
/// [`Error::MissingColumn`] or [`Error::NotNumeric`] if the target is not there as numbers,
/// [`Error::EmptyColumn`] if it has no value, and [`Error::Models`] if the rows do not ascend in
/// time.
pub fn frame_for(table: &RecordBatch, target: &str, unseen: usize) -> Result<TrainingFrame> {
    let Columns {
        columns,
        unused,
        rounded,
    } = columns(table, target)?;
    let half = table.num_rows().saturating_sub(unseen) / 2;
    let early = columns
        .iter()
        .filter_map(Column::begin)
        .filter(|begin| *begin <= half);
    let start = early.max().unwrap_or(0);
    Ok(TrainingFrame {
        series: series(table, columns, target, start)?,
        unused,
        rounded,
    })
}

/// Turns a training table into the numbers of the named features, as a model that was fitted on
/// them to forecast [`PRICE`] needs them, with every row that has a price.
///
/// # Errors
///
/// As [`frame_of_columns`].
pub fn frame_of(table: &RecordBatch, names: &[&str]) -> Result<SeriesFrame> {
    frame_of_columns(table, names, PRICE)
}

/// Turns a training table into the numbers of the named features, as a model that was fitted on
/// them to forecast `target` needs them, with every row that has a value of `target`.
///
/// # Errors
///
/// [`Error::MissingColumn`] or [`Error::NotNumeric`] if a name is not there as numbers.
pub fn frame_of_columns(table: &RecordBatch, names: &[&str], target: &str) -> Result<SeriesFrame> {
    let mut all = columns(table, target)?;
    let mut chosen = Vec::with_capacity(names.len() + 1);
    let wanted = names
        .iter()
        .copied()
        .chain((!names.contains(&target)).then_some(target));
    for name in wanted {
        let found = all.columns.iter().position(|column| column.name == name);
        let Some(index) = found else {
            return Err(match all.unused.get(name) {
                Some(Unused::NotNumeric { data_type }) => Error::NotNumeric {
                    column: name.into(),
                    data_type: data_type.clone(),
                },
                _ => Error::missing_column(table, name),
            });
        };
        chosen.push(all.columns.swap_remove(index));
    }
    let start = chosen
        .iter()
        .find(|column| column.name == target)
        .and_then(Column::begin);
    series(table, chosen, target, start.unwrap_or(0))
}

/// The columns of a table, sorted by what they are good for.
struct Columns {
    columns: Vec<Column>,
    unused: BTreeMap<String, Unused>,
    rounded: Vec<String>,
}

/// The numbers of the table by column.
fn columns(table: &RecordBatch, target: &str) -> Result<Columns> {
    let mut found = Columns {
        columns: Vec::new(),
        unused: BTreeMap::new(),
        rounded: Vec::new(),
    };
    for (field, array) in table.schema_ref().fields().iter().zip(table.columns()) {
        let name = field.name();
        if name == EVENT_TIMESTAMP {
            continue;
        }
        match numbers(array) {
            Some(Numbers { values, is_exact }) => {
                if !is_exact {
                    found.rounded.push(name.clone());
                }
                found.columns.push(Column {
                    name: name.clone(),
                    values,
                });
            }
            None => {
                let data_type = array.data_type().to_string();
                if name == target {
                    return Err(Error::NotNumeric {
                        column: name.clone(),
                        data_type,
                    });
                }
                found
                    .unused
                    .insert(name.clone(), Unused::NotNumeric { data_type });
            }
        }
    }
    match found.columns.iter().find(|column| column.name == target) {
        None => Err(Error::missing_column(table, target)),
        Some(column) if column.begin().is_none() => Err(Error::EmptyColumn {
            column: target.into(),
        }),
        Some(_) => Ok(found),
    }
}

/// The rows from `start` on that have a value of the target.
fn series(
    table: &RecordBatch,
    columns: Vec<Column>,
    target: &str,
    start: usize,
) -> Result<SeriesFrame> {
    let times = instants(table)?;
    let has_target = |row: &usize| {
        columns
            .iter()
            .any(|column| column.name == target && column.values[*row].is_finite())
    };
    let rows: Vec<usize> = (start..table.num_rows()).filter(has_target).collect();
    let known_at = rows.iter().map(|row| times[*row]).collect();
    let columns = columns.into_iter().map(|column| {
        let values: Vec<f64> = rows.iter().map(|row| column.values[*row]).collect();
        (column.name, values)
    });
    Ok(match frequency_of(table)? {
        Some(frequency) => SeriesFrame::of_frequency(frequency, known_at, columns, target)?,
        None => SeriesFrame::new(known_at, columns, target)?,
    })
}

struct Column {
    name: String,
    values: Vec<f64>,
}

impl Column {
    /// The row of the first value.
    fn begin(&self) -> Option<usize> {
        self.values.iter().position(|value| value.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Decimal128Array, Float32Array, Int8Array, Int64Array, StringArray,
        TimestampSecondArray, UInt64Array,
    };

    use super::*;

    fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let rows = columns[0].1.len() as i64;
        let times: ArrayRef = Arc::new(TimestampSecondArray::from_iter_values(
            (0..rows).map(|row| 86_400 * row),
        ));
        RecordBatch::try_from_iter([(EVENT_TIMESTAMP, times)].into_iter().chain(columns)).unwrap()
    }

    #[test]
    fn every_numeric_and_boolean_column_is_a_feature_and_others_are_named() {
        let decimal = Decimal128Array::from(vec![125, 250, 375])
            .with_precision_and_scale(10, 2)
            .unwrap();
        let table = table(vec![
            (
                "close",
                Arc::new(Float32Array::from(vec![1.5, 2.5, 3.5])) as ArrayRef,
            ),
            (
                "count",
                Arc::new(Int8Array::from(vec![Some(1), None, Some(3)])),
            ),
            ("large", Arc::new(UInt64Array::from(vec![1, u64::MAX, 3]))),
            ("id", Arc::new(Int64Array::from(vec![(1 << 53) + 1, 2, 3]))),
            ("up", Arc::new(BooleanArray::from(vec![true, false, true]))),
            ("cost", Arc::new(decimal)),
            ("note", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
        ]);
        let frame = frame(&table, 0).unwrap();
        assert_eq!(
            frame.series.names(),
            ["close", "count", "large", "id", "up", "cost"]
        );
        assert_eq!(frame.series.column("up").unwrap(), [1.0, 0.0, 1.0]);
        assert_eq!(frame.series.column("cost").unwrap(), [1.25, 2.5, 3.75]);
        let count = frame.series.column("count").unwrap();
        assert!(count[0] == 1.0 && count[1].is_nan());
        assert_eq!(
            frame.unused["note"],
            Unused::NotNumeric {
                data_type: "Utf8".into()
            }
        );
        assert_eq!(frame.unused.len(), 1);
        assert_eq!(frame.rounded, ["large", "id"]);
        assert_eq!(frame.remarks().len(), 3);
    }

    #[test]
    fn the_target_may_be_of_any_numeric_type_and_of_no_other() {
        let whole: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["1", "2", "3"]));
        let empty: ArrayRef = Arc::new(Int64Array::from(vec![None, None, None]));
        let table = table(vec![("load", whole), ("text", text), ("empty", empty)]);
        let frame = frame_for(&table, "load", 0).unwrap();
        assert_eq!(frame.series.target(), [1.0, 2.0, 3.0]);
        assert!(matches!(
            frame_for(&table, "text", 0),
            Err(Error::NotNumeric { column, data_type }) if column == "text" && data_type == "Utf8"
        ));
        assert!(matches!(
            frame_for(&table, "empty", 0),
            Err(Error::EmptyColumn { .. })
        ));
        let missing = frame_for(&table, "laod", 0).unwrap_err();
        assert!(missing.to_string().contains("load"), "{missing}");
        assert!(matches!(
            frame_of_columns(&table, &["text"], "load"),
            Err(Error::NotNumeric { .. })
        ));
    }

    #[test]
    fn a_row_without_the_target_is_no_row() {
        let gap: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let frame = frame_for(&table(vec![("load", gap)]), "load", 0).unwrap();
        assert_eq!(frame.series.target(), [1.0, 3.0]);
    }
}
