//! Hourly electricity prices, 24 hours ahead, without a network:
//! `cargo run --no-default-features --example electricity`.
//!
//! The series has a day's and a week's cycle, and prices below zero when there is too much wind.
//! The report scores each of the 24 hours, and the seasonal naive forecasts are what a model has
//! to be better than.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::ops::ControlFlow;

use btc_models::backtest::{self, Config, Metric};
use btc_models::{Baseline, FitContext, Model, SeasonalNaive, SeriesFrame};
use chrono::{DateTime, TimeDelta};

fn main() -> Result<(), Box<dyn Error>> {
    let frame = prices(120 * 24)?;
    println!(
        "one row every {}, seasons of {:?} steps",
        frame.frequency(),
        frame.frequency().seasons()
    );
    let mut models: Vec<Box<dyn Model>> = vec![Box::new(Baseline::Ets), Box::new(Baseline::Ridge)];
    for season in SeasonalNaive::of(frame.frequency()) {
        models.push(Box::new(season));
    }
    let largest = Metric::new("largest error", |actual, points, _| {
        let errors = actual.iter().zip(points).map(|(a, p)| (a - p).abs());
        errors.fold(0.0, f64::max)
    });
    let config = Config::default()
        .with_origins(120)
        .with_refit_every(60)
        .with_horizon(24)
        .with_path()
        .with_metric(largest);
    let report = backtest::run(&models, &frame, &config, &|_| ControlFlow::Continue(()))?;
    for note in report.notes.iter().chain(&report.alarms) {
        println!("{note}");
    }
    for model in &report.models {
        let hour = |ahead: usize| {
            let step = model.steps.iter().find(|step| step.ahead == ahead);
            step.map_or(f64::NAN, |step| step.mae)
        };
        println!(
            "{:20} error after 1 hour {:6.2}, 12 hours {:6.2}, 24 hours {:6.2}, the largest {:6.2}",
            model.name,
            hour(1),
            hour(12),
            hour(24),
            model.metrics["largest error"]
        );
    }
    // A forecast of the next day with its quantiles, from all that is known.
    let context = FitContext::new(24, 0).with_path();
    let fitted = SeasonalNaive::new(168)?.fit(&frame, &context)?;
    let last = frame.rows() - 1;
    for forecast in fitted.forecast_at(&frame, last..last + 1)? {
        for ahead in [1, 12, 24] {
            let quantile = |level| forecast.quantile(level, ahead).unwrap_or(f64::NAN);
            println!(
                "in {ahead:2} hours {:6.2} to {:6.2}",
                quantile(0.05),
                quantile(0.95)
            );
        }
    }
    Ok(())
}

fn prices(hours: i64) -> Result<SeriesFrame, Box<dyn Error>> {
    let start = DateTime::from_timestamp(1_704_067_200, 0).ok_or("no such time")?;
    let mut state: u64 = 7;
    let mut random = move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as f64 / (1u64 << 31) as f64 - 0.5
    };
    let mut wind = 0.0;
    let (mut price, mut blows) = (Vec::new(), Vec::new());
    for hour in 0..hours {
        let angle = |period: f64| std::f64::consts::TAU * hour as f64 / period;
        wind = 0.97 * wind + 0.35 * random();
        let weekend = if 120 <= hour % 168 { -12.0 } else { 0.0 };
        price.push(
            38.0 + 22.0 * angle(24.0).sin() + weekend - 40.0 * f64::max(wind, 0.0) + 6.0 * random(),
        );
        blows.push(wind);
    }
    let known_at = (0..hours)
        .map(|hour| start + TimeDelta::hours(hour))
        .collect();
    Ok(SeriesFrame::new(
        known_at,
        [("price", price), ("wind", blows)],
        "price",
    )?)
}
