//! Rules that hold for every store.

use std::cmp::Ordering;

use crate::entity::*;
use crate::error::{Error, Result};
use crate::search::{Filter, Key, OrderBy, Scalar, Subject};
use crate::store::*;

/// The longest name of a metric, parameter or tag, in bytes.
pub const MAX_KEY_LENGTH: usize = 250;
/// The longest value of a parameter, in characters.
pub const MAX_PARAM_LENGTH: usize = 6000;
/// The longest value of a tag, in characters.
pub const MAX_TAG_LENGTH: usize = 8000;
/// The longest name of an experiment, run or model, in characters.
pub(crate) const MAX_NAME_LENGTH: usize = 500;
const MAX_TEXT_LENGTH: usize = 5000;
/// The most results on a page.
pub(crate) const MAX_PAGE: usize = 50_000;

/// The name of a run is also a tag, as in MLflow.
pub(crate) const RUN_NAME_TAG: &str = "mlflow.runName";
pub(crate) const CONTEXT_TAG: &str = "mlflow.data.context";

/// Replaces an infinity by the largest finite number of its sign, as MLflow does.
pub fn finite(value: f64) -> f64 {
    if value.is_nan() {
        value
    } else {
        value.clamp(f64::MIN, f64::MAX)
    }
}

pub(crate) fn check_key(what: &str, key: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | ':' | '/');
    if key.is_empty() {
        return Err(Error::invalid(format!("the name of a {what} is empty")));
    }
    if key.len() > MAX_KEY_LENGTH {
        return Err(Error::invalid(format!(
            "the name of a {what} has {} bytes, at most {MAX_KEY_LENGTH} are allowed",
            key.len()
        )));
    }
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

fn check_length(what: &str, text: &str, most: usize) -> Result<()> {
    // Bytes bound characters, so most texts need no counting.
    if text.len() > most && text.chars().count() > most {
        return Err(Error::invalid(format!(
            "{what} has {} characters, at most {most} are allowed",
            text.chars().count()
        )));
    }
    Ok(())
}

pub(crate) fn check_tag(tag: &Tag) -> Result<()> {
    check_key("tag", &tag.key)?;
    check_length(
        &format!("the value of tag {:?}", tag.key),
        &tag.value,
        MAX_TAG_LENGTH,
    )
}

pub(crate) fn check_tags(tags: &[Tag]) -> Result<()> {
    tags.iter().try_for_each(check_tag)
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
    if name.contains('\0') {
        return Err(Error::invalid(format!(
            "the name of the {what} has a NUL character"
        )));
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
    check_key("alias", alias)?;
    let number = alias.strip_prefix(['v', 'V']).unwrap_or(alias);
    if alias == "latest" || number.bytes().all(|b| b.is_ascii_digit()) {
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
            m.value
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
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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

pub(crate) fn tag_value(tags: &[Tag], key: &str) -> Vec<Scalar> {
    tags.iter()
        .filter(|t| t.key == key)
        .map(|t| Scalar::Text(t.value.clone()))
        .collect()
}

/// Filters, orders and cuts a page out of things that are all in memory.
///
/// The page token is the key of the last thing of the page before, so a page
/// goes on behind it even if things were added meanwhile.
pub(crate) fn page_in_memory<T>(
    mut items: Vec<T>,
    order: &[OrderBy],
    lookup: impl Fn(&T, &crate::search::Key) -> Vec<Scalar>,
    id: impl Fn(&T) -> String,
    max_results: usize,
    page_token: Option<&str>,
) -> Result<Page<T>> {
    let first = |item: &T, key: &crate::search::Key| lookup(item, key).into_iter().next();
    items.sort_by(|left, right| {
        crate::search::compare_ordered(order, |key| first(left, key), |key| first(right, key))
            .then_with(|| id(left).cmp(&id(right)))
    });
    let start = match page_token {
        None => 0,
        Some(token) => {
            let last = crate::store::decode_token(token)?;
            items
                .iter()
                .position(|item| id(item) == last)
                .ok_or_else(|| Error::invalid("the page token does not belong to this search"))?
                + 1
        }
    };
    let rest = items.len().saturating_sub(start);
    let items: Vec<T> = items.into_iter().skip(start).take(max_results).collect();
    let next_page_token = if rest > max_results {
        items.last().map(|item| encode_token(&id(item)))
    } else {
        None
    };
    Ok(Page {
        items,
        next_page_token,
    })
}

/// Makes an opaque token of a text.
pub(crate) fn encode_token(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a token made by [`encode_token`].
pub(crate) fn decode_token(token: &str) -> Result<String> {
    let bytes: Option<Vec<u8>> = token
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let text = std::str::from_utf8(pair)
                .ok()
                .filter(|text| text.len() == 2)?;
            u8::from_str_radix(text, 16).ok()
        })
        .collect();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Error::invalid("the page token is not one of ours"))
}

/// The tags of a new run; its name is among them.
pub(crate) fn run_tags(new: &NewRun, id: &str) -> Vec<Tag> {
    let mut tags = distinct_tags(&new.tags);
    let given = new.run_name.clone().filter(|name| !name.is_empty());
    let tagged = tags.iter().position(|tag| tag.key == RUN_NAME_TAG);
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

pub(crate) fn page_logged_models(
    models: Vec<LoggedModel>,
    filter: &Filter,
    order: &[OrderBy],
    query: &SearchQuery,
) -> Result<Page<LoggedModel>> {
    let kept = models
        .into_iter()
        .filter(|m| crate::search::matches(filter, |key| lookup_model(m, key)));
    let token = query.page_token.as_deref();
    let id = |m: &LoggedModel| m.model_id.clone();
    page_in_memory(
        kept.collect(),
        order,
        lookup_model,
        id,
        query.max_results,
        token,
    )
}

fn lookup_model(model: &LoggedModel, key: &Key) -> Vec<Scalar> {
    let text = |text: &str| vec![Scalar::Text(text.to_owned())];
    match key {
        Key::Metric(key) => {
            let of_key = model.metrics.iter().filter(|m| m.metric.key == *key);
            of_key.map(|m| Scalar::Number(m.metric.value)).collect()
        }
        Key::Param(key) => {
            let of_key = model.params.iter().filter(|p| p.key == *key);
            of_key.map(|p| Scalar::Text(p.value.clone())).collect()
        }
        Key::Tag(key) => tag_value(&model.tags, key),
        Key::Dataset(_) => Vec::new(),
        Key::Attribute(name) => match *name {
            "name" => text(&model.name),
            "model_id" => text(&model.model_id),
            "model_type" => text(&model.model_type),
            "status" => text(model.status.as_str()),
            "source_run_id" => model
                .source_run_id
                .iter()
                .cloned()
                .map(Scalar::Text)
                .collect(),
            "creation_timestamp" => vec![Scalar::Number(model.creation_timestamp as f64)],
            _ => vec![Scalar::Number(model.last_updated_timestamp as f64)],
        },
    }
}

pub(crate) fn lookup_registered(model: &RegisteredModel, key: &Key) -> Vec<Scalar> {
    match key {
        Key::Tag(key) => tag_value(&model.tags, key),
        Key::Attribute("name") => vec![Scalar::Text(model.name.clone())],
        Key::Attribute("creation_timestamp") => {
            vec![Scalar::Number(model.creation_timestamp as f64)]
        }
        Key::Attribute(_) => vec![Scalar::Number(model.last_updated_timestamp as f64)],
        _ => Vec::new(),
    }
}

pub(crate) fn lookup_version(version: &ModelVersion, key: &Key) -> Vec<Scalar> {
    match key {
        Key::Tag(key) => tag_value(&version.tags, key),
        Key::Attribute("name") => vec![Scalar::Text(version.name.clone())],
        Key::Attribute("version_number") => vec![Scalar::Number(version.version as f64)],
        Key::Attribute("run_id") => version.run_id.iter().cloned().map(Scalar::Text).collect(),
        Key::Attribute("source_path") => vec![Scalar::Text(version.source.clone())],
        Key::Attribute("creation_timestamp") => {
            vec![Scalar::Number(version.creation_timestamp as f64)]
        }
        Key::Attribute(_) => vec![Scalar::Number(version.last_updated_timestamp as f64)],
        _ => Vec::new(),
    }
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

pub(crate) fn page_registered_models(
    models: Vec<RegisteredModel>,
    query: &SearchQuery,
) -> Result<Page<RegisteredModel>> {
    check_max_results(query.max_results)?;
    let filter = Filter::parse(Subject::RegisteredModel, &query.filter)?;
    let order = OrderBy::parse_all(Subject::RegisteredModel, &query.order_by)?;
    let kept = models
        .into_iter()
        .filter(|m| crate::search::matches(&filter, |key| lookup_registered(m, key)))
        .collect();
    let id = |m: &RegisteredModel| m.name.clone();
    let token = query.page_token.as_deref();
    page_in_memory(
        kept,
        &order,
        lookup_registered,
        id,
        query.max_results,
        token,
    )
}

pub(crate) fn page_model_versions(
    versions: Vec<ModelVersion>,
    query: &SearchQuery,
) -> Result<Page<ModelVersion>> {
    check_max_results(query.max_results)?;
    let filter = Filter::parse(Subject::ModelVersion, &query.filter)?;
    let mut order = OrderBy::parse_all(Subject::ModelVersion, &query.order_by)?;
    if order.is_empty() {
        order.push(OrderBy {
            key: Key::Attribute("name"),
            descending: false,
        });
        order.push(OrderBy {
            key: Key::Attribute("version_number"),
            descending: true,
        });
    }
    let kept = versions
        .into_iter()
        .filter(|v| crate::search::matches(&filter, |key| lookup_version(v, key)))
        .collect();
    let id = |v: &ModelVersion| format!("{}/{:0>20}", v.name, v.version);
    let token = query.page_token.as_deref();
    page_in_memory(kept, &order, lookup_version, id, query.max_results, token)
}

pub(crate) fn check_model_change(change: &RegisteredModelChange) -> Result<()> {
    match change {
        RegisteredModelChange::Rename(name) => check_model_name(name),
        RegisteredModelChange::Description(text) => check_description(text),
        RegisteredModelChange::SetTag(tag) => check_tag(tag),
        RegisteredModelChange::SetAlias(alias, _) => check_alias(alias),
        RegisteredModelChange::DeleteTag(_) | RegisteredModelChange::DeleteAlias(_) => Ok(()),
    }
}

pub(crate) fn check_new_version(new: &NewModelVersion) -> Result<()> {
    check_model_name(&new.name)?;
    check_description(&new.description)?;
    check_tags(&new.tags)?;
    check_location(&new.source)?;
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

/// Cuts a history into buckets with equally many values each.
pub(crate) fn downsample(
    key: &str,
    mut metrics: Vec<Metric>,
    buckets: usize,
) -> Result<Vec<MetricBucket>> {
    if buckets == 0 {
        return Err(Error::invalid("a history needs at least one bucket"));
    }
    metrics.sort_by_key(|m| (m.step, m.timestamp));
    let size = metrics.len().div_ceil(buckets).max(1);
    Ok(metrics
        .chunks(size)
        .filter_map(|values| bucket(key, values))
        .collect())
}

fn bucket(key: &str, values: &[Metric]) -> Option<MetricBucket> {
    let (first, last) = values.first().zip(values.last())?;
    let numbers = || values.iter().filter(|m| !m.value.is_nan());
    let min = numbers()
        .min_by(|a, b| a.value.total_cmp(&b.value))
        .unwrap_or(first);
    let max = numbers()
        .max_by(|a, b| a.value.total_cmp(&b.value))
        .unwrap_or(first);
    let named = |m: &Metric| Metric {
        key: key.to_owned(),
        ..m.clone()
    };
    Some(MetricBucket {
        first: named(first),
        min: named(min),
        max: named(max),
        last: named(last),
        count: values.len() as u64,
    })
}
