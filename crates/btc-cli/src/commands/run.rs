//! `btc run`: an entry point of an MLproject file, recorded as a run.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use btc_track::mlproject::{Project, ProjectRunConfig, run_project};
use clap::Args;
use serde_json::json;

use crate::exit::FAILURE;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::tracking::tracking_client;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc run . -e price-predict -P date-end=2023-01-10\n  btc run . -e price-regression-optimize -P model_type=lstm -P n_trials=10"
)]
pub(crate) struct RunArgs {
    /// The project's folder, where MLproject lies
    #[arg(value_name = "PATH", default_value = ".")]
    path: PathBuf,
    /// The entry point
    #[arg(long, short, value_name = "NAME", default_value = "main")]
    entry_point: String,
    /// A parameter; may be given several times
    #[arg(long = "param", short = 'P', value_name = "NAME=VALUE", value_parser = parse_pair)]
    params: Vec<(String, String)>,
    /// The experiment that takes the run, created if it is missing
    #[arg(long, value_name = "NAME")]
    experiment_name: Option<String>,
    /// The run's name
    #[arg(long, value_name = "NAME")]
    run_name: Option<String>,
    /// Where the command runs: this machine, as it is
    #[arg(long, value_name = "KIND", default_value = "local", value_parser = ["local"])]
    env_manager: String,
    /// Log processor and memory use beside the run's metrics
    #[arg(
        long,
        env = "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING",
        value_parser = clap::builder::BoolishValueParser::new()
    )]
    system_metrics: bool,
    /// Seconds between two samples of them
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 10,
        env = "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    sampling_interval: u32,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

pub(crate) fn run(
    args: RunArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let project = Project::load(&args.path)?;
    // Found before anything is recorded.
    project.entry_point(&args.entry_point)?;
    let client = tracking_client(settings)?;
    let name = args
        .experiment_name
        .unwrap_or_else(|| settings.experiment_name.value.clone());
    let experiment = client.get_or_create_experiment(&name)?;
    // The command finds the same project, wherever its own folder is.
    let root = std::path::absolute(&settings.root.value)?;
    let config = ProjectRunConfig {
        entry_point: args.entry_point,
        parameters: args.params,
        experiment_id: experiment.experiment_id,
        run_name: args.run_name,
        user: String::new(),
        environment: vec![("BTC_ROOT".into(), root.display().to_string())],
        system_metrics: args
            .system_metrics
            .then(|| Duration::from_secs(args.sampling_interval.into())),
    };
    let done = run_project(&client, &project, &config)?;
    if printer.is_json() {
        printer.json(&json!({
            "run_id": done.run_id,
            "command": done.command,
            "parameters": done.parameters,
            "exit_code": done.exit_code,
        }))?;
    } else {
        printer.note(format!("run {}: {}", done.run_id, done.command));
    }
    // The command's own exit code is the answer.
    let code = done
        .exit_code
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(FAILURE);
    Ok(ExitCode::from(code))
}
