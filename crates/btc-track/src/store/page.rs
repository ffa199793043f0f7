//! Searches of things that are all in memory, and what pages share.

use crate::entity::*;
use crate::error::{Error, Result};
use crate::search::{Filter, Key, OrderBy, Scalar, Subject};
use crate::store::*;

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
    hex::encode(text)
}

/// Reads a token made by [`encode_token`].
pub(crate) fn decode_token(token: &str) -> Result<String> {
    let bytes = hex::decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| Error::invalid("the page token is not one of ours"))
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

/// The ordering of runs; the newest first among equals.
pub(crate) fn run_order(order_by: &[String]) -> Result<Vec<OrderBy>> {
    let mut order = OrderBy::parse_all(Subject::Run, order_by)?;
    if order.len() > MAX_ORDER_KEYS {
        return Err(Error::invalid(format!(
            "order_by has {} keys, at most {MAX_ORDER_KEYS} are allowed",
            order.len()
        )));
    }
    let start_time = Key::Attribute("start_time");
    if !order.iter().any(|order| order.key == start_time) {
        order.push(OrderBy {
            key: start_time,
            descending: true,
        });
    }
    Ok(order)
}

pub(crate) fn page_experiments(
    experiments: Vec<Experiment>,
    query: &SearchQuery,
) -> Result<Page<Experiment>> {
    check_max_results(query.max_results)?;
    let filter = Filter::parse(Subject::Experiment, &query.filter)?;
    let mut order = OrderBy::parse_all(Subject::Experiment, &query.order_by)?;
    if order.is_empty() {
        order.push(OrderBy {
            key: Key::Attribute("last_update_time"),
            descending: true,
        });
    }
    let kept = experiments
        .into_iter()
        .filter(|e| query.view.shows(e.lifecycle_stage))
        .filter(|e| crate::search::matches(&filter, |key| lookup_experiment(e, key)))
        .collect();
    // Ids are numbers; padded, they sort as such.
    let id = |e: &Experiment| format!("{:0>20}", e.experiment_id);
    let token = query.page_token.as_deref();
    page_in_memory(
        kept,
        &order,
        lookup_experiment,
        id,
        query.max_results,
        token,
    )
}

fn lookup_experiment(experiment: &Experiment, key: &Key) -> Vec<Scalar> {
    match key {
        Key::Tag(key) => tag_value(&experiment.tags, key),
        Key::Attribute("name") => vec![Scalar::Text(experiment.name.clone())],
        Key::Attribute("experiment_id") => vec![Scalar::Text(experiment.experiment_id.clone())],
        Key::Attribute("creation_time") => vec![Scalar::Number(experiment.creation_time as f64)],
        Key::Attribute("last_update_time") => {
            vec![Scalar::Number(experiment.last_update_time as f64)]
        }
        _ => Vec::new(),
    }
}

/// The default is the newest first.
pub(crate) fn logged_model_order(order_by: &[String]) -> Result<Vec<OrderBy>> {
    if order_by.is_empty() {
        return Ok(vec![OrderBy {
            key: Key::Attribute("creation_timestamp"),
            descending: true,
        }]);
    }
    OrderBy::parse_all(Subject::LoggedModel, order_by)
}
