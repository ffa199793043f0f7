//! How objects, statistics and values are printed.

use std::path::Path;

use btc_features::{
    Dependent, FeatureStatus, MaterializeReport, ObjectKind, OnlineFeatures, Plan, PushReport,
    Registry, SavedDataset, ViewStatistics, Violation,
};
use serde_json::{Value, json};

use crate::cli::values::Kind;
use crate::errors::{NotFoundError, UsageError};
use crate::output::printer::Printer;

pub(crate) fn plan(plan: &Plan, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(plan);
    }
    printer.line(plan.to_string().trim_end())
}

/// One object of the registry.
struct Object {
    kind: &'static str,
    name: String,
    summary: String,
    whole: Value,
}

fn objects(registry: &Registry, only: Option<Kind>) -> anyhow::Result<Vec<Object>> {
    let definitions = &registry.definitions;
    let mut all = Vec::new();
    let wanted = |kind| only.is_none_or(|only| only == kind);
    let mut add = |kind, name: &str, summary: String, whole| {
        all.push(Object {
            kind,
            name: name.to_owned(),
            summary,
            whole,
        });
    };
    if wanted(Kind::Entity) {
        for (name, entity) in &definitions.entities {
            let value_type = entity.value_type.map_or("untyped", |known| known.name());
            let summary = format!("{} {value_type}", entity.join_key);
            add("entity", name, summary, serde_json::to_value(entity)?);
        }
    }
    if wanted(Kind::Source) {
        for (name, source) in &definitions.sources {
            add(
                "source",
                name,
                source.path.clone(),
                serde_json::to_value(source)?,
            );
        }
    }
    if wanted(Kind::View) {
        for (name, view) in &definitions.feature_views {
            let entities = match view.entities.as_slice() {
                [] => String::new(),
                entities => format!(" by {}", entities.join(", ")),
            };
            let summary = format!(
                "{} features of {}{entities}",
                view.features.len(),
                view.source
            );
            add("view", name, summary, serde_json::to_value(view)?);
        }
    }
    if wanted(Kind::OnDemand) {
        for (name, view) in &definitions.on_demand_feature_views {
            let summary = format!("{} features computed on demand", view.features.len());
            add("on-demand", name, summary, serde_json::to_value(view)?);
        }
    }
    if wanted(Kind::Service) {
        for (name, service) in &definitions.feature_services {
            let views: Vec<&str> = service.views.iter().map(|view| view.label()).collect();
            add(
                "service",
                name,
                views.join(", "),
                serde_json::to_value(service)?,
            );
        }
    }
    if wanted(Kind::Dataset) {
        for (name, dataset) in &registry.saved_datasets {
            let summary = format!("{} rows in {}", dataset.rows, dataset.path.display());
            add("dataset", name, summary, serde_json::to_value(dataset)?);
        }
    }
    Ok(all)
}

pub(crate) fn list(
    registry: &Registry,
    kind: Option<Kind>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let objects = objects(registry, kind)?;
    if printer.is_json() {
        let list: Vec<_> = objects
            .into_iter()
            .map(|object| {
                let mut whole = object.whole;
                whole["kind"] = object.kind.into();
                whole
            })
            .collect();
        return printer.json(&json!({ "objects": list, "version": registry.version }));
    }
    let rows: Vec<Vec<String>> = objects
        .into_iter()
        .map(|object| vec![object.kind.to_owned(), object.name, object.summary])
        .collect();
    if rows.is_empty() {
        printer.note("nothing is applied; run `btc features apply`");
        return Ok(());
    }
    printer.table(&["kind", "name", ""], &rows)
}

pub(crate) fn describe(
    registry: &Registry,
    name: &str,
    kind: Option<Kind>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let mut found: Vec<Object> = objects(registry, kind)?
        .into_iter()
        .filter(|object| object.name == name)
        .collect();
    // A view and its source often share a name; the view is what is meant.
    if found.len() > 1 && kind.is_none() {
        found.retain(|object| object.kind != "source" && object.kind != "entity");
    }
    match found.as_slice() {
        [] => Err(NotFoundError(format!(
            "nothing applied is called {name:?}; `btc features list` shows what is"
        ))
        .into()),
        [object] => {
            let mut whole = object.whole.clone();
            whole["kind"] = object.kind.into();
            let users = users(registry, object);
            whole["used_by"] = serde_json::to_value(&users)?;
            if printer.is_json() {
                return printer.json(&whole);
            }
            printer.line(format!("{} {}", object.kind, object.name))?;
            for (field, value) in whole.as_object().into_iter().flatten() {
                match value {
                    _ if field == "name" || field == "kind" => {}
                    Value::Array(items) => {
                        printer.line(format!("  {field}:"))?;
                        for item in items {
                            printer.line(format!("    {}", inline(item)))?;
                        }
                    }
                    value => printer.line(format!("  {field}: {}", inline(value)))?,
                }
            }
            Ok(())
        }
        several => {
            let kinds: Vec<&str> = several.iter().map(|object| object.kind).collect();
            Err(UsageError(format!(
                "several objects are called {name:?}; say which with --kind {}",
                kinds.join(" or --kind ")
            ))
            .into())
        }
    }
}

/// What uses an object: what may break when it changes.
fn users(registry: &Registry, object: &Object) -> Vec<Dependent> {
    let kind = match object.kind {
        "entity" => ObjectKind::Entity,
        "source" => ObjectKind::Source,
        "view" => ObjectKind::FeatureView,
        "on-demand" => ObjectKind::OnDemandFeatureView,
        "service" => ObjectKind::FeatureService,
        _ => ObjectKind::SavedDataset,
    };
    registry.dependents(kind, &object.name)
}

fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", inline(value)))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    }
}

pub(crate) fn materialized(
    reports: &[MaterializeReport],
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&reports);
    }
    for report in reports {
        match &report.skipped {
            Some(reason) => printer.line(format!("{}: skipped, {reason}", report.view))?,
            None => printer.line(format!(
                "{}: {} keys up to {}",
                report.view,
                report.keys,
                report.end.to_rfc3339()
            ))?,
        }
    }
    Ok(())
}

/// Says where pushed rows are now.
pub(crate) fn pushed(report: &PushReport, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(report);
    }
    let file = report
        .file
        .as_ref()
        .map_or(String::new(), |file| format!(", in {}", file.display()));
    printer.line(format!(
        "{}: {} rows{file}, {} keys online",
        report.view, report.rows, report.keys
    ))
}

pub(crate) fn online(answer: &OnlineFeatures, printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(answer);
    }
    let entities = answer
        .results
        .first()
        .map_or(0, |result| result.values.len());
    let mut rows = Vec::new();
    for entity in 0..entities {
        for (name, result) in answer.metadata.feature_names.iter().zip(&answer.results) {
            rows.push(vec![
                (entity + 1).to_string(),
                name.clone(),
                inline(&result.values[entity]),
                inline(&serde_json::to_value(result.statuses[entity])?),
                match result.statuses[entity] {
                    // Feast's answer says 1970 where there is no row.
                    FeatureStatus::NotFound => "-".to_owned(),
                    _ => result.event_timestamps[entity].clone(),
                },
            ]);
        }
    }
    printer.table(&["row", "name", "value", "status", "event time"], &rows)
}

pub(crate) fn statistics(views: &[ViewStatistics], printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&views);
    }
    let days = |seconds: Option<f64>| {
        seconds.map_or("-".into(), |seconds| format!("{:.1}", seconds / 86_400.0))
    };
    let number = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.6}"));
    for view in views {
        printer.line(format!(
            "{}: {} rows, {} to {}{}",
            view.view,
            view.rows,
            view.first.map_or("-".into(), |time| time.to_rfc3339()),
            view.last.map_or("-".into(), |time| time.to_rfc3339()),
            if view.stale { ", stale" } else { "" }
        ))?;
        let rows: Vec<Vec<String>> = view
            .features
            .iter()
            .map(|feature| {
                let numeric = feature.numeric.as_ref();
                vec![
                    feature.name.clone(),
                    days(feature.age_seconds),
                    format!("{:.2}", 100.0 * feature.null_share),
                    number(numeric.map(|n| n.min)),
                    number(numeric.map(|n| n.median)),
                    number(numeric.map(|n| n.max)),
                    number(numeric.map(|n| n.mean)),
                    number(numeric.map(|n| n.std)),
                    feature
                        .drift
                        .map_or("-".into(), |drift| format!("{drift:.3}")),
                ]
            })
            .collect();
        let header = [
            "feature", "age (d)", "null %", "min", "median", "max", "mean", "std", "PSI",
        ];
        printer.table(&header, &rows)?;
    }
    Ok(())
}

pub(crate) fn violations(violations: &[Violation], printer: &mut Printer) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&violations);
    }
    if violations.is_empty() {
        return printer.line("every rule is kept");
    }
    for violation in violations {
        let feature = violation
            .feature
            .as_ref()
            .map_or(String::new(), |name| format!(":{name}"));
        printer.line(format!(
            "{}{feature}: {}: {}",
            violation.view, violation.rule, violation.message
        ))?;
    }
    Ok(())
}

/// Says what was written where.
pub(crate) fn written(
    rows: usize,
    columns: usize,
    output: &Path,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&json!({
            "rows": rows,
            "columns": columns,
            "output": output,
        }));
    }
    printer.line(format!(
        "{rows} rows of {columns} columns in {}",
        output.display()
    ))
}

/// Says what was saved as a data set.
pub(crate) fn saved(
    dataset: &SavedDataset,
    output: &Path,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(dataset);
    }
    printer.line(format!("{} rows in {}", dataset.rows, output.display()))
}

/// Says what was exported, and what the other tool has no words for.
pub(crate) fn exported(
    output: &Path,
    left_out: &[String],
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&json!({ "output": output, "left_out": left_out }));
    }
    left_out.iter().for_each(|note| printer.warn(note));
    printer.line(format!("wrote {}", output.display()))
}
