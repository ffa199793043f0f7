//! The commands.

use clap::Subcommand;

use crate::cli::{
    backtest, config, data, features, model, pipeline, predict, run, serve, track, tune,
};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Pull market data and look at it
    #[command(subcommand)]
    Data(data::DataCommand),
    /// Declare features and join them as of a time
    #[command(subcommand)]
    Features(features::FeaturesCommand),
    /// Search hyperparameters
    #[command(subcommand)]
    Tune(tune::TuneCommand),
    /// Register models and look at them
    #[command(subcommand)]
    Model(model::ModelCommand),
    /// Look at experiments, runs and their artifacts
    #[command(subcommand)]
    Track(track::TrackCommand),
    /// Run an entry point of an MLproject file and record it
    Run(run::RunArgs),
    /// Forecast the next day with a registered model
    Predict(predict::PredictArgs),
    /// Compare models over past days, beside baselines
    Backtest(backtest::BacktestArgs),
    /// The whole workflow in one go
    #[command(subcommand)]
    Pipeline(pipeline::PipelineCommand),
    /// Serve the web page
    Serve(serve::ServeArgs),
    /// Show the settings and where they come from
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script for a shell
    Completions(config::CompletionsArgs),
}
