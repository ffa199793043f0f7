//! The last value, drift and exponential smoothing, on logarithms where values are positive.

use std::ops::Range;

use super::Rule;
use crate::Result;
use crate::forecast::interval::ErrorScale;
use crate::series::SeriesFrame;

/// The last value.
#[derive(Debug)]
pub(super) struct Naive;

impl Rule for Naive {
    fn lookback(&self) -> usize {
        0
    }

    fn points(&self, frame: &SeriesFrame, rows: Range<usize>, _: usize) -> Result<Vec<f64>> {
        Ok(frame.target()[rows].to_vec())
    }
}

/// The last value moved by the mean change.
#[derive(Debug)]
pub(super) struct Drift {
    scale: ErrorScale,
    /// The changes from the first row to the last, on `scale` and in the values' unit.
    whole: f64,
    absolute: f64,
    steps: f64,
}

impl Drift {
    pub(super) fn fit(frame: &SeriesFrame, scale: ErrorScale) -> Self {
        let target = frame.target();
        let (first, last) = (target[0], target[target.len() - 1]);
        Self {
            scale,
            whole: scale.difference(first, last),
            absolute: last - first,
            steps: frame.length_in_steps() as f64,
        }
    }
}

impl Rule for Drift {
    fn lookback(&self) -> usize {
        0
    }

    fn points(&self, frame: &SeriesFrame, rows: Range<usize>, ahead: usize) -> Result<Vec<f64>> {
        let (target, spread) = (frame.target(), frame.spread());
        Ok(rows
            .map(|row| {
                let last = target[row];
                let scale = spread.scale(self.scale, row, &[last]);
                let whole = match scale == self.scale {
                    true => self.whole,
                    false => self.absolute,
                };
                let change = ahead as f64 * whole / self.steps;
                // Not the logarithm of a value and back, where nothing moves it.
                if change == 0.0 {
                    last
                } else {
                    scale.shift(last, change)
                }
            })
            .collect())
    }
}

/// Rows that smoothing is fitted to; those before hardly matter.
const FIT_ROWS: usize = 1000;

/// Exponential smoothing of the level, and of a damped trend if `beta` is not 0.
#[derive(Debug)]
pub(super) struct Smoothing {
    scale: ErrorScale,
    alpha: f64,
    beta: f64,
    phi: f64,
}

impl Smoothing {
    pub(super) fn simple(frame: &SeriesFrame, scale: ErrorScale) -> Self {
        let recent = Recent::new(frame, scale);
        let rule = |alpha| Self {
            scale,
            alpha,
            beta: 0.0,
            phi: 0.0,
        };
        let alpha = minimum(0.01, 1.5, |alpha| rule(alpha).squared_errors(&recent));
        rule(alpha)
    }

    pub(super) fn damped(frame: &SeriesFrame, scale: ErrorScale) -> Self {
        let recent = Recent::new(frame, scale);
        let mut best = Self::simple(frame, scale);
        best.phi = 0.9;
        // One weight after the other, a few times: three dimensions are soon searched.
        for _ in 0..4 {
            let loss = |alpha, beta, phi| {
                Self {
                    scale,
                    alpha,
                    beta,
                    phi,
                }
                .squared_errors(&recent)
            };
            best.beta = minimum(0.0, 0.5, |beta| loss(best.alpha, beta, best.phi));
            best.phi = minimum(0.8, 0.98, |phi| loss(best.alpha, best.beta, phi));
            best.alpha = minimum(0.01, 1.0, |alpha| loss(alpha, best.beta, best.phi));
        }
        best
    }

    /// Calls `f` after each value with the level and trend as they are then.
    fn run(&self, recent: &Recent, mut f: impl FnMut(usize, f64, f64)) {
        let Some(first) = recent.values.first() else {
            return;
        };
        let (mut level, mut trend) = (*first, 0.0);
        f(0, level, trend);
        for (row, value) in recent.values.iter().enumerate().skip(1) {
            // Over a hole the trend goes on, damped at each step.
            for _ in 1..recent.steps[row].min(LONGEST_HOLE) {
                trend *= self.phi;
                level += trend;
            }
            let expected = level + self.phi * trend;
            let error = value - expected;
            level = expected + self.alpha * error;
            trend = self.phi * trend + self.alpha * self.beta * error;
            f(row, level, trend);
        }
    }

    /// Of one-step forecasts.
    fn squared_errors(&self, recent: &Recent) -> f64 {
        let (mut sum, mut expected) = (0.0, None);
        self.run(recent, |row, level, trend| {
            if let Some(expected) = expected
                && recent.steps[row] == 1
            {
                let error: f64 = recent.values[row] - expected;
                sum += error * error;
            }
            expected = Some(level + self.phi * trend);
        });
        sum
    }

    fn points_on(&self, scale: ErrorScale, frame: &SeriesFrame, ahead: usize) -> Vec<f64> {
        let mut points = Vec::with_capacity(frame.rows());
        // The damped trend over the steps: phi + phi^2 + ...
        let reach: f64 = (1..=ahead as i32).map(|h| self.phi.powi(h)).sum();
        self.run(&Recent::whole(frame, scale), |_, level, trend| {
            let value = level + reach * trend;
            points.push(match scale {
                ErrorScale::Log => value.exp(),
                ErrorScale::Absolute => value,
            });
        });
        points
    }
}

/// After so many steps a damped trend has moved a level as far as it ever will.
const LONGEST_HOLE: i64 = 1000;

/// The values that smoothing runs over, and how many steps each is after the one before it.
struct Recent {
    values: Vec<f64>,
    steps: Vec<i64>,
}

impl Recent {
    fn new(frame: &SeriesFrame, scale: ErrorScale) -> Self {
        let mut whole = Self::whole(frame, scale);
        let start = whole.values.len().saturating_sub(FIT_ROWS);
        whole.values.drain(..start);
        whole.steps.drain(..start);
        whole
    }

    fn whole(frame: &SeriesFrame, scale: ErrorScale) -> Self {
        let value = |x: &f64| match scale {
            ErrorScale::Log => x.ln(),
            ErrorScale::Absolute => *x,
        };
        let steps = (0..frame.rows()).map(|row| match row {
            0 => 1,
            row => frame.step_into(row),
        });
        Self {
            values: frame.target().iter().map(value).collect(),
            steps: steps.collect(),
        }
    }
}

impl Rule for Smoothing {
    fn lookback(&self) -> usize {
        0
    }

    fn points(&self, frame: &SeriesFrame, rows: Range<usize>, ahead: usize) -> Result<Vec<f64>> {
        let seen = frame.slice(0..rows.end)?;
        let positive = seen.target().iter().take_while(|x| 0.0 < **x).count();
        let mut points = match self.scale {
            ErrorScale::Log => self.points_on(self.scale, &seen.slice(0..positive)?, ahead),
            ErrorScale::Absolute => Vec::new(),
        };
        // From the first value without a logarithm on, the same weights on the values themselves.
        if points.len() < rows.end {
            let absolute = self.points_on(ErrorScale::Absolute, &seen, ahead);
            points.extend_from_slice(&absolute[points.len()..]);
        }
        Ok(points.split_off(rows.start))
    }
}

/// Where `f` is least between two bounds, by golden sections.
fn minimum(mut low: f64, mut high: f64, f: impl Fn(f64) -> f64) -> f64 {
    let ratio = (5f64.sqrt() - 1.0) / 2.0;
    let (mut a, mut b) = (high - ratio * (high - low), low + ratio * (high - low));
    let (mut fa, mut fb) = (f(a), f(b));
    for _ in 0..40 {
        if fa <= fb {
            (high, b, fb) = (b, a, fa);
            a = high - ratio * (high - low);
            fa = f(a);
        } else {
            (low, a, fa) = (a, b, fb);
            b = low + ratio * (high - low);
            fb = f(b);
        }
    }
    // Not moving at all is among what may fit best.
    let middle = 0.5 * (low + high);
    if low == 0.0 && f(0.0) <= f(middle) {
        0.0
    } else {
        middle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_minimum_of_a_parabola_is_found() {
        assert!((minimum(0.0, 2.0, |x| (x - 0.7).powi(2)) - 0.7).abs() < 1e-6);
        assert_eq!(minimum(0.0, 2.0, |x| x), 0.0);
    }

    #[test]
    fn smoothing_equals_that_of_statsmodels() {
        let case = crate::vectors::statistics().smoothing;
        let frame = crate::series::frame::tests::frame(&[("p", case.series)]);
        let simple = (case.simple.alpha, 0.0, 0.0, case.simple.forecasts);
        let damped = case.damped;
        let damped = (damped.alpha, damped.beta, damped.phi, damped.forecasts);
        for (alpha, beta, phi, forecasts) in [simple, damped] {
            let rule = Smoothing {
                scale: ErrorScale::Absolute,
                alpha,
                beta,
                phi,
            };
            for horizon in [1, 3] {
                let found = rule.points(&frame, 29..30, horizon).unwrap()[0];
                let expected = forecasts[horizon - 1];
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{rule:?}: {found} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn smoothing_follows_its_recursion() {
        let rule = Smoothing {
            scale: ErrorScale::Absolute,
            alpha: 0.5,
            beta: 0.4,
            phi: 0.8,
        };
        let frame = crate::series::frame::tests::frame(&[("p", vec![10.0, 12.0])]);
        // By hand: error 2, level 10 + 1 = 11, trend 0.5 * 0.4 * 2 = 0.4, reach 0.8 + 0.64.
        let points = rule.points(&frame, 0..2, 2).unwrap();
        assert_eq!(points[0], 10.0);
        assert!((points[1] - (11.0 + 1.44 * 0.4)).abs() < 1e-12);
    }

    #[test]
    fn a_value_without_a_logarithm_changes_the_scale_and_no_forecast_before_it() {
        let values = |last| vec![5.0, 6.0, 5.5, last, 4.0];
        let good = crate::series::frame::tests::frame(&[("p", values(5.0))]);
        let bad = crate::series::frame::tests::frame(&[("p", values(-3.0))]);
        let rule = Smoothing {
            scale: ErrorScale::Log,
            alpha: 0.5,
            beta: 0.4,
            phi: 0.8,
        };
        let (good, bad) = (rule.points(&good, 0..5, 1), rule.points(&bad, 0..5, 1));
        let (good, bad) = (good.unwrap(), bad.unwrap());
        assert_eq!(good[..3], bad[..3]);
        assert!(bad.iter().all(|point| point.is_finite()), "{bad:?}");
    }
}
