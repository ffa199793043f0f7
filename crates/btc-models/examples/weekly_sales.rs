//! Weekly sales with a year's season, eight weeks ahead, and a week that is missing:
//! `cargo run --no-default-features --example weekly_sales`.
#![expect(clippy::print_stdout, reason = "an example shows its result")]

use std::error::Error;
use std::ops::ControlFlow;

use btc_models::backtest::{self, Config};
use btc_models::{Baseline, FitContext, Model, SeriesFrame};
use chrono::{DateTime, TimeDelta};

fn main() -> Result<(), Box<dyn Error>> {
    let start = DateTime::from_timestamp(1_420_070_400, 0).ok_or("no such time")?;
    // Ten years; the shop was closed in one of the last weeks.
    let weeks: Vec<i64> = (0..520).filter(|week| *week != 500).collect();
    let sales = weeks.iter().map(|week| {
        let season = (std::f64::consts::TAU * *week as f64 / 52.0).cos();
        1_000.0 + 0.4 * *week as f64 + 250.0 * season + f64::from(*week as i32 * 37 % 41)
    });
    let columns = [("sales", sales.collect())];
    let known_at = weeks
        .iter()
        .map(|week| start + TimeDelta::weeks(*week))
        .collect();
    let frame = SeriesFrame::new(known_at, columns, "sales")?;
    println!(
        "one row every {}; missing: {:?}",
        frame.frequency(),
        frame.holes()
    );

    let models: Vec<Box<dyn Model>> =
        vec![Box::new(Baseline::Ses), Box::new(Baseline::SeasonalNaive)];
    let config = Config::default()
        .with_origins(52)
        .with_refit_every(13)
        .with_horizon(8);
    let report = backtest::run(&models, &frame, &config, &|_| ControlFlow::Continue(()))?;
    for note in &report.notes {
        println!("{note}");
    }
    for model in &report.models {
        println!(
            "{:15} MAPE {:6.2} %, {:.2} of naive",
            model.name, model.mape, model.relative_mae
        );
    }
    let fitted = Baseline::SeasonalNaive.fit(&frame, &FitContext::new(8, 0))?;
    let last = frame.rows() - 1;
    for forecast in fitted.forecast_at(&frame, last..last + 1)? {
        let time = forecast.target_time().ok_or("a week has an instant")?;
        println!(
            "{time}: {:.0}, with {} weeks missing in what was looked at",
            forecast.point(),
            forecast.missing().len()
        );
    }
    Ok(())
}
