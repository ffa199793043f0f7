//! How a back-test is shown.

use btc_models::backtest::{ModelScore, Report};

use crate::output::printer::Printer;

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
    printer.line(format!(
        "{} forecasts of {}, known from {} to {}",
        report.origins,
        report.target,
        report.first_target.format(day),
        report.last_target.format(day)
    ))?;
    let header = [
        "model",
        "MAPE",
        "MAE",
        "RMSE",
        "relative",
        "R2",
        "direction",
        "p",
        "DM",
        "p",
        "p (Holm)",
        "held 90",
        "width",
        "Winkler",
    ];
    let rows: Vec<Vec<String>> = report.models.iter().map(row).collect();
    printer.table(&header, &rows)?;
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

fn row(model: &ModelScore) -> Vec<String> {
    let optional = |value: Option<f64>, digits: usize| {
        value.map_or("-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let interval = model
        .intervals
        .iter()
        .find(|score| (score.level - 0.9).abs() < 1e-9);
    vec![
        model.name.clone(),
        format!("{:.4}", model.mape),
        format!("{:.2}", model.mae),
        format!("{:.2}", model.rmse),
        format!("{:.4}", model.relative_mae),
        format!("{:.4}", model.r2),
        optional(model.direction_accuracy.map(|share| 100.0 * share), 1),
        optional(model.direction_p, 3),
        optional(model.dm_absolute, 2),
        optional(model.dm_absolute_p, 3),
        optional(model.dm_absolute_p_holm, 3),
        optional(interval.map(|score| 100.0 * score.coverage), 1),
        optional(interval.map(|score| score.width), 2),
        optional(interval.map(|score| score.winkler), 2),
    ]
}
