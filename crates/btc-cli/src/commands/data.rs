//! `btc data`: pull market data and look at it.

mod args;
mod bars;

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use btc_ingest::{
    ColumnMapping, DataStatus, FileSource, PullConfig, PullReport, Revisions, Table, Verification,
};
use chrono::NaiveDate;
use serde::Serialize;

pub(crate) use args::{DataCommand, Endpoints, PullArgs};
use args::{ExportArgs, ImportArgs, ProfileArgs, SampleArgs, TableName};

use crate::exit::FAILURE;
use crate::printer::Printer;
use crate::settings::Settings;

/// The settings of a pull.
pub(crate) fn pull_config(endpoints: &Endpoints, settings: &Settings) -> PullConfig {
    let mut config = PullConfig::new(settings.project.data_dir(), settings.now);
    let url = |flag: &Option<String>, setting: &str| {
        flag.as_deref()
            .unwrap_or(setting)
            .trim_end_matches('/')
            .to_owned()
    };
    config.blockchain_url = url(&endpoints.blockchain_url, &settings.blockchain_url.value);
    config.alpha_vantage_url = url(
        &endpoints.alpha_vantage_url,
        &settings.alpha_vantage_url.value,
    );
    config.api_key = settings.api_key.value.clone();
    config.market = settings.market.value.clone();
    config.http.proxy = settings.proxy.value.clone();
    config
}

pub(crate) async fn run(
    command: DataCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::Pull(args) => pull(args, settings, printer).await?,
        DataCommand::Sample(args) => sample(&args, settings, printer)?,
        DataCommand::Import(args) => import(args, settings, printer).await?,
        DataCommand::Status => status(settings, printer)?,
        DataCommand::Profile(args) => profile(args, settings, printer)?,
        DataCommand::Verify => return verify(settings, printer),
        DataCommand::Export(args) => export(&args, settings, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn pull(args: PullArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let data_dir = settings.project.data_dir();
    if args.offline {
        let last = btc_ingest::last_complete_day(&data_dir)?;
        let Some(day) = last else {
            return Err(btc_ingest::Error::NotPulled { path: data_dir }.into());
        };
        return printer.line(format!("saved data ends with {day}"));
    }
    let mut config = pull_config(&args.endpoints, settings);
    config.refresh = args.refresh;
    config.recheck_days = args.recheck_days.unwrap_or(config.recheck_days);
    config.include_running_day = args.include_running_day;
    if !args.charts.is_empty() {
        config.charts = args.charts;
    }
    if args.dry_run {
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
    let progress = bars::PullProgress::new(printer.is_quiet());
    let report = btc_ingest::pull(&config, &progress).await?;
    print_report(&report, printer)
}

fn sample(args: &SampleArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    settings.project.create()?;
    let yesterday = settings
        .now
        .date_naive()
        .pred_opt()
        .unwrap_or(NaiveDate::MIN);
    let report = btc_ingest::pull_sample(
        &settings.project.data_dir(),
        args.seed,
        args.last_day.unwrap_or(yesterday),
        args.days,
        settings.now,
    )?;
    print_report(&report, printer)
}

async fn import(
    args: ImportArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let mapping = args
        .columns
        .into_iter()
        .fold(ColumnMapping::new(args.date), |mapping, (from, to)| {
            mapping.with(from, to)
        });
    let source = FileSource::new(&args.name, args.file, mapping)?;
    settings.project.create()?;
    let days = NaiveDate::MIN..=NaiveDate::MAX;
    let data_dir = settings.project.data_dir();
    let report = btc_ingest::pull_source(&data_dir, &source, days, settings.now).await?;
    if !printer.is_json() {
        report
            .warnings
            .iter()
            .for_each(|warning| printer.warn(warning));
    }
    print_report(&report, printer)
}

fn status(settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let status = btc_ingest::status(&settings.project.data_dir(), settings.now)?;
    if printer.is_json() {
        return printer.json(&status);
    }
    print_status(&status, printer)
}

fn profile(args: ProfileArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let page = btc_ingest::profile(&settings.project.data_dir(), settings.now)?;
    let path = args
        .output
        .unwrap_or_else(|| settings.project.reports().join("data-profile.html"));
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    write_whole(&path, page.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    print_path(&path, printer)
}

fn verify(settings: &Settings, printer: &mut Printer) -> anyhow::Result<ExitCode> {
    let verification = btc_ingest::verify(&settings.project.data_dir())?;
    if printer.is_json() {
        printer.json(&verification)?;
    } else {
        print_verification(&verification, printer)?;
    }
    Ok(if verification.is_ok() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILURE)
    })
}

fn export(args: &ExportArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let table = match args.table {
        TableName::Ohlcv => Table::Ohlcv,
        TableName::Blockchain => Table::Blockchain,
    };
    let revisions = match args.as_of {
        _ if args.all_revisions => Revisions::All,
        Some(instant) => Revisions::AsOf(instant),
        None => Revisions::Latest,
    };
    let batch = btc_ingest::read_table(&settings.project.data_dir(), table, revisions)?;
    btc_ingest::write_parquet(&args.output, &batch)?;
    printer.note(format!("{} rows", batch.num_rows()));
    print_path(&args.output, printer)
}

fn print_path(path: &Path, printer: &mut Printer) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Written<'a> {
        path: &'a Path,
    }
    if printer.is_json() {
        return printer.json(&Written { path });
    }
    printer.line(path.display().to_string())
}

fn print_report(report: &PullReport, printer: &mut Printer) -> anyhow::Result<()> {
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

fn print_status(status: &DataStatus, printer: &mut Printer) -> anyhow::Result<()> {
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

fn print_verification(verification: &Verification, printer: &mut Printer) -> anyhow::Result<()> {
    for problem in &verification.problems {
        printer.line(format!("{}: {:?}", problem.path, problem.kind).to_lowercase())?;
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

/// Writes beside the file, then renames: a page is there whole or not at all.
fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".part");
    let draft = Path::new(&draft);
    let mut file = std::fs::File::create(draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(draft, path)
}
