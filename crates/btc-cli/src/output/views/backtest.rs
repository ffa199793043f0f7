//! How a back-test is shown.

use crate::output::printer::Printer;
use btc_models::backtest::{ModelScore, Report};

/// A report, what to know of it first.
pub(crate) fn report(report: &Report, printer: &mut Printer) -> anyhow::Result<()> {
    for alarm in &report.alarms {
        printer.warn(alarm);
    }
    if report.too_small {
        printer.warn("too few forecasts to say which model is better; take 60 or more");
    }
    if printer.is_json() {
        return printer.json(report);
    }
    let day = "%Y-%m-%d %H:%M UTC";
    for note in &report.notes {
        printer.line(note)?;
    }
    printer.line(format!(
        "{} forecasts of {}, known from {} to {}",
        report.origins,
        report.target,
        report.first_target.format(day),
        report.last_target.format(day)
    ))?;
    let points: Vec<Vec<String>> = report.models.iter().map(point_row).collect();
    printer.table(&POINT_HEADER, &points)?;
    printer.line("")?;
    let tests: Vec<Vec<String>> = report.models.iter().map(test_row).collect();
    printer.table(&TEST_HEADER, &tests)?;
    if !report.variance.is_empty() {
        printer.line("")?;
        let rows: Vec<Vec<String>> = report
            .variance
            .iter()
            .map(|score| vec![score.name.clone(), format!("{:.4}", score.qlike)])
            .collect();
        printer.table(&["variance", "QLIKE"], &rows)?;
    }
    Ok(())
}

/// How near the forecasts are.
const POINT_HEADER: [&str; 8] = [
    "model",
    "MAPE",
    "MAE",
    "RMSE",
    "relative",
    "R2",
    "direction",
    "p",
];

fn point_row(model: &ModelScore) -> Vec<String> {
    vec![
        model.name.clone(),
        format!("{:.4}", model.mape),
        format!("{:.2}", model.mae),
        format!("{:.2}", model.rmse),
        format!("{:.4}", model.relative_mae),
        format!("{:.4}", model.r2),
        optional(model.direction_accuracy.map(|fraction| 100.0 * fraction), 1),
        optional(model.direction_p, 3),
    ]
}

/// Whether they are nearer than the naive ones, and whether the intervals hold.
const TEST_HEADER: [&str; 7] = [
    "model", "DM", "p", "p (Holm)", "held 90", "width", "Winkler",
];

fn test_row(model: &ModelScore) -> Vec<String> {
    let levels = &mut model.intervals.iter();
    let interval = levels.find(|score| (score.level - 0.9).abs() < 1e-9);
    vec![
        model.name.clone(),
        optional(model.dm_absolute, 2),
        optional(model.dm_absolute_p, 3),
        optional(model.dm_absolute_p_holm, 3),
        optional(interval.map(|score| 100.0 * score.coverage), 1),
        optional(interval.map(|score| score.width), 2),
        optional(interval.map(|score| score.winkler), 2),
    ]
}

fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
}
