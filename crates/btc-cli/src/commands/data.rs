//! `btc data`: pull market data and look at it.

use std::path::Path;
use std::process::ExitCode;

use crate::exit::FAILURE;
use crate::interrupt::Interrupt;
use crate::output::bars::PullProgress;
use crate::output::file::{create_folder_of, write_whole};
use crate::output::printer::Printer;
use crate::output::profile::render;
use crate::output::views::data as view;
use crate::settings::requests::data::{ImportRequest, PullRequest, SampleRequest, TableExport};
use crate::settings::resolve::Settings;

pub(crate) async fn pull(
    request: PullRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let config = request.config;
    let is_saved =
        || btc_ingest::last_complete_day(&config.data_dir).is_ok_and(|day| day.is_some());
    if request.offline || (request.saved_first && is_saved()) {
        return saved(&config.data_dir, printer);
    }
    if request.dry_run {
        let requests = btc_ingest::planned_requests(&config)?;
        if printer.is_json() {
            return printer.json(&requests);
        }
        return requests
            .iter()
            .try_for_each(|request| printer.line(&request.url));
    }
    settings.project.create()?;
    printer.note(format!(
        "pulling from {} and {} into {}",
        config.blockchain_url,
        config.alpha_vantage_url,
        config.data_dir.display()
    ));
    let progress = PullProgress::new(printer.is_quiet());
    let interrupt = Interrupt::listen()?;
    let report = interrupt
        .give_up(btc_ingest::pull(&config, &progress))
        .await??;
    view::report(&report, printer)
}

/// Says how far the saved data reaches.
fn saved(data_dir: &Path, printer: &mut Printer) -> anyhow::Result<()> {
    match btc_ingest::last_complete_day(data_dir)? {
        Some(day) => printer.line(format!("saved data ends with {day}")),
        None => Err(btc_ingest::Error::NotPulled {
            path: data_dir.to_owned(),
        }
        .into()),
    }
}

pub(crate) fn sample(
    request: &SampleRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    settings.project.create()?;
    let report = btc_ingest::pull_sample(
        settings.project.data_dir(),
        request.seed,
        request.last_day,
        request.days,
        settings.now,
    )?;
    view::report(&report, printer)
}

pub(crate) async fn import(
    request: &ImportRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if request.dry_run {
        return view::preview(&request.source.preview(settings.now)?, printer);
    }
    settings.project.create()?;
    let data_dir = settings.project.data_dir();
    let report = btc_ingest::import_file(&data_dir, &request.source, settings.now).await?;
    if !printer.is_json() {
        printer.note(format!("recognised: {}", report.recognised));
        let warnings = report.pull.warnings.iter();
        warnings.for_each(|warning| printer.warn(warning));
    }
    view::import(&report, printer)
}

pub(crate) fn status(settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let status = btc_ingest::status(settings.project.data_dir(), settings.now)?;
    view::status(&status, printer)
}

pub(crate) fn profile(
    output: &Path,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let profile = btc_ingest::profile(settings.project.data_dir(), settings.now)?;
    create_folder_of(output)?;
    write_whole(output, render(&profile).as_bytes())?;
    view::path(output, printer)
}

pub(crate) fn verify(settings: &Settings, printer: &mut Printer) -> anyhow::Result<ExitCode> {
    let verification = btc_ingest::verify(settings.project.data_dir())?;
    view::verification(&verification, printer)?;
    Ok(if verification.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILURE)
    })
}

pub(crate) fn export(
    request: &TableExport,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let data_dir = settings.project.data_dir();
    let batch = btc_ingest::read_table(&data_dir, request.table, request.revisions)?;
    btc_ingest::write_parquet(&request.output, &batch)?;
    printer.note(format!("{} rows", batch.num_rows()));
    view::path(&request.output, printer)
}
