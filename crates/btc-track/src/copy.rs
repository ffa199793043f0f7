//! Runs and models from one store to another.

use std::collections::{BTreeMap, BTreeSet};

use crate::client::{TrackingClient, all_pages, join_uri};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

/// Tag of a copied run: the id of the original.
pub const COPIED_FROM_TAG: &str = "copied_from";
const PARENT_TAG: &str = "mlflow.parentRunId";
/// Values that are sent together.
const CHUNK: usize = 1000;
/// How deep folders of artifacts may be nested.
const MAX_DEPTH: usize = 64;

/// What to copy.
#[derive(Debug, Clone, Default)]
pub struct CopySelection {
    /// Names or ids of experiments; none copies all.
    pub experiments: Option<Vec<String>>,
    /// Names of registered models; none copies all.
    pub models: Option<Vec<String>>,
}

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Runs, as original id and new id; runs that were there already count.
    pub runs: BTreeMap<RunId, RunId>,
    /// Runs that were there already.
    pub known_runs: usize,
    /// Files of runs.
    pub files: usize,
    /// New model versions, as name and number.
    pub versions: Vec<(String, u64)>,
    /// Versions without a copy, and why.
    pub skipped_versions: Vec<String>,
    /// Logged models, as original id and new id; those that were there already
    /// count.
    pub logged_models: BTreeMap<String, String>,
    /// Files without a copy, and why.
    pub skipped_files: Vec<String>,
}

/// Copies experiments, their active runs with every value and file, their
/// logged models, and registered models made from these runs.
///
/// A run that was copied before is recognised by its tag [`COPIED_FROM_TAG`]
/// and left alone, so an interrupted copy can be repeated; a model version is
/// recognised by its source. Ids are new, names, times and values are kept.
///
/// ```
/// use btc_track::{CopySelection, TrackingClient, copy};
///
/// # let folder = tempfile::tempdir()?;
/// let from = TrackingClient::in_memory(&folder.path().join("from"))?;
/// let to = TrackingClient::in_memory(&folder.path().join("to"))?;
/// let copied = copy(&from, &to, &CopySelection::default())?;
/// assert!(copied.runs.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The first error of either store; what was copied until then stays. A file
/// whose name or place the target refuses is no error but skipped, see
/// [`Copied::skipped_files`].
pub fn copy(
    from: &TrackingClient,
    to: &TrackingClient,
    selection: &CopySelection,
) -> Result<Copied> {
    let experiments = match &selection.experiments {
        Some(names) => names
            .iter()
            .map(|name| from.experiment(name))
            .collect::<Result<_>>()?,
        None => from.experiments()?,
    };
    let mut copy = Copy {
        from,
        to,
        copied: Copied::default(),
    };
    for experiment in &experiments {
        copy.experiment(experiment)?;
    }
    let models: Vec<String> = match &selection.models {
        Some(names) => names.clone(),
        None => from
            .registered_models()?
            .into_iter()
            .map(|model| model.name)
            .collect(),
    };
    for name in &models {
        copy.model(name)?;
    }
    Ok(copy.copied)
}

struct Copy<'a> {
    from: &'a TrackingClient,
    to: &'a TrackingClient,
    copied: Copied,
}

fn runs_of(client: &TrackingClient, experiment_id: &str, filter: &str) -> Result<Vec<Run>> {
    let mut query = RunQuery::new([experiment_id])
        .with_filter(filter)
        .with_order("start_time ASC");
    all_pages(|token| {
        query.page_token = token;
        client.tracking.search_runs(&query)
    })
}

fn models_of(client: &TrackingClient, experiment_id: &str) -> Result<Vec<LoggedModel>> {
    let experiments = [experiment_id.to_owned()];
    let mut query = SearchQuery::default();
    all_pages(|token| {
        query.page_token = token;
        client.tracking.search_logged_models(&experiments, &query)
    })
}

/// Runs in an order in which the copy of each parent is known in time.
fn parents_first(runs: Vec<Run>) -> Vec<Run> {
    let mut waiting: BTreeSet<RunId> = runs.iter().map(|run| run.info.run_id.clone()).collect();
    let (mut ordered, mut rest) = (Vec::new(), runs);
    loop {
        let (ready, later): (Vec<Run>, Vec<Run>) = rest.into_iter().partition(|run| {
            run.tag(PARENT_TAG)
                .is_none_or(|parent| !waiting.contains(parent))
        });
        if ready.is_empty() {
            // Whoever is left is its own ancestor.
            ordered.extend(later);
            return ordered;
        }
        ready.iter().for_each(|run| {
            waiting.remove(&run.info.run_id);
        });
        ordered.extend(ready);
        rest = later;
    }
}

impl Copy<'_> {
    fn experiment(&mut self, experiment: &Experiment) -> Result<()> {
        let target = self.to.get_or_create_experiment(&experiment.name)?;
        for tag in &experiment.tags {
            let change = ExperimentChange::SetTag(tag.clone());
            self.to
                .tracking
                .change_experiment(&target.experiment_id, &change)?;
        }
        let filter = format!("tags.{COPIED_FROM_TAG} IS NOT NULL");
        let known: BTreeMap<String, RunInfo> = runs_of(self.to, &target.experiment_id, &filter)?
            .into_iter()
            .filter_map(|run| Some((run.tag(COPIED_FROM_TAG)?.to_owned(), run.info)))
            .collect();
        let runs = parents_first(runs_of(self.from, &experiment.experiment_id, "")?);
        let mut open = Vec::new();
        for run in &runs {
            let original = run.info.run_id.clone();
            let copy = match known.get(&original) {
                Some(copy) if copy.status.is_terminal() => {
                    self.copied.known_runs += 1;
                    copy.clone()
                }
                // Interrupted, or the original still went on: values that are
                // there already are not doubled.
                Some(copy) => {
                    open.push(run);
                    copy.clone()
                }
                None => {
                    open.push(run);
                    self.create(run, &target.experiment_id)?
                }
            };
            self.copied.runs.insert(original, copy.run_id.clone());
            if open
                .last()
                .is_some_and(|last| last.info.run_id == run.info.run_id)
            {
                self.fill(run, &copy)?;
            }
        }
        // Models name runs and runs name models, so the runs end last.
        self.logged_models(experiment, &target)?;
        open.into_iter().try_for_each(|run| self.finish(run))
    }

    fn logged_models(&mut self, experiment: &Experiment, target: &Experiment) -> Result<()> {
        let known: BTreeMap<String, LoggedModel> = models_of(self.to, &target.experiment_id)?
            .into_iter()
            .filter_map(|model| {
                let tag = model.tags.iter().find(|tag| tag.key == COPIED_FROM_TAG)?;
                Some((tag.value.clone(), model.clone()))
            })
            .collect();
        for model in models_of(self.from, &experiment.experiment_id)? {
            let copy = match known.get(&model.model_id) {
                Some(copy) => copy.clone(),
                None => self.create_model(&model, &target.experiment_id)?,
            };
            if copy.status != model.status || !known.contains_key(&model.model_id) {
                self.fill_model(&model, &copy)?;
            }
            self.copied
                .logged_models
                .insert(model.model_id, copy.model_id);
        }
        Ok(())
    }

    fn create_model(&self, model: &LoggedModel, experiment_id: &str) -> Result<LoggedModel> {
        let mut tags = model.tags.clone();
        tags.retain(|tag| tag.key != COPIED_FROM_TAG);
        tags.push(Tag::new(COPIED_FROM_TAG, &model.model_id));
        let source = model.source_run_id.as_ref();
        self.to.tracking.create_logged_model(&NewLoggedModel {
            experiment_id: experiment_id.to_owned(),
            name: model.name.clone(),
            model_type: model.model_type.clone(),
            source_run_id: source.and_then(|id| self.copied.runs.get(id).cloned()),
            params: model.params.clone(),
            tags,
        })
    }

    /// Gives a copy of a logged model its files and values, its status last.
    fn fill_model(&mut self, model: &LoggedModel, copy: &LoggedModel) -> Result<()> {
        self.files(&model.artifact_uri, &copy.artifact_uri, "", 0)?;
        for metric in &model.metrics {
            let Some(run) = metric
                .run_id
                .as_ref()
                .and_then(|id| self.copied.runs.get(id))
            else {
                continue;
            };
            let metric = ModelMetric {
                model_id: copy.model_id.clone(),
                run_id: Some(run.clone()),
                ..metric.clone()
            };
            let batch = Batch {
                metrics: vec![metric.metric.clone()],
                model_metrics: vec![metric],
                ..Default::default()
            };
            self.to.tracking.log_batch(run, &batch)?;
        }
        if copy.status != model.status && model.status != LoggedModelStatus::Pending {
            let change = LoggedModelChange::Status(model.status);
            self.to
                .tracking
                .change_logged_model(&copy.model_id, &change)?;
        }
        Ok(())
    }

    fn create(&self, run: &Run, experiment_id: &str) -> Result<RunInfo> {
        let mut tags = run.data.tags.clone();
        for tag in &mut tags {
            if tag.key == PARENT_TAG
                && let Some(parent) = self.copied.runs.get(&tag.value)
            {
                tag.value.clone_from(parent);
            }
        }
        tags.retain(|tag| tag.key != COPIED_FROM_TAG);
        tags.push(Tag::new(COPIED_FROM_TAG, &run.info.run_id));
        let created = self.to.tracking.create_run(&NewRun {
            experiment_id: experiment_id.to_owned(),
            run_name: Some(run.info.run_name.clone()),
            user_id: run.info.user_id.clone(),
            start_time: Some(run.info.start_time),
            tags,
        })?;
        Ok(created.info)
    }

    /// Gives a copy the values and files of its original.
    fn fill(&mut self, run: &Run, copy: &RunInfo) -> Result<()> {
        let id = copy.run_id.clone();
        let batch = Batch {
            params: run.data.params.clone(),
            ..Default::default()
        };
        self.to.tracking.log_batch(&id, &batch)?;
        for latest in &run.data.metrics {
            let history = self.from.metric_history(&run.info.run_id, &latest.key)?;
            for metrics in history.chunks(CHUNK) {
                let batch = Batch {
                    metrics: metrics.to_vec(),
                    ..Default::default()
                };
                self.to.tracking.log_batch(&id, &batch)?;
            }
        }
        self.files(&run.info.artifact_uri, &copy.artifact_uri, "", 0)
    }

    /// Gives a copy what its original has used and made, and its end.
    fn finish(&self, run: &Run) -> Result<()> {
        let Some(id) = self.copied.runs.get(&run.info.run_id) else {
            return Ok(());
        };
        // A model of an experiment that was not copied keeps its id.
        let model = |id: &String| self.copied.logged_models.get(id).unwrap_or(id).clone();
        let models: Vec<String> = run.model_inputs.iter().map(model).collect();
        if !run.inputs.is_empty() || !models.is_empty() {
            self.to.tracking.log_inputs(id, &run.inputs, &models)?;
        }
        let outputs: Vec<ModelOutput> = run
            .outputs
            .iter()
            .map(|output| ModelOutput {
                model_id: model(&output.model_id),
                step: output.step,
            })
            .collect();
        if !outputs.is_empty() {
            self.to.tracking.log_outputs(id, &outputs)?;
        }
        let update = RunUpdate {
            status: Some(run.info.status),
            end_time: run.info.end_time,
            run_name: None,
        };
        self.to.tracking.update_run(id, &update).map(|_| ())
    }

    fn files(&mut self, from: &str, to: &str, path: &str, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(Error::invalid(format!(
                "the artifacts below {path:?} are nested too deep"
            )));
        }
        for file in self.from.artifacts.list(from, path)? {
            if file.is_dir {
                self.files(from, to, &file.path, depth + 1)?;
            } else {
                let (mut content, _) = self.from.artifacts.open(from, &file.path)?;
                match self.to.artifacts.write(to, &file.path, &mut content) {
                    Ok(_) => self.copied.files += 1,
                    // One odd name must not end the copy half-way.
                    Err(error) if error.code() == "INVALID_PARAMETER_VALUE" => {
                        let skipped = format!("{from}/{}: {error}", file.path);
                        self.copied.skipped_files.push(skipped);
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn model(&mut self, name: &str) -> Result<()> {
        let model = self.from.registry.registered_model(name)?;
        let mut versions = self.from.model_versions(name)?;
        versions.sort_by_key(|version| version.version);
        let known = match self.to.model_versions(name) {
            Err(error) if error.is_not_found() => Vec::new(),
            known => known?,
        };
        for version in versions {
            let source = match self.source(&version, &known)? {
                Ok(source) => source,
                Err(reason) => {
                    let skipped = format!("{name} version {}: {reason}", version.version);
                    self.copied.skipped_versions.push(skipped);
                    continue;
                }
            };
            if known.iter().any(|old| old.source == source) {
                continue;
            }
            let aliases = model
                .aliases
                .iter()
                .filter(|(_, number)| *number == version.version);
            let run_id = version
                .run_id
                .as_ref()
                .and_then(|id| self.copied.runs.get(id).cloned());
            let created = self.to.create_model_version(&NewModelVersion {
                name: name.to_owned(),
                create_model: true,
                source,
                run_id,
                model_id: version
                    .model_id
                    .as_ref()
                    .and_then(|id| self.copied.logged_models.get(id).cloned()),
                run_link: String::new(),
                content: None,
                description: version.description.clone(),
                tags: version.tags.clone(),
                aliases: aliases.map(|(alias, _)| alias.clone()).collect(),
            })?;
            if version.current_stage != Stage::None {
                let change = ModelVersionChange::Stage {
                    stage: version.current_stage,
                    archive_existing: false,
                };
                self.to
                    .registry
                    .change_model_version(name, created.version, &change)?;
            }
            self.copied
                .versions
                .push((name.to_owned(), created.version));
        }
        if !self
            .copied
            .versions
            .iter()
            .any(|(copied, _)| copied == name)
        {
            return Ok(());
        }
        for tag in &model.tags {
            let change = RegisteredModelChange::SetTag(tag.clone());
            self.to.registry.change_registered_model(name, &change)?;
        }
        if !model.description.is_empty() {
            let change = RegisteredModelChange::Description(model.description);
            self.to.registry.change_registered_model(name, &change)?;
        }
        Ok(())
    }

    /// Where the files of a version lie in the target: below its run's copy.
    fn source(
        &mut self,
        version: &ModelVersion,
        known: &[ModelVersion],
    ) -> Result<Result<String, &'static str>> {
        // A logged model was copied with a folder of its own.
        if let Some(id) = &version.model_id
            && let Some(copy) = self.copied.logged_models.get(id)
            && let Ok(uri) = self.from.download_uri(&version.source)
        {
            let original = self.from.tracking.logged_model(id)?.artifact_uri;
            if let Some(path) = uri.strip_prefix(&original) {
                let target = self.to.tracking.logged_model(copy)?.artifact_uri;
                return Ok(Ok(format!("{target}{path}")));
            }
        }
        let Some(run_id) = &version.run_id else {
            return Ok(Err("it has no run"));
        };
        let Some(copy) = self.copied.runs.get(run_id) else {
            return Ok(Err("its run was not copied"));
        };
        let uri = match self.from.download_uri(&version.source) {
            Err(error) if error.is_not_found() => return Ok(Err("its files are gone")),
            uri => uri?,
        };
        let original = self.from.tracking.run(run_id)?.info.artifact_uri;
        let target = self.to.tracking.run(copy)?.info.artifact_uri;
        match uri
            .strip_prefix(&original)
            .and_then(|path| path.strip_prefix('/'))
        {
            Some(path) => Ok(Ok(join_uri(&target, path))),
            None => {
                // A logged model has a folder of its own; here the run keeps it.
                let target = format!("{target}/models/{}-{}", version.name, version.version);
                if !known.iter().any(|old| old.source == target) {
                    self.files(&uri, &target, "", 0)?;
                }
                Ok(Ok(target))
            }
        }
    }
}
