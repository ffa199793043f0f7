//! Columns of a source: which are wanted and as what, and whether they can be.

use std::collections::HashSet;
use std::time::Duration;

use arrow::array::{Array as _, ArrayRef, BooleanArray, Int64Array};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, SchemaRef};

use crate::cast::{Unfit, cast_exact};
use crate::definition::duration::format_duration;
use crate::definition::{AggregateFunction, FileSource};
use crate::error::{Error, Result};
use crate::join::time::{is_text, is_time};

/// A feature of a result: where its values are, and as what they are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FeatureColumn {
    pub(crate) column: String,
    pub(crate) data_type: DataType,
    /// How it is computed from several rows, if it is no value of one.
    pub(crate) window: Option<Window>,
}

/// A trailing window and what is computed from its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) function: AggregateFunction,
    /// Its length, in nanoseconds.
    pub(crate) nanos: i64,
    /// The type that the function takes the values in; without one it only
    /// looks at which are null.
    pub(crate) values: Option<DataType>,
}

impl FeatureColumn {
    /// The values of a column, one for each row.
    pub(crate) fn plain(column: impl Into<String>, data_type: DataType) -> Self {
        Self {
            column: column.into(),
            data_type,
            window: None,
        }
    }

    /// The column, and what is computed from it, for a plan that is shown.
    pub(crate) fn label(&self) -> String {
        match &self.window {
            None => self.column.clone(),
            Some(window) => {
                let length = Duration::from_nanos(window.nanos.unsigned_abs());
                let length = format_duration(length);
                format!("{}({}) over {length}", window.function, self.column)
            }
        }
    }

    /// The column that a windowed aggregate is computed from.
    pub(crate) fn window_input(&self) -> Self {
        match &self.window {
            Some(Window {
                values: Some(data_type),
                ..
            }) => Self::plain(&self.column, data_type.clone()),
            Some(window) => Self {
                column: self.column.clone(),
                // True or null.
                data_type: DataType::Boolean,
                window: Some(Window {
                    nanos: 0,
                    ..window.clone()
                }),
            },
            None => self.clone(),
        }
    }
}

/// Keys and timestamps of some rows of a source.
#[derive(Debug)]
pub(crate) struct KeyRows {
    /// Where the rows are, and how many come before them there.
    pub(crate) place: String,
    pub(crate) before: usize,
    pub(crate) keys: Vec<ArrayRef>,
    pub(crate) times: Int64Array,
    pub(crate) created: Option<Int64Array>,
}

/// Checks that a schema has timestamps where the source says, and the `keys`.
pub(crate) fn check_columns(
    source: &FileSource,
    schema: &SchemaRef,
    keys: &[String],
    place: &str,
) -> Result<()> {
    let object = format!("source {:?}", source.name);
    let mut names = HashSet::new();
    if let Some(twice) = schema
        .fields()
        .iter()
        .find(|field| !names.insert(field.name()))
    {
        let problem = format!("{place} has two columns {:?}; rename one", twice.name());
        return Err(Error::mismatch(&object, problem));
    }
    let find = |column: &str| {
        schema
            .column_with_name(column)
            .map(|(_, field)| field.data_type())
            .ok_or_else(|| {
                let known = schema.fields().iter().map(|field| field.name().as_str());
                let error = Error::unknown("column", column, known);
                Error::mismatch(
                    &object,
                    format!("in {place}, {error}; correct the definition or the data"),
                )
            })
    };
    let times = [
        Some(source.timestamp_field.as_str()),
        source.created_timestamp_column.as_deref(),
    ];
    for column in times.into_iter().flatten() {
        let data_type = find(column)?;
        if !is_time(data_type) && !is_text(data_type) && *data_type != DataType::Null {
            return Err(Error::mismatch(
                &object,
                format!(
                    "column {column:?} of {place} holds {data_type}, not timestamps; name another \
                     column or write timestamps"
                ),
            ));
        }
    }
    for key in keys {
        find(key)?;
    }
    for (column, name) in &source.field_mapping {
        let both = schema.column_with_name(column).is_some()
            && column != name
            && schema.column_with_name(name).is_some();
        if both {
            return Err(Error::mismatch(
                &object,
                format!(
                    "{place} has the column {column:?}, which is called {name:?} here, and one \
                     called {name:?} itself; map it to another name"
                ),
            ));
        }
    }
    Ok(())
}

/// Brings the values of a feature to its type in the result.
pub(crate) fn convert(column: &ArrayRef, feature: &FeatureColumn) -> Result<ArrayRef, Unfit> {
    if let Some(Window { values: None, .. }) = &feature.window {
        let there = |error: arrow::error::ArrowError| Unfit {
            row: 0,
            reason: error.to_string(),
        };
        let nulls = is_null(column).map_err(there)?;
        let all = BooleanArray::from(vec![true; column.len()]);
        let there = nullif(&all, &nulls).map_err(there)?;
        return Ok(there);
    }
    cast_exact(column, &feature.data_type).map_err(|unfit| Unfit {
        reason: format!(
            "{}; declare the feature with a type that holds it",
            unfit.reason
        ),
        ..unfit
    })
}
