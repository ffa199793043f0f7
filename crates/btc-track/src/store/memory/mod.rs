//! Runs and models in memory: the stores without SQLite, and the plain
//! statement of what a store does.

mod registry;
mod tracking;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Clock;
use crate::entity::*;
use crate::error::{Error, Result};
use crate::search::{Key, Scalar};
use crate::store::*;

/// Runs and models that are forgotten when the store is dropped.
#[derive(Debug)]
pub struct MemoryStore {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Default, Clone)]
struct State {
    experiments: BTreeMap<i64, Experiment>,
    runs: BTreeMap<RunId, Record>,
    logged_models: BTreeMap<String, Logged>,
    registered: BTreeMap<String, Registered>,
    next_experiment: i64,
    /// Purged artifact folders that may still be there.
    unwanted: std::collections::BTreeSet<String>,
}

#[derive(Debug, Clone)]
struct Record {
    run: Run,
    history: BTreeMap<String, Vec<Metric>>,
    deleted_time: Option<i64>,
    deleted_with_experiment: bool,
}

#[derive(Debug, Clone)]
struct Logged {
    model: LoggedModel,
    /// Every value; the model itself shows the latest ones.
    metrics: Vec<ModelMetric>,
    deleted_time: Option<i64>,
}

#[derive(Debug, Clone)]
struct Registered {
    model: RegisteredModel,
    versions: BTreeMap<u64, ModelVersion>,
    last_version: u64,
}

impl MemoryStore {
    /// An empty store with the default experiment, taking its time from `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let mut state = State::default();
        let new = NewExperiment {
            name: "Default".into(),
            ..Default::default()
        };
        state.insert_experiment(&new, clock.now_ms());
        Self {
            state: Mutex::new(state),
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Checks come before changes, so the state is valid at any moment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a change, whose checks all come before its first effect.
    fn write<T>(&self, change: impl FnOnce(&mut State, i64) -> Result<T>) -> Result<T> {
        change(&mut self.lock(), self.clock.now_ms())
    }
}

fn set_tag(tags: &mut Vec<Tag>, tag: &Tag) {
    // A run keeps its name until it gets another, as in MLflow.
    if tag.key == RUN_NAME_TAG && tag.value.is_empty() {
        return;
    }
    match tags.binary_search_by(|old| old.key.cmp(&tag.key)) {
        Ok(i) => tags[i] = tag.clone(),
        Err(i) => tags.insert(i, tag.clone()),
    }
}

fn delete_tag(tags: &mut Vec<Tag>, what: &'static str, key: &str) -> Result<()> {
    let i = tags
        .iter()
        .position(|tag| tag.key == key)
        .ok_or_else(|| Error::not_found(what, key))?;
    tags.remove(i);
    Ok(())
}

/// Adds parameters, all or none.
fn log_params(params: &mut Vec<Param>, owner: &str, new: &[Param]) -> Result<()> {
    let mut all = params.clone();
    for param in new {
        match all.binary_search_by(|old| old.key.cmp(&param.key)) {
            Ok(i) if all[i].value == param.value => {}
            Ok(i) => {
                return Err(Error::ParamChanged {
                    run: owner.to_owned(),
                    key: param.key.clone(),
                    old: all[i].value.clone(),
                    new: param.value.clone(),
                });
            }
            Err(i) => all.insert(i, param.clone()),
        }
    }
    *params = all;
    Ok(())
}

/// Adds values of metrics; exact duplicates count once.
fn log_metrics(record: &mut Record, metrics: &[Metric]) {
    for metric in metrics {
        let metric = Metric {
            value: finite(metric.value),
            ..metric.clone()
        };
        let history = record.history.entry(metric.key.clone()).or_default();
        match history.binary_search_by(|old| history_order(old, &metric)) {
            Ok(_) => continue,
            Err(i) => history.insert(i, metric.clone()),
        }
        let latest = &mut record.run.data.metrics;
        match latest.binary_search_by(|old| old.key.cmp(&metric.key)) {
            Ok(i) if is_later(&metric, &latest[i]) => latest[i] = metric,
            Ok(_) => {}
            Err(i) => latest.insert(i, metric),
        }
    }
}

fn same_point(left: &Metric, right: &Metric) -> bool {
    (left.timestamp, left.step) == (right.timestamp, right.step)
        && (left.value == right.value || (left.value.is_nan() && right.value.is_nan()))
}

/// (timestamp, step, value), NaN first.
fn history_order(left: &Metric, right: &Metric) -> std::cmp::Ordering {
    let value = |m: &Metric| {
        if m.value.is_nan() {
            f64::NEG_INFINITY
        } else {
            m.value
        }
    };
    (left.timestamp, left.step)
        .cmp(&(right.timestamp, right.step))
        .then(value(left).total_cmp(&value(right)))
}

impl State {
    fn insert_experiment(&mut self, new: &NewExperiment, now: i64) -> i64 {
        let id = self.next_experiment;
        self.next_experiment += 1;
        let default = || format!("mlflow-artifacts:/{id}");
        let location = new.artifact_location.clone().unwrap_or_else(default);
        let experiment = Experiment {
            experiment_id: id.to_string(),
            name: new.name.clone(),
            artifact_location: location.trim_end_matches('/').to_owned(),
            lifecycle_stage: LifecycleStage::Active,
            creation_time: now,
            last_update_time: now,
            tags: distinct_tags(&new.tags),
        };
        self.experiments.insert(id, experiment);
        id
    }

    fn experiment(&self, id: &str) -> Result<&Experiment> {
        let key = id.parse().ok().filter(|key: &i64| key.to_string() == id);
        key.and_then(|key| self.experiments.get(&key))
            .ok_or_else(|| Error::not_found("experiment", id))
    }

    fn active_experiment(&self, id: &str) -> Result<&Experiment> {
        let experiment = self.experiment(id)?;
        match experiment.lifecycle_stage {
            LifecycleStage::Active => Ok(experiment),
            LifecycleStage::Deleted => Err(Error::Inactive {
                what: "experiment",
                id: id.to_owned(),
            }),
        }
    }

    fn free_experiment_name(&self, name: &str) -> Result<()> {
        if self
            .experiments
            .values()
            .any(|experiment| experiment.name == name)
        {
            return Err(Error::AlreadyExists {
                what: "experiment",
                id: name.to_owned(),
                hint: "; a deleted experiment keeps its name, restore it or choose another",
            });
        }
        Ok(())
    }

    fn record(&self, id: &str) -> Result<&Record> {
        self.runs.get(id).ok_or_else(|| Error::not_found("run", id))
    }

    fn record_mut(&mut self, id: &str) -> Result<&mut Record> {
        self.runs
            .get_mut(id)
            .ok_or_else(|| Error::not_found("run", id))
    }

    fn active_record(&mut self, id: &str) -> Result<&mut Record> {
        let record = self.record_mut(id)?;
        match record.run.info.lifecycle_stage {
            LifecycleStage::Active => Ok(record),
            LifecycleStage::Deleted => Err(Error::Inactive {
                what: "run",
                id: id.to_owned(),
            }),
        }
    }

    fn logged_mut(&mut self, id: &str) -> Result<&mut Logged> {
        let found = self
            .logged_models
            .get_mut(id)
            .filter(|model| model.deleted_time.is_none());
        found.ok_or_else(|| Error::not_found("logged model", id))
    }

    fn log_model_metric(&mut self, run_id: &str, metric: &ModelMetric) -> Result<()> {
        let logged = self.logged_mut(&metric.model_id)?;
        let mut metric = metric.clone();
        metric.metric.value = finite(metric.metric.value);
        metric.run_id = Some(run_id.to_owned());
        let known = logged.metrics.iter().any(|old| {
            same_point(&old.metric, &metric.metric)
                && old.metric.key == metric.metric.key
                && old.dataset_name == metric.dataset_name
                && old.dataset_digest == metric.dataset_digest
        });
        if !known {
            logged.metrics.push(metric);
            logged.metrics.sort_by(|a, b| {
                let key = |m: &ModelMetric| {
                    (
                        m.metric.key.clone(),
                        m.dataset_name.clone(),
                        m.dataset_digest.clone(),
                    )
                };
                key(a).cmp(&key(b)).then_with(|| {
                    a.metric
                        .step
                        .cmp(&b.metric.step)
                        .then(history_order(&a.metric, &b.metric))
                })
            });
            logged.model.metrics = latest_model_metrics(logged.metrics.clone());
        }
        Ok(())
    }

    fn registered(&self, name: &str) -> Result<&Registered> {
        self.registered
            .get(name)
            .ok_or_else(|| Error::not_found("registered model", name))
    }

    fn registered_mut(&mut self, name: &str) -> Result<&mut Registered> {
        self.registered
            .get_mut(name)
            .ok_or_else(|| Error::not_found("registered model", name))
    }

    fn free_model_name(&self, name: &str) -> Result<()> {
        if self.registered.contains_key(name) {
            return Err(Error::AlreadyExists {
                what: "registered model",
                id: name.to_owned(),
                hint: "; choose another name or use the existing one",
            });
        }
        Ok(())
    }

    fn insert_model(&mut self, new: &NewRegisteredModel, now: i64) -> Result<()> {
        self.free_model_name(&new.name)?;
        let model = RegisteredModel {
            name: new.name.clone(),
            creation_timestamp: now,
            last_updated_timestamp: now,
            description: new.description.clone(),
            tags: distinct_tags(&new.tags),
            aliases: Vec::new(),
            latest_versions: Vec::new(),
        };
        let entry = Registered {
            model,
            versions: BTreeMap::new(),
            last_version: 0,
        };
        self.registered.insert(new.name.clone(), entry);
        Ok(())
    }
}

impl Registered {
    fn version(&self, version: u64) -> Result<ModelVersion> {
        let found = self.versions.get(&version);
        let mut found = found
            .ok_or_else(|| {
                Error::not_found("model version", format!("{}/{version}", self.model.name))
            })?
            .clone();
        let of_version = self.model.aliases.iter().filter(|(_, v)| *v == version);
        found.aliases = of_version.map(|(alias, _)| alias.clone()).collect();
        Ok(found)
    }

    fn all_versions(&self) -> Vec<ModelVersion> {
        self.versions
            .keys()
            .filter_map(|version| self.version(*version).ok())
            .collect()
    }

    fn complete(&self) -> RegisteredModel {
        let latest_versions = latest_per_stage(&self.all_versions());
        RegisteredModel {
            latest_versions,
            ..self.model.clone()
        }
    }

    fn set_alias(&mut self, alias: &str, version: u64) {
        self.model.aliases.retain(|(old, _)| old != alias);
        self.model.aliases.push((alias.to_owned(), version));
        self.model.aliases.sort();
    }
}

impl State {
    /// What registered versions point to.
    fn in_use(&self) -> InUse {
        let mut used = InUse::default();
        let versions = self
            .registered
            .values()
            .flat_map(|entry| entry.versions.values());
        for version in versions {
            // A source that names nothing needs nothing.
            if let Ok(uri) = resolve(&version.source, self) {
                used.add(&uri);
            }
            version.location.iter().for_each(|uri| used.add(uri));
        }
        used
    }

    fn purge(&mut self, before: i64) -> Purged {
        let mut purged = Purged::default();
        let used = self.in_use();
        let is_old = |time: Option<i64>| time.is_some_and(|time| time < before);
        let mut kept_experiments = Vec::new();
        self.runs.retain(|id, record| {
            let info = &record.run.info;
            let needed = used.needs(&info.artifact_uri);
            let gone = is_old(record.deleted_time) && !needed;
            if gone {
                purged.run_ids.push(id.clone());
                self.unwanted.insert(info.artifact_uri.clone());
            } else {
                kept_experiments.push(info.experiment_id.clone());
                if is_old(record.deleted_time) {
                    purged.kept.push(id.clone());
                }
            }
            !gone
        });
        for logged in self.logged_models.values() {
            if used.needs(&logged.model.artifact_uri) {
                kept_experiments.push(logged.model.experiment_id.clone());
            }
        }
        self.experiments.retain(|_, experiment| {
            let gone = experiment.lifecycle_stage == LifecycleStage::Deleted
                && experiment.last_update_time < before
                && !kept_experiments.contains(&experiment.experiment_id);
            if gone {
                purged.experiment_ids.push(experiment.experiment_id.clone());
            }
            !gone
        });
        self.logged_models.retain(|id, logged| {
            let old = is_old(logged.deleted_time)
                || purged.experiment_ids.contains(&logged.model.experiment_id);
            let needed = used.needs(&logged.model.artifact_uri);
            if old && needed {
                purged.kept.push(id.clone());
            }
            if old && !needed {
                self.unwanted.insert(logged.model.artifact_uri.clone());
            }
            !old || needed
        });
        let unwanted = self.unwanted.iter().filter(|uri| !used.needs(uri));
        purged.artifact_uris = unwanted.cloned().collect();
        purged
    }
}

impl Sources for State {
    fn run_folder(&self, id: &str) -> Result<String> {
        Ok(self.record(id)?.run.info.artifact_uri.clone())
    }

    fn model_folder(&self, id: &str) -> Result<String> {
        let found = self.logged_models.get(id);
        found
            .map(|logged| logged.model.artifact_uri.clone())
            .ok_or_else(|| Error::not_found("logged model", id))
    }

    fn version_source(&self, name: &str, which: Which<'_>) -> Result<String> {
        let version = self.registered(name)?.version(self.number(name, which)?)?;
        Ok(version.location.unwrap_or(version.source))
    }
}

impl State {
    /// The number of a version.
    fn number(&self, name: &str, which: Which<'_>) -> Result<u64> {
        let entry = self.registered(name)?;
        match which {
            Which::Number(number) => Ok(number),
            Which::Latest => {
                let last = entry.versions.keys().last().copied();
                last.ok_or_else(|| Error::not_found("model version", format!("{name}/latest")))
            }
            Which::Alias(alias) => {
                let mut aliases = entry.model.aliases.iter();
                let found = aliases.find(|(known, _)| known == alias);
                Ok(found.ok_or_else(|| Error::not_found("alias", alias))?.1)
            }
        }
    }
}

/// The values of a run that a filter or an ordering names.
fn lookup_run(run: &Run, key: &Key) -> Vec<Scalar> {
    let text = |text: &str| vec![Scalar::Text(text.to_owned())];
    match key {
        Key::Metric(key) => run.metric(key).map(Scalar::Number).into_iter().collect(),
        Key::Param(key) => run.param(key).map(text).unwrap_or_default(),
        Key::Tag(key) => tag_value(&run.data.tags, key),
        Key::Dataset(field) => run
            .inputs
            .iter()
            .flat_map(|input| match *field {
                "name" => text(&input.dataset.name),
                "digest" => text(&input.dataset.digest),
                _ => tag_value(&input.tags, CONTEXT_TAG),
            })
            .collect(),
        Key::Attribute(name) => match *name {
            "run_id" => text(&run.info.run_id),
            "run_name" => text(&run.info.run_name),
            "status" => text(run.info.status.as_str()),
            "user_id" => text(&run.info.user_id),
            "artifact_uri" => text(&run.info.artifact_uri),
            "end_time" => run
                .info
                .end_time
                .map(|time| Scalar::Number(time as f64))
                .into_iter()
                .collect(),
            _ => vec![Scalar::Number(run.info.start_time as f64)],
        },
    }
}
