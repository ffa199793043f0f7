//! The filter and ordering language of searches.
//!
//! A filter is a list of comparisons joined by `AND`, such as
//! `metrics.mape < 5 AND params.units = '64' AND tags.state = 'COMPLETE'`.

mod eval;
mod lexer;
mod parser;

pub use eval::{Scalar, like};
pub(crate) use eval::{compare_ordered, matches};

use crate::error::Result;

/// What is searched; it decides which keys a filter may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Runs.
    Run,
    /// Experiments.
    Experiment,
    /// Registered models.
    RegisteredModel,
    /// Model versions.
    ModelVersion,
    /// Logged models.
    LoggedModel,
}

/// The thing on the left of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// The latest value of a metric.
    Metric(String),
    /// A parameter.
    Param(String),
    /// A tag.
    Tag(String),
    /// A field of the thing itself, in its canonical spelling.
    Attribute(&'static str),
    /// A field of a data set among the inputs: `name`, `digest` or `context`.
    Dataset(&'static str),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the operator it is named after")]
pub enum Comparator {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Like,
    ILike,
    In,
    NotIn,
    IsNull,
    IsNotNull,
}

/// The thing on the right of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// An unquoted number.
    Number(f64),
    /// A quoted text.
    Text(String),
    /// A list in parentheses.
    List(Vec<String>),
    /// Nothing, after `IS NULL`.
    Nothing,
}

/// One comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    /// The left side.
    pub key: Key,
    /// The operator.
    pub comparator: Comparator,
    /// The right side.
    pub literal: Literal,
}

/// A parsed filter: everything in it must hold.
///
/// ```
/// use btc_track::search::{Filter, Subject};
///
/// let filter = Filter::parse(Subject::Run, "metrics.mape < 5 and tag.state = 'COMPLETE'")?;
/// assert_eq!(filter.clauses.len(), 2);
///
/// let error = Filter::parse(Subject::Run, "metrics.mape < 5 OR metrics.mae < 1").unwrap_err();
/// assert_eq!(error.to_string(), "OR is not supported, only AND at position 17");
/// # Ok::<(), btc_track::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Filter {
    /// The comparisons.
    pub clauses: Vec<Clause>,
}

impl Filter {
    /// Reads a filter; an empty text lets everything pass.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidFilter`] with the position of the first mistake.
    pub fn parse(subject: Subject, text: &str) -> Result<Self> {
        parser::filter(subject, text)
    }
}

/// One key of an ordering.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// What to order by.
    pub key: Key,
    /// Whether larger values come first.
    pub descending: bool,
}

impl OrderBy {
    /// Reads `key`, `key ASC` or `key DESC`.
    ///
    /// # Errors
    ///
    /// [`crate::Error::InvalidFilter`] with the position of the first mistake.
    pub fn parse(subject: Subject, text: &str) -> Result<Self> {
        parser::order_by(subject, text)
    }

    /// Reads a list of orderings.
    ///
    /// # Errors
    ///
    /// As [`OrderBy::parse`].
    pub fn parse_all<S: AsRef<str>>(subject: Subject, texts: &[S]) -> Result<Vec<Self>> {
        texts
            .iter()
            .map(|text| Self::parse(subject, text.as_ref()))
            .collect()
    }
}
