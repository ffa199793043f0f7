//! Several series that are alike: one table of columns for each of them.

use std::collections::BTreeMap;
use std::ops::Range;

use chrono::{DateTime, Utc};

use super::Split;
use super::frame::SeriesFrame;
use crate::{Error, Result};

/// Several series with the same columns, by name: shops of one chain, or coins of one market.
///
/// They may begin and end at different instants and have holes of their own.
///
/// ```
/// use btc_models::{Panel, SeriesFrame};
/// use chrono::{DateTime, Days};
///
/// let sales = |from: u64, level: f64| {
///     let day = |n| DateTime::UNIX_EPOCH + Days::new(from + n);
///     let values = (0..40).map(|n| level + f64::from(n % 7)).collect();
///     SeriesFrame::new((0..40).map(day).collect(), [("sales", values)], "sales")
/// };
/// let panel = Panel::new([("north", sales(0, 100.0)?), ("south", sales(20, 7.0)?)])?;
/// assert_eq!(panel.names().collect::<Vec<_>>(), ["north", "south"]);
/// assert_eq!(panel.instants().len(), 60);
/// # Ok::<(), btc_models::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Panel {
    series: BTreeMap<String, SeriesFrame>,
}

impl Panel {
    /// Puts series together by their names.
    ///
    /// # Errors
    ///
    /// No series, two of one name, or one that differs from another in its columns, target,
    /// frequency, what is known ahead, or the names and words of what never changes.
    pub fn new<N: Into<String>>(
        series: impl IntoIterator<Item = (N, SeriesFrame)>,
    ) -> Result<Self> {
        let mut panel: BTreeMap<String, SeriesFrame> = BTreeMap::new();
        for (name, frame) in series {
            let name = name.into();
            if panel.contains_key(&name) {
                return Err(Error::series(format!("two series are called {name:?}")));
            }
            if let Some((other, first)) = panel.first_key_value()
                && let Some(difference) = difference(first, &frame)
            {
                let reason = format!("{difference} differ from those of {other:?}");
                return Err(Error::in_panel(&name, Error::series(reason)));
            }
            panel.insert(name, frame);
        }
        if panel.is_empty() {
            return Err(Error::series("there is none"));
        }
        Ok(Self { series: panel })
    }

    /// The names of the series, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.series.keys().map(String::as_str)
    }

    /// The series called `name`; none if there is no such series.
    pub fn series(&self, name: &str) -> Option<&SeriesFrame> {
        self.series.get(name)
    }

    /// The series by their names, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &SeriesFrame)> {
        self.series
            .iter()
            .map(|(name, frame)| (name.as_str(), frame))
    }

    /// All instants at which a row of any series is known, in order.
    pub fn instants(&self) -> Vec<DateTime<Utc>> {
        instants(self.series.values())
    }
}

/// All instants at which a row of any of the frames is known, in order.
fn instants<'a>(frames: impl Iterator<Item = &'a SeriesFrame>) -> Vec<DateTime<Utc>> {
    let mut instants: Vec<DateTime<Utc>> = frames
        .flat_map(|frame| frame.known_at().iter().copied())
        .collect();
    instants.sort();
    instants.dedup();
    instants
}

/// In what two frames are not alike.
fn difference(a: &SeriesFrame, b: &SeriesFrame) -> Option<&'static str> {
    let roles = |frame: &SeriesFrame| -> Vec<_> {
        frame.names().iter().map(|name| frame.role(name)).collect()
    };
    let statics =
        |frame: &SeriesFrame| -> Vec<String> { frame.statics().keys().cloned().collect() };
    let words = |frame: &SeriesFrame| -> Vec<(String, Vec<String>)> {
        let fixed = frame.static_categories().iter();
        let fixed = fixed.map(|(name, category)| (name.clone(), category.vocabulary.clone()));
        let rows = frame.category_names().filter_map(|name| {
            let (_, vocabulary) = frame.category(name)?;
            Some((name.to_owned(), vocabulary.to_vec()))
        });
        fixed.chain(rows).collect()
    };
    [
        ("its columns", a.names() == b.names()),
        ("its target", a.target_name() == b.target_name()),
        ("its frequency", a.frequency() == b.frequency()),
        ("the columns known ahead", roles(a) == roles(b)),
        ("the names of its statics", statics(a) == statics(b)),
        ("the words of its categories", words(a) == words(b)),
    ]
    .into_iter()
    .find_map(|(what, same)| (!same).then_some(what))
}

/// One split in time of several series: what is known after an instant is known after it in all
/// of them.
#[derive(Debug)]
pub(crate) struct Timeline {
    instants: Vec<DateTime<Utc>>,
    horizon: usize,
    split: Split,
}

/// Windows of one series between two instants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// The rows that they end in.
    pub(crate) ends: Range<usize>,
    /// The rows that are known when the last target is.
    pub(crate) known: usize,
}

impl Timeline {
    /// Splits the instants of all `frames` as [`Split::new`] splits the rows of one.
    pub(crate) fn new(
        frames: &[&SeriesFrame],
        first: usize,
        horizon: usize,
        validation: f64,
        calibration: f64,
    ) -> Result<Self> {
        let instants = instants(frames.iter().copied());
        let split = Split::new(instants.len(), first, horizon, validation)?
            .with_calibration(horizon, calibration)?;
        Ok(Self {
            instants,
            horizon,
            split,
        })
    }

    pub(crate) fn train(&self, frame: &SeriesFrame, first: usize) -> Stretch {
        self.stretch(frame, first, &self.split.train)
    }

    pub(crate) fn validation(&self, frame: &SeriesFrame, first: usize) -> Stretch {
        self.stretch(frame, first, &self.split.validation)
    }

    pub(crate) fn calibration(&self, frame: &SeriesFrame, first: usize) -> Stretch {
        self.stretch(frame, first, &self.split.calibration)
    }

    /// The rows of a frame, from `first` on, whose instants are among those in `range`.
    fn stretch(&self, frame: &SeriesFrame, first: usize, range: &Range<usize>) -> Stretch {
        let known_at = frame.known_at();
        let until = |instant: usize| {
            let limit = self.instants[instant];
            known_at.partition_point(|at| *at <= limit)
        };
        if range.is_empty() {
            return Stretch {
                ends: first..first,
                known: 0,
            };
        }
        let start = known_at.partition_point(|at| *at < self.instants[range.start]);
        let (start, end) = (start.max(first), until(range.end - 1));
        Stretch {
            ends: start..end.max(start),
            known: until(range.end - 1 + self.horizon),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::series::Frequency;
    use crate::series::frame::tests::{daily_with_holes, frame};

    #[test]
    fn series_that_are_not_alike_are_refused_by_name() {
        let plain = || frame(&[("y", vec![1.0, 2.0, 3.0])]);
        let refused = |other: SeriesFrame, reason: &str| {
            let error = Panel::new([("a", plain()), ("b", other)]).unwrap_err();
            assert!(matches!(&error, Error::InPanel { series, .. } if series == "b"));
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(reason), "{source}");
        };
        refused(frame(&[("z", vec![1.0; 3])]), "columns");
        refused(plain().with_static("size", 2.0).unwrap(), "statics");
        let words = || vec!["sea".to_owned()];
        let category = plain().with_static_category("place", 0, words()).unwrap();
        refused(category, "categories");
        let weekly = SeriesFrame::of_frequency(
            Frequency::weeks(1),
            vec![plain().known_at()[0]],
            [("y", vec![1.0])],
            "y",
        );
        refused(weekly.unwrap(), "frequency");
        let twice = Panel::new([("a", plain()), ("a", plain())]);
        assert!(twice.unwrap_err().to_string().contains("\"a\""));
        assert!(Panel::new(Vec::<(String, SeriesFrame)>::new()).is_err());
    }

    #[test]
    fn a_stretch_ends_at_one_instant_in_all_series() {
        let whole = frame(&[("y", (0..20).map(f64::from).collect())]);
        let late = whole.slice(8..20).unwrap();
        let holes = daily_with_holes(&[0, 1, 2, 3, 7, 9, 10, 14, 15, 16, 17]);
        let frames = [&whole, &late, &holes];
        let timeline = Timeline::new(&frames, 2, 2, 0.25, 0.0).unwrap();
        // 16 windows end in the days 2 to 17, the last 4 of them are for validation.
        let stretch = |ends, known| Stretch { ends, known };
        assert_eq!(timeline.train(&whole, 2), stretch(2..13, 15));
        assert_eq!(timeline.train(&late, 2), stretch(2..5, 7));
        assert_eq!(timeline.train(&holes, 2), stretch(2..7, 8));
        assert_eq!(timeline.validation(&whole, 2), stretch(14..18, 20));
        assert_eq!(timeline.validation(&late, 2), stretch(6..10, 12));
        assert_eq!(timeline.validation(&holes, 2), stretch(7..11, 11));
        assert!(timeline.calibration(&whole, 2).ends.is_empty());
    }
}
