//! A run's model folder becomes a registered version: candidates, a check of the folder, and one
//! atomic registration with tags and aliases.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::client::{TrackingClient, all_pages, join_uri};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::{NewModelVersion, RunQuery};

/// Tag of a version whose forecasts are no better than repeating the last value.
pub const WORSE_THAN_NAIVE_TAG: &str = "worse_than_naive";
const STATE_TAG: &str = "state";
const COMPLETE: &str = "COMPLETE";

/// Whether small or large values of a metric are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Direction {
    /// Small values are good.
    #[default]
    Minimize,
    /// Large values are good.
    Maximize,
}

impl Direction {
    /// Whether `left` is better than `right`.
    pub fn is_better(self, left: f64, right: f64) -> bool {
        match self {
            Self::Minimize => left < right,
            Self::Maximize => left > right,
        }
    }
}

/// Which run to register, and how.
#[derive(Debug, Clone)]
pub struct RegisterBest {
    /// Name or id of the experiment.
    pub experiment: String,
    /// The metric that decides.
    pub metric: String,
    /// Whether small or large values are good.
    pub direction: Direction,
    /// The registered model; created if it is missing.
    pub model_name: String,
    /// Where the bundle lies among the run's artifacts.
    pub artifact_path: String,
    /// The alias to point to the new version.
    pub set_alias: Option<String>,
    /// Tags of the new version.
    pub tags: Vec<Tag>,
    /// Description of the new version.
    pub description: String,
}

impl RegisterBest {
    /// The run with the smallest `metric` becomes a version of `model_name`.
    pub fn new(
        experiment: impl Into<String>,
        metric: impl Into<String>,
        model_name: impl Into<String>,
    ) -> Self {
        Self {
            experiment: experiment.into(),
            metric: metric.into(),
            direction: Direction::Minimize,
            model_name: model_name.into(),
            artifact_path: "model".into(),
            set_alias: None,
            tags: Vec::new(),
            description: String::new(),
        }
    }

    /// Points `alias` to the new version.
    #[must_use]
    pub fn with_alias(mut self, alias: impl Into<String>) -> Self {
        self.set_alias = Some(alias.into());
        self
    }
}

/// What was registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The version of the run.
    pub version: ModelVersion,
    /// The run it was made from.
    pub run: Run,
    /// The run's value of the deciding metric.
    pub value: f64,
    /// Whether the run was registered before, as this version.
    pub already_registered: bool,
    /// Better runs that were passed over, and why.
    pub skipped: Vec<(RunId, String)>,
}

/// Looks at a run's bundle: tags for its version, or why it cannot be registered.
pub type Validate<'a> = dyn Fn(&Run, &Path) -> Result<Vec<Tag>, String> + 'a;

/// Registers the best finished run of an experiment as a model version.
///
/// A run counts if [`finished_runs`] has it, the metric has a value, and its bundle is there and
/// passes `validate`, which returns tags for the version. `validate` is called for the best run
/// first and not again once it says yes. Model, version, tags and alias appear in one transaction;
/// a run that is registered already gives its version, as [`register_run`].
///
/// # Errors
///
/// `NotFound` if the experiment is missing, `NoCandidate` if no run counts.
pub fn register_best(
    client: &TrackingClient,
    request: &RegisterBest,
    validate: &Validate<'_>,
) -> Result<Registered> {
    let experiment = client.experiment(&request.experiment)?;
    let mut skipped = Vec::new();
    for (value, run) in candidates(client, &experiment, request)? {
        match check_bundle(client, &run, request, validate)? {
            Ok(tags) => return register(client, request, run, value, tags, skipped),
            Err(reason) => skipped.push((run.info.run_id, reason)),
        }
    }
    let reason = match skipped.first() {
        Some((run, reason)) => {
            format!(
                "{} runs have no valid model, the best of them {run}: {reason}",
                skipped.len()
            )
        }
        None => format!("no finished run has a value of {:?}", request.metric),
    };
    Err(Error::NoCandidate {
        experiment: experiment.name,
        reason,
    })
}

/// The finished runs of an experiment that were not ended early, the earliest first: those whose
/// tag `state` is missing or `COMPLETE`.
///
/// # Errors
///
/// If the store fails.
pub fn finished_runs(client: &TrackingClient, experiment_id: &str) -> Result<Vec<Run>> {
    let mut query = RunQuery::new([experiment_id])
        .with_filter("attributes.status = 'FINISHED'")
        .with_order("attributes.start_time ASC");
    let mut runs = all_pages(|token| {
        query.page_token = token;
        client.tracking.search_runs(&query)
    })?;
    runs.retain(|run| run.tag(STATE_TAG).is_none_or(|state| state == COMPLETE));
    Ok(runs)
}

/// The runs that count with their values, the best first; of equals the earliest.
fn candidates(
    client: &TrackingClient,
    experiment: &Experiment,
    request: &RegisterBest,
) -> Result<Vec<(f64, Run)>> {
    let mut found: Vec<(f64, Run)> = finished_runs(client, &experiment.experiment_id)?
        .into_iter()
        .filter_map(|run| Some((run.metric(&request.metric)?, run)))
        .filter(|(value, _)| !value.is_nan())
        .collect();
    found.sort_by(|(a, _), (b, _)| match request.direction {
        Direction::Minimize => a.total_cmp(b),
        Direction::Maximize => b.total_cmp(a),
    });
    Ok(found)
}

/// A folder of a run's artifacts on this computer.
#[derive(Debug)]
pub struct ArtifactFolder {
    path: PathBuf,
    /// Removed with this value; none if the artifacts lie here anyway.
    _copy: Option<TempDir>,
}

impl ArtifactFolder {
    /// Where the files are.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens the folder `path` of a run's artifacts: where it lies, or a copy if its store is not on
/// this computer. `None` if there is no file in it.
///
/// # Errors
///
/// If the artifacts cannot be listed or copied.
pub fn open_artifacts(
    client: &TrackingClient,
    run: &Run,
    path: &str,
) -> Result<Option<ArtifactFolder>> {
    let uri = join_uri(&run.info.artifact_uri, path);
    if client.artifacts.list(&uri, "")?.is_empty() {
        return Ok(None);
    }
    if let Some(path) = client.artifacts.local_path(&uri) {
        return Ok(Some(ArtifactFolder { path, _copy: None }));
    }
    let folder = tempfile::tempdir().map_err(Error::artifact("create", "a temporary folder"))?;
    client.download_folder(&uri, "", folder.path())?;
    Ok(Some(ArtifactFolder {
        path: folder.path().to_owned(),
        _copy: Some(folder),
    }))
}

fn check_bundle(
    client: &TrackingClient,
    run: &Run,
    request: &RegisterBest,
    validate: &Validate<'_>,
) -> Result<Result<Vec<Tag>, String>> {
    Ok(match open_artifacts(client, run, &request.artifact_path)? {
        Some(folder) => validate(run, folder.path()),
        None => Err(format!(
            "its artifacts have no folder {:?}",
            request.artifact_path
        )),
    })
}

fn register(
    client: &TrackingClient,
    request: &RegisterBest,
    run: Run,
    value: f64,
    found: Vec<Tag>,
    skipped: Vec<(RunId, String)>,
) -> Result<Registered> {
    let mut tags = request.tags.clone();
    tags.extend(found);
    tags.push(Tag::new("metric", &request.metric));
    tags.push(Tag::new("metric_value", value.to_string()));
    let new = RegisterRun {
        model_name: request.model_name.clone(),
        artifact_path: request.artifact_path.clone(),
        description: request.description.clone(),
        tags,
        aliases: request.set_alias.iter().cloned().collect(),
    };
    let (version, already_registered) = register_run(client, &run, &new)?;
    Ok(Registered {
        version,
        run,
        value,
        already_registered,
        skipped,
    })
}

/// How a given run is registered.
#[derive(Debug, Clone, Default)]
pub struct RegisterRun {
    /// The registered model; created if it is missing.
    pub model_name: String,
    /// Where the bundle lies among the run's artifacts.
    pub artifact_path: String,
    /// Description of a new version.
    pub description: String,
    /// Tags of the version.
    pub tags: Vec<Tag>,
    /// Aliases to point to the version.
    pub aliases: Vec<String>,
}

/// Registers a run's folder as a version of a model, and says whether it was one already.
///
/// A new version appears with its tags and aliases in one transaction. One run is one version of a
/// model: where the folder is registered already, that version gets the tags and aliases, and no
/// other is made, however many register the run at once.
///
/// # Errors
///
/// If a name is not allowed or the store fails.
pub fn register_run(
    client: &TrackingClient,
    run: &Run,
    request: &RegisterRun,
) -> Result<(ModelVersion, bool)> {
    client.register_model_version(&NewModelVersion {
        name: request.model_name.clone(),
        create_model: true,
        source: join_uri(&run.info.artifact_uri, &request.artifact_path),
        run_id: Some(run.info.run_id.clone()),
        model_id: None,
        run_link: String::new(),
        content: None,
        description: request.description.clone(),
        tags: request.tags.clone(),
        aliases: request.aliases.clone(),
    })
}
