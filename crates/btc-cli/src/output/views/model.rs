//! How registered models are shown.

use std::collections::BTreeMap;

use btc_pipeline::Registration;
use btc_track::{ModelVersion, RegisteredModel};
use serde::Serialize;

use crate::output::printer::Printer;

pub(crate) fn registration(
    registration: &Registration,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(registration);
    }
    for line in registration.lines() {
        printer.line(line)?;
    }
    if registration.worse_than_naive {
        printer.warn("no better than the naive forecast: tagged worse_than_naive=true");
    }
    Ok(())
}

/// Registered models, each with its latest version if it has one.
pub(crate) fn models(
    models: &[(RegisteredModel, Option<u64>)],
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        let view: Vec<_> = models.iter().map(model_view).collect();
        return printer.json(&view);
    }
    let row = |(model, latest): &(RegisteredModel, Option<u64>)| {
        let aliases = model
            .aliases
            .iter()
            .map(|(alias, version)| format!("{alias}={version}"));
        vec![
            model.name.clone(),
            latest.map_or("-".into(), |version| version.to_string()),
            aliases.collect::<Vec<_>>().join(" "),
        ]
    };
    let rows: Vec<_> = models.iter().map(row).collect();
    printer.table(&["model", "latest", "aliases"], &rows)
}

/// The versions of a model.
pub(crate) fn versions(versions: &[ModelVersion], printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        let aliases = |version: &ModelVersion| {
            let aliases = version.aliases.iter();
            aliases
                .map(|alias| (alias.clone(), version.version))
                .collect::<Vec<_>>()
        };
        let all: BTreeMap<String, u64> = versions.iter().flat_map(aliases).collect();
        let view: Vec<_> = versions
            .iter()
            .map(|version| VersionView::of(version, &all))
            .collect();
        return printer.json(&view);
    }
    let rows: Vec<_> = versions.iter().map(version_row).collect();
    let header = [
        "version",
        "network",
        "MAPE",
        "hold-out MAPE",
        "naive MAPE",
        "aliases",
        "run",
    ];
    printer.table(&header, &rows)
}

fn version_row(version: &ModelVersion) -> Vec<String> {
    let percent = |key: &str| match version.tag(key).map(str::parse::<f64>) {
        Some(Ok(value)) => format!("{value:.4} %"),
        _ => "-".to_owned(),
    };
    vec![
        version.version.to_string(),
        version.tag("model_type").unwrap_or("-").to_owned(),
        percent("selection_MAPE"),
        percent("holdout_MAPE"),
        percent("holdout_naive_MAPE"),
        version.aliases.join(" "),
        version.run_id.clone().unwrap_or_default(),
    ]
}

/// A version as `--json` shows it.
#[derive(Debug, Serialize)]
struct VersionView {
    name: String,
    version: u64,
    stage: String,
    aliases: Vec<String>,
    /// The aliases of the model, each with its version.
    model_aliases: BTreeMap<String, u64>,
    run_id: Option<String>,
    source: String,
    created: i64,
    tags: BTreeMap<String, String>,
}

impl VersionView {
    fn of(version: &ModelVersion, model_aliases: &BTreeMap<String, u64>) -> Self {
        Self {
            name: version.name.clone(),
            version: version.version,
            stage: version.current_stage.to_string(),
            aliases: version.aliases.clone(),
            model_aliases: model_aliases.clone(),
            run_id: version.run_id.clone(),
            source: version.source.clone(),
            created: version.creation_timestamp,
            tags: version
                .tags
                .iter()
                .map(|tag| (tag.key.clone(), tag.value.clone()))
                .collect(),
        }
    }
}

fn model_view((model, latest): &(RegisteredModel, Option<u64>)) -> serde_json::Value {
    serde_json::json!({
        "name": model.name,
        "description": model.description,
        "latest_version": latest,
        "aliases": model.aliases.iter().cloned().collect::<BTreeMap<_, _>>(),
        "created": model.creation_timestamp,
    })
}
