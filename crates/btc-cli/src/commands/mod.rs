//! One file per noun: parse to plain values, call one function, print.

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

use crate::args::Command;
use crate::printer::Printer;
use crate::settings::Settings;

/// Runs one command. Commands that wait for the network get a runtime; the
/// others start without one.
pub(crate) fn dispatch(
    command: Command,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let command = match command {
        Command::Alias(alias) => alias.translate(),
        command => command,
    };
    match command {
        Command::Config(command) => config::run(command, settings, printer),
        Command::Completions(args) => config::completions(&args, printer),
        Command::Data(command) => block_on(data::run(command, settings, printer)),
        Command::Features(command) => block_on(features::run(command, settings, printer)),
        Command::Tune(command) => block_on(tune::run(command, settings, printer)),
        Command::Model(command) => block_on(model::run(command, settings, printer)),
        Command::Track(command) => track::run(command, settings, printer),
        Command::Run(args) => run::run(args, settings, printer),
        Command::Predict(args) => block_on(predict::run(args, settings, printer)),
        Command::Backtest(args) => block_on(backtest::run(args, settings, printer)),
        Command::Pipeline(command) => block_on(pipeline::run(command, settings, printer)),
        Command::Serve(args) => block_on(serve::run(args, settings, printer)),
        Command::Alias(_) => {
            unreachable!("aliases were translated above, and translate to no alias")
        }
    }
}

fn block_on<F>(future: F) -> anyhow::Result<ExitCode>
where
    F: Future<Output = anyhow::Result<ExitCode>>,
{
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(future)
}
