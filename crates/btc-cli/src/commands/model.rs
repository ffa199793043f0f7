//! `btc model`: registered models.

use btc_pipeline::{RegisterConfig, TableSource};

use crate::errors::NotFoundError;
use crate::output::printer::Printer;
use crate::output::views::model as view;
use crate::settings::resolve::Settings;
use crate::stores::{existing_tracking, experiment_name, model_name, tables, workflow};

pub(crate) async fn register_best(
    config: RegisterConfig,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    let experiment = experiment_name(&client, settings)?;
    let tables = tables(settings);
    let table = tables.table(None).await?;
    let mut workflow = workflow(&experiment, tables, client, settings)?;
    workflow.register = config;
    let registration = tokio::task::spawn_blocking(move || workflow.register(&table)).await??;
    view::registration(&registration, printer)
}

pub(crate) fn list(settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    let mut models = Vec::new();
    for model in client.registered_models()? {
        let latest = client.latest_version(&model.name).ok();
        models.push((model, latest.map(|version| version.version)));
    }
    view::models(&models, printer)
}

pub(crate) fn show(settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    let name = model_name(&client, settings)?;
    let versions = client.model_versions(&name)?;
    if versions.is_empty() {
        return Err(NotFoundError(format!("model {name:?} has no version")).into());
    }
    view::versions(&versions, printer)
}

/// Points an alias to a version, or removes it without one.
pub(crate) fn set_alias(
    name: &str,
    alias: &str,
    version: Option<u64>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    match version {
        Some(version) => {
            client.set_alias(name, alias, version)?;
            printer.note(format!("{name}@{alias} is now version {version}"));
        }
        None => {
            client.delete_alias(name, alias)?;
            printer.note(format!("{name}@{alias} is gone"));
        }
    }
    Ok(())
}

/// Deletes one version, or the model with all of them.
pub(crate) fn delete(
    name: &str,
    version: Option<u64>,
    dry_run: bool,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = existing_tracking(settings)?;
    let versions = match version {
        Some(version) => vec![client.model_version(name, version)?],
        None => client.model_versions(name)?,
    };
    for version in &versions {
        let verb = if dry_run { "would delete" } else { "deleting" };
        printer.note(format!("{verb} {name} version {}", version.version));
    }
    match version {
        _ if dry_run => {}
        Some(version) => client.registry.delete_model_version(name, version)?,
        None => client.registry.delete_registered_model(name)?,
    }
    Ok(())
}
