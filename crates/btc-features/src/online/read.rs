//! Answering requests from the online store, in the shapes of Feast's feature
//! server.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{Field as ArrowField, Schema};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::key;
use super::proto::Value;
use super::sqlite::{OnlineDatabase, OnlineRow};
use super::value::{from_column, from_json, time_text, to_column, to_json};
use super::windows::{WindowState, value_at};
use crate::definition::{Definitions, ValueType};
use crate::error::{Error, Result};
use crate::retrieve::FeatureSelection;
use crate::retrieve::{Output, Request, evaluate_on_demand};
use crate::store::FeatureStore;

/// A request for online features: the body of `POST /get-online-features`.
///
/// ```
/// let request: btc_features::OnlineRequest = serde_json::from_str(
///     r#"{"features": ["stats:trips"], "entities": {"driver_id": [1001, 1002]}}"#,
/// )?;
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OnlineRequest {
    /// Features, as `view:feature`; none if a service is named.
    #[serde(default)]
    pub features: Vec<String>,
    /// A service, whose features are wanted.
    #[serde(default)]
    pub feature_service: Option<String>,
    /// The values of keys, and of columns that on-demand features need, by
    /// name; as many of each.
    #[serde(default)]
    pub entities: BTreeMap<String, Vec<Json>>,
    /// Whether features are called `view__feature`.
    #[serde(default)]
    pub full_feature_names: bool,
}

impl OnlineRequest {
    /// A request for features of some keys.
    pub fn new(selection: OnlineSelection, entities: BTreeMap<String, Vec<Json>>) -> Self {
        let (features, feature_service) = match selection {
            OnlineSelection::Features(features) => (features, None),
            OnlineSelection::Service(service) => (Vec::new(), Some(service)),
        };
        Self {
            features,
            feature_service,
            entities,
            full_feature_names: false,
        }
    }
}

/// What an [`OnlineRequest`] asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnlineSelection {
    /// Features, as `view:feature`.
    Features(Vec<String>),
    /// The features of a service.
    Service(String),
}

/// The answer to an [`OnlineRequest`], which serializes as Feast's does.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OnlineFeatures {
    /// The names of the results.
    pub metadata: OnlineMetadata,
    /// The keys, then the features: one value for each entity.
    pub results: Vec<OnlineResult>,
}

/// The names of an answer's results.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OnlineMetadata {
    /// The names, in the order of the results.
    pub feature_names: Vec<String>,
}

/// One column of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OnlineResult {
    /// The values; null where there is none.
    pub values: Vec<Json>,
    /// What each value is.
    pub statuses: Vec<FeatureStatus>,
    /// The event time of each value, in UTC; 1970 where there is none.
    pub event_timestamps: Vec<String>,
}

/// What a value of the online store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FeatureStatus {
    /// It is there, and not older than its time to live.
    Present,
    /// The newest row has no value.
    NullValue,
    /// The key has no row.
    NotFound,
    /// The newest row is older than the time to live: the value is null.
    OutsideMaxAge,
}

/// A column while it is put together.
#[derive(Debug, Clone)]
struct Column {
    values: Vec<Value>,
    statuses: Vec<FeatureStatus>,
    /// In nanoseconds since 1970; 0 where there is no value.
    event_times: Vec<i128>,
}

impl FeatureStore {
    /// Reads the newest values of features for some keys, and computes windowed
    /// aggregates as of `now`, or as of the end of the last materialization if
    /// that is later.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownObject`] or [`Error::InvalidRequest`] if the request
    /// cannot be answered, [`Error::OnlineStore`] if the database cannot be
    /// read.
    pub fn get_online_features(
        &self,
        request: &OnlineRequest,
        now: DateTime<Utc>,
    ) -> Result<OnlineFeatures> {
        let definitions = &self.registry().definitions;
        let selection = match (&request.feature_service, request.features.is_empty()) {
            (Some(service), true) => FeatureSelection::service(service),
            (None, false) => FeatureSelection::features(request.features.iter()),
            _ => {
                return Err(Error::InvalidRequest(
                    "name either features or a feature service".into(),
                ));
            }
        }
        .with_full_feature_names(request.full_feature_names);
        let mut plan = Request::resolve(&selection, definitions)?;
        let columns: Vec<_> = request
            .entities
            .keys()
            .map(|name| (name.clone(), arrow::datatypes::DataType::Null))
            .collect();
        let expressions = plan.parse_on_demand(self.context(), definitions, &columns)?;
        let rows = request.rows()?;
        let keys = request.typed(definitions, &plan)?;
        plan.check_names(&Schema::new(
            keys.iter()
                .map(|(name, _)| ArrowField::new(name, arrow::datatypes::DataType::Null, true))
                .collect::<Vec<_>>(),
        ))?;
        let database = OnlineDatabase::open_existing(&self.online_path(), &self.config().project)?;
        let mut views = Vec::with_capacity(plan.views.len());
        for view in &plan.views {
            views.push(view_columns(
                view,
                &keys,
                rows,
                database.as_ref(),
                definitions,
                now,
            )?);
        }
        let mut answer = OnlineFeatures {
            metadata: OnlineMetadata {
                feature_names: Vec::new(),
            },
            results: Vec::new(),
        };
        for (name, values) in &keys {
            let column = Column {
                values: values.clone(),
                statuses: vec![FeatureStatus::Present; rows],
                event_times: vec![0; rows],
            };
            answer.push(name.clone(), &column);
        }
        for (number, output) in plan.outputs.iter().enumerate() {
            let column = match output {
                Output::Feature { view, feature, .. } => views[*view][*feature].clone(),
                Output::OnDemand { view, feature, .. } => {
                    let Some(expression) = expressions.get(&number) else {
                        continue;
                    };
                    let value_type = view
                        .feature(feature)
                        .map_or(ValueType::Float64, |feature| feature.value_type);
                    let computed =
                        self.compute(expression, rows, &plan, &views, &keys, definitions)?;
                    let values = from_column(&computed, value_type)
                        .map_err(|unfit| unfit.at("the answer", output.name()))?;
                    let status = |value: &Value| match value.val {
                        Some(_) => FeatureStatus::Present,
                        None => FeatureStatus::NullValue,
                    };
                    let statuses = values.iter().map(status).collect();
                    Column {
                        values,
                        statuses,
                        event_times: vec![0; rows],
                    }
                }
            };
            answer.push(output.name().to_owned(), &column);
        }
        Ok(answer)
    }

    /// The values of an on-demand feature.
    fn compute(
        &self,
        expression: &datafusion::logical_expr::Expr,
        rows: usize,
        plan: &Request,
        views: &[Vec<Column>],
        keys: &[(String, Vec<Value>)],
        definitions: &Definitions,
    ) -> Result<ArrayRef> {
        let mut fields = Vec::new();
        let mut arrays = Vec::new();
        for (view, columns) in plan.views.iter().zip(views) {
            for (name, column) in view.features.iter().zip(columns) {
                let Some(field) = view.view.feature(name) else {
                    continue;
                };
                let qualified = format!("{}:{name}", view.label);
                fields.push(ArrowField::new(
                    qualified,
                    field.value_type.data_type(),
                    true,
                ));
                let values = to_column(&column.values, field.value_type);
                arrays.push(values.map_err(|unfit| unfit.at("the online store", name))?);
            }
        }
        for (name, values) in keys {
            let Some(value_type) = request_type(definitions, plan, name) else {
                continue;
            };
            fields.push(ArrowField::new(name, value_type.data_type(), true));
            let values = to_column(values, value_type);
            arrays.push(values.map_err(|unfit| unfit.at("the request", name))?);
        }
        let schema = Arc::new(Schema::new(fields));
        // Without a column, only the number of rows says how many values there are.
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options)?;
        evaluate_on_demand(
            self.context(),
            plan.bind_labels(expression.clone())?,
            &batch,
        )
    }
}

impl OnlineFeatures {
    fn push(&mut self, name: String, column: &Column) {
        self.metadata.feature_names.push(name);
        self.results.push(OnlineResult {
            values: column.values.iter().map(to_json).collect(),
            statuses: column.statuses.clone(),
            event_timestamps: column
                .event_times
                .iter()
                .map(|time| time_text(*time))
                .collect(),
        });
    }
}

impl OnlineRequest {
    /// The number of entities.
    fn rows(&self) -> Result<usize> {
        let counts: HashSet<usize> = self.entities.values().map(Vec::len).collect();
        match counts.len() {
            0 => Ok(1),
            1 => Ok(counts.into_iter().next().unwrap_or(0)),
            _ => Err(Error::InvalidRequest(
                "the lists in \"entities\" differ in length; give as many values of each".into(),
            )),
        }
    }

    /// The values of the request by the types that the registry gives them.
    fn typed(
        &self,
        definitions: &Definitions,
        plan: &Request,
    ) -> Result<Vec<(String, Vec<Value>)>> {
        let mut typed = Vec::with_capacity(self.entities.len());
        for (name, values) in &self.entities {
            // What no view needs says how many entities there are, and no more.
            let Some(value_type) = request_type(definitions, plan, name) else {
                continue;
            };
            let values = values
                .iter()
                .map(|value| from_json(name, value, value_type))
                .collect::<Result<_>>()?;
            typed.push((name.clone(), values));
        }
        Ok(typed)
    }
}

/// The type of a key or of a column that on-demand features need.
fn request_type(definitions: &Definitions, plan: &Request, name: &str) -> Option<ValueType> {
    for view in &plan.views {
        let entities = definitions.join_keys(&view.view).unwrap_or_default();
        for (entity, (column, _)) in entities.iter().zip(view.keys()) {
            if column == name {
                // Applied before its source had files, an entity may be untyped.
                return Some(entity.value_type.unwrap_or(ValueType::String));
            }
        }
    }
    for output in &plan.outputs {
        if let Output::OnDemand { view, .. } = output
            && let Some(field) = view.request.iter().find(|field| field.name == name)
        {
            return Some(field.value_type);
        }
    }
    None
}

fn view_columns(
    view: &crate::retrieve::RequestView,
    request: &[(String, Vec<Value>)],
    rows: usize,
    database: Option<&OnlineDatabase>,
    definitions: &Definitions,
    now: DateTime<Utc>,
) -> Result<Vec<Column>> {
    let by_name: HashMap<&str, &Vec<Value>> = request
        .iter()
        .map(|(name, values)| (name.as_str(), values))
        .collect();
    let mut keys: Vec<Option<Vec<u8>>> = Vec::with_capacity(rows);
    let entities = definitions.join_keys(&view.view)?;
    for row in 0..rows {
        let mut parts = Vec::with_capacity(entities.len());
        for (entity, (column, _)) in entities.iter().zip(view.keys()) {
            let values = by_name.get(column.as_str()).ok_or_else(|| {
                Error::InvalidRequest(format!(
                    "the request has no {column:?}, by which feature view {:?} is joined",
                    view.view.name
                ))
            })?;
            if let Some(value) = values[row].val.clone() {
                parts.push((entity.join_key.as_str(), value));
            }
        }
        // A null key is found nowhere.
        let whole = parts.len() == entities.len();
        keys.push(if whole {
            Some(key::encode(&parts)?)
        } else {
            None
        });
    }
    let wanted: Vec<Vec<u8>> = keys.iter().flatten().cloned().collect();
    let found: Vec<Option<OnlineRow>> = match database {
        Some(database) => database.read(&view.view.name, &wanted)?,
        None => vec![None; wanted.len()],
    };
    let mut found = found.into_iter();
    let found: Vec<Option<OnlineRow>> = keys
        .iter()
        .map(|key| key.as_ref().and_then(|_| found.next().flatten()))
        .collect();
    let ttl = view.view.ttl.map(|ttl| ttl.as_nanos().cast_signed());
    let now =
        i128::from(now.timestamp()) * 1_000_000_000 + i128::from(now.timestamp_subsec_nanos());
    // Windows end at the request, or where the kept rows do if that is later.
    let windows = match database {
        Some(database) if view.view.longest_window().is_some() => database
            .window_state(&view.view.name)?
            .map(|state| (database, state)),
        _ => None,
    };
    let mut window_rows = Vec::new();
    if let Some((database, state)) = windows {
        let longest = view.view.longest_window().unwrap_or_default();
        let instant = instant_of(now, state);
        let after = instant.saturating_sub(longest);
        for key in &keys {
            window_rows.push(match key {
                Some(key) => Some(database.window_rows(&view.view.name, key, (after, instant))?),
                None => None,
            });
        }
    }
    let columns = view.features.iter().map(|feature| {
        let mut column = Column {
            values: Vec::new(),
            statuses: Vec::new(),
            event_times: Vec::new(),
        };
        let field = view.view.feature(feature);
        let aggregate = field.and_then(|field| Some((field, field.aggregate.as_ref()?)));
        for (number, row) in found.iter().enumerate() {
            let (value, status, time) = match (aggregate, row) {
                (Some((field, aggregate)), _) => {
                    let kept = window_rows.get(number).and_then(Option::as_ref);
                    let value = match (kept, windows) {
                        (Some(rows), Some((_, state))) => {
                            value_at(field, aggregate, rows, state, instant_of(now, state))?
                        }
                        _ => None,
                    };
                    let status = match &value {
                        Some(Value { val: Some(_) }) => FeatureStatus::Present,
                        Some(Value { val: None }) if row.is_some() => FeatureStatus::NullValue,
                        _ => FeatureStatus::NotFound,
                    };
                    let time = row.as_ref().map_or(0, |row| row.event_time);
                    (value.and_then(|value| value.val), status, time)
                }
                (None, None) => (None, FeatureStatus::NotFound, 0),
                (None, Some(row)) => {
                    let old = ttl.is_some_and(|ttl| row.event_time < now - ttl);
                    match row.values.get(feature).and_then(|value| value.val.clone()) {
                        _ if old => (None, FeatureStatus::OutsideMaxAge, row.event_time),
                        Some(value) => (Some(value), FeatureStatus::Present, row.event_time),
                        None if row.values.contains_key(feature) => {
                            (None, FeatureStatus::NullValue, row.event_time)
                        }
                        None => (None, FeatureStatus::NotFound, 0),
                    }
                }
            };
            column.values.push(Value { val: value });
            column.statuses.push(status);
            column.event_times.push(time);
        }
        Ok(column)
    });
    columns.collect()
}

/// The instant that windows end at, in nanoseconds.
fn instant_of(now: i128, state: WindowState) -> i64 {
    let now = now.clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(now).map_or(state.until, |now| now.max(state.until))
}
