//! What is asked of the tracking store, and of the page that serves it.

use std::path::PathBuf;
use std::time::Duration;

use btc_track::{CopySelection, Durability, RunQuery, ViewType};

use crate::cli::run::RunArgs;
use crate::cli::serve::ServeArgs;
use crate::cli::track::{CopyArgs, RunsArgs};
use crate::cli::values::DurabilityLevel;

/// The runs of an experiment to be listed; the experiment is that of the settings.
pub(crate) fn run_query(args: RunsArgs) -> RunQuery {
    let mut query = RunQuery::new(Vec::<String>::new())
        .with_filter(args.filter)
        .with_max_results(args.limit);
    query.order_by = args.order_by;
    query.view = if args.deleted {
        ViewType::DeletedOnly
    } else {
        ViewType::ActiveOnly
    };
    query
}

/// Runs and models to be copied from one place to another; no place is this project.
#[derive(Debug)]
pub(crate) struct CopyRequest {
    pub(crate) from: Option<String>,
    pub(crate) to: Option<String>,
    pub(crate) selection: CopySelection,
}

impl From<CopyArgs> for CopyRequest {
    fn from(args: CopyArgs) -> Self {
        let selected = |names: Vec<String>| Some(names).filter(|names| !names.is_empty());
        Self {
            from: args.from,
            to: args.to,
            selection: CopySelection {
                experiments: selected(args.experiment),
                models: selected(args.model),
            },
        }
    }
}

/// An entry point of an MLproject file to be run.
#[derive(Debug)]
pub(crate) struct ProjectRequest {
    pub(crate) path: PathBuf,
    pub(crate) entry_point: String,
    pub(crate) parameters: Vec<(String, String)>,
    pub(crate) run_name: Option<String>,
    /// How often the machine's load is sampled, if it is.
    pub(crate) system_metrics: Option<Duration>,
}

impl From<RunArgs> for ProjectRequest {
    fn from(args: RunArgs) -> Self {
        let interval = Duration::from_secs(args.sampling_interval.into());
        Self {
            path: args.path,
            entry_point: args.entry_point,
            parameters: args.params,
            run_name: args.run_name,
            system_metrics: args.system_metrics.then_some(interval),
        }
    }
}

/// How the web page is served.
#[derive(Debug)]
pub(crate) struct ServeRequest {
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) insecure: bool,
    pub(crate) durability: Durability,
}

impl From<ServeArgs> for ServeRequest {
    fn from(args: ServeArgs) -> Self {
        Self {
            allowed_hosts: args.allowed_host,
            insecure: args.insecure,
            durability: match args.durability {
                DurabilityLevel::Process => Durability::Process,
                DurabilityLevel::Full => Durability::Full,
            },
        }
    }
}
