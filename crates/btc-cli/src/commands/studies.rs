//! The commands of `btc tune` that look at studies and work on them from scripts.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use btc_ingest::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use btc_tune::{
    AutoSampler, CmaEsSampler, Distribution, FrozenTrial, GpSampler, ImportanceEvaluator,
    Nsga2Config, Nsga2Sampler, Outcome, QmcSampler, QmcSequence, RandomSampler, Sampler, Storage,
    Study, StudyDirection, TpeSampler, plot, storage_from_url,
};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use crate::exit::{NotFoundError, UsageError};
use crate::printer::Printer;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(crate) enum StudyCommand {
    /// List the studies
    #[command(
        after_help = "Examples:\n  btc tune studies\n  btc tune studies --storage sqlite:///studies.db --format json"
    )]
    Studies(ListArgs),
    /// List the trials of a study
    #[command(
        after_help = "Examples:\n  btc tune trials --study crypto-reg-experiment\n  btc tune trials --study crypto-reg-experiment --format json"
    )]
    Trials(ShowArgs),
    /// Show the best trial of a study
    #[command(
        after_help = "Examples:\n  btc tune best-trial --study crypto-reg-experiment\n  btc tune best-trial --study crypto-reg-experiment --format json"
    )]
    BestTrial(ShowArgs),
    /// Show the trials of a study that no other beats in every objective
    #[command(
        after_help = "Examples:\n  btc tune best-trials --study two-objectives\n  btc tune best-trials --study two-objectives --format value"
    )]
    BestTrials(ShowArgs),
    /// Create an empty study
    #[command(
        after_help = "Examples:\n  btc tune create-study --study s --direction maximize\n  btc tune create-study --study s --direction minimize --direction maximize --skip-if-exists"
    )]
    CreateStudy(CreateArgs),
    /// Delete a study with all its trials
    #[command(
        after_help = "Examples:\n  btc tune delete-study --study s\n  btc tune delete-study --study s --storage journal:///studies.log"
    )]
    DeleteStudy(StudyArgs),
    /// Begin a trial and print its number and parameters
    #[command(
        after_help = "Examples:\n  btc tune ask --study s --search-space '{\"x\":{\"type\":\"float\",\"low\":0,\"high\":1}}'\n  btc tune ask --study s --sampler random --search-space '{\"n\":{\"type\":\"int\",\"low\":1,\"high\":9}}'"
    )]
    Ask(AskArgs),
    /// End a trial that `ask` began
    #[command(
        after_help = "Examples:\n  btc tune tell --study s --trial 0 --values 0.25\n  btc tune tell --study s --trial 1 --state fail"
    )]
    Tell(TellArgs),
    /// Show which parameters matter
    #[command(
        after_help = "Examples:\n  btc tune importance --study crypto-reg-experiment\n  btc tune importance --study crypto-reg-experiment --evaluator fanova --format json"
    )]
    Importance(ImportanceArgs),
    /// Draw a plot of a study as SVG
    #[command(
        after_help = "Examples:\n  btc tune plot history --study crypto-reg-experiment --output history.svg\n  btc tune plot contour --study crypto-reg-experiment --param lr --param units --output contour.svg"
    )]
    Plot(PlotArgs),
    /// Write the trials of a study to a CSV or Parquet file
    #[command(
        after_help = "Examples:\n  btc tune export --study crypto-reg-experiment --output trials.csv\n  btc tune export --study crypto-reg-experiment --output trials.parquet"
    )]
    Export(ExportArgs),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// The bare values, one line each
    Value,
    /// JSON
    Json,
    /// A table with a header
    Table,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    storage: StorageArgs,
    /// How to print [default: table, or json with --json]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// The storage, such as sqlite:///studies.db or journal:///studies.log [default: studies.db under the root]
    #[arg(long, value_name = "URL")]
    storage: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StudyArgs {
    /// The study
    #[arg(long = "study", visible_alias = "study-name", value_name = "NAME")]
    name: String,
    #[command(flatten)]
    storage: StorageArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    study: StudyArgs,
    /// How to print [default: table, or json with --json]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    study: StudyArgs,
    /// minimize or maximize; once per objective
    #[arg(long = "direction", value_name = "DIRECTION", default_value = "minimize", value_parser = parse_direction)]
    directions: Vec<StudyDirection>,
    /// Succeed if the study exists
    #[arg(long)]
    skip_if_exists: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum SamplerKind {
    Auto,
    Tpe,
    Random,
    Cmaes,
    Gp,
    Nsga2,
    Qmc,
}

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    study: StudyArgs,
    /// The parameters as JSON: a name and a distribution each
    #[arg(long, value_name = "JSON")]
    search_space: String,
    /// How values are chosen
    #[arg(long, value_enum, default_value = "tpe")]
    sampler: SamplerKind,
    /// Seed of the sampler
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// The direction of the study if it is new
    #[arg(long, value_name = "DIRECTION", default_value = "minimize", value_parser = parse_direction)]
    direction: StudyDirection,
    /// How to print [default: json]
    #[arg(short, long, value_enum)]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum TellState {
    Complete,
    Pruned,
    Fail,
}

#[derive(Debug, Args)]
pub(crate) struct TellArgs {
    #[command(flatten)]
    study: StudyArgs,
    /// The number of the trial
    #[arg(long = "trial", visible_alias = "trial-number", value_name = "N")]
    number: usize,
    /// Its values, one per objective
    #[arg(long, value_name = "VALUE", num_args = 1.., allow_negative_numbers = true)]
    values: Vec<f64>,
    /// How it ended
    #[arg(long, value_enum, default_value = "complete")]
    state: TellState,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum EvaluatorKind {
    PedAnova,
    Fanova,
    Mdi,
}

#[derive(Debug, Args)]
pub(crate) struct ImportanceArgs {
    #[command(flatten)]
    show: ShowArgs,
    /// How importance is measured
    #[arg(long, value_enum, default_value = "ped-anova")]
    evaluator: EvaluatorKind,
    /// The objective, counted from 0
    #[arg(long, value_name = "N")]
    objective: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PlotKind {
    History,
    Intermediate,
    Slice,
    Contour,
    Parallel,
    Edf,
    Rank,
    Timeline,
    Pareto,
    Importance,
}

#[derive(Debug, Args)]
pub(crate) struct PlotArgs {
    /// What to draw
    #[arg(value_enum)]
    kind: PlotKind,
    #[command(flatten)]
    study: StudyArgs,
    /// Parameters to draw; one for slice, two for contour and rank
    #[arg(long = "param", value_name = "NAME")]
    params: Vec<String>,
    /// The objective, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    objective: usize,
    /// The file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    study: StudyArgs,
    /// The file, ending in .csv or .parquet [default: CSV to standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn parse_direction(text: &str) -> Result<StudyDirection, String> {
    text.parse()
        .map_err(|error: btc_tune::Error| error.to_string())
}

pub(crate) fn run(
    command: StudyCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        StudyCommand::Studies(args) => studies(&args, settings, printer)?,
        StudyCommand::Trials(args) => {
            let study = load(&args.study, settings)?;
            let table = study.trial_table()?;
            print_rows(&table.columns, &table.rows, args.format, printer)?;
        }
        StudyCommand::BestTrial(args) => {
            let best = load(&args.study, settings)?.best_trial()?;
            print_trials(&[best], args.format, printer)?;
        }
        StudyCommand::BestTrials(args) => {
            let best = load(&args.study, settings)?.best_trials()?;
            print_trials(&best, args.format, printer)?;
        }
        StudyCommand::CreateStudy(args) => {
            Study::builder(&args.study.name, open(&args.study.storage, settings)?)
                .directions(args.directions)
                .load_if_exists(args.skip_if_exists)
                .create()?;
            printer.line(&args.study.name)?;
        }
        StudyCommand::DeleteStudy(args) => {
            let study = load(&args, settings)?;
            study.storage().delete_study(study.id())?;
        }
        StudyCommand::Ask(args) => ask(&args, settings, printer)?,
        StudyCommand::Tell(args) => {
            let outcome = match args.state {
                TellState::Complete => Outcome::Complete(args.values),
                TellState::Pruned => Outcome::Pruned,
                TellState::Fail => Outcome::Failed,
            };
            load(&args.study, settings)?.tell(args.number, outcome)?;
        }
        StudyCommand::Importance(args) => {
            let study = load(&args.show.study, settings)?;
            let importances = study.param_importances(evaluator(args.evaluator), args.objective)?;
            let rows: Vec<Vec<Value>> = importances
                .into_iter()
                .map(|(name, value)| vec![name.into(), value.into()])
                .collect();
            print_rows(
                &["param", "importance"].map(str::to_owned),
                &rows,
                args.show.format,
                printer,
            )?;
        }
        StudyCommand::Plot(args) => {
            let svg = draw(&load(&args.study, settings)?, &args)?;
            write_text(args.output.as_deref(), &svg, printer)?;
        }
        StudyCommand::Export(args) => {
            let table = load(&args.study, settings)?.trial_table()?;
            match args.output.as_deref() {
                Some(path) if path.extension().is_some_and(|e| e == "parquet") => {
                    btc_ingest::write_parquet(path, &record_batch(&table)?)?;
                }
                path => write_text(path, table.to_csv().trim_end(), printer)?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn open(args: &StorageArgs, settings: &Settings) -> anyhow::Result<Arc<dyn Storage>> {
    let url = args
        .storage
        .as_deref()
        .unwrap_or(&settings.storage_url.value);
    storage_from_url(url).map_err(|error| match error {
        btc_tune::Error::InvalidUrl { .. } => UsageError(error.to_string()).into(),
        error => error.into(),
    })
}

fn load(args: &StudyArgs, settings: &Settings) -> anyhow::Result<Study> {
    let storage = open(&args.storage, settings)?;
    Study::builder(&args.name, storage)
        .load()
        .map_err(|error| match error {
            btc_tune::Error::UnknownStudy { .. } => NotFoundError(error.to_string()).into(),
            error => error.into(),
        })
}

fn studies(args: &ListArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let columns = [
        "name",
        "directions",
        "trials",
        "best_value",
        "datetime_start",
    ];
    let rows: Vec<Vec<Value>> = open(&args.storage, settings)?
        .studies()?
        .into_iter()
        .map(|study| {
            let directions: Vec<String> =
                study.directions.iter().map(ToString::to_string).collect();
            vec![
                study.name.into(),
                directions.join(",").into(),
                study.n_trials.into(),
                study.best_value.into(),
                study.datetime_start.map(|time| time.to_rfc3339()).into(),
            ]
        })
        .collect();
    print_rows(&columns.map(str::to_owned), &rows, args.format, printer)
}

fn sampler(kind: SamplerKind, seed: u64) -> anyhow::Result<Arc<dyn Sampler>> {
    Ok(match kind {
        SamplerKind::Auto => Arc::new(AutoSampler::new(seed)),
        SamplerKind::Tpe => Arc::new(TpeSampler::new(seed)),
        SamplerKind::Random => Arc::new(RandomSampler::new(seed)),
        SamplerKind::Cmaes => Arc::new(CmaEsSampler::new(seed)),
        SamplerKind::Gp => Arc::new(GpSampler::new(seed)),
        SamplerKind::Nsga2 => Arc::new(Nsga2Sampler::new(seed, Nsga2Config::default())?),
        SamplerKind::Qmc => Arc::new(QmcSampler::new(seed, QmcSequence::Sobol)),
    })
}

fn ask(args: &AskArgs, settings: &Settings, printer: &mut Printer) -> anyhow::Result<()> {
    let space: Map<String, Value> = serde_json::from_str(&args.search_space)
        .map_err(|error| UsageError(format!("--search-space is no JSON object: {error}")))?;
    let mut distributions = Vec::new();
    for (name, value) in &space {
        let distribution = Distribution::from_json(&value.to_string())
            .map_err(|error| UsageError(format!("--search-space, {name}: {error}")))?;
        distributions.push((name.as_str(), distribution));
    }
    let study = Study::builder(&args.study.name, open(&args.study.storage, settings)?)
        .shared_sampler(sampler(args.sampler, args.seed)?)
        .direction(args.direction)
        .load_if_exists(true)
        .create()?;
    let trial = study.ask_with(&distributions)?;
    let params: Map<String, Value> = trial.params().into_iter().collect();
    match args.format.unwrap_or(Format::Json) {
        Format::Json => printer.json(&json!({"number": trial.number(), "params": params})),
        format => {
            let mut columns = vec!["number".to_owned()];
            columns.extend(params.keys().cloned());
            let mut row = vec![Value::from(trial.number())];
            row.extend(params.values().cloned());
            print_rows(&columns, &[row], Some(format), printer)
        }
    }
}

fn evaluator(kind: EvaluatorKind) -> ImportanceEvaluator {
    match kind {
        EvaluatorKind::PedAnova => ImportanceEvaluator::default(),
        EvaluatorKind::Fanova => ImportanceEvaluator::Fanova { trees: 64, seed: 0 },
        EvaluatorKind::Mdi => ImportanceEvaluator::MeanDecreaseImpurity { trees: 64, seed: 0 },
    }
}

fn draw(study: &Study, args: &PlotArgs) -> anyhow::Result<String> {
    let trials = study.trials()?;
    let (directions, objective) = (study.directions(), args.objective);
    let one = || match &args.params[..] {
        [name] => Ok(name.as_str()),
        _ => Err(UsageError("this plot needs --param once".to_owned())),
    };
    let two = || match &args.params[..] {
        [x, y] => Ok((x.as_str(), y.as_str())),
        _ => Err(UsageError("this plot needs --param twice".to_owned())),
    };
    let nothing = || NotFoundError("no complete trial has these parameters".to_owned());
    Ok(match args.kind {
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
            let space = btc_tune::intersection_search_space(&trials);
            let names: Vec<&str> = match args.params.is_empty() {
                true => space.keys().map(|name| &**name).collect(),
                false => args.params.iter().map(String::as_str).collect(),
            };
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

fn write_text(path: Option<&Path>, text: &str, printer: &mut Printer) -> anyhow::Result<()> {
    match path {
        None => printer.line(text),
        Some(path) => std::fs::write(path, format!("{text}\n"))
            .with_context(|| format!("cannot write {}", path.display())),
    }
}

/// Numbers become floats, everything else text.
fn record_batch(table: &btc_tune::TrialTable) -> anyhow::Result<RecordBatch> {
    let columns = table.columns.iter().enumerate().map(|(i, name)| {
        let cells = || table.rows.iter().map(|row| &row[i]);
        let array: ArrayRef = if cells().all(|cell| cell.is_number() || cell.is_null()) {
            Arc::new(cells().map(Value::as_f64).collect::<Float64Array>())
        } else {
            let text = |cell: &Value| (!cell.is_null()).then(|| text_of(cell));
            Arc::new(cells().map(text).collect::<StringArray>())
        };
        (name.as_str(), array, true)
    });
    Ok(RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn print_trials(
    trials: &[Arc<FrozenTrial>],
    format: Option<Format>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let columns = ["number", "values", "params"];
    let rows: Vec<Vec<Value>> = trials
        .iter()
        .map(|trial| {
            let params: Map<String, Value> = trial
                .params()
                .map(|(name, value)| (name.to_owned(), value))
                .collect();
            vec![
                trial.number.into(),
                trial.values.clone().into(),
                params.into(),
            ]
        })
        .collect();
    print_rows(&columns.map(str::to_owned), &rows, format, printer)
}

fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn print_rows(
    columns: &[String],
    rows: &[Vec<Value>],
    format: Option<Format>,
    printer: &mut Printer,
) -> anyhow::Result<()> {
    let default = if printer.is_json() {
        Format::Json
    } else {
        Format::Table
    };
    let texts: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(text_of).collect())
        .collect();
    match format.unwrap_or(default) {
        Format::Table => {
            let header: Vec<&str> = columns.iter().map(String::as_str).collect();
            printer.table(&header, &texts)
        }
        Format::Value => texts.iter().try_for_each(|row| printer.line(row.join(" "))),
        Format::Json => {
            let objects: Vec<Map<String, Value>> = rows
                .iter()
                .map(|row| columns.iter().cloned().zip(row.iter().cloned()).collect())
                .collect();
            printer.json(&objects)
        }
    }
}
