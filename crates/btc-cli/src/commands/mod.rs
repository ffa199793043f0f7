//! One file per noun: take resolved values, call one function, print.
//!
//! Here what was typed is resolved and handed to its command; the commands
//! themselves know nothing of flags.

pub(crate) mod backtest;
pub(crate) mod config;
pub(crate) mod data;
pub(crate) mod features;
pub(crate) mod model;
pub(crate) mod pipeline;
pub(crate) mod predict;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod studies;
pub(crate) mod track;
pub(crate) mod tune;

use std::process::ExitCode;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::cli::command::Command;
use crate::cli::config::ConfigCommand;
use crate::cli::data::DataCommand;
use crate::cli::features::FeaturesCommand;
use crate::cli::model::ModelCommand;
use crate::cli::pipeline::PipelineCommand;
use crate::cli::studies::StudyCommand;
use crate::cli::track::TrackCommand;
use crate::cli::tune::TuneCommand;
use crate::output::printer::Printer;
use crate::settings::file::Section;
use crate::settings::requests;
use crate::settings::requests::features::FeastImport;
use crate::settings::resolve::Settings;

/// Runs one command. Commands that wait for the network get a runtime; the
/// others start without one.
pub(crate) fn dispatch(
    command: Command,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    settings.file.check(sections(&command))?;
    match command {
        Command::Config(ConfigCommand::Show) => config::show(settings, printer),
        Command::Completions(args) => config::completions(args.shell, Cli::command(), printer),
        Command::Data(command) => block_on(data(command, settings, printer)),
        Command::Features(command) => block_on(features(command, settings, printer)),
        Command::Tune(TuneCommand::Run(args)) => {
            let pull = args
                .pull_data
                .then(|| requests::data::pull_config(settings));
            let search = requests::models::SearchRequest::new(&args, settings);
            block_on(tune::run(search, pull, settings, printer))
        }
        Command::Tune(TuneCommand::Study(command)) => study(command, settings, printer),
        Command::Model(command) => block_on(model(command, settings, printer)),
        Command::Track(command) => track(command, settings, printer),
        Command::Run(args) => run::run(args.into(), settings, printer),
        Command::Predict(args) => {
            let request = requests::models::predict(&args, settings);
            block_on(predict::run(request, settings, printer))
        }
        Command::Backtest(args) => {
            let request = requests::models::BacktestRequest::new(args, settings)?;
            block_on(backtest::run(request, settings, printer))
        }
        Command::Pipeline(PipelineCommand::Run(args)) => {
            let request = requests::models::PipelineRequest::new(args, settings);
            block_on(pipeline::run(request, settings, printer))
        }
        Command::Serve(args) => block_on(serve::run(args.into(), settings, printer)),
    }
}

/// The sections of `btc.toml` that a command goes by.
fn sections(command: &Command) -> &'static [Section] {
    use Section::{Data, Model, Serve, Studies, Tracking};
    match command {
        Command::Config(_) | Command::Completions(_) => &[],
        Command::Features(_) => &[],
        Command::Data(DataCommand::Pull(_)) => &[Data],
        Command::Data(_) => &[],
        Command::Tune(TuneCommand::Run(_)) => &[Data, Tracking, Studies, Model],
        Command::Tune(TuneCommand::Study(_)) => &[Studies],
        Command::Model(_) | Command::Predict(_) | Command::Backtest(_) => &[Tracking, Model],
        Command::Track(_) | Command::Run(_) => &[Tracking],
        Command::Pipeline(_) => &[Data, Tracking, Studies, Model],
        Command::Serve(_) => &[Tracking, Studies, Serve],
    }
}

async fn data(
    command: DataCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        DataCommand::Pull(args) => {
            let request = requests::data::PullRequest::new(args, settings);
            data::pull(request, settings, printer).await?;
        }
        DataCommand::Sample(args) => {
            let request = requests::data::SampleRequest::new(&args, settings);
            data::sample(&request, settings, printer)?;
        }
        DataCommand::Import(args) => {
            let request = requests::data::ImportRequest::new(args)?;
            data::import(&request, settings, printer).await?;
        }
        DataCommand::Status => data::status(settings, printer)?,
        DataCommand::Profile(args) => {
            let default = || settings.project.reports().join("data-profile.html");
            data::profile(&args.output.unwrap_or_else(default), settings, printer)?;
        }
        DataCommand::Verify => return data::verify(settings, printer),
        DataCommand::Export(args) => data::export(&args.into(), settings, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn features(
    command: FeaturesCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    use FeaturesCommand as C;
    match command {
        C::Plan(args) => match FeastImport::of(args, true) {
            Some(request) => features::import(&request, settings, printer)?,
            None => features::plan(settings, printer)?,
        },
        C::Apply(args) => match FeastImport::of(args, false) {
            Some(request) => features::import(&request, settings, printer)?,
            None => features::apply(settings, printer)?,
        },
        C::Teardown(args) => features::teardown(args.dry_run, args.yes, settings, printer)?,
        C::List(args) => features::list(args.kind, settings, printer)?,
        C::Describe(args) => features::describe(&args.name, args.kind, settings, printer)?,
        C::Historical(args) => {
            let request = requests::features::HistoricalRequest::new(args)?;
            features::historical(request, settings, printer).await?;
        }
        C::Build(args) => {
            let request = requests::features::BuildRequest::new(args, settings);
            features::build(&request, settings, printer).await?;
        }
        C::Materialize(args) => {
            let period = args.start..=args.end.unwrap_or(settings.now);
            features::materialize(&args.views, period, settings, printer).await?;
        }
        C::MaterializeIncremental(args) => {
            let end = args.end.unwrap_or(settings.now);
            features::materialize_incremental(&args.views, end, settings, printer).await?;
        }
        C::Push(args) => features::push(&args.into(), settings, printer).await?,
        C::Online(args) => features::online(&requests::features::online(args), settings, printer)?,
        C::Stats(args) => {
            let request = requests::features::StatsRequest::new(args, settings);
            features::stats(request, settings, printer).await?;
        }
        C::Validate(args) => return features::validate(&args.views, settings, printer).await,
        C::Export(args) => features::export(&args.feast, settings, printer)?,
        C::Import(args) => features::import(&args.into(), settings, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn study(
    command: StudyCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    use StudyCommand as C;
    match command {
        C::Studies(args) => studies::list(args.format, settings, printer)?,
        C::Trials(args) => {
            studies::trials(args.study.name.as_deref(), args.format, settings, printer)?
        }
        C::BestTrial(args) => {
            studies::best_trial(args.study.name.as_deref(), args.format, settings, printer)?;
        }
        C::BestTrials(args) => {
            studies::best_trials(args.study.name.as_deref(), args.format, settings, printer)?;
        }
        C::CreateStudy(args) => {
            let (name, exists) = (&args.study.name, args.skip_if_exists);
            studies::create(name, args.directions, exists, settings, printer)?;
        }
        C::DeleteStudy(args) => studies::delete(&args.name, settings)?,
        C::Ask(args) => studies::ask(
            &requests::studies::AskRequest::new(args)?,
            settings,
            printer,
        )?,
        C::Tell(args) => {
            let outcome = requests::studies::outcome(args.state, args.values);
            studies::tell(args.study.name.as_deref(), args.number, outcome, settings)?;
        }
        C::Importance(args) => studies::importance(&args.into(), settings, printer)?,
        C::Plot(args) => studies::plot(&args.into(), settings, printer)?,
        C::Export(args) => {
            studies::export(
                args.study.name.as_deref(),
                args.output.as_deref(),
                settings,
                printer,
            )?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn model(
    command: ModelCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        ModelCommand::RegisterBest(args) => {
            let request = requests::models::register(args);
            model::register_best(request, settings, printer).await?;
        }
        ModelCommand::List => model::list(settings, printer)?,
        ModelCommand::Show { .. } => model::show(settings, printer)?,
        ModelCommand::Promote {
            name,
            version,
            alias,
        } => model::set_alias(&name, &alias, Some(version), settings, printer)?,
        ModelCommand::Alias {
            name,
            alias,
            version,
            remove: _,
        } => model::set_alias(&name, &alias, version, settings, printer)?,
        ModelCommand::Delete {
            name,
            version,
            all: _,
            dry_run,
        } => model::delete(&name, version, dry_run, settings, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn track(
    command: TrackCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    use TrackCommand as C;
    match command {
        C::Experiments => track::experiments(settings, printer)?,
        C::Runs(args) => track::runs(requests::tracking::run_query(args), settings, printer)?,
        C::Show { run_id } => track::show(&run_id, settings, printer)?,
        C::Metrics(args) => track::metrics(&args.run_id, &args.key, settings, printer)?,
        C::Artifacts(args) => match &args.output {
            Some(output) => {
                track::download(&args.run_id, &args.path, output, settings, printer)?;
            }
            None => track::artifacts(&args.run_id, &args.path, settings, printer)?,
        },
        C::Delete { run_id } => track::delete(&run_id, settings, printer)?,
        C::Restore { run_id } => track::restore(&run_id, settings)?,
        C::Gc(args) => track::gc(args.older_than_days, args.dry_run, settings, printer)?,
        C::Copy(args) => track::copy(&args.into(), settings, printer)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn block_on<F>(future: F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(future);
    // A request that still waits for a lock does not keep the process alive.
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}
