//! How a forecast and the search before it are shown.

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
    printer.line(format!(
        "{:.2}  {} at {}, from data known at {}",
        prediction.forecast,
        what,
        prediction.target_time.format(minute),
        prediction.known_until.format(minute)
    ))?;
    printer.line(format!(
        "{:.2}  naive forecast: the last {}",
        prediction.naive, prediction.target_column
    ))?;
    for interval in &prediction.intervals {
        printer.line(format!(
            "{:.2} to {:.2}  {} % interval",
            interval.low,
            interval.high,
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

pub(crate) fn outcome(outcome: &SearchOutcome, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(outcome);
    }
    printer.line(format!(
        "best of {} trials: {} with MAPE {:.4} % (naive {:.4} %)",
        outcome.trials, outcome.best_trial, outcome.best_mape, outcome.naive_mape
    ))
}
