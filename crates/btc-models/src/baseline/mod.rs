//! Baselines: what any model has to be better than.

mod classic;
mod ridge;
pub(crate) mod variance;

use std::fmt::Debug;
use std::ops::Range;

use crate::forecast::interval::{Conformal, ErrorScale, WARM_UP, ewma_variance};
use crate::forecast::{FittedModel, Model};
use crate::forecast::{Forecast, after};
use crate::series::SeriesFrame;
use crate::{Error, Result};

pub use variance::VarianceModel;

/// The forecasts of a fitted baseline, without intervals.
trait Rule: Debug + Send + Sync {
    /// Rows before the first row from which it can forecast.
    fn lookback(&self) -> usize;

    /// The price expected after each of the rows, from it and the rows before it.
    fn points(&self, frame: &SeriesFrame, rows: Range<usize>) -> Result<Vec<f64>>;
}

/// A simple way to forecast a price.
///
/// ```
/// use btc_models::{Baseline, Model};
///
/// let names: Vec<_> = Baseline::ALL.iter().map(|baseline| baseline.name()).collect();
/// assert_eq!(names, ["naive", "drift", "ses", "ets", "ridge"]);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Baseline {
    /// The last price.
    Naive,
    /// The last price, moved by the mean of all past changes.
    Drift,
    /// Simple exponential smoothing with the weight that fitted best.
    Ses,
    /// Exponential smoothing with a damped trend, ETS(A,Ad,N), with the weights that fitted best.
    Ets,
    /// Ridge regression of the change on past changes, their spread, and the last changes of all
    /// features; its penalty is chosen by leave-one-out errors.
    Ridge,
}

impl Baseline {
    /// Every baseline.
    pub const ALL: [Self; 5] = [Self::Naive, Self::Drift, Self::Ses, Self::Ets, Self::Ridge];
}

impl std::str::FromStr for Baseline {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|baseline| baseline.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                let names: Vec<&str> = Self::ALL.iter().map(|baseline| baseline.name()).collect();
                Error::unknown("baseline", name, &names)
            })
    }
}

impl Model for Baseline {
    fn name(&self) -> &str {
        match self {
            Self::Naive => "naive",
            Self::Drift => "drift",
            Self::Ses => "ses",
            Self::Ets => "ets",
            Self::Ridge => "ridge",
        }
    }

    fn fit(&self, frame: &SeriesFrame, horizon: usize, _: u64) -> Result<Box<dyn FittedModel>> {
        let needed = WARM_UP + horizon + 10;
        if frame.rows() < needed {
            return Err(Error::SeriesTooShort {
                rows: frame.rows(),
                needed,
            });
        }
        let price = frame.price();
        let scale = ErrorScale::of(&price);
        let rule: Box<dyn Rule> = match self {
            Self::Naive => Box::new(classic::Drift::naive(scale)),
            Self::Drift => Box::new(classic::Drift::fit(&price, scale, horizon)),
            Self::Ses => Box::new(classic::Smoothing::simple(&price, scale, horizon)),
            Self::Ets => Box::new(classic::Smoothing::damped(&price, scale, horizon)),
            Self::Ridge => Box::new(ridge::Ridge::fit(frame, scale, horizon)?),
        };
        Ok(Box::new(Fitted {
            rule,
            scale,
            horizon,
            price: frame.price_name().to_owned(),
        }))
    }
}

/// A rule with the intervals that its past errors give.
#[derive(Debug)]
struct Fitted {
    rule: Box<dyn Rule>,
    scale: ErrorScale,
    horizon: usize,
    price: String,
}

impl FittedModel for Fitted {
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>> {
        if frame.price_name() != self.price {
            let found = frame.price_name().to_owned();
            return Err(Error::OtherPrice {
                expected: self.price.clone(),
                found,
            });
        }
        let first = self.rule.lookback();
        if origins.start < first || frame.rows() < origins.end {
            let rows = frame.rows().min(origins.start + 1);
            return Err(Error::SeriesTooShort {
                rows,
                needed: (first + 1).max(origins.end),
            });
        }
        let price = frame.price();
        let variance = ewma_variance(&price, self.scale);
        let from = first.max(WARM_UP.min(origins.start));
        let points = self.rule.points(frame, from..origins.end)?;
        let deviation = |row: usize| (variance[row] * self.horizon as f64).sqrt();
        origins
            .map(|origin| {
                // Forecasts whose outcome was known at the origin.
                let known = from..(origin + 1).saturating_sub(self.horizon);
                let scores = known
                    .filter(|row| 0.0 < deviation(*row))
                    .map(|row| {
                        let actual = price[row + self.horizon];
                        self.scale.difference(points[row - from], actual).abs() / deviation(row)
                    })
                    .collect();
                let point = points[origin - from];
                if !point.is_finite() {
                    return Err(Error::series(format!(
                        "the forecast from row {origin} is not finite"
                    )));
                }
                let known_until = frame.known_at()[origin];
                Ok(Forecast {
                    point,
                    naive: price[origin],
                    intervals: Conformal::new(self.scale, scores)
                        .intervals(point, deviation(origin)),
                    known_until,
                    target_time: after(known_until, self.horizon)?,
                })
            })
            .collect()
    }
}
