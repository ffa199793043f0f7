//! Baselines: what any model has to be better than.

mod classic;
mod fitted;
mod linalg;
mod ridge;
mod seasonal;
pub(crate) mod variance;

use std::fmt::Debug;
use std::ops::Range;

use crate::forecast::interval::{ErrorScale, WARM_UP};
use crate::forecast::{FitContext, FittedModel, MAX_HORIZON, Model};
use crate::series::SeriesFrame;
use crate::{Error, Result};

use fitted::Fitted;
pub use seasonal::SeasonalNaive;
pub use variance::VarianceModel;

/// The forecasts of a fitted baseline, without intervals.
trait Rule: Debug + Send + Sync {
    /// Rows before the first row from which it can forecast.
    fn lookback(&self) -> usize;

    /// The value expected `ahead` steps after each of the rows, from it and the rows before it.
    fn points(&self, frame: &SeriesFrame, rows: Range<usize>, ahead: usize) -> Result<Vec<f64>>;
}

/// A simple way to forecast a series.
///
/// Changes are those of logarithms as long as all values are positive, and of the values
/// otherwise.
///
/// ```
/// use btc_models::{Baseline, Model};
///
/// let names: Vec<_> = Baseline::ALL.iter().map(|baseline| baseline.name()).collect();
/// assert_eq!(names, ["naive", "drift", "ses", "ets", "ridge", "seasonal-naive"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Baseline {
    /// The last value.
    Naive,
    /// The last value, moved by the mean of all past changes.
    Drift,
    /// Simple exponential smoothing with the weight that fitted best.
    Ses,
    /// Exponential smoothing with a damped trend, ETS(A,Ad,N), with the weights that fitted best.
    Ets,
    /// Ridge regression of the change on past changes, their spread, and the last changes of all
    /// features; its penalty is chosen by leave-one-out errors.
    Ridge,
    /// The value of a season ago, by the shortest season of the series' frequency; see
    /// [`SeasonalNaive`] for another one.
    SeasonalNaive,
}

named!(Baseline, "baseline", {
    Naive => "naive",
    Drift => "drift",
    Ses => "ses",
    Ets => "ets",
    Ridge => "ridge",
    SeasonalNaive => "seasonal-naive",
});

impl Model for Baseline {
    fn name(&self) -> &str {
        Self::name(*self)
    }

    fn fit(&self, frame: &SeriesFrame, context: &FitContext) -> Result<Box<dyn FittedModel>> {
        check_length(frame, context)?;
        let scale = ErrorScale::of(frame.target());
        let rule: Box<dyn Rule> = match self {
            Self::Naive => Box::new(classic::Naive),
            Self::Drift => Box::new(classic::Drift::fit(frame, scale)),
            Self::Ses => Box::new(classic::Smoothing::simple(frame, scale)),
            Self::Ets => Box::new(classic::Smoothing::damped(frame, scale)),
            Self::Ridge => Box::new(ridge::Ridge::fit(frame, scale, context.steps())?),
            Self::SeasonalNaive => return SeasonalNaive::default().fit(frame, context),
        };
        Ok(Box::new(Fitted::new(rule, scale, frame, context)))
    }
}

/// Refuses a frame too short for intervals, and a horizon too long.
fn check_length(frame: &SeriesFrame, context: &FitContext) -> Result<()> {
    if context.horizon == 0 || MAX_HORIZON < context.horizon {
        let expected = "between 1 and 10000";
        return Err(Error::invalid("horizon", context.horizon, expected));
    }
    let needed = WARM_UP + context.horizon + 10;
    if frame.rows() < needed {
        return Err(Error::SeriesTooShort {
            rows: frame.rows(),
            needed,
        });
    }
    Ok(())
}
