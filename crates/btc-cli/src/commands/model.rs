//! `btc model`: registered models.

use std::collections::BTreeMap;
use std::process::ExitCode;

use btc_pipeline::{RegisterConfig, Registration};
use btc_track::{ModelVersion, RegisteredModel, TrackingClient};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::commands::predict::MODEL_NAME;
use crate::exit::NotFoundError;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::tracking::tracking_client;

#[derive(Debug, Subcommand)]
pub(crate) enum ModelCommand {
    /// Register the best run of an experiment as a new version
    RegisterBest(RegisterBestArgs),
    /// List registered models
    #[command(after_help = "Examples:\n  btc model list\n  btc model list --json")]
    List,
    /// Show the versions of a model
    #[command(
        after_help = "Examples:\n  btc model show bitcoin-regression\n  btc model show bitcoin-regression --json"
    )]
    Show {
        /// The model's name
        #[arg(default_value = MODEL_NAME)]
        name: String,
    },
    /// Make a version the champion
    #[command(
        after_help = "Examples:\n  btc model promote bitcoin-regression 2\n  btc model promote bitcoin-regression 2 --alias challenger"
    )]
    Promote {
        /// The model's name
        name: String,
        /// The version
        version: u64,
        /// The alias to move
        #[arg(long, value_name = "ALIAS", default_value = btc_pipeline::CHAMPION)]
        alias: String,
    },
    /// Point an alias to a version, or remove it
    #[command(
        after_help = "Examples:\n  btc model alias bitcoin-regression challenger 3\n  btc model alias bitcoin-regression challenger --remove"
    )]
    Alias {
        /// The model's name
        name: String,
        /// The alias
        alias: String,
        /// The version
        #[arg(required_unless_present = "remove", conflicts_with = "remove")]
        version: Option<u64>,
        /// Remove the alias
        #[arg(long)]
        remove: bool,
    },
    /// Delete a version, or a whole model
    #[command(
        after_help = "Examples:\n  btc model delete bitcoin-regression 2\n  btc model delete bitcoin-regression --all --dry-run"
    )]
    Delete {
        /// The model's name
        name: String,
        /// The version
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        version: Option<u64>,
        /// Delete the model with all its versions
        #[arg(long)]
        all: bool,
        /// Say what would be deleted, and delete nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Examples:\n  btc model register-best\n  btc model register-best --experiment crypto-reg-experiment --metric RMSE"
)]
pub(crate) struct RegisterBestArgs {
    /// The experiment, by name or id
    #[arg(long, visible_alias = "experiment-id", value_name = "NAME-OR-ID")]
    pub(crate) experiment: Option<String>,
    /// The run metric to choose by
    #[arg(long, value_name = "NAME", default_value = btc_pipeline::METRIC)]
    pub(crate) metric: String,
    /// Choose the largest value, not the smallest
    #[arg(long)]
    pub(crate) maximize: bool,
    /// The registered model's name
    #[arg(long, value_name = "NAME", default_value = MODEL_NAME)]
    pub(crate) model_name: String,
    /// Register although the naive forecast does as well
    #[arg(long)]
    pub(crate) allow_worse_than_naive: bool,
}

impl RegisterBestArgs {
    /// What the original's `register-best-model` asks for.
    pub(crate) fn of(model_name: String, experiment: Option<String>) -> Self {
        Self {
            experiment,
            metric: btc_pipeline::METRIC.into(),
            maximize: false,
            model_name,
            allow_worse_than_naive: false,
        }
    }
}

pub(crate) async fn run(
    command: ModelCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        ModelCommand::RegisterBest(args) => register_best(args, settings, printer).await?,
        ModelCommand::List => list(settings, printer)?,
        ModelCommand::Show { name } => show(&name, settings, printer)?,
        ModelCommand::Promote {
            name,
            version,
            alias,
        } => {
            set_alias(&name, &alias, Some(version), settings, printer)?;
        }
        ModelCommand::Alias {
            name,
            alias,
            version,
            remove: _,
        } => {
            set_alias(&name, &alias, version, settings, printer)?;
        }
        ModelCommand::Delete {
            name,
            version,
            all: _,
            dry_run,
        } => {
            delete(&name, version, dry_run, settings, printer)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn register_best(
    args: RegisterBestArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = tracking_client(settings)?;
    let experiment = args
        .experiment
        .unwrap_or_else(|| settings.experiment_name.value.clone());
    let config = RegisterConfig {
        experiment,
        metric: args.metric,
        maximize: args.maximize,
        model_name: args.model_name,
        allow_worse_than_naive: args.allow_worse_than_naive,
        data_hash: btc_ingest::data_hash(&settings.project.data_dir())?,
        ..RegisterConfig::default()
    };
    let store = btc_pipeline::feature_store(&settings.project)?;
    let table =
        btc_pipeline::training_table(&settings.project, &store, btc_pipeline::SERVICE, None)
            .await?;
    let registration =
        tokio::task::spawn_blocking(move || btc_pipeline::register_best(&client, &config, &table))
            .await??;
    print_registration(&registration, printer)
}

pub(crate) fn print_registration(
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

fn list(settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let client = tracking_client(settings)?;
    let models = client.registered_models()?;
    if printer.is_json() {
        let models: Vec<_> = models
            .iter()
            .map(|model| model_view(model, &client))
            .collect();
        return printer.json(&models);
    }
    let mut rows = Vec::new();
    for model in &models {
        let latest = client.latest_version(&model.name).ok();
        let aliases = model
            .aliases
            .iter()
            .map(|(alias, version)| format!("{alias}={version}"));
        rows.push(vec![
            model.name.clone(),
            latest.map_or("-".into(), |version| version.version.to_string()),
            aliases.collect::<Vec<_>>().join(" "),
        ]);
    }
    printer.table(&["model", "latest", "aliases"], &rows)
}

fn show(name: &str, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let client = tracking_client(settings)?;
    let versions = client.model_versions(name)?;
    if versions.is_empty() {
        return Err(NotFoundError(format!("model {name:?} has no version")).into());
    }
    if printer.is_json() {
        let versions: Vec<_> = versions.iter().map(VersionView::of).collect();
        return printer.json(&versions);
    }
    let rows: Vec<Vec<String>> = versions
        .iter()
        .map(|version| {
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
        })
        .collect();
    printer.table(
        &[
            "version",
            "network",
            "MAPE",
            "hold-out MAPE",
            "naive MAPE",
            "aliases",
            "run",
        ],
        &rows,
    )
}

/// Points an alias to a version, or removes it without one.
fn set_alias(
    name: &str,
    alias: &str,
    version: Option<u64>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = tracking_client(settings)?;
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
fn delete(
    name: &str,
    version: Option<u64>,
    dry_run: bool,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let client = tracking_client(settings)?;
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

/// A version as `--json` shows it.
#[derive(Debug, Serialize)]
struct VersionView {
    name: String,
    version: u64,
    stage: String,
    aliases: Vec<String>,
    run_id: Option<String>,
    source: String,
    created: i64,
    tags: BTreeMap<String, String>,
}

impl VersionView {
    fn of(version: &ModelVersion) -> Self {
        Self {
            name: version.name.clone(),
            version: version.version,
            stage: version.current_stage.to_string(),
            aliases: version.aliases.clone(),
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

fn model_view(model: &RegisteredModel, client: &TrackingClient) -> serde_json::Value {
    serde_json::json!({
        "name": model.name,
        "description": model.description,
        "latest_version": client.latest_version(&model.name).ok().map(|latest| latest.version),
        "aliases": model.aliases.iter().cloned().collect::<BTreeMap<_, _>>(),
        "created": model.creation_timestamp,
    })
}
