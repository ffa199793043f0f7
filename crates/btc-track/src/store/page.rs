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

/// Orders things that are all in memory and cuts a page out of them.
///
/// The page token holds the values that the last thing of the page before was
/// ordered by, so a page goes on behind it even if things were added or removed
/// meanwhile, that thing itself included.
pub(crate) fn page_in_memory<T>(
    mut items: Vec<T>,
    order: &[OrderBy],
    lookup: impl Fn(&T, &Key) -> Vec<Scalar>,
    id: impl Fn(&T) -> String,
    max_results: usize,
    page_token: Option<&str>,
) -> Result<Page<T>> {
    let first = |item: &T, key: &Key| lookup(item, key).into_iter().next();
    items.sort_by(|left, right| {
        crate::search::compare_ordered(order, |key| first(left, key), |key| first(right, key))
            .then_with(|| id(left).cmp(&id(right)))
    });
    let start = match page_token {
        None => 0,
        Some(token) => {
            let (values, last) = read_position(token, order.len())?;
            let value = |key: &Key| {
                let place = order.iter().position(|order| order.key == *key)?;
                values[place].clone()
            };
            items.partition_point(|item| {
                crate::search::compare_ordered(order, |key| first(item, key), value)
                    .then_with(|| id(item).cmp(&last))
                    .is_le()
            })
        }
    };
    let rest = items.len().saturating_sub(start);
    let items: Vec<T> = items.into_iter().skip(start).take(max_results).collect();
    let next_page_token = match items.last() {
        Some(last) if rest > max_results => {
            let values = order.iter().map(|order| first(last, &order.key));
            Some(write_position(values, &id(last)))
        }
        _ => None,
    };
    Ok(Page {
        items,
        next_page_token,
    })
}

/// Numbers travel by their bits, which are exact.
fn write_position(values: impl Iterator<Item = Option<Scalar>>, id: &str) -> String {
    let values: Vec<serde_json::Value> = values
        .map(|value| match value {
            None => serde_json::Value::Null,
            Some(Scalar::Number(number)) => number.to_bits().into(),
            Some(Scalar::Text(text)) => text.into(),
        })
        .collect();
    encode_token(&serde_json::json!([values, id]).to_string())
}

fn read_position(token: &str, keys: usize) -> Result<(Vec<Option<Scalar>>, String)> {
    let foreign = || Error::invalid("the page token does not belong to this search");
    let (values, id): (Vec<serde_json::Value>, String) =
        serde_json::from_str(&decode_token(token)?).map_err(|_| foreign())?;
    let values: Option<Vec<Option<Scalar>>> = values
        .into_iter()
        .map(|value| match value {
            serde_json::Value::Null => Some(None),
            serde_json::Value::String(text) => Some(Some(Scalar::Text(text))),
            value => {
                let bits = value.as_u64()?;
                Some(Some(Scalar::Number(f64::from_bits(bits))))
            }
        })
        .collect();
    let values = values.filter(|values| values.len() == keys);
    Ok((values.ok_or_else(foreign)?, id))
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
    let has_metrics = filter
        .clauses
        .iter()
        .any(|clause| matches!(clause.key, Key::Metric(_)));
    // Data sets limit the metrics that are compared; without a comparison they
    // ask for any metric.
    let measured = |m: &LoggedModel| {
        let on_them = |metric: &ModelMetric| query.datasets.iter().any(|d| d.is_of(metric));
        query.datasets.is_empty() || has_metrics || m.metrics.iter().any(on_them)
    };
    let lookup = |m: &LoggedModel, key: &Key| match key {
        Key::Metric(name) if !query.datasets.is_empty() => m
            .metrics
            .iter()
            .filter(|metric| metric.metric.key == *name)
            .filter(|metric| query.datasets.iter().any(|d| d.is_of(metric)))
            .map(|metric| Scalar::Number(metric.metric.value))
            .collect(),
        _ => lookup_model(m, key),
    };
    let kept = models
        .into_iter()
        .filter(measured)
        .filter(|m| crate::search::matches(filter, |key| lookup(m, key)));
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
    let (filter, prompts) = for_prompts(filter);
    let kept = models
        .into_iter()
        .filter(|m| is_prompt(&m.tags) == prompts)
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
    then_by(&mut order, "name", false);
    then_by(&mut order, "version_number", true);
    let (filter, prompts) = for_prompts(filter);
    let kept = versions
        .into_iter()
        .filter(|v| is_prompt(&v.tags) == prompts)
        .filter(|v| crate::search::matches(&filter, |key| lookup_version(v, key)))
        .collect();
    let id = |v: &ModelVersion| format!("{}/{:0>20}", v.name, v.version);
    let token = query.page_token.as_deref();
    page_in_memory(kept, &order, lookup_version, id, query.max_results, token)
}

/// Orders by one more key, unless it is among them.
fn then_by(order: &mut Vec<OrderBy>, name: &'static str, descending: bool) {
    let key = Key::Attribute(name);
    if !order.iter().any(|order| order.key == key) {
        order.push(OrderBy { key, descending });
    }
}

/// MLflow keeps prompts among the registered models. A search gives them if it
/// asks for them, and otherwise gives none; the comparison that says so is
/// taken out of the filter.
pub(crate) fn for_prompts(mut filter: Filter) -> (Filter, bool) {
    use crate::search::{Comparator, Literal};
    let is_mark = |key: &Key| matches!(key, Key::Tag(tag) if tag == PROMPT_TAG);
    let asks = filter
        .clauses
        .iter()
        .find(|clause| is_mark(&clause.key))
        .is_some_and(|clause| match (&clause.comparator, &clause.literal) {
            (Comparator::Eq, Literal::Text(text)) => text.eq_ignore_ascii_case("true"),
            (Comparator::Ne, Literal::Text(text)) => text.eq_ignore_ascii_case("false"),
            _ => false,
        });
    filter.clauses.retain(|clause| !is_mark(&clause.key));
    (filter, asks)
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
        then_by(&mut order, "creation_time", true);
        then_by(&mut order, "experiment_id", false);
    }
    then_by(&mut order, "experiment_id", true);
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
        // Ids are ordered as the numbers they are.
        |e, key| match (key, e.experiment_id.parse::<f64>()) {
            (Key::Attribute("experiment_id"), Ok(number)) => vec![Scalar::Number(number)],
            _ => lookup_experiment(e, key),
        },
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

/// The newest first among equals.
pub(crate) fn logged_model_order(order_by: &[String]) -> Result<Vec<OrderBy>> {
    let mut order = OrderBy::parse_all(Subject::LoggedModel, order_by)?;
    then_by(&mut order, "creation_timestamp", true);
    Ok(order)
}
