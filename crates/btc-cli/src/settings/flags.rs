//! The flags that set what `btc.toml` can set: the uppermost layer.

use crate::cli::command::Command;
use crate::cli::data::{DataCommand, Endpoints};
use crate::cli::features::FeaturesCommand;
use crate::cli::forecast::ForecastArgs;
use crate::cli::model::ModelCommand;
use crate::cli::pipeline::PipelineCommand;
use crate::cli::studies::{StorageArgs, StudyCommand};
use crate::cli::track::TrackCommand;
use crate::cli::tune::{RunArgs, SearchArgs, TuneCommand};
use crate::settings::layer::Layer;

/// What the flags of a command say.
pub(crate) fn layer(command: &Command) -> Layer {
    let mut layer = Layer::default();
    match command {
        Command::Data(DataCommand::Pull(args)) => endpoints(&args.endpoints, &mut layer),
        Command::Tune(TuneCommand::Run(args)) => run(args, &mut layer),
        Command::Tune(TuneCommand::Study(command)) => study(command, &mut layer),
        Command::Model(ModelCommand::RegisterBest(args)) => {
            layer.tracking.experiment_name.clone_from(&args.experiment);
            layer.model.name.clone_from(&args.model_name);
            forecast(&args.forecast, &mut layer);
        }
        Command::Model(ModelCommand::Show { name }) => layer.model.name.clone_from(name),
        Command::Track(TrackCommand::Runs(args)) => {
            layer.tracking.experiment_name.clone_from(&args.experiment);
        }
        Command::Run(args) => layer
            .tracking
            .experiment_name
            .clone_from(&args.experiment_name),
        Command::Predict(args) => {
            layer.model.name.clone_from(&args.model_name);
            forecast(&args.forecast, &mut layer);
        }
        Command::Backtest(args) => {
            layer.model.name.clone_from(&args.model_name);
            forecast(&args.forecast, &mut layer);
        }
        Command::Features(FeaturesCommand::Build(args)) => {
            layer.model.service.clone_from(&args.service);
        }
        Command::Pipeline(PipelineCommand::Run(args)) => {
            endpoints(&args.endpoints, &mut layer);
            search(&args.search, &mut layer);
            layer.model.name.clone_from(&args.model_name);
        }
        Command::Serve(args) => {
            layer.serve.host.clone_from(&args.host);
            layer.serve.port = args.port;
        }
        Command::Data(_)
        | Command::Features(_)
        | Command::Model(_)
        | Command::Track(_)
        | Command::Config(_)
        | Command::Completions(_) => {}
    }
    layer
}

fn endpoints(args: &Endpoints, layer: &mut Layer) {
    layer.data.blockchain_url.clone_from(&args.blockchain_url);
    layer
        .data
        .alpha_vantage_url
        .clone_from(&args.alpha_vantage_url);
}

fn run(args: &RunArgs, layer: &mut Layer) {
    endpoints(&args.endpoints, layer);
    search(&args.search, layer);
}

fn search(args: &SearchArgs, layer: &mut Layer) {
    layer
        .tracking
        .experiment_name
        .clone_from(&args.experiment_name);
    layer.studies.url.clone_from(&args.storage);
    forecast(&args.forecast, layer);
}

fn forecast(args: &ForecastArgs, layer: &mut Layer) {
    let model = &mut layer.model;
    model.service.clone_from(&args.service);
    model.target_column.clone_from(&args.target_column);
    model.horizon = args.horizon;
    model.device.clone_from(&args.device);
}

fn study(command: &StudyCommand, layer: &mut Layer) {
    let StorageArgs { storage } = match command {
        StudyCommand::Studies(args) => &args.storage,
        StudyCommand::Trials(args)
        | StudyCommand::BestTrial(args)
        | StudyCommand::BestTrials(args) => &args.study.storage,
        StudyCommand::CreateStudy(args) => &args.study.storage,
        StudyCommand::DeleteStudy(args) => &args.storage,
        StudyCommand::Ask(args) => &args.study.storage,
        StudyCommand::Tell(args) => &args.study.storage,
        StudyCommand::Importance(args) => &args.show.study.storage,
        StudyCommand::Plot(args) => &args.study.storage,
        StudyCommand::Export(args) => &args.study.storage,
    };
    layer.studies.url.clone_from(storage);
}
