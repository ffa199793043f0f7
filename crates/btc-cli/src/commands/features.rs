//! `btc features`: declare features and join them as of a time.

mod args;
mod show;

use std::io::{BufRead as _, IsTerminal as _};
use std::process::ExitCode;

use anyhow::Context as _;
use btc_features::datafusion::prelude::DataFrame;
use btc_features::{
    EntityRows, Error, FeatureSelection, FeatureStore, OnlineRequest, OnlineSelection, Plan,
};
use chrono::{DateTime, Utc};

pub(crate) use args::{BuildArgs, FeaturesCommand};
use args::{HistoricalArgs, ImportArgs, OnlineArgs, StatsArgs, TeardownArgs, WantedArgs};

use crate::exit::{FAILURE, NotFoundError, UsageError};
use crate::printer::Printer;
use crate::settings::Settings;

pub(crate) async fn run(
    command: FeaturesCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        FeaturesCommand::Plan(args) => match args.feast {
            Some(feast) => {
                let args = ImportArgs {
                    feast,
                    project: args.project,
                    dry_run: true,
                };
                import(args, settings, printer)?;
            }
            None => {
                btc_pipeline::definitions(&settings.project)?;
                show::plan(&open(settings)?.plan_dir().map_err(not_found)?, printer)?;
            }
        },
        FeaturesCommand::Apply(args) => match args.feast {
            Some(feast) => {
                let args = ImportArgs {
                    feast,
                    project: args.project,
                    dry_run: false,
                };
                import(args, settings, printer)?;
            }
            None => {
                settings.project.create()?;
                btc_pipeline::definitions(&settings.project)?;
                show::plan(&open(settings)?.apply_dir().map_err(not_found)?, printer)?;
            }
        },
        FeaturesCommand::Teardown(args) => teardown(&args, settings, printer)?,
        FeaturesCommand::List(args) => {
            show::list(applied(settings)?.registry(), args.kind, printer)?;
        }
        FeaturesCommand::Describe(args) => {
            show::describe(
                applied(settings)?.registry(),
                &args.name,
                args.kind,
                printer,
            )?;
        }
        FeaturesCommand::Historical(args) => historical(args, settings, printer).await?,
        FeaturesCommand::Build(args) => build(args, settings, printer).await?,
        FeaturesCommand::Materialize(args) => {
            let period = args.start..=args.end.unwrap_or(settings.now);
            let store = applied(settings)?;
            let reports = store.materialize(&names(&args.views), period).await;
            show::materialized(&reports.map_err(not_found)?, printer)?;
        }
        FeaturesCommand::MaterializeIncremental(args) => {
            let end = args.end.unwrap_or(settings.now);
            let store = applied(settings)?;
            let reports = store
                .materialize_incremental(&names(&args.views), end)
                .await;
            show::materialized(&reports.map_err(not_found)?, printer)?;
        }
        FeaturesCommand::Online(args) => online(args, settings, printer)?,
        FeaturesCommand::Stats(args) => stats(args, settings, printer).await?,
        FeaturesCommand::Validate(args) => {
            let store = applied(settings)?;
            let broken = store.validate(&names(&args.views), settings.now).await;
            let broken = broken.map_err(not_found)?;
            show::violations(&broken, printer)?;
            if !broken.is_empty() {
                return Ok(ExitCode::from(FAILURE));
            }
        }
        FeaturesCommand::Export(args) => {
            let store = applied(settings)?;
            let notes = store
                .export_feast(&args.feast, settings.now)
                .map_err(not_found)?;
            if printer.is_json() {
                printer.json(&serde_json::json!({ "output": args.feast, "left_out": notes }))?;
            } else {
                notes.iter().for_each(|note| printer.warn(note));
                printer.line(format!("wrote {}", args.feast.display()))?;
            }
        }
        FeaturesCommand::Import(args) => import(args, settings, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the store as it is.
fn open(settings: &Settings) -> anyhow::Result<FeatureStore> {
    FeatureStore::open(&settings.project.features_dir()).map_err(not_found)
}

/// Opens the store; where nothing was ever applied, what is declared is.
fn applied(settings: &Settings) -> anyhow::Result<FeatureStore> {
    if settings
        .project
        .features_dir()
        .join("feature_store.toml")
        .exists()
    {
        let store = open(settings)?;
        if store.registry().version != 0 {
            return Ok(store);
        }
    }
    Ok(btc_pipeline::feature_store(&settings.project)?)
}

/// Gives what is not there its exit code.
fn not_found(error: Error) -> anyhow::Error {
    match error {
        Error::UnknownObject { .. } | Error::SourceMissing { .. } => {
            NotFoundError(error.to_string()).into()
        }
        other => other.into(),
    }
}

fn names(views: &[String]) -> Vec<&str> {
    views.iter().map(String::as_str).collect()
}

fn selection(wanted: WantedArgs) -> FeatureSelection {
    match wanted.service {
        Some(service) => FeatureSelection::service(service),
        None => FeatureSelection::features(wanted.features),
    }
}

fn import(args: ImportArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    settings.project.create()?;
    // A new store begins with what is imported, not with the built-in features.
    let mut store = FeatureStore::init(&settings.project.features_dir(), "btc")?;
    let imported = store
        .read_feast(&args.feast, args.project.as_deref())
        .map_err(not_found)?;
    imported.notes.iter().for_each(|note| printer.warn(note));
    let plan = if args.dry_run {
        store.plan(&imported.definitions)
    } else {
        // Declared as well, so that the next apply of the folder keeps them.
        store.declare(&imported.definitions, "imported.toml")
    };
    show::plan(&plan.map_err(not_found)?, printer)
}

fn teardown(args: &TeardownArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let mut store = open(settings)?;
    if args.dry_run {
        return show::plan(&store.plan_teardown(), printer);
    }
    if !args.yes {
        if !std::io::stdin().is_terminal() {
            return Err(UsageError(
                "teardown removes everything applied and online; say --yes".into(),
            )
            .into());
        }
        printer.note(store.plan_teardown().to_string().trim_end());
        printer.note("remove all of this? [y/N]");
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return show::plan(&Plan::default(), printer);
        }
    }
    show::plan(&store.teardown().map_err(not_found)?, printer)
}

async fn historical(
    args: HistoricalArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let mut store = applied(settings)?;
    if let Some(mib) = args.memory_limit {
        store = store.with_memory_limit(mib.saturating_mul(1 << 20))?;
    }
    let entity_rows = match (args.entities, args.end) {
        (Some(path), _) if !path.is_file() => {
            return Err(NotFoundError(format!("there is no file {}", path.display())).into());
        }
        (Some(path), _) => EntityRows::from(path),
        (None, Some(end)) => {
            EntityRows::between(args.start.unwrap_or(DateTime::<Utc>::UNIX_EPOCH), end)
        }
        (None, None) => return Err(UsageError("give --entities, or --end".into()).into()),
    };
    let selection = selection(args.wanted)
        .with_full_feature_names(args.full_feature_names)
        .with_filter_by_created_timestamp(args.filter_by_created_timestamp);
    if args.explain {
        let frame = store
            .historical_features(entity_rows, &selection)
            .await
            .map_err(not_found)?;
        return explain(frame, printer).await;
    }
    if let Some(name) = args.save {
        let saved = store
            .save_dataset(&name, entity_rows, &selection, &args.output, settings.now)
            .await
            .map_err(not_found)?;
        if printer.is_json() {
            return printer.json(&saved);
        }
        return printer.line(format!("{} rows in {}", saved.rows, args.output.display()));
    }
    let frame = store
        .historical_features(entity_rows, &selection)
        .await
        .map_err(not_found)?;
    let columns = frame.schema().fields().len();
    let rows = btc_features::write_parquet(frame, &args.output)
        .await
        .map_err(not_found)?;
    written(rows, columns, &args.output, printer)
}

async fn explain(frame: DataFrame, printer: &mut Printer) -> anyhow::Result<()> {
    let plan = frame
        .create_physical_plan()
        .await
        .map_err(|error| not_found(error.into()))?;
    let text = btc_features::datafusion::physical_plan::displayable(plan.as_ref())
        .indent(true)
        .to_string();
    printer.line(text.trim_end())
}

async fn build(args: BuildArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let service = args.service.as_deref().unwrap_or(btc_pipeline::SERVICE);
    let output = args.output.unwrap_or_else(|| {
        settings
            .project
            .data_dir()
            .join("training")
            .join(format!("{service}.parquet"))
    });
    let store = btc_pipeline::feature_store(&settings.project)?;
    let table =
        btc_pipeline::training_table(&settings.project, &store, service, args.date_end).await?;
    if let Some(folder) = output.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    btc_ingest::write_parquet(&output, &table)?;
    written(table.num_rows(), table.num_columns(), &output, printer)
}

fn written(
    rows: usize,
    columns: usize,
    output: &std::path::Path,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&serde_json::json!({
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

fn online(args: OnlineArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let store = applied(settings)?;
    let selection = match args.wanted.service {
        Some(service) => OnlineSelection::Service(service),
        None => OnlineSelection::Features(args.wanted.features),
    };
    let mut request = OnlineRequest::new(selection, args.entities.into_iter().collect());
    request.full_feature_names = args.full_feature_names;
    let answer = store
        .get_online_features(&request, settings.now)
        .map_err(not_found)?;
    show::online(&answer, printer)
}

async fn stats(args: StatsArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let store = applied(settings)?;
    let first = DateTime::from_timestamp_nanos(i64::MIN + 1);
    let period = args.start.unwrap_or(first)..=args.end.unwrap_or(settings.now);
    let reference = match (args.reference_start, args.reference_end) {
        (None, None) => None,
        (start, end) => {
            // Without an end, the reference is what was before the period.
            let before = *period.start() - chrono::TimeDelta::nanoseconds(1);
            Some(start.unwrap_or(first)..=end.unwrap_or(before))
        }
    };
    let views = store
        .statistics(&names(&args.views), period, reference, settings.now)
        .await;
    show::statistics(&views.map_err(not_found)?, printer)
}
