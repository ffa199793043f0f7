//! How market data is shown.

use std::path::Path;

use btc_ingest::arrow::util::display::{ArrayFormatter, FormatOptions};
use btc_ingest::{DataStatus, FileTable, ImportReport, PullReport, Rejected, Verification};
use chrono::NaiveDate;
use serde::Serialize;

use crate::output::printer::Printer;

pub(crate) fn path(path: &Path, printer: &mut Printer) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Written<'a> {
        path: &'a Path,
    }
    if printer.is_json() {
        return printer.json(&Written { path });
    }
    printer.line(path.display().to_string())
}

pub(crate) fn report(report: &PullReport, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(report);
    }
    let header = [
        "series",
        "status",
        "first",
        "last",
        "days",
        "missing",
        "new",
        "changed",
        "set aside",
    ];
    let rows: Vec<Vec<String>> = report
        .series
        .iter()
        .map(|series| {
            vec![
                format!("{}/{}", series.source, series.series),
                format!("{:?}", series.status).to_lowercase(),
                day(series.first),
                day(series.last),
                series.rows.to_string(),
                series.missing_days.to_string(),
                series.new_rows.to_string(),
                series.changed_rows.to_string(),
                series.rejected.to_string(),
            ]
        })
        .collect();
    printer.table(&header, &rows)?;
    printer.line(format!(
        "last complete day: {}",
        day(report.last_complete_day)
    ))
}

pub(crate) fn import(report: &ImportReport, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(report);
    }
    self::report(&report.pull, printer)?;
    match &report.table {
        Some(table) => printer.line(format!(
            "stored in steps of {} in {}",
            report.step,
            report.pull.data_dir.join(table).display()
        )),
        None => Ok(()),
    }
}

/// The first rows of a file as they would be stored.
pub(crate) fn preview(table: &FileTable, printer: &mut Printer) -> anyhow::Result<()> {
    const SHOWN: usize = 10;
    #[derive(Serialize)]
    struct Preview<'a> {
        recognised: &'a str,
        step: String,
        rows: usize,
        columns: &'a [String],
        first_rows: &'a [Vec<String>],
        set_aside: &'a [Rejected],
        notes: &'a [String],
    }
    let batch = &table.batch;
    let schema = batch.schema();
    let columns: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
    let options = FormatOptions::default();
    let formatters = batch
        .columns()
        .iter()
        .map(|column| ArrayFormatter::try_new(column, &options))
        .collect::<Result<Vec<_>, _>>()?;
    let first_rows: Vec<Vec<String>> = (0..batch.num_rows().min(SHOWN))
        .map(|row| {
            formatters
                .iter()
                .map(|f| f.value(row).to_string())
                .collect()
        })
        .collect();
    if printer.is_json() {
        return printer.json(&Preview {
            recognised: &table.recognised,
            step: table.step.to_string(),
            rows: batch.num_rows(),
            columns: &columns,
            first_rows: &first_rows,
            set_aside: &table.rejected,
            notes: &table.notes,
        });
    }
    printer.note(format!("recognised: {}", table.recognised));
    table.notes.iter().for_each(|note| printer.warn(note));
    let header: Vec<&str> = columns.iter().map(String::as_str).collect();
    printer.table(&header, &first_rows)?;
    printer.line(format!(
        "{} rows in all, {} cells or rows set aside; nothing is stored",
        batch.num_rows(),
        table.rejected.len()
    ))
}

pub(crate) fn status(status: &DataStatus, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(status);
    }
    let header = [
        "series",
        "unit",
        "first",
        "last",
        "days",
        "missing",
        "revised",
        "days behind",
    ];
    let rows: Vec<Vec<String>> = status
        .series
        .iter()
        .map(|series| {
            vec![
                format!("{}/{}", series.source, series.series),
                series.unit.clone().unwrap_or_else(|| "-".into()),
                day(series.first),
                day(series.last),
                series.days.to_string(),
                series.missing_days.to_string(),
                series.revisions.to_string(),
                series.days_behind.to_string(),
            ]
        })
        .collect();
    printer.table(&header, &rows)?;
    if status.synthetic {
        printer.line("all values are synthetic")?;
    }
    printer.line(format!("values set aside: {}", status.quarantined))?;
    printer.line(format!("data hash: {}", status.data_hash))?;
    printer.line(format!(
        "updated: {}",
        status.updated.format("%Y-%m-%d %H:%M:%S UTC")
    ))?;
    printer.line(format!(
        "last complete day: {}",
        day(status.last_complete_day)
    ))
}

pub(crate) fn verification(
    verification: &Verification,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(verification);
    }
    for problem in &verification.problems {
        printer.line(format!("{}: {}", problem.path, problem.kind))?;
    }
    if verification.interrupted {
        printer.line("a change was cut off half way; the next btc data pull finishes it")?;
    }
    let count = verification.problems.len();
    printer.line(format!(
        "{} files checked, {count} problems",
        verification.checked
    ))
}

fn day(day: Option<NaiveDate>) -> String {
    day.map_or_else(|| "-".to_owned(), |day| day.to_string())
}
