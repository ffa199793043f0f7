//! What is joined: the keys, rules and columns of each view, and where the
//! columns of the result come from.

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;

use super::keys::KeyForm;
use super::matching::Rules;
use super::source::{FeatureColumn, Input, KeyRows};
use crate::error::Result;

/// The join of one view.
#[derive(Debug, Clone)]
pub(crate) struct ViewJoin {
    /// The view's name or alias.
    pub(crate) label: String,
    /// The keys: columns of the entity rows, and how they are compared.
    pub(crate) keys: Vec<(usize, KeyForm)>,
    /// The columns of the source that hold the keys.
    pub(crate) source_keys: Vec<String>,
    pub(crate) rules: Rules,
    pub(crate) features: Vec<FeatureColumn>,
    pub(crate) input: Input,
}

impl ViewJoin {
    /// Whether the source says when rows were written.
    pub(crate) fn has_created(&self) -> bool {
        self.input.source().created_timestamp_column.is_some()
    }

    /// The longest window of its aggregates, in nanoseconds, if it has any.
    pub(crate) fn longest_window(&self) -> Option<i64> {
        let windows = self.features.iter().filter_map(|f| f.window.as_ref());
        windows.map(|window| window.nanos).max()
    }

    /// The keys of some rows of the source in the form they are compared in.
    pub(crate) fn canonical_keys(&self, rows: &KeyRows) -> Result<Vec<ArrayRef>> {
        self.keys
            .iter()
            .zip(&rows.keys)
            .zip(&self.source_keys)
            .map(|(((_, form), column), name)| {
                form.canonical(column)
                    .map_err(|unfit| unfit.after(rows.before).at(&rows.place, name))
            })
            .collect()
    }
}

/// Where a column of the result comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A column of the entity rows.
    Entity(usize),
    /// A feature of a view.
    Feature { view: usize, feature: usize },
}

/// What is joined, apart from the inputs' plans.
#[derive(Debug)]
pub(crate) struct JoinSpec {
    pub(crate) event_time: usize,
    pub(crate) views: Vec<ViewJoin>,
    pub(crate) columns: Vec<Origin>,
    pub(crate) schema: SchemaRef,
    /// Read no more entity rows than this.
    pub(crate) fetch: Option<usize>,
    /// The input plan of each view whose rows come from a table.
    pub(crate) table_inputs: Vec<Option<usize>>,
}

impl JoinSpec {
    /// The features of a view that the result has, by their number.
    pub(crate) fn wanted(&self, view: usize) -> Vec<usize> {
        (0..self.views[view].features.len())
            .filter(|feature| {
                self.columns.contains(&Origin::Feature {
                    view,
                    feature: *feature,
                })
            })
            .collect()
    }
}
