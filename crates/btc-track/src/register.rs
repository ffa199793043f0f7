use std::path::Path;

use crate::client::{TrackingClient, all_pages, join_uri};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::{NewModelVersion, RunQuery};

/// Tag of a version that the naive forecast beats.
pub const WORSE_THAN_NAIVE_TAG: &str = "worse_than_naive";
const STATE_TAG: &str = "state";
const COMPLETE: &str = "COMPLETE";
const CHAMPION: &str = "champion";

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

/// How a model is compared with the naive forecast.
#[derive(Debug, Clone, PartialEq)]
pub struct NaiveRule {
    /// A metric of the run, such as `relative_mae`.
    pub metric: String,
    /// A model is better than naive if the metric is below this.
    pub below: f64,
}

impl NaiveRule {
    /// A metric relative to the naive forecast: better means below 1.
    pub fn relative(metric: impl Into<String>) -> Self {
        Self {
            metric: metric.into(),
            below: 1.0,
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
    /// How a run is compared with the naive forecast; none skips it, and so
    /// does a run without that metric.
    pub naive: Option<NaiveRule>,
    /// Registers a model that is no better than naive too, with a tag.
    pub allow_worse_than_naive: bool,
    /// The alias to point to the new version. A version that is worse than
    /// naive does not get it.
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
            naive: None,
            allow_worse_than_naive: false,
            set_alias: None,
            tags: Vec::new(),
            description: String::new(),
        }
    }

    /// Compares with the naive forecast by `rule`.
    #[must_use]
    pub fn with_naive(mut self, rule: NaiveRule) -> Self {
        self.naive = Some(rule);
        self
    }

    /// Points `alias` to the new version.
    #[must_use]
    pub fn with_alias(mut self, alias: impl Into<String>) -> Self {
        self.set_alias = Some(alias.into());
        self
    }
}

/// What a look at a candidate's bundle found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Verdict {
    /// Tags for the version, such as scores that were only now computed.
    pub tags: Vec<Tag>,
    /// The metric of the [`NaiveRule`] measured on the bundle itself; it
    /// replaces the run's own value.
    pub relative_to_naive: Option<f64>,
}

/// The champion at the time of a registration.
#[derive(Debug, Clone, PartialEq)]
pub struct Champion {
    /// Its version.
    pub version: ModelVersion,
    /// Its value of the deciding metric, if its run still has one.
    pub value: Option<f64>,
    /// Whether the new version is better; none without a value.
    pub is_beaten: Option<bool>,
}

/// What was registered.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The new version.
    pub version: ModelVersion,
    /// The run it was made from.
    pub run: Run,
    /// The run's value of the deciding metric.
    pub value: f64,
    /// The version that was the champion before, if there was one.
    pub champion: Option<Champion>,
    /// Whether the naive forecast is at least as good.
    pub worse_than_naive: bool,
    /// Better runs that were passed over, and why.
    pub skipped: Vec<(RunId, String)>,
}

/// Registers the best finished run of an experiment as a model version.
///
/// A run counts if it is finished, its tag `state` is missing or `COMPLETE`
/// (so it was not pruned), the metric has a value, and its bundle is there
/// and passes `validate`, which may also judge it on data that no run has
/// seen. `validate` is called for the best run first and not again once it
/// says yes. Model, version, tags and alias appear in one transaction.
///
/// # Errors
///
/// `NotFound` if the experiment is missing, `NoCandidate` if no run counts,
/// `WorseThanNaive` if the best does not beat the naive forecast.
pub fn register_best(
    client: &TrackingClient,
    request: &RegisterBest,
    validate: &dyn Fn(&Run, &Path) -> Result<Verdict, String>,
) -> Result<Registered> {
    let experiment = client.experiment(&request.experiment)?;
    let mut skipped = Vec::new();
    for run in candidates(client, &experiment, request)? {
        match check_bundle(client, &run, request, validate) {
            Ok(verdict) => return register(client, request, run, verdict, skipped),
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

/// The runs that count, the best first.
fn candidates(
    client: &TrackingClient,
    experiment: &Experiment,
    request: &RegisterBest,
) -> Result<Vec<Run>> {
    let key = quote_key(&request.metric)?;
    let direction = match request.direction {
        Direction::Minimize => "ASC",
        Direction::Maximize => "DESC",
    };
    let mut query = RunQuery::new([&experiment.experiment_id])
        .with_filter("attributes.status = 'FINISHED'")
        .with_order(format!("metrics.{key} {direction}"));
    let runs = all_pages(|token| {
        query.page_token = token;
        client.tracking.search_runs(&query)
    })?;
    let counts = |run: &Run| {
        run.tag(STATE_TAG).is_none_or(|state| state == COMPLETE)
            && run
                .metric(&request.metric)
                .is_some_and(|value| !value.is_nan())
    };
    Ok(runs.into_iter().filter(counts).collect())
}

/// A metric name as a key of the filter language.
fn quote_key(name: &str) -> Result<String> {
    if name.is_empty() || name.contains('`') {
        return Err(Error::invalid(format!(
            "{name:?} is not the name of a metric"
        )));
    }
    Ok(format!("`{name}`"))
}

fn check_bundle(
    client: &TrackingClient,
    run: &Run,
    request: &RegisterBest,
    validate: &dyn Fn(&Run, &Path) -> Result<Verdict, String>,
) -> Result<Verdict, String> {
    let uri = join_uri(&run.info.artifact_uri, &request.artifact_path);
    let files = client
        .artifacts
        .list(&uri, "")
        .map_err(|error| error.to_string())?;
    if files.is_empty() {
        return Err(format!(
            "its artifacts have no folder {:?}",
            request.artifact_path
        ));
    }
    if let Some(path) = client.artifacts.local_path(&uri) {
        return validate(run, &path);
    }
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    client
        .download_folder(&uri, "", folder.path())
        .map_err(|error| error.to_string())?;
    validate(run, folder.path())
}

fn register(
    client: &TrackingClient,
    request: &RegisterBest,
    run: Run,
    verdict: Verdict,
    skipped: Vec<(RunId, String)>,
) -> Result<Registered> {
    let value = run.metric(&request.metric).unwrap_or(f64::NAN);
    let naive = request.naive.as_ref().and_then(|rule| {
        Some((
            rule,
            verdict.relative_to_naive.or(run.metric(&rule.metric))?,
        ))
    });
    // NaN is not better than anything.
    let worse = naive.filter(|(rule, value)| value.is_nan() || *value >= rule.below);
    if let Some((rule, value)) = worse
        && !request.allow_worse_than_naive
    {
        return Err(Error::WorseThanNaive {
            run: run.info.run_id,
            metric: rule.metric.clone(),
            value,
            limit: rule.below,
        });
    }
    let champion = champion(client, request, value)?;
    let mut tags = request.tags.clone();
    tags.extend(verdict.tags);
    tags.push(Tag::new("metric", &request.metric));
    tags.push(Tag::new("metric_value", value.to_string()));
    let mut aliases: Vec<String> = request.set_alias.iter().cloned().collect();
    if worse.is_some() {
        tags.push(Tag::new(WORSE_THAN_NAIVE_TAG, "true"));
        aliases.clear();
    }
    let version = client.registry.create_model_version(&NewModelVersion {
        name: request.model_name.clone(),
        create_model: true,
        source: join_uri(&run.info.artifact_uri, &request.artifact_path),
        run_id: Some(run.info.run_id.clone()),
        model_id: None,
        run_link: String::new(),
        description: request.description.clone(),
        tags,
        aliases,
    })?;
    Ok(Registered {
        version,
        run,
        value,
        champion,
        worse_than_naive: worse.is_some(),
        skipped,
    })
}

fn champion(client: &TrackingClient, request: &RegisterBest, new: f64) -> Result<Option<Champion>> {
    // Neither the model nor the alias has to exist.
    let model = match client.registry.registered_model(&request.model_name) {
        Err(error) if error.is_not_found() => return Ok(None),
        model => model?,
    };
    let Some((_, version)) = model.aliases.iter().find(|(alias, _)| alias == CHAMPION) else {
        return Ok(None);
    };
    let version = client
        .registry
        .model_version(&request.model_name, *version)?;
    let value = match version.run_id.as_deref().map(|id| client.tracking.run(id)) {
        Some(Ok(run)) => run.metric(&request.metric).filter(|value| !value.is_nan()),
        Some(Err(error)) if !error.is_not_found() => return Err(error),
        _ => None,
    };
    let is_beaten = value.map(|old| request.direction.is_better(new, old));
    Ok(Some(Champion {
        version,
        value,
        is_beaten,
    }))
}
