//! Back-tests of series of any frequency, without a network.

use std::ops::{ControlFlow, Range};

use btc_models::backtest::{Config, Metric, Report, run, run_vintage};
use btc_models::{
    Baseline, Error, FitContext, FittedModel, Forecast, Frequency, Model, Result, SeasonalNaive,
    SeriesFrame, Step,
};
use chrono::{DateTime, TimeDelta, Utc};

/// Numbers between -0.5 and 0.5.
fn noise(seed: u64, n: usize) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f64 / (1u64 << 31) as f64 - 0.5
    };
    (0..n).map(|_| next()).collect()
}

fn hours(n: usize) -> Vec<DateTime<Utc>> {
    let start: DateTime<Utc> = "2024-01-01T00:00:00Z".parse().unwrap();
    (0..n as i64)
        .map(|hour| start + TimeDelta::hours(hour))
        .collect()
}

/// Hourly values with a day's cycle around `level`.
fn daily_cycle(rows: usize, level: f64) -> Vec<f64> {
    let noise = noise(3, rows);
    (0..rows)
        .map(|hour| level + 20.0 * (std::f64::consts::TAU * hour as f64 / 24.0).sin() + noise[hour])
        .collect()
}

fn hourly(values: Vec<f64>) -> SeriesFrame {
    SeriesFrame::new(hours(values.len()), [("y", values)], "y").unwrap()
}

fn all() -> Vec<Box<dyn Model>> {
    let each = Baseline::ALL.into_iter();
    each.map(|baseline| Box::new(baseline) as Box<dyn Model>)
        .collect()
}

fn go(frame: &SeriesFrame, config: &Config) -> Result<Report> {
    run(&all(), frame, config, &|_| ControlFlow::Continue(()))
}

#[test]
fn a_forecast_of_hours_is_of_an_hour_and_not_of_a_day() {
    let frame = hourly(daily_cycle(100, 50.0));
    let fitted = Baseline::Naive.fit(&frame, &FitContext::new(1, 0)).unwrap();
    let forecast = fitted.forecast_at(&frame, 99..100).unwrap().remove(0);
    let ahead = forecast.target_time().unwrap() - forecast.known_until();
    assert_eq!(ahead, TimeDelta::hours(1));
}

#[test]
fn a_good_seasonal_model_raises_no_alarm_and_a_leak_does() {
    let config = Config::default().with_origins(96).with_refit_every(48);
    let frame = hourly(daily_cycle(600, 100.0));
    let report = go(&frame, &config).unwrap();
    let ridge = report
        .models
        .iter()
        .find(|model| model.name == "ridge")
        .unwrap();
    assert!(ridge.relative_mae < 0.5, "the season is seen: {ridge:?}");
    assert!(report.alarms.is_empty(), "{:?}", report.alarms);

    // The change of the next hour, as a level that no scan takes for the target.
    let noise: Vec<f64> = noise(9, 600).iter().map(|x| 0.1 * x).collect();
    let (mut target, mut leak) = (vec![100.0; 600], vec![1.0; 600]);
    for hour in 1..600 {
        target[hour] = target[hour - 1] * f64::exp(noise[hour]);
        leak[hour - 1] = noise[..=hour].iter().sum::<f64>().exp();
    }
    let leaking = SeriesFrame::new(hours(600), [("y", target), ("leak", leak)], "y").unwrap();
    let report = go(&leaking, &config).unwrap();
    assert!(!report.alarms.is_empty());
    assert!(
        report
            .alarms
            .iter()
            .all(|alarm| alarm.starts_with("ridge ")),
        "{:?}",
        report.alarms
    );
}

#[test]
fn prices_below_zero_give_finite_and_sensible_intervals() {
    for level in [0.0, 10.0, 100.0] {
        let mut values = daily_cycle(400, level);
        values[320] = -3.0;
        values[330] = 0.0;
        let frame = hourly(values.clone());
        for model in all() {
            // Fitted where all values may be positive, asked after the first that is not.
            let context = FitContext::new(3, 0).with_path();
            let fitted = model.fit(&frame.slice(0..300).unwrap(), &context).unwrap();
            for forecast in fitted.forecast_at(&frame, 315..380).unwrap() {
                for step in forecast.steps() {
                    assert!(step.point.is_finite());
                    let intervals = step.intervals();
                    assert_eq!(intervals.len(), 3, "{} at {level}", model.name());
                    for interval in intervals {
                        assert!(interval.low.is_finite() && interval.high.is_finite());
                        assert!(interval.low <= step.point && step.point <= interval.high);
                        assert!(interval.high - interval.low < 1_000.0, "{interval:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn each_step_of_a_path_is_scored() {
    let frame = hourly(daily_cycle(400, 0.0));
    let config = Config::default()
        .with_origins(48)
        .with_horizon(24)
        .with_path();
    let config = config.with_metric(Metric::new("bias", |actual, points, _| {
        actual.iter().zip(points).map(|(a, p)| p - a).sum::<f64>() / actual.len() as f64
    }));
    let report = go(&frame, &config).unwrap();
    for model in &report.models {
        assert_eq!(model.steps.len(), 24, "{}", model.name);
        assert!(model.metrics["bias"].is_finite());
        let last = model.steps[23];
        assert!((last.mae - model.mae).abs() < 1e-9 && last.forecasts == 48);
    }
    let seasonal = report
        .models
        .iter()
        .find(|model| model.name == "seasonal-naive")
        .unwrap();
    assert!(
        seasonal.steps[11].relative_mae < 0.1,
        "half a day later: {:?}",
        seasonal.steps[11]
    );
}

#[test]
fn a_forecast_of_an_hour_that_is_missing_is_not_scored() {
    let values = daily_cycle(400, 50.0);
    let rows = (0..400).filter(|hour| ![350, 351, 352].contains(hour));
    let (known_at, y): (Vec<_>, Vec<f64>) = rows.map(|row| (hours(400)[row], values[row])).unzip();
    let frame = SeriesFrame::new(known_at, [("y", y)], "y").unwrap();
    assert_eq!(frame.frequency(), Frequency::hours(1));
    let report = go(&frame, &Config::default().with_origins(60)).unwrap();
    assert_eq!((report.origins, report.unscored), (59, 1));
    assert_eq!(report.series.actual.len(), 59);
    assert!(
        report
            .notes
            .iter()
            .any(|note| note.starts_with("1 forecasts are not scored"))
    );
    // From the hour after the hole on, forecasts say what they missed.
    let fitted = Baseline::Ses
        .fit(&frame.slice(0..300).unwrap(), &FitContext::new(1, 0))
        .unwrap();
    let forecasts = fitted.forecast_at(&frame, 349..351).unwrap();
    assert!(forecasts[0].missing().is_empty());
    assert_eq!(forecasts[1].missing(), &hours(400)[350..353]);
}

#[test]
fn marked_origins_are_shown_and_left_out_of_every_p() {
    let frame = hourly(daily_cycle(400, 50.0));
    let config = Config::default().with_origins(100);
    let whole = go(&frame, &config).unwrap();
    let at = |row: usize| frame.known_at()[row];
    let marked = go(&frame, &config.clone().with_chosen_on(at(300), at(339))).unwrap();
    assert_eq!((marked.origins, marked.judged), (100, 60));
    assert_eq!(marked.marked, (0..100).map(|i| i < 40).collect::<Vec<_>>());
    assert!(
        marked.notes[0].starts_with("40 of 100 origins"),
        "{:?}",
        marked.notes
    );
    // The p-values are those of the other origins alone; the scores are those of all.
    let others = go(&frame, &Config::default().with_origins(60)).unwrap();
    for ((whole, marked), others) in whole.models.iter().zip(&marked.models).zip(&others.models) {
        assert_eq!(whole.mape, marked.mape);
        let close = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => (a - b).abs() < 1e-12,
            (a, b) => a == b,
        };
        assert!(
            close(marked.dm_absolute_p, others.dm_absolute_p),
            "{}",
            marked.name
        );
        assert!(
            close(marked.direction_p, others.direction_p),
            "{}",
            marked.name
        );
    }
    let all_marked = go(&frame, &config.with_chosen_on(at(0), at(397))).unwrap();
    assert_eq!(all_marked.judged, 2);
    assert!(all_marked.notes[0].contains("too few are left"));
    assert!(
        all_marked
            .models
            .iter()
            .all(|m| m.dm_absolute_p.is_none() && m.direction_p.is_none())
    );
}

#[test]
fn a_vintage_is_what_was_known_and_a_later_revision_is_not() {
    let first = daily_cycle(300, 50.0);
    let mut revised = first.clone();
    // All values were revised a day later.
    revised[..299].iter_mut().for_each(|x| *x += 5.0);
    let today = hourly(revised.clone());
    let vintage = |at: DateTime<Utc>| {
        let row = hours(300).iter().position(|hour| *hour == at).unwrap();
        let known = (0..=row).map(|i| if i + 24 <= row { revised[i] } else { first[i] });
        Ok(hourly(known.collect()))
    };
    let config = Config::default().with_origins(60);
    let go = |vintage: &btc_models::backtest::Vintage<'_>| {
        run_vintage(&all(), &today, vintage, &config, &|_| {
            ControlFlow::Continue(())
        })
    };
    let report = go(&vintage).unwrap();
    assert_eq!(
        report.series.naive,
        first[239..299],
        "the last value known then"
    );
    assert_eq!(
        report.series.actual,
        revised[240..],
        "what came, as it is known today"
    );
    assert!(report.notes[0].contains("as they were known at its origin"));
    let fails = |_: DateTime<Utc>| Err("no archive".into());
    let Err(Error::Vintage { source, .. }) = go(&fails) else {
        panic!()
    };
    assert_eq!(source.to_string(), "no archive");
    let wrong = |_: DateTime<Utc>| Ok(hourly(first.clone()));
    assert!(matches!(go(&wrong), Err(Error::Vintage { .. })));
}

#[test]
fn seasons_come_from_the_frequency() {
    let names: Vec<String> = SeasonalNaive::of(Frequency::hours(1))
        .iter()
        .map(|model| model.name().to_owned())
        .collect();
    assert_eq!(names, ["seasonal-naive-24", "seasonal-naive-168"]);
    assert!(SeasonalNaive::of(Frequency::Irregular).is_empty());
}

/// A model of one's own: the mean of the last three values.
#[derive(Debug)]
struct MeanOfThree {
    steps: std::ops::Range<usize>,
}

impl Model for MeanOfThree {
    fn name(&self) -> &str {
        "mean-of-three"
    }

    fn fit(&self, _: &SeriesFrame, context: &FitContext) -> Result<Box<dyn FittedModel>> {
        let steps = context.steps();
        Ok(Box::new(Self { steps }))
    }
}

impl FittedModel for MeanOfThree {
    fn forecast_at(&self, frame: &SeriesFrame, origins: Range<usize>) -> Result<Vec<Forecast>> {
        let forecast = |row: usize| {
            let known = &frame.target()[row.saturating_sub(2)..=row];
            let point = known.iter().sum::<f64>() / known.len() as f64;
            let step = |ahead| Step::new(ahead, frame.target_time(row, ahead), point);
            let first = Forecast::new(
                frame.known_at()[row],
                frame.target()[row],
                step(self.steps.start),
            );
            let others = self.steps.start + 1..self.steps.end;
            others.map(step).fold(first, Forecast::with_step)
        };
        Ok(origins.map(forecast).collect())
    }
}

#[test]
fn every_model_keeps_the_contract_one_of_ones_own_among_them() {
    let frame = hourly(daily_cycle(160, 50.0));
    for model in all() {
        btc_models::conformance::check_model(&*model, &frame);
    }
    let own = MeanOfThree { steps: 0..0 };
    btc_models::conformance::check_model(&own, &frame);
    let models: Vec<Box<dyn Model>> = vec![Box::new(own)];
    let config = Config::default().with_origins(60);
    let report = run(&models, &frame, &config, &|_| ControlFlow::Continue(())).unwrap();
    assert_eq!(report.models[1].name, "mean-of-three");
}
