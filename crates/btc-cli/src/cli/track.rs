//! What can be typed after `btc track`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum TrackCommand {
    /// List experiments
    #[command(after_help = "Examples:\n  btc track experiments\n  btc track experiments --json")]
    Experiments,
    /// Search the runs of an experiment
    Runs(RunsArgs),
    /// Show one run with all its values
    #[command(
        after_help = "Examples:\n  btc track show 0123456789abcdef0123456789abcdef\n  btc track show 0123456789abcdef0123456789abcdef --json"
    )]
    Show {
        /// The run's id
        run_id: String,
    },
    /// Print the values of a metric
    Metrics(MetricsArgs),
    /// List the artifacts of a run, or write one to a file
    Artifacts(ArtifactsArgs),
    /// Delete a run; it can be restored
    Delete {
        /// The run's id
        run_id: String,
    },
    /// Restore a deleted run
    Restore {
        /// The run's id
        run_id: String,
    },
    /// Remove deleted runs and their artifacts for good
    Gc(GcArgs),
    /// Copy runs and models between projects and MLflow servers
    Copy(CopyArgs),
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc track runs --order-by 'metrics.MAPE ASC'\n  btc track runs --experiment crypto-reg-experiment --filter \"metrics.MAPE < 5 AND tags.state = 'COMPLETE'\" --json"
)]
pub(crate) struct RunsArgs {
    /// The experiment, by name or id
    #[arg(long, value_name = "NAME-OR-ID")]
    pub(crate) experiment: Option<String>,
    /// Comparisons joined by AND, such as metrics.MAPE < 5
    #[arg(long, value_name = "FILTER", default_value = "")]
    pub(crate) filter: String,
    /// A key and a direction, such as 'metrics.MAPE ASC' [default: newest first]
    #[arg(long, value_name = "KEY")]
    pub(crate) order_by: Vec<String>,
    /// Show deleted runs
    #[arg(long)]
    pub(crate) deleted: bool,
    /// At most so many runs
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc track metrics 0123456789abcdef0123456789abcdef loss\n  btc track metrics 0123456789abcdef0123456789abcdef loss --json"
)]
pub(crate) struct MetricsArgs {
    /// The run's id
    pub(crate) run_id: String,
    /// The metric's name
    pub(crate) key: String,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc track artifacts 0123456789abcdef0123456789abcdef model\n  btc track artifacts 0123456789abcdef0123456789abcdef model/MLmodel --output MLmodel"
)]
pub(crate) struct ArtifactsArgs {
    /// The run's id
    pub(crate) run_id: String,
    /// A folder, or with --output a file, among the artifacts
    #[arg(default_value = "")]
    pub(crate) path: String,
    /// Write the file there
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  btc track gc --dry-run\n  btc track gc --older-than-days 30")]
pub(crate) struct GcArgs {
    /// Only what was deleted so many days ago
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    pub(crate) older_than_days: u32,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc track copy --to http://127.0.0.1:5000\n  btc track copy --from http://127.0.0.1:5000 --experiment crypto-reg-experiment"
)]
pub(crate) struct CopyArgs {
    /// A server, or a project's folder [default: this project]
    #[arg(long, value_name = "URI", required_unless_present = "to")]
    pub(crate) from: Option<String>,
    /// A server, or a project's folder [default: this project]
    #[arg(long, value_name = "URI")]
    pub(crate) to: Option<String>,
    /// Only this experiment, by name or id; may be given several times
    #[arg(long, value_name = "NAME-OR-ID")]
    pub(crate) experiment: Vec<String>,
    /// Only this registered model; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Vec<String>,
}
