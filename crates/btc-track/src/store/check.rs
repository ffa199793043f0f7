//! Rules that hold for every store.

use std::cmp::Ordering;

use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

/// The longest name of a metric, parameter or tag, in characters.
pub const MAX_KEY_LENGTH: usize = 250;
/// The longest value of a parameter, in characters.
pub const MAX_PARAM_LENGTH: usize = 6000;
/// The longest value of a tag of a run or logged model, in characters.
pub const MAX_TAG_LENGTH: usize = 8000;
/// The longest value of a tag of an experiment, in characters.
pub const MAX_EXPERIMENT_TAG_LENGTH: usize = 20_000;
/// The longest value of a tag of a registered model or its version, in characters.
pub const MAX_REGISTRY_TAG_LENGTH: usize = 100_000;
const MAX_ALIAS_LENGTH: usize = 255;
const MAX_USER_LENGTH: usize = 256;
/// The longest name of an experiment, run or model, in characters.
pub(crate) const MAX_NAME_LENGTH: usize = 500;
const MAX_TEXT_LENGTH: usize = 5000;
/// The most keys of an ordering.
pub(crate) const MAX_ORDER_KEYS: usize = 16;
/// The most results on a page.
pub(crate) const MAX_PAGE: usize = 50_000;

/// The name of a run is also a tag, as in MLflow.
pub(crate) const RUN_NAME_TAG: &str = "mlflow.runName";
/// The logged models of a run, as clients before MLflow 3 record them.
pub(crate) const LOGGED_MODELS_TAG: &str = "mlflow.log-model.history";
pub(crate) const CONTEXT_TAG: &str = "mlflow.data.context";

/// The value as it is stored: infinities become the largest finite numbers, as
/// in MLflow, and negative zero becomes zero.
pub fn finite(value: f64) -> f64 {
    if value.is_nan() {
        return value;
    }
    // Adding zero takes the sign off a negative zero.
    value.clamp(f64::MIN, f64::MAX) + 0.0
}

pub(crate) fn check_key(what: &str, key: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/');
    if key.is_empty() {
        return Err(Error::invalid(format!("the name of a {what} is empty")));
    }
    check_length(&format!("the name of a {what}"), key, MAX_KEY_LENGTH)?;
    if let Some(c) = key.chars().find(|&c| !allowed(c)) {
        return Err(Error::invalid(format!(
            "the {what} name {key:?} has a {c:?}; \
             allowed are letters, digits, spaces and _ - . : /"
        )));
    }
    // Names are also file names elsewhere, so they must not climb.
    if key.starts_with('/') || key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Error::invalid(format!(
            "the {what} name {key:?} is not a plain relative path"
        )));
    }
    Ok(())
}

/// Every text that is stored: its length, and no NUL, which not every database
/// can keep.
fn check_length(what: &str, text: &str, most: usize) -> Result<()> {
    if text.contains('\0') {
        return Err(Error::invalid(format!("{what} has a NUL character")));
    }
    // Bytes bound characters, so most texts need no counting.
    if text.len() > most && text.chars().count() > most {
        return Err(Error::invalid(format!(
            "{what} has {} characters, at most {most} are allowed",
            text.chars().count()
        )));
    }
    Ok(())
}

/// A run's list of logged models with another one at its end. What is no list
/// is replaced.
pub(crate) fn with_model(known: Option<&str>, model: &serde_json::Value) -> String {
    let known = known.and_then(|text| serde_json::from_str(text).ok());
    let mut models: Vec<serde_json::Value> = known.unwrap_or_default();
    models.push(model.clone());
    serde_json::json!(models).to_string()
}

pub(crate) fn check_tag(tag: &Tag) -> Result<()> {
    check_key("tag", &tag.key)?;
    // It grows with every model, and a copy must be able to take it over.
    if tag.key == LOGGED_MODELS_TAG {
        return Ok(());
    }
    // A run's name is kept in one place, with one limit.
    if tag.key == RUN_NAME_TAG {
        return check_run_name(Some(&tag.value));
    }
    check_tag_value(tag, MAX_TAG_LENGTH)
}

fn check_tag_value(tag: &Tag, most: usize) -> Result<()> {
    let what = format_args!("the value of tag {:?}", tag.key).to_string();
    check_length(&what, &tag.value, most)
}

pub(crate) fn check_tags(tags: &[Tag]) -> Result<()> {
    tags.iter().try_for_each(check_tag)
}

fn check_experiment_tag(tag: &Tag) -> Result<()> {
    check_key("tag", &tag.key)?;
    check_tag_value(tag, MAX_EXPERIMENT_TAG_LENGTH)
}

fn check_registry_tag(tag: &Tag) -> Result<()> {
    check_key("tag", &tag.key)?;
    check_tag_value(tag, MAX_REGISTRY_TAG_LENGTH)
}

pub(crate) fn check_param(param: &Param) -> Result<()> {
    check_key("parameter", &param.key)?;
    let what = format_args!("the value of parameter {:?}", param.key).to_string();
    check_length(&what, &param.value, MAX_PARAM_LENGTH)
}

pub(crate) fn check_batch(batch: &Batch) -> Result<()> {
    let model_metrics = batch.model_metrics.iter().map(|m| &m.metric);
    batch
        .metrics
        .iter()
        .chain(model_metrics)
        .try_for_each(|m| check_key("metric", &m.key))?;
    batch.params.iter().try_for_each(check_param)?;
    check_tags(&batch.tags)
}

pub(crate) fn check_name(what: &str, name: &str) -> Result<()> {
    if name.trim().is_empty() {
        return Err(Error::invalid(format!("the name of the {what} is empty")));
    }
    check_length(&format!("the name of the {what}"), name, MAX_NAME_LENGTH)
}

pub(crate) fn check_model_name(name: &str) -> Result<()> {
    check_name("registered model", name)?;
    if name.contains(['/', ':', '\\']) || name.contains(char::is_control) || name == ".." {
        return Err(Error::invalid(format!(
            "the registered model name {name:?} must not contain / : \\ or control characters"
        )));
    }
    Ok(())
}

pub(crate) fn check_description(text: &str) -> Result<()> {
    check_length("the description", text, MAX_TEXT_LENGTH)
}

/// Aliases must not look like the other ways to name a version.
pub(crate) fn check_alias(alias: &str) -> Result<()> {
    if alias.is_empty() {
        return Err(Error::invalid("the alias is empty"));
    }
    check_length("the alias", alias, MAX_ALIAS_LENGTH)?;
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-');
    if let Some(c) = alias.chars().find(|&c| !allowed(c)) {
        return Err(Error::invalid(format!(
            "the alias {alias:?} has a {c:?}; allowed are letters, digits, _ and -"
        )));
    }
    let number = alias.strip_prefix(['v', 'V']).unwrap_or_default();
    let is_version = !number.is_empty() && number.chars().all(char::is_numeric);
    if is_version || alias.eq_ignore_ascii_case("latest") {
        return Err(Error::invalid(format!("the alias {alias:?} is reserved")));
    }
    Ok(())
}

pub(crate) fn check_location(location: &str) -> Result<()> {
    crate::artifact::ArtifactUri::parse(location).map(|_| ())
}

pub(crate) fn check_max_results(max_results: usize) -> Result<()> {
    if (1..=MAX_PAGE).contains(&max_results) {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "max_results is {max_results}, expected 1 to {MAX_PAGE}"
    )))
}

/// Whether `new` replaces `old` as a metric's latest value.
pub(crate) fn is_later(new: &Metric, old: &Metric) -> bool {
    let by_value = |m: &Metric| {
        if m.value.is_nan() {
            f64::NEG_INFINITY
        } else {
            finite(m.value)
        }
    };
    (new.step, new.timestamp)
        .cmp(&(old.step, old.timestamp))
        .then(
            by_value(new)
                .partial_cmp(&by_value(old))
                .unwrap_or(Ordering::Equal),
        )
        .is_gt()
}

/// A new 128-bit id in hexadecimal.
///
/// Ids must be unique across machines, so they come from the operating
/// system's generator; nothing that is computed depends on them.
pub(crate) fn new_id() -> String {
    use rand::TryRngCore;
    let mut bytes = [0u8; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .expect("every supported operating system hands out random bytes");
    hex::encode(bytes)
}

/// Sorted by key, the last of equal keys winning.
pub(crate) fn distinct_tags(tags: &[Tag]) -> Vec<Tag> {
    let map: std::collections::BTreeMap<&str, &str> = tags
        .iter()
        .map(|tag| (tag.key.as_str(), tag.value.as_str()))
        .collect();
    map.into_iter()
        .map(|(key, value)| Tag::new(key, value))
        .collect()
}

/// The tags of a new run; its name is among them.
pub(crate) fn run_tags(new: &NewRun, id: &str) -> Vec<Tag> {
    let mut tags = distinct_tags(&new.tags);
    let given = new.run_name.clone().filter(|name| !name.is_empty());
    let tagged = tags.iter().position(|tag| tag.key == RUN_NAME_TAG);
    // An empty tag names nothing.
    let tagged = tagged.filter(|&i| {
        let named = !tags[i].value.is_empty();
        if !named {
            tags.remove(i);
        }
        named
    });
    match (given, tagged) {
        (Some(name), Some(i)) => tags[i].value = name,
        (None, Some(_)) => {}
        (name, None) => {
            // The first digits of the id tell unnamed runs apart.
            let name = name.unwrap_or_else(|| format!("run-{}", &id[..8]));
            tags.push(Tag::new(RUN_NAME_TAG, name));
            tags.sort();
        }
    }
    tags
}

/// The latest value of each metric and data set; the values arrive in order.
pub(crate) fn latest_model_metrics(metrics: Vec<ModelMetric>) -> Vec<ModelMetric> {
    let mut latest: Vec<ModelMetric> = Vec::new();
    for metric in metrics {
        let same = |old: &ModelMetric| {
            old.metric.key == metric.metric.key
                && old.dataset_name == metric.dataset_name
                && old.dataset_digest == metric.dataset_digest
        };
        match latest.iter_mut().find(|old| same(old)) {
            Some(old) if is_later(&metric.metric, &old.metric) => *old = metric,
            Some(_) => {}
            None => latest.push(metric),
        }
    }
    latest
}

/// The newest version of each stage, by stage.
pub(crate) fn latest_per_stage(versions: &[ModelVersion]) -> Vec<ModelVersion> {
    let newest = |stage: &Stage| {
        versions
            .iter()
            .filter(|v| v.current_stage == *stage)
            .max_by_key(|v| v.version)
            .cloned()
    };
    Stage::ALL.iter().filter_map(newest).collect()
}

pub(crate) fn check_model_change(change: &RegisteredModelChange) -> Result<()> {
    match change {
        RegisteredModelChange::Rename(name) => check_model_name(name),
        RegisteredModelChange::Description(text) => check_description(text),
        RegisteredModelChange::SetTag(tag) => check_registry_tag(tag),
        RegisteredModelChange::SetAlias(alias, _) => check_alias(alias),
        RegisteredModelChange::DeleteTag(_) | RegisteredModelChange::DeleteAlias(_) => Ok(()),
    }
}

pub(crate) fn check_new_version(new: &NewModelVersion) -> Result<()> {
    check_model_name(&new.name)?;
    check_description(&new.description)?;
    new.tags.iter().try_for_each(check_registry_tag)?;
    if !is_prompt(&new.tags) {
        check_location(&new.source)?;
    }
    new.aliases.iter().try_for_each(|alias| check_alias(alias))
}

pub(crate) fn check_input(input: &DatasetInput) -> Result<()> {
    let dataset = &input.dataset;
    if dataset.name.is_empty() || dataset.digest.is_empty() {
        return Err(Error::invalid("a data set needs a name and a digest"));
    }
    check_length("the name of the data set", &dataset.name, MAX_NAME_LENGTH)?;
    check_length("the digest of the data set", &dataset.digest, 36)?;
    check_length("the source of the data set", &dataset.source, 65_535)?;
    check_length("the schema of the data set", &dataset.schema, 1_048_575)?;
    check_length("the profile of the data set", &dataset.profile, 16_777_215)?;
    check_tags(&input.tags)
}

pub(crate) fn check_new_experiment(new: &NewExperiment) -> Result<()> {
    check_name("experiment", &new.name)?;
    new.tags.iter().try_for_each(check_experiment_tag)?;
    new.artifact_location
        .as_deref()
        .map_or(Ok(()), check_location)
}

pub(crate) fn check_experiment_change(change: &ExperimentChange) -> Result<()> {
    match change {
        ExperimentChange::Rename(name) => check_name("experiment", name),
        ExperimentChange::SetTag(tag) => check_experiment_tag(tag),
        _ => Ok(()),
    }
}

pub(crate) fn check_new_run(new: &NewRun) -> Result<()> {
    check_tags(&new.tags)?;
    check_length("the user", &new.user_id, MAX_USER_LENGTH)?;
    let given = new.run_name.as_deref().filter(|name| !name.is_empty());
    let tagged = new.tags.iter().rfind(|tag| tag.key == RUN_NAME_TAG);
    if let (Some(name), Some(tag)) = (given, tagged)
        && name != tag.value
    {
        return Err(Error::invalid(format!(
            "the run is called {name:?} and its tag {RUN_NAME_TAG} says {:?}; give one of them, \
             or both alike",
            tag.value
        )));
    }
    check_run_name(given)
}

pub(crate) fn check_run_update(update: &RunUpdate) -> Result<()> {
    check_run_name(update.run_name.as_deref())
}

fn check_run_name(name: Option<&str>) -> Result<()> {
    name.filter(|name| !name.is_empty())
        .map_or(Ok(()), |name| check_name("run", name))
}

pub(crate) fn check_new_logged_model(new: &NewLoggedModel) -> Result<()> {
    check_tags(&new.tags)?;
    new.params.iter().try_for_each(check_param)?;
    if new.name.is_empty() {
        Ok(())
    } else {
        check_model_name(&new.name)
    }
}

/// The name of a logged model; the first digits of the id tell unnamed ones apart.
pub(crate) fn logged_model_name(new: &NewLoggedModel, id: &str) -> String {
    if new.name.is_empty() {
        format!("model-{}", &id[2..10])
    } else {
        new.name.clone()
    }
}

pub(crate) fn check_logged_model_change(change: &LoggedModelChange) -> Result<()> {
    match change {
        LoggedModelChange::SetTags(tags) => check_tags(tags),
        LoggedModelChange::LogParams(params) => params.iter().try_for_each(check_param),
        _ => Ok(()),
    }
}

pub(crate) fn check_new_model(new: &NewRegisteredModel) -> Result<()> {
    check_model_name(&new.name)?;
    check_description(&new.description)?;
    new.tags.iter().try_for_each(check_registry_tag)
}

pub(crate) fn check_version_change(change: &ModelVersionChange) -> Result<()> {
    match change {
        ModelVersionChange::Description(text) => check_description(text),
        ModelVersionChange::SetTag(tag) => check_registry_tag(tag),
        _ => Ok(()),
    }
}
