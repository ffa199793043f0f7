//! The commands of `btc tune` that look at studies and work on them from scripts.

use std::path::Path;
use std::sync::Arc;

use btc_ingest::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use btc_tune::{FrozenTrial, ImportanceEvaluator, Outcome, Study, StudyDirection, plot};
use serde_json::{Map, Value, json};

use crate::cli::values::{Format, PlotKind};
use crate::errors::NotFoundError;
use crate::output::file::write_whole;
use crate::output::printer::Printer;
use crate::output::views::studies as view;
use crate::settings::requests::studies::{AskRequest, ImportanceRequest, PlotRequest};
use crate::settings::resolve::Settings;
use crate::stores::{existing_studies, only_study, study_storage};

pub(crate) fn list(
    format: Option<Format>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    view::studies(existing_studies(settings)?.studies()?, format, printer)
}

pub(crate) fn trials(
    study: Option<&str>,
    format: Option<Format>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let table = load(study, settings)?.trial_table()?;
    view::rows(&table.columns, &table.rows, format, printer)
}

pub(crate) fn best_trial(
    study: Option<&str>,
    format: Option<Format>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    view::trials(&[load(study, settings)?.best_trial()?], format, printer)
}

pub(crate) fn best_trials(
    study: Option<&str>,
    format: Option<Format>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    view::trials(&load(study, settings)?.best_trials()?, format, printer)
}

pub(crate) fn create(
    name: &str,
    directions: Vec<StudyDirection>,
    load_if_exists: bool,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    Study::builder(name, study_storage(settings)?)
        .directions(directions)
        .load_if_exists(load_if_exists)
        .create()?;
    printer.line(name)
}

pub(crate) fn delete(study: &str, settings: &Settings) -> anyhow::Result<()> {
    let study = load(Some(study), settings)?;
    Ok(study.storage().delete_study(study.id())?)
}

pub(crate) fn ask(
    request: &AskRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let name = match &request.study {
        Some(name) => name.clone(),
        None => only_study(settings)?,
    };
    let builder = Study::builder(name.clone(), study_storage(settings)?)
        .shared_sampler(request.sampler.clone());
    // A study that is there keeps its directions, however many.
    let study = match builder.load() {
        Err(btc_tune::Error::UnknownStudy { .. }) => Study::builder(name, study_storage(settings)?)
            .shared_sampler(request.sampler.clone())
            .direction(request.direction)
            .create()?,
        loaded => loaded?,
    };
    let space: Vec<_> = request
        .space
        .iter()
        .map(|(name, distribution)| (name.as_str(), distribution.clone()))
        .collect();
    let trial = study.ask_with(&space)?;
    let params: Map<String, Value> = trial.params().into_iter().collect();
    if request.format == Format::Json {
        return printer.json(&json!({"number": trial.number(), "params": params}));
    }
    let mut columns = vec!["number".to_owned()];
    columns.extend(params.keys().cloned());
    let mut row = vec![Value::from(trial.number())];
    row.extend(params.values().cloned());
    view::rows(&columns, &[row], Some(request.format), printer)
}

pub(crate) fn tell(
    study: Option<&str>,
    number: usize,
    outcome: Outcome,
    settings: &Settings,
) -> anyhow::Result<()> {
    load(study, settings)?.tell(number, outcome)?;
    Ok(())
}

pub(crate) fn importance(
    request: &ImportanceRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let study = load(request.study.as_deref(), settings)?;
    let importances = study.param_importances(request.evaluator, request.objective)?;
    let rows: Vec<Vec<Value>> = importances
        .into_iter()
        .map(|(name, value)| vec![name.into(), value.into()])
        .collect();
    let columns = ["param", "importance"].map(str::to_owned);
    view::rows(&columns, &rows, request.format, printer)
}

pub(crate) fn plot(
    request: &PlotRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let svg = draw(&load(request.study.as_deref(), settings)?, request)?;
    write_text(request.output.as_deref(), &svg, printer)
}

pub(crate) fn export(
    study: Option<&str>,
    output: Option<&Path>,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let table = load(study, settings)?.trial_table()?;
    match output {
        Some(path) if path.extension().is_some_and(|e| e == "parquet") => {
            Ok(btc_ingest::write_parquet(path, &record_batch(&table)?)?)
        }
        path => write_text(path, table.to_csv().trim_end(), printer),
    }
}

/// The study of this name, or the only one there is.
fn load(study: Option<&str>, settings: &Settings) -> anyhow::Result<Study> {
    let name = match study {
        Some(name) => name.to_owned(),
        None => only_study(settings)?,
    };
    Ok(Study::builder(name, existing_studies(settings)?).load()?)
}

/// The plot of a study as SVG.
fn draw(study: &Study, request: &PlotRequest) -> anyhow::Result<String> {
    let trials = study.trials()?;
    let (directions, objective) = (study.directions(), request.objective);
    let nothing = || NotFoundError("no complete trial has these parameters".to_owned());
    let (one, two) = (|| request.one_param(), || request.two_params());
    Ok(match request.kind {
        PlotKind::History => plot::optimization_history(&trials, directions, objective).to_svg(),
        PlotKind::Intermediate => plot::intermediate_values(&trials).to_svg(),
        PlotKind::Slice => plot::slice(&trials, directions, objective, one()?)
            .ok_or_else(nothing)?
            .to_svg(),
        PlotKind::Contour => plot::contour(&trials, directions, objective, two()?)
            .ok_or_else(nothing)?
            .to_svg(),
        PlotKind::Rank => plot::rank(&trials, directions, objective, two()?)
            .ok_or_else(nothing)?
            .to_svg(),
        PlotKind::Parallel => {
            let names = parameters(&trials, &request.params);
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            plot::parallel_coordinates(&trials, directions, objective, &names).to_svg()
        }
        PlotKind::Edf => plot::edf(&[(study.name(), &trials)], objective).to_svg(),
        PlotKind::Timeline => plot::timeline(&trials).to_svg(),
        PlotKind::Pareto => plot::pareto_front(&trials, directions, (0, 1)).to_svg(),
        PlotKind::Importance => {
            let objective = (directions.len() > 1).then_some(objective);
            let importances = study.param_importances(ImportanceEvaluator::default(), objective)?;
            plot::importances(&importances).to_svg()
        }
    })
}

/// The parameters to draw: those that are named, else those of every trial.
fn parameters(trials: &[Arc<FrozenTrial>], named: &[String]) -> Vec<String> {
    if !named.is_empty() {
        return named.to_vec();
    }
    let space = btc_tune::intersection_search_space(trials);
    space.keys().map(ToString::to_string).collect()
}

fn write_text(path: Option<&Path>, text: &str, printer: &mut Printer) -> anyhow::Result<()> {
    match path {
        None => printer.line(text),
        Some(path) => write_whole(path, format!("{text}\n").as_bytes()),
    }
}

/// Numbers become floats, everything else text.
fn record_batch(table: &btc_tune::TrialTable) -> anyhow::Result<RecordBatch> {
    let columns = table.columns.iter().enumerate().map(|(i, name)| {
        let cells = || table.rows.iter().map(|row| &row[i]);
        let array: ArrayRef = if cells().all(|cell| cell.is_number() || cell.is_null()) {
            Arc::new(cells().map(Value::as_f64).collect::<Float64Array>())
        } else {
            let text = |cell: &Value| (!cell.is_null()).then(|| view::text_of(cell));
            Arc::new(cells().map(text).collect::<StringArray>())
        };
        (name.as_str(), array, true)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}
