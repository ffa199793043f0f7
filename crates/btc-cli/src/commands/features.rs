//! `btc features`: declare features and join them as of a time.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::Path;
use std::process::ExitCode;

use btc_features::datafusion::prelude::DataFrame;
use btc_features::{Error, FeatureStore, OnlineRequest, Plan, PushTo};
use chrono::{DateTime, Utc};

use crate::cli::values::Kind;
use crate::errors::{NotFoundError, UsageError};
use crate::exit::FAILURE;
use crate::output::file::create_folder_of;
use crate::output::printer::Printer;
use crate::output::views::features as view;
use crate::settings::requests::features::{
    BuildRequest, FeastImport, HistoricalRequest, Period, PushRequest, StatsRequest,
};
use crate::settings::resolve::Settings;
use crate::stores::{applied_features, declared_features, existing_features, feature_store};

pub(crate) fn plan(settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let store = existing_features(settings)?;
    let plan = match settings.project.features_dir().exists() {
        true => store.plan_dir()?,
        false => store.plan(&btc_pipeline::declared(&settings.project)?)?,
    };
    view::plan(&plan, printer)
}

pub(crate) fn apply(settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    settings.project.create()?;
    btc_pipeline::definitions(&settings.project)?;
    view::plan(&feature_store(settings)?.apply_dir()?, printer)
}

pub(crate) fn list(
    kind: Option<Kind>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    view::list(existing_features(settings)?.registry(), kind, printer)
}

pub(crate) fn describe(
    name: &str,
    kind: Option<Kind>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    view::describe(existing_features(settings)?.registry(), name, kind, printer)
}

pub(crate) async fn materialize(
    views: &[String],
    period: Period,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let store = btc_pipeline::feature_store(&settings.project)?;
    let reports = store.materialize(&names(views), period).await?;
    view::materialized(&reports, printer)
}

pub(crate) async fn materialize_incremental(
    views: &[String],
    end: DateTime<Utc>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let store = btc_pipeline::feature_store(&settings.project)?;
    let reports = store.materialize_incremental(&names(views), end).await?;
    view::materialized(&reports, printer)
}

pub(crate) async fn push(
    request: &PushRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let store = applied_features(settings)?;
    // What `data pull` writes is compared with its manifest, which knows of no pushed rows.
    if request.to != PushTo::Online
        && let Ok(view) = store.registry().definitions.feature_view(&request.view)
        && let Ok(source) = store.registry().definitions.source(&view.source)
    {
        // The folder itself is a link there, to the newest snapshot.
        let place = source.resolved_path(store.repo_dir());
        let parent = place.parent().and_then(|parent| parent.canonicalize().ok());
        let pulled = settings.project.data_dir().join("processed").canonicalize();
        if let (Some(parent), Ok(pulled)) = (parent, pulled)
            && parent.starts_with(pulled)
        {
            let text = format!(
                "the files of source {:?} are those of `btc data`, which other rows would damage; \
                 push with --to online, or import the rows with `btc data import`",
                source.name
            );
            return Err(UsageError(text).into());
        }
    }
    if !request.file.is_file() {
        let text = format!("there is no file {}", request.file.display());
        return Err(NotFoundError(text).into());
    }
    let report = store
        .push_parquet(&request.view, &request.file, request.to, settings.now)
        .await?;
    view::pushed(&report, printer)
}

pub(crate) async fn validate(
    views: &[String],
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let store = applied_features(settings)?;
    let broken = store.validate(&names(views), settings.now).await?;
    view::violations(&broken, printer)?;
    Ok(match broken.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(FAILURE),
    })
}

pub(crate) fn export(
    output: &Path,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let store = applied_features(settings)?;
    let notes = store.export_feast(output, settings.now)?;
    view::exported(output, &notes, printer)
}

pub(crate) fn import(
    request: &FeastImport,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    settings.project.create()?;
    // A new store begins with what is imported and its project's name, not with the built-in
    // features.
    let mut store = FeatureStore::init_for_feast(
        settings.project.features_dir(),
        &request.file,
        request.project.as_deref(),
    )?;
    let imported = store.read_feast(&request.file, request.project.as_deref())?;
    imported.notes.iter().for_each(|note| printer.warn(note));
    let plan = if request.dry_run {
        store.plan(&imported.definitions)
    } else {
        // Declared as well, so that the next apply of the folder keeps them.
        store.declare(&imported.definitions, "imported.toml")
    };
    view::plan(&plan?, printer)
}

pub(crate) fn teardown(
    dry_run: bool,
    yes: bool,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let mut store = feature_store(settings)?;
    if dry_run {
        return view::plan(&store.plan_teardown(), printer);
    }
    if !yes && !confirmed(&store, printer)? {
        return view::plan(&Plan::default(), printer);
    }
    view::plan(&store.teardown()?, printer)
}

/// Asks whether everything is to be removed.
fn confirmed(store: &FeatureStore, printer: &mut Printer) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        let text = "teardown removes everything applied and online; say --yes";
        return Err(UsageError(text.into()).into());
    }
    printer.note(store.plan_teardown().to_string().trim_end());
    printer.note("remove all of this? [y/N]");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

pub(crate) async fn historical(
    request: HistoricalRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let mut store = match request.save {
        // A data set is entered in the registry.
        Some(_) => btc_pipeline::feature_store(&settings.project)?,
        None => applied_features(settings)?,
    };
    if let Some(bytes) = request.memory_limit {
        store = store.with_memory_limit(bytes)?;
    }
    let (rows, selection, output) = (request.entity_rows, &request.selection, &request.output);
    if let Some(name) = &request.save {
        let now = settings.now;
        let saved = store
            .save_dataset(name, rows, selection, output, now)
            .await?;
        return view::saved(&saved, output, printer);
    }
    let frame = store.historical_features(rows, selection).await?;
    if request.explain {
        return explain(frame, printer).await;
    }
    let columns = frame.schema().fields().len();
    let rows = btc_features::write_parquet(frame, output).await?;
    view::written(rows, columns, output, printer)
}

async fn explain(frame: DataFrame, printer: &mut Printer) -> anyhow::Result<()> {
    let plan = frame.create_physical_plan().await.map_err(Error::from)?;
    let text = btc_features::datafusion::physical_plan::displayable(plan.as_ref())
        .indent(true)
        .to_string();
    printer.line(text.trim_end())
}

pub(crate) async fn build(
    request: &BuildRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let (project, output) = (&settings.project, &request.output);
    let store = declared_features(settings)?;
    let table =
        btc_pipeline::training_table(project, &store, &request.service, request.last_day).await?;
    create_folder_of(output)?;
    btc_ingest::write_parquet(output, &table)?;
    view::written(table.num_rows(), table.num_columns(), output, printer)
}

pub(crate) fn online(
    request: &OnlineRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let store = applied_features(settings)?;
    view::online(&store.get_online_features(request, settings.now)?, printer)
}

pub(crate) async fn stats(
    request: StatsRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let store = applied_features(settings)?;
    let (period, reference) = (request.period, request.reference);
    let views = store
        .statistics(&names(&request.views), period, reference, settings.now)
        .await?;
    view::statistics(&views, printer)
}

fn names(views: &[String]) -> Vec<&str> {
    views.iter().map(String::as_str).collect()
}
