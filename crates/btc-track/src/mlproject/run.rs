//! Runs an entry point of a project as a recorded run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Project;
use crate::active_run::{ActiveRun, RunSpec};
use crate::client::TrackingClient;
use crate::entity::{RunId, RunStatus};
use crate::error::{Error, Result};
use crate::provenance::commit_without;

/// How a project is run.
#[derive(Debug, Clone, Default)]
pub struct ProjectRunConfig {
    /// The entry point.
    pub entry_point: String,
    /// Parameters as name and value.
    pub parameters: Vec<(String, String)>,
    /// The experiment that takes the run.
    pub experiment_id: String,
    /// The run's name; none lets the store choose.
    pub run_name: Option<String>,
    /// Who runs it; may be empty.
    pub user: String,
    /// Further environment variables of the command, such as
    /// `MLFLOW_TRACKING_URI`.
    pub environment: Vec<(String, String)>,
    /// Environment variables of this process that the command must not see.
    pub secrets: Vec<String>,
    /// Log what the machine does this often while the command runs; see
    /// [`ActiveRun::with_system_metrics`].
    #[cfg(feature = "system-metrics")]
    pub system_metrics: Option<std::time::Duration>,
}

/// What became of a project's run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRun {
    /// The run that records it.
    pub run_id: RunId,
    /// The command that was run.
    pub command: String,
    /// The value of every parameter.
    pub parameters: BTreeMap<String, String>,
    /// The exit code; none if a signal ended it.
    pub exit_code: Option<i32>,
}

/// Runs an entry point in the project's folder and records it as a run.
///
/// The command finds its run in the environment variable `MLFLOW_RUN_ID`; its
/// input and output are those of this process. The run ends as finished if
/// the exit code is 0 and as failed otherwise.
///
/// # Errors
///
/// `NotFound` without such an entry point, `InvalidParameter` for wrong
/// parameters, both before a run is created; `Store` if the shell cannot be
/// started.
pub fn run_project(
    client: &TrackingClient,
    project: &Project,
    config: &ProjectRunConfig,
) -> Result<ProjectRun> {
    let entry = project.entry_point(&config.entry_point)?;
    let (command, parameters) = entry.command_line(&config.parameters)?;
    let spec = RunSpec {
        name: config.run_name.clone(),
        user: config.user.clone(),
        ..RunSpec::default()
    };
    let mut spec = spec
        .with_tag("mlflow.source.name", project.folder.display().to_string())
        .with_tag("mlflow.source.type", "PROJECT")
        .with_tag("mlflow.project.entryPoint", &entry.name)
        .with_tag("mlflow.project.backend", "local")
        .with_tag("mlflow.project.env", "local");
    if let Some(commit) = commit_without(&project.folder, &config.secrets) {
        spec = spec.with_tag("mlflow.source.git.commit", commit);
    }
    let run = ActiveRun::start(client, &config.experiment_id, spec)?;
    #[cfg(feature = "system-metrics")]
    let run = match config.system_metrics {
        Some(interval) => run.with_system_metrics(interval),
        None => run,
    };
    run.log_params(&parameters)?;
    let run_id = run.id().to_owned();
    // A run that cannot be started is dropped here and ends as failed.
    let exit_code = execute(&project.folder, &command, &run_id, config)?;
    run.set_tag(
        "exit_code",
        exit_code.map_or("none".into(), |code| code.to_string()),
    )?;
    run.end(if exit_code == Some(0) {
        RunStatus::Finished
    } else {
        RunStatus::Failed
    })?;
    Ok(ProjectRun {
        run_id,
        command,
        parameters,
        exit_code,
    })
}

fn execute(
    folder: &Path,
    command: &str,
    run_id: &str,
    config: &ProjectRunConfig,
) -> Result<Option<i32>> {
    let mut shell = Command::new("bash");
    for name in &config.secrets {
        shell.env_remove(name);
    }
    let status = shell
        .args(["-c", command])
        .current_dir(folder)
        .env("MLFLOW_RUN_ID", run_id)
        .env("MLFLOW_EXPERIMENT_ID", &config.experiment_id)
        .envs(config.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::inherit())
        .status();
    let failed = |source| Error::Store {
        action: "start bash".into(),
        source: Box::new(source),
    };
    Ok(status.map_err(failed)?.code())
}
