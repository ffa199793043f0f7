//! `btc run`: an entry point of an MLproject file, recorded as a run.

use std::process::ExitCode;

use btc_track::mlproject::{Project, ProjectRunConfig, run_project};
use serde_json::json;

use crate::exit::FAILURE;
use crate::output::printer::Printer;
use crate::settings::environment::SECRET_VARIABLES;
use crate::settings::requests::tracking::ProjectRequest;
use crate::settings::resolve::Settings;
use crate::stores::tracking_client;

pub(crate) fn run(
    request: ProjectRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let project = Project::load(&request.path)?;
    // Found before anything is recorded.
    project.entry_point(&request.entry_point)?;
    let client = tracking_client(settings)?;
    let experiment = client.get_or_create_experiment(&settings.experiment_name.value)?;
    // The command finds the same project, wherever its own folder is.
    let root = std::path::absolute(&settings.root.value)?;
    let config = ProjectRunConfig {
        entry_point: request.entry_point,
        parameters: request.parameters,
        experiment_id: experiment.experiment_id,
        run_name: request.run_name,
        user: String::new(),
        environment: vec![("BTC_ROOT".into(), root.display().to_string())],
        secrets: SECRET_VARIABLES.map(str::to_owned).to_vec(),
        system_metrics: request.system_metrics,
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
    let code = done.exit_code.and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(FAILURE)))
}
