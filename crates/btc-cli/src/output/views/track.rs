//! How experiments, runs and their artifacts are shown.

use std::collections::BTreeMap;

use btc_track::{Experiment, FileInfo, Metric, Purged, Run, SYSTEM_METRICS_PREFIX};
use serde_json::json;

use crate::output::printer::Printer;
use crate::output::views::text::{number, short, time};

/// A list of experiments.
pub(crate) fn experiments(experiments: &[Experiment], printer: &mut Printer) -> anyhow::Result<()> {
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

/// A list of runs.
pub(crate) fn runs(runs: &[Run], printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&runs.iter().map(run_view).collect::<Vec<_>>());
    }
    let row = |run: &Run| {
        // What the machine did would leave no room for what the run found.
        let own = |metric: &&Metric| !metric.key.starts_with(SYSTEM_METRICS_PREFIX);
        let mut shown: Vec<&Metric> = run.data.metrics.iter().filter(own).collect();
        // What runs are compared by comes first.
        shown.sort_by_key(|metric| !["MAPE", "relative_MAE"].contains(&&*metric.key));
        let metrics: Vec<_> = shown
            .into_iter()
            .take(3)
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

/// One run with all its values.
pub(crate) fn run(run: &Run, printer: &mut Printer) -> anyhow::Result<()> {
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

/// The values of a metric.
pub(crate) fn history(history: &[Metric], printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        let view: Vec<_> = history
            .iter()
            .map(|m| json!({"step": m.step, "timestamp": m.timestamp, "value": number(m.value)}))
            .collect();
        return printer.json(&view);
    }
    let row = |m: &Metric| vec![m.step.to_string(), time(m.timestamp), m.value.to_string()];
    let rows: Vec<_> = history.iter().map(row).collect();
    printer.table(&["step", "time", "value"], &rows)
}

/// The files of a folder.
pub(crate) fn artifacts(files: &[FileInfo], printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        let view: Vec<_> = files
            .iter()
            .map(|f| json!({"path": f.path, "is_dir": f.is_dir, "file_size": f.file_size}))
            .collect();
        return printer.json(&view);
    }
    let row = |f: &FileInfo| {
        let size = f.file_size.map_or("-".into(), |size| size.to_string());
        let slash = if f.is_dir { "/" } else { "" };
        vec![format!("{}{slash}", f.path), size]
    };
    let rows: Vec<_> = files.iter().map(row).collect();
    printer.table(&["path", "bytes"], &rows)
}

/// What was removed for good, or would be.
pub(crate) fn purged(purged: &Purged, dry_run: bool, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&json!({
            "dry_run": dry_run,
            "runs": purged.run_ids,
            "experiments": purged.experiment_ids,
            "artifact_uris": purged.artifact_uris,
            "kept": purged.kept,
            "left": purged.left.iter().map(|(uri, reason)| json!({ "uri": uri, "reason": reason })).collect::<Vec<_>>(),
        }));
    }
    let verb = if dry_run { "would remove" } else { "removed" };
    printer.note(format!(
        "{verb} {} runs, {} experiments and {} artifact folders",
        purged.run_ids.len(),
        purged.experiment_ids.len(),
        purged.artifact_uris.len()
    ));
    if !purged.kept.is_empty() {
        printer.note(format!(
            "{} deleted runs and models stay, for registered versions need their files",
            purged.kept.len()
        ));
    }
    for (uri, reason) in &purged.left {
        printer.warn(&format!("left {uri}: {reason}"));
    }
    purged.run_ids.iter().try_for_each(|id| printer.line(id))
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
