//! `btc track`: experiments, runs, metrics and artifacts.

use std::path::Path;

use btc_track::RunQuery;
use serde_json::json;

use crate::output::printer::Printer;
use crate::output::views::track as view;
use crate::settings::requests::tracking::CopyRequest;
use crate::settings::resolve::Settings;
use crate::stores::{existing_tracking, experiment_name, tracking_source, tracking_target};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

pub(crate) fn experiments(settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    view::experiments(&existing_tracking(settings)?.experiments()?, printer)
}

/// The runs that `query` finds in the experiment of the settings.
pub(crate) fn runs(
    mut query: RunQuery,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    let experiment = client.experiment(&experiment_name(&client, settings)?)?;
    query.experiment_ids = vec![experiment.experiment_id];
    view::runs(&client.tracking.search_runs(&query)?.items, printer)
}

pub(crate) fn show(run_id: &str, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    view::run(&existing_tracking(settings)?.run(run_id)?, printer)
}

pub(crate) fn metrics(
    run_id: &str,
    key: &str,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let history = existing_tracking(settings)?.metric_history(run_id, key)?;
    view::history(&history, printer)
}

pub(crate) fn artifacts(
    run_id: &str,
    path: &str,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    let uri = client.run(run_id)?.info.artifact_uri;
    view::artifacts(&client.artifacts.list(&uri, path)?, printer)
}

/// Writes one file of a run's artifacts to `output`.
pub(crate) fn download(
    run_id: &str,
    path: &str,
    output: &Path,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    let uri = client.run(run_id)?.info.artifact_uri;
    let size = client.download(&uri, path, output)?;
    printer.note(format!("{size} bytes to {}", output.display()));
    Ok(())
}

pub(crate) fn delete(
    run_id: &str,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    existing_tracking(settings)?.delete_run(run_id)?;
    printer.note(format!(
        "deleted; btc track restore {run_id} brings it back"
    ));
    Ok(())
}

pub(crate) fn restore(run_id: &str, settings: &Settings) -> anyhow::Result<()> {
    Ok(existing_tracking(settings)?.restore_run(run_id)?)
}

/// Removes for good what was deleted at least `days` ago, or says what would be.
pub(crate) fn gc(
    days: u32,
    dry_run: bool,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    // What is deleted this very millisecond counts as deleted before now.
    let before = settings.now.timestamp_millis() - i64::from(days) * DAY_MS + 1;
    let purged = if dry_run {
        client.purgeable(before)?
    } else {
        client.gc(before)?
    };
    view::purged(&purged, dry_run, printer)?;
    anyhow::ensure!(
        purged.left.is_empty(),
        "{} artifact folders could not be deleted",
        purged.left.len()
    );
    Ok(())
}

pub(crate) fn copy(
    request: &CopyRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let from = tracking_source(request.from.as_deref(), settings)?;
    let to = tracking_target(request.to.as_deref(), settings)?;
    let copied = btc_track::copy(&from, &to, &request.selection)?;
    for skipped in &copied.skipped_versions {
        printer.warn(skipped);
    }
    if printer.is_json() {
        return printer.json(&json!({
            "runs": copied.runs,
            "known_runs": copied.known_runs,
            "files": copied.files,
            "versions": copied.versions,
            "skipped_versions": copied.skipped_versions,
        }));
    }
    printer.line(format!(
        "{} runs copied, {} known already; {} files, {} model versions",
        copied.runs.len() - copied.known_runs,
        copied.known_runs,
        copied.files,
        copied.versions.len()
    ))
}
