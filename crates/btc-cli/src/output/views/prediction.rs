//! How a forecast and the search before it are shown.

use btc_models::{Interval, Step};
use btc_pipeline::{Prediction, SearchOutcome};

use crate::output::printer::Printer;

pub(crate) fn prediction(prediction: &Prediction, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(prediction);
    }
    let minute = "%Y-%m-%d %H:%M UTC";
    let what = match prediction.target_column.as_str() {
        btc_pipeline::PRICE => "price",
        column => column,
    };
    // As many decimals for all, so that they can be compared.
    let decimals = decimals(prediction.naive);
    let amount = |value: f64| format!("{value:.decimals$}");
    // A model of several steps: those before the last, which follows.
    let earlier = prediction
        .steps
        .split_last()
        .map_or(&[][..], |(_, rest)| rest);
    if !earlier.is_empty() {
        let rows: Vec<Vec<String>> = earlier.iter().map(|step| row(step, amount)).collect();
        printer.table(&["At (UTC)", what, "90 % low", "90 % high"], &rows)?;
    }
    printer.line(format!(
        "{}  {} at {}, from data known at {}",
        amount(prediction.forecast),
        what,
        prediction.target_time.format(minute),
        prediction.known_until.format(minute)
    ))?;
    printer.line(format!(
        "{}  naive forecast: the last {}",
        amount(prediction.naive),
        prediction.target_column
    ))?;
    for interval in &prediction.intervals {
        printer.line(format!(
            "{} to {}  {} % interval",
            amount(interval.low),
            amount(interval.high),
            (100.0 * interval.level).round()
        ))?;
    }
    printer.line(format!(
        "model {} version {} ({})",
        prediction.model, prediction.version, prediction.model_type
    ))?;
    if prediction.known_until < prediction.trained_until {
        printer.warn(format!(
            "the model was trained on data up to {}: it has seen what it forecasts here",
            prediction.trained_until.format(minute)
        ));
    }
    for warning in prediction.warnings() {
        printer.warn(warning);
    }
    if prediction.worse_than_naive {
        printer.warn("this version is no better than the naive forecast; prefer the latter");
    }
    Ok(())
}

/// The decimals with which a value of this size has six digits that matter, at least two.
fn decimals(value: f64) -> usize {
    let magnitude = value.abs().log10().floor();
    match magnitude.is_finite() {
        true => (5.0 - magnitude).clamp(2.0, 12.0) as usize,
        false => 2,
    }
}

/// A step of a forecast as a row of a table.
fn row(step: &Step, amount: impl Fn(f64) -> String) -> Vec<String> {
    let interval = step.quantiles.interval(0.9);
    let end = |end: fn(&Interval) -> f64| interval.as_ref().map(end).map_or("-".into(), &amount);
    vec![
        step.target_time
            .map_or("-".into(), |time| time.format("%Y-%m-%d %H:%M").to_string()),
        amount(step.point),
        end(|interval| interval.low),
        end(|interval| interval.high),
    ]
}

pub(crate) fn outcome(outcome: &SearchOutcome, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(outcome);
    }
    printer.line(format!(
        "best of {} trials: {} with MAPE {:.4} % (naive {:.4} %)",
        outcome.trials, outcome.best_trial, outcome.best_mape, outcome.naive_mape
    ))
}

#[cfg(test)]
mod tests {
    use super::decimals;

    #[test]
    fn a_price_has_cents_and_a_rate_of_exchange_its_pips() {
        let shown = |value: f64| format!("{value:.*}", decimals(value));
        assert_eq!(shown(17_478.079), "17478.08");
        assert_eq!(shown(1.083_412), "1.08341");
        assert_eq!(shown(0.000_012_345_67), "0.0000123457");
        assert_eq!(shown(0.0), "0.00");
    }
}
