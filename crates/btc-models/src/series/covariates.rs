//! What a series carries beside its past: values that are known ahead, and values that never
//! change.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::frame::SeriesFrame;
use crate::{Error, Result};

/// What is known of a column beyond the last row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Role {
    /// Nothing.
    #[default]
    Past,
    /// Its values, as those of a calendar or a weather forecast are.
    KnownFuture,
}

named!(Role, "role", {
    Past => "past",
    KnownFuture => "known-future",
});

/// Codes of a vocabulary: row by row, or one for the whole series.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Category {
    /// The codes, indices into the vocabulary; none where a value is missing. A single one if it
    /// is that of the whole series.
    pub codes: Vec<Option<u32>>,
    /// What the codes mean.
    pub vocabulary: Vec<String>,
}

/// The covariates that have no place among the columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Covariates {
    pub(crate) statics: BTreeMap<String, f64>,
    pub(crate) static_categories: BTreeMap<String, Category>,
    pub(crate) categories: BTreeMap<String, Category>,
}

impl Category {
    fn new(name: &str, codes: Vec<Option<u32>>, vocabulary: Vec<String>) -> Result<Self> {
        let known = vocabulary.len();
        if let Some(code) = codes.iter().flatten().find(|code| known <= **code as usize) {
            return Err(Error::series(format!(
                "the category {name:?} has the code {code}, but its vocabulary {known} words"
            )));
        }
        Ok(Self { codes, vocabulary })
    }
}

impl SeriesFrame {
    /// Says that the values of these columns are known ahead of time.
    ///
    /// They may then have values after the last row, see [`with_future`](Self::with_future), and
    /// the part of a frame up to a row keeps those of the rows after it.
    ///
    /// # Errors
    ///
    /// A name that no column has, or that of the target.
    pub fn with_known_future<N: AsRef<str>>(
        mut self,
        names: impl IntoIterator<Item = N>,
    ) -> Result<Self> {
        for name in names {
            let at = self.index_of_covariate(name.as_ref())?;
            self.storage_mut().roles[at] = Role::KnownFuture;
        }
        Ok(self)
    }

    /// Adds the values that columns known ahead have after the last row.
    ///
    /// ```
    /// use btc_models::SeriesFrame;
    /// use chrono::{DateTime, Days};
    ///
    /// let day = |n| DateTime::from_timestamp(1_600_000_000, 0).unwrap() + Days::new(n);
    /// let load = ("load", vec![10.0, 12.0, 11.0]);
    /// let holiday = ("holiday", vec![0.0, 1.0, 0.0]);
    /// let frame = SeriesFrame::new((0..3).map(day).collect(), [load, holiday], "load")?
    ///     .with_known_future(["holiday"])?
    ///     .with_future(vec![day(3), day(4)], [("holiday", vec![0.0, 1.0])])?;
    /// assert_eq!(frame.covariate_at("holiday", 2, 2), Some(1.0));
    /// assert_eq!(frame.slice(0..1)?.covariate_at("holiday", 0, 1), Some(1.0));
    /// assert_eq!(frame.covariate_at("load", 2, 1), None);
    /// # Ok::<(), btc_models::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Instants that do not follow the last row's on its grid, columns that are not known ahead
    /// or of another length, a column known ahead that is missing.
    pub fn with_future<N: Into<String>>(
        mut self,
        known_at: Vec<DateTime<Utc>>,
        columns: impl IntoIterator<Item = (N, Vec<f64>)>,
    ) -> Result<Self> {
        if self.view() != (0..self.storage().known_at.len()) {
            return Err(Error::series("a part of a frame takes no later rows"));
        }
        let mut given: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (name, values) in columns {
            let name = name.into();
            let at = self.index_of_covariate(&name)?;
            if self.storage().roles[at] != Role::KnownFuture {
                return Err(Error::series(format!(
                    "the column {name:?} is not among those known ahead"
                )));
            }
            if values.len() != known_at.len() {
                return Err(Error::series(format!(
                    "{} later values of {name:?} do not fit {} instants",
                    values.len(),
                    known_at.len()
                )));
            }
            given.insert(name, values);
        }
        let rows = self.rows();
        let storage = self.storage_mut();
        let mut steps = storage.steps[..rows].to_vec();
        for at in &known_at {
            let step = match storage.grid.frequency {
                super::Frequency::Irregular => Some(steps.len() as i64),
                _ => storage.grid.step_of(*at),
            };
            match step {
                Some(step) if steps.last().is_none_or(|last| *last < step) => steps.push(step),
                _ => {
                    return Err(Error::series(format!(
                        "the later instant {at} does not follow the one before it on the grid"
                    )));
                }
            }
        }
        for (at, role) in storage.roles.iter().enumerate() {
            if *role == Role::KnownFuture {
                let Some(later) = given.remove(&storage.names[at]) else {
                    return Err(Error::MissingFeature {
                        feature: storage.names[at].clone(),
                    });
                };
                let column = &mut storage.columns[at];
                column.truncate(rows);
                column.extend(later);
            }
        }
        (storage.future_at, storage.steps) = (known_at, steps);
        Ok(self)
    }

    /// Adds a number that is the same in all rows, such as the size of what is measured.
    ///
    /// # Errors
    ///
    /// A value that is not finite, or a name that is taken.
    pub fn with_static(mut self, name: impl Into<String>, value: f64) -> Result<Self> {
        let name = self.free_name(name)?;
        if !value.is_finite() {
            return Err(Error::series(format!("the static {name:?} is {value}")));
        }
        self.storage_mut().covariates.statics.insert(name, value);
        Ok(self)
    }

    /// Adds a category that is the same in all rows: the index `code` into `vocabulary`.
    ///
    /// # Errors
    ///
    /// A code outside the vocabulary, or a name that is taken.
    pub fn with_static_category(
        mut self,
        name: impl Into<String>,
        code: u32,
        vocabulary: Vec<String>,
    ) -> Result<Self> {
        let name = self.free_name(name)?;
        let category = Category::new(&name, vec![Some(code)], vocabulary)?;
        let categories = &mut self.storage_mut().covariates.static_categories;
        categories.insert(name, category);
        Ok(self)
    }

    /// Adds a category row by row: indices into `vocabulary`, none where it is missing.
    ///
    /// # Errors
    ///
    /// Another number of codes than rows, a code outside the vocabulary, or a name that is taken.
    pub fn with_category(
        mut self,
        name: impl Into<String>,
        codes: Vec<Option<u32>>,
        vocabulary: Vec<String>,
    ) -> Result<Self> {
        let name = self.free_name(name)?;
        if self.view() != (0..codes.len()) {
            return Err(Error::series(format!(
                "{} codes of {name:?} do not fit {} rows",
                codes.len(),
                self.rows()
            )));
        }
        let category = Category::new(&name, codes, vocabulary)?;
        self.storage_mut()
            .covariates
            .categories
            .insert(name, category);
        Ok(self)
    }

    /// What is known of a column beyond the last row; none if there is no such column.
    pub fn role(&self, name: &str) -> Option<Role> {
        let at = self.names().iter().position(|other| other == name)?;
        Some(self.storage().roles[at])
    }

    /// The value that a column known ahead has `steps` after a row; none if it is not known.
    pub fn covariate_at(&self, name: &str, row: usize, steps: usize) -> Option<f64> {
        let at = self.names().iter().position(|other| other == name)?;
        (self.storage().roles[at] == Role::KnownFuture).then_some(())?;
        let later = self.storage_row_at(row, steps)?;
        self.storage().columns[at].get(later).copied()
    }

    /// The numbers that are the same in all rows, by name.
    pub fn statics(&self) -> &BTreeMap<String, f64> {
        &self.storage().covariates.statics
    }

    /// The categories that are the same in all rows, by name: one code each.
    pub fn static_categories(&self) -> &BTreeMap<String, Category> {
        &self.storage().covariates.static_categories
    }

    /// The names of the categories that have a code in each row.
    pub fn category_names(&self) -> impl Iterator<Item = &str> {
        self.storage()
            .covariates
            .categories
            .keys()
            .map(String::as_str)
    }

    /// The codes of a category in the frame's rows, and what they mean.
    pub fn category(&self, name: &str) -> Option<(&[Option<u32>], &[String])> {
        let category = self.storage().covariates.categories.get(name)?;
        Some((&category.codes[self.view()], &category.vocabulary))
    }

    fn index_of_covariate(&self, name: &str) -> Result<usize> {
        let at = self.names().iter().position(|other| other == name);
        match at {
            Some(at) if name != self.target_name() => Ok(at),
            Some(_) => Err(Error::series(format!(
                "the target {name:?} is not known ahead"
            ))),
            None => Err(Error::MissingFeature {
                feature: name.to_owned(),
            }),
        }
    }

    fn free_name(&self, name: impl Into<String>) -> Result<String> {
        let name = name.into();
        let covariates = &self.storage().covariates;
        let taken = self.names().contains(&name)
            || covariates.statics.contains_key(&name)
            || covariates.static_categories.contains_key(&name)
            || covariates.categories.contains_key(&name);
        if taken {
            return Err(Error::series(format!("two columns are called {name:?}")));
        }
        Ok(name)
    }

    fn storage_mut(&mut self) -> &mut super::frame::Storage {
        Arc::make_mut(self.shared())
    }
}

#[cfg(test)]
mod tests {
    use crate::series::frame::tests::frame;

    #[test]
    fn covariates_that_do_not_fit_are_refused() {
        let frame = || frame(&[("y", vec![1.0, 2.0]), ("x", vec![1.0, 2.0])]);
        assert!(frame().with_known_future(["y"]).is_err());
        assert!(frame().with_known_future(["z"]).is_err());
        let day = |n| frame().known_at()[1] + chrono::Days::new(n);
        let future = |at, values: Vec<f64>| {
            let frame = frame().with_known_future(["x"]).unwrap();
            frame.with_future(at, [("x", values)])
        };
        assert!(future(vec![day(1), day(3)], vec![3.0, 4.0]).is_ok());
        assert!(future(vec![day(0)], vec![3.0]).is_err());
        assert!(future(vec![day(1)], vec![3.0, 4.0]).is_err());
        assert!(
            frame()
                .with_future(vec![day(1)], [("x", vec![1.0])])
                .is_err()
        );
        assert!(frame().with_static("x", 1.0).is_err());
        assert!(frame().with_static("size", f64::NAN).is_err());
        assert!(
            frame()
                .with_category("kind", vec![Some(2), None], vec!["a".into()])
                .is_err()
        );
    }

    #[test]
    fn a_slice_keeps_what_is_the_same_in_all_rows_and_its_own_codes() {
        let words = vec!["dry".to_owned(), "wet".to_owned()];
        let whole = frame(&[("y", vec![1.0, 2.0, 3.0])])
            .with_static("size", 4.0)
            .unwrap()
            .with_static_category("place", 1, words.clone())
            .unwrap()
            .with_category("weather", vec![Some(0), None, Some(1)], words)
            .unwrap();
        let part = whole.slice(1..3).unwrap();
        assert_eq!(part.statics()["size"], 4.0);
        assert_eq!(part.static_categories()["place"].codes, [Some(1)]);
        assert_eq!(part.category("weather").unwrap().0, [None, Some(1)]);
    }
}
