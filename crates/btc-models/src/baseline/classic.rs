//! The last price, drift and exponential smoothing, on logarithms where prices are positive.

use std::ops::Range;

use super::Rule;
use crate::Result;
use crate::forecast::interval::ErrorScale;
use crate::series::SeriesFrame;

/// The last price moved by a constant.
#[derive(Debug)]
pub(super) struct Drift {
    scale: ErrorScale,
    change: f64,
}

impl Drift {
    pub(super) fn naive(scale: ErrorScale) -> Self {
        Self { scale, change: 0.0 }
    }

    pub(super) fn fit(price: &[f64], scale: ErrorScale, horizon: usize) -> Self {
        let whole = scale.difference(price[0], price[price.len() - 1]);
        Self {
            scale,
            change: horizon as f64 * whole / (price.len() - 1) as f64,
        }
    }
}

impl Rule for Drift {
    fn lookback(&self) -> usize {
        0
    }

    fn points(&self, frame: &SeriesFrame, rows: Range<usize>) -> Result<Vec<f64>> {
        let price = frame.price();
        if self.change == 0.0 {
            return Ok(price[rows].to_vec());
        }
        Ok(price[rows]
            .iter()
            .map(|last| self.scale.shift(*last, self.change))
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
    horizon: usize,
}

impl Smoothing {
    pub(super) fn simple(price: &[f64], scale: ErrorScale, horizon: usize) -> Self {
        let recent = &price[price.len().saturating_sub(FIT_ROWS)..];
        let rule = |alpha| Self {
            scale,
            alpha,
            beta: 0.0,
            phi: 0.0,
            horizon,
        };
        let alpha = minimum(0.01, 1.5, |alpha| rule(alpha).squared_errors(recent));
        rule(alpha)
    }

    pub(super) fn damped(price: &[f64], scale: ErrorScale, horizon: usize) -> Self {
        let recent = &price[price.len().saturating_sub(FIT_ROWS)..];
        let mut best = Self::simple(price, scale, horizon);
        best.phi = 0.9;
        // One weight after the other, a few times: three dimensions are soon searched.
        for _ in 0..4 {
            let loss = |alpha, beta, phi| {
                Self {
                    scale,
                    alpha,
                    beta,
                    phi,
                    horizon,
                }
                .squared_errors(recent)
            };
            best.beta = minimum(0.0, 0.5, |beta| loss(best.alpha, beta, best.phi));
            best.phi = minimum(0.8, 0.98, |phi| loss(best.alpha, best.beta, phi));
            best.alpha = minimum(0.01, 1.0, |alpha| loss(alpha, best.beta, best.phi));
        }
        best
    }

    fn value(&self, price: f64) -> f64 {
        match self.scale {
            ErrorScale::Log => price.ln(),
            ErrorScale::Absolute => price,
        }
    }

    /// Calls `f` after each price with the level and trend as they are then.
    fn run(&self, price: &[f64], mut f: impl FnMut(usize, f64, f64)) {
        let Some(first) = price.first() else {
            return;
        };
        let (mut level, mut trend) = (self.value(*first), 0.0);
        f(0, level, trend);
        for (row, price) in price.iter().enumerate().skip(1) {
            let expected = level + self.phi * trend;
            let error = self.value(*price) - expected;
            level = expected + self.alpha * error;
            trend = self.phi * trend + self.alpha * self.beta * error;
            f(row, level, trend);
        }
    }

    /// Of one-step forecasts.
    fn squared_errors(&self, price: &[f64]) -> f64 {
        let (mut sum, mut expected) = (0.0, None);
        self.run(price, |row, level, trend| {
            if let Some(expected) = expected {
                let error: f64 = self.value(price[row]) - expected;
                sum += error * error;
            }
            expected = Some(level + self.phi * trend);
        });
        sum
    }
}

impl Rule for Smoothing {
    fn lookback(&self) -> usize {
        0
    }

    fn points(&self, frame: &SeriesFrame, rows: Range<usize>) -> Result<Vec<f64>> {
        let price = frame.price();
        let mut points = Vec::with_capacity(rows.len());
        // The damped trend over the horizon: phi + phi^2 + ...
        let reach: f64 = (1..=self.horizon as i32).map(|h| self.phi.powi(h)).sum();
        self.run(&price[..rows.end], |row, level, trend| {
            if rows.contains(&row) {
                let value = level + reach * trend;
                points.push(match self.scale {
                    ErrorScale::Log => value.exp(),
                    ErrorScale::Absolute => value,
                });
            }
        });
        Ok(points)
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
        let cases = &crate::vectors::read("statistics.json")["smoothing"];
        let series = crate::vectors::numbers(&cases["series"]);
        let frame = crate::series::frame::tests::frame(&[("p", series.clone())]);
        for (name, horizon) in [("simple", 1), ("simple", 3), ("damped", 1), ("damped", 3)] {
            let get = |key: &str| cases[name][key].as_f64().unwrap_or(0.0);
            let rule = Smoothing {
                scale: ErrorScale::Absolute,
                alpha: get("alpha"),
                beta: get("beta"),
                phi: get("phi"),
                horizon,
            };
            let found = rule.points(&frame, 29..30).unwrap()[0];
            let expected = crate::vectors::numbers(&cases[name]["forecasts"])[horizon - 1];
            assert!(
                (found - expected).abs() < 1e-9,
                "{name}: {found} instead of {expected}"
            );
        }
    }

    #[test]
    fn smoothing_follows_its_recursion() {
        let rule = Smoothing {
            scale: ErrorScale::Absolute,
            alpha: 0.5,
            beta: 0.4,
            phi: 0.8,
            horizon: 2,
        };
        let frame = crate::series::frame::tests::frame(&[("p", vec![10.0, 12.0])]);
        // By hand: error 2, level 10 + 1 = 11, trend 0.5 * 0.4 * 2 = 0.4, reach 0.8 + 0.64.
        let points = rule.points(&frame, 0..2).unwrap();
        assert_eq!(points[0], 10.0);
        assert!((points[1] - (11.0 + 1.44 * 0.4)).abs() < 1e-12);
    }
}
