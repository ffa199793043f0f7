//! The flags that set what `btc.toml` can set: the uppermost layer.

use crate::cli::command::Command;
use crate::cli::data::{DataCommand, Endpoints};
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
        }
        Command::Model(ModelCommand::Show { name }) => layer.model.name.clone_from(name),
        Command::Track(TrackCommand::Runs(args)) => {
            layer.tracking.experiment_name.clone_from(&args.experiment);
        }
        Command::Run(args) => layer
            .tracking
            .experiment_name
            .clone_from(&args.experiment_name),
        Command::Predict(args) => layer.model.name.clone_from(&args.model_name),
        Command::Backtest(args) => layer.model.name.clone_from(&args.model_name),
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
