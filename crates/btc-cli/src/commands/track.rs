//! `btc track`: experiments, runs, metrics and artifacts.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use btc_track::{
    CopySelection, Experiment, Metric, Run, RunQuery, SYSTEM_METRICS_PREFIX, TrackingClient,
    ViewType,
};
use chrono::DateTime;
use clap::{Args, Subcommand};
use serde_json::json;

use crate::printer::Printer;
use crate::settings::Settings;
use crate::tracking::{is_server, server_client, tracking_client};

#[derive(Debug, Subcommand)]
pub(crate) enum TrackCommand {
    /// List experiments
    #[command(after_help = "Examples:\n  btc track experiments\n  btc track experiments --json")]
    Experiments,
    /// Search the runs of an experiment
    Runs(RunsArgs),
    /// Show one run with all its values
    #[command(
        after_help = "Examples:\n  btc track show 0123456789abcdef0123456789abcdef\n  btc track show 0123456789abcdef0123456789abcdef --json"
    )]
    Show {
        /// The run's id
        run_id: String,
    },
    /// Print the values of a metric
    Metrics(MetricsArgs),
    /// List the artifacts of a run, or write one to a file
    Artifacts(ArtifactsArgs),
    /// Delete a run; it can be restored
    Delete {
        /// The run's id
        run_id: String,
    },
    /// Restore a deleted run
    Restore {
        /// The run's id
        run_id: String,
    },
    /// Remove deleted runs and their artifacts for good
    Gc(GcArgs),
    /// Copy runs and models between projects and MLflow servers
    Copy(CopyArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc track runs --order-by 'metrics.MAPE ASC'\n  btc track runs --experiment crypto-reg-experiment --filter \"metrics.MAPE < 5 AND tags.state = 'COMPLETE'\" --json"
)]
pub(crate) struct RunsArgs {
    /// The experiment, by name or id
    #[arg(long, value_name = "NAME-OR-ID")]
    experiment: Option<String>,
    /// Comparisons joined by AND, such as metrics.MAPE < 5
    #[arg(long, value_name = "FILTER", default_value = "")]
    filter: String,
    /// A key and a direction, such as 'metrics.MAPE ASC' [default: newest first]
    #[arg(long, value_name = "KEY")]
    order_by: Vec<String>,
    /// Show deleted runs
    #[arg(long)]
    deleted: bool,
    /// At most so many runs
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc track metrics 0123456789abcdef0123456789abcdef loss\n  btc track metrics 0123456789abcdef0123456789abcdef loss --json"
)]
pub(crate) struct MetricsArgs {
    /// The run's id
    run_id: String,
    /// The metric's name
    key: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc track artifacts 0123456789abcdef0123456789abcdef model\n  btc track artifacts 0123456789abcdef0123456789abcdef model/MLmodel --output MLmodel"
)]
pub(crate) struct ArtifactsArgs {
    /// The run's id
    run_id: String,
    /// A folder, or with --output a file, among the artifacts
    #[arg(default_value = "")]
    path: String,
    /// Write the file there
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  btc track gc --dry-run\n  btc track gc --older-than-days 30")]
pub(crate) struct GcArgs {
    /// Only what was deleted so many days ago
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    older_than_days: u32,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc track copy --to http://127.0.0.1:5000\n  btc track copy --from http://127.0.0.1:5000 --experiment crypto-reg-experiment"
)]
pub(crate) struct CopyArgs {
    /// A server, or a project's folder [default: this project]
    #[arg(long, value_name = "URI", required_unless_present = "to")]
    from: Option<String>,
    /// A server, or a project's folder [default: this project]
    #[arg(long, value_name = "URI")]
    to: Option<String>,
    /// Only this experiment, by name or id; may be given several times
    #[arg(long, value_name = "NAME-OR-ID")]
    experiment: Vec<String>,
    /// Only this registered model; may be given several times
    #[arg(long, value_name = "NAME")]
    model: Vec<String>,
}

pub(crate) fn run(
    command: TrackCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    if let TrackCommand::Copy(args) = command {
        return copy(args, settings, printer);
    }
    let client = tracking_client(settings)?;
    match command {
        // Answered above: it may not need this project at all.
        TrackCommand::Copy(_) => {}
        TrackCommand::Experiments => experiments(&client, printer)?,
        TrackCommand::Runs(args) => runs(args, &client, settings, printer)?,
        TrackCommand::Show { run_id } => show(&client.run(&run_id)?, printer)?,
        TrackCommand::Metrics(args) => metrics(&args, &client, printer)?,
        TrackCommand::Artifacts(args) => artifacts(&args, &client, printer)?,
        TrackCommand::Delete { run_id } => {
            client.delete_run(&run_id)?;
            printer.note(format!(
                "deleted; btc track restore {run_id} brings it back"
            ));
        }
        TrackCommand::Restore { run_id } => client.restore_run(&run_id)?,
        TrackCommand::Gc(args) => gc(&args, &client, settings, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn experiments(client: &TrackingClient, printer: &mut Printer) -> anyhow::Result<()> {
    let experiments = client.experiments()?;
    if printer.is_json() {
        let view = |e: &Experiment| {
            json!({
                "experiment_id": e.experiment_id,
                "name": e.name,
                "artifact_location": e.artifact_location,
                "created": e.creation_time,
                "tags": e.tags.iter().map(|t| (&t.key, &t.value)).collect::<BTreeMap<_, _>>(),
            })
        };
        return printer.json(&experiments.iter().map(view).collect::<Vec<_>>());
    }
    let row = |e: &Experiment| {
        vec![
            e.experiment_id.clone(),
            e.name.clone(),
            time(e.creation_time),
        ]
    };
    let rows: Vec<_> = experiments.iter().map(row).collect();
    printer.table(&["id", "name", "created"], &rows)
}

fn runs(
    args: RunsArgs,
    client: &TrackingClient,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let name = args
        .experiment
        .as_deref()
        .unwrap_or(&settings.experiment_name.value);
    let experiment = client.experiment(name)?;
    let mut query = RunQuery::new([experiment.experiment_id])
        .with_filter(args.filter)
        .with_max_results(args.limit);
    query.order_by = args.order_by;
    query.view = if args.deleted {
        ViewType::DeletedOnly
    } else {
        ViewType::ActiveOnly
    };
    let runs = client.tracking.search_runs(&query)?.items;
    if printer.is_json() {
        return printer.json(&runs.iter().map(run_view).collect::<Vec<_>>());
    }
    let row = |run: &Run| {
        // What the machine did would leave no room for what the run found.
        let own = |metric: &&Metric| !metric.key.starts_with(SYSTEM_METRICS_PREFIX);
        let shown = run.data.metrics.iter().filter(own).take(4);
        let metrics: Vec<_> = shown
            .map(|m| format!("{}={}", m.key, short(m.value)))
            .collect();
        vec![
            run.info.run_id.clone(),
            run.info.run_name.clone(),
            run.info.status.to_string(),
            time(run.info.start_time),
            metrics.join(" "),
        ]
    };
    let rows: Vec<_> = runs.iter().map(row).collect();
    printer.table(&["run", "name", "status", "started", "metrics"], &rows)
}

fn show(run: &Run, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&run_view(run));
    }
    let info = &run.info;
    let mut rows = vec![
        vec!["run".into(), "id".into(), info.run_id.clone()],
        vec!["run".into(), "name".into(), info.run_name.clone()],
        vec!["run".into(), "status".into(), info.status.to_string()],
        vec!["run".into(), "started".into(), time(info.start_time)],
        vec![
            "run".into(),
            "ended".into(),
            info.end_time.map_or("-".into(), time),
        ],
        vec!["run".into(), "artifacts".into(), info.artifact_uri.clone()],
    ];
    let mut add = |kind: &str, key: &str, value: String| {
        rows.push(vec![kind.to_owned(), key.to_owned(), value]);
    };
    run.data
        .metrics
        .iter()
        .for_each(|m| add("metric", &m.key, short(m.value)));
    run.data
        .params
        .iter()
        .for_each(|p| add("param", &p.key, p.value.clone()));
    run.data
        .tags
        .iter()
        .for_each(|t| add("tag", &t.key, t.value.clone()));
    printer.table(&["kind", "name", "value"], &rows)
}

fn metrics(
    args: &MetricsArgs,
    client: &TrackingClient,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let history = client.metric_history(&args.run_id, &args.key)?;
    if printer.is_json() {
        let view: Vec<_> = history
            .iter()
            .map(|m| json!({"step": m.step, "timestamp": m.timestamp, "value": number(m.value)}))
            .collect();
        return printer.json(&view);
    }
    let row =
        |m: &btc_track::Metric| vec![m.step.to_string(), time(m.timestamp), m.value.to_string()];
    let rows: Vec<_> = history.iter().map(row).collect();
    printer.table(&["step", "time", "value"], &rows)
}

fn artifacts(
    args: &ArtifactsArgs,
    client: &TrackingClient,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let uri = client.run(&args.run_id)?.info.artifact_uri;
    if let Some(output) = &args.output {
        let size = client.download(&uri, &args.path, output)?;
        printer.note(format!("{} bytes to {}", size, output.display()));
        return Ok(());
    }
    let files = client.artifacts.list(&uri, &args.path)?;
    if printer.is_json() {
        let view: Vec<_> = files
            .iter()
            .map(|f| json!({"path": f.path, "is_dir": f.is_dir, "file_size": f.file_size}))
            .collect();
        return printer.json(&view);
    }
    let row = |f: &btc_track::FileInfo| {
        let size = f.file_size.map_or("-".into(), |size| size.to_string());
        vec![
            if f.is_dir {
                format!("{}/", f.path)
            } else {
                f.path.clone()
            },
            size,
        ]
    };
    let rows: Vec<_> = files.iter().map(row).collect();
    printer.table(&["path", "bytes"], &rows)
}

fn gc(
    args: &GcArgs,
    client: &TrackingClient,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let age = i64::from(args.older_than_days) * 86_400_000;
    // What is deleted this very millisecond counts as deleted before now.
    let before = settings.now.timestamp_millis() - age + 1;
    let purged = if args.dry_run {
        client.purgeable(before)?
    } else {
        client.gc(before)?
    };
    if printer.is_json() {
        return printer.json(&json!({
            "dry_run": args.dry_run,
            "runs": purged.run_ids,
            "experiments": purged.experiment_ids,
            "artifact_uris": purged.artifact_uris,
        }));
    }
    let verb = if args.dry_run {
        "would remove"
    } else {
        "removed"
    };
    printer.note(format!(
        "{verb} {} runs, {} experiments and {} artifact folders",
        purged.run_ids.len(),
        purged.experiment_ids.len(),
        purged.artifact_uris.len()
    ));
    let mut out = std::io::stdout().lock();
    for id in purged.run_ids {
        writeln!(out, "{id}")?;
    }
    Ok(())
}

fn copy(args: CopyArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<ExitCode> {
    let from = place(args.from.as_deref(), settings)?;
    let to = place(args.to.as_deref(), settings)?;
    let selected = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
    let selection = CopySelection {
        experiments: selected(args.experiment),
        models: selected(args.model),
    };
    let copied = btc_track::copy(&from, &to, &selection)?;
    for skipped in &copied.skipped_versions {
        printer.warn(skipped);
    }
    if printer.is_json() {
        printer.json(&json!({
            "runs": copied.runs,
            "known_runs": copied.known_runs,
            "files": copied.files,
            "versions": copied.versions,
            "skipped_versions": copied.skipped_versions,
        }))?;
    } else {
        printer.line(format!(
            "{} runs copied, {} known already; {} files, {} model versions",
            copied.runs.len() - copied.known_runs,
            copied.known_runs,
            copied.files,
            copied.versions.len()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A server, another project's folder, or this project.
fn place(uri: Option<&str>, settings: &Settings) -> anyhow::Result<TrackingClient> {
    match uri {
        None => tracking_client(settings),
        Some(uri) if is_server(uri) => server_client(uri, settings),
        Some(folder) => {
            let project = btc_pipeline::Project::new(std::path::Path::new(folder));
            Ok(TrackingClient::open(
                &project.tracking(),
                &project.artifacts(),
            )?)
        }
    }
}

/// A run as `--json` shows it.
fn run_view(run: &Run) -> serde_json::Value {
    let metrics = run.data.metrics.iter().map(|m| (&m.key, number(m.value)));
    json!({
        "run_id": run.info.run_id,
        "experiment_id": run.info.experiment_id,
        "name": run.info.run_name,
        "status": run.info.status.to_string(),
        "start_time": run.info.start_time,
        "end_time": run.info.end_time,
        "artifact_uri": run.info.artifact_uri,
        "metrics": metrics.collect::<BTreeMap<_, _>>(),
        "params": run.data.params.iter().map(|p| (&p.key, &p.value)).collect::<BTreeMap<_, _>>(),
        "tags": run.data.tags.iter().map(|t| (&t.key, &t.value)).collect::<BTreeMap<_, _>>(),
    })
}

/// JSON has no NaN.
fn number(value: f64) -> serde_json::Value {
    if value.is_finite() {
        json!(value)
    } else {
        json!(value.to_string())
    }
}

fn short(value: f64) -> String {
    if value == 0.0 || (1e-4..1e9).contains(&value.abs()) {
        let text = format!("{value:.6}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    format!("{value:e}")
}

fn time(ms: i64) -> String {
    DateTime::from_timestamp_millis(ms).map_or_else(
        || "-".into(),
        |time| time.format("%Y-%m-%d %H:%M:%S").to_string(),
    )
}
