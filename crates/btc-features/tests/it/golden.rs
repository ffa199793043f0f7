//! Joins whose answers Feast 0.67 gave, or would give without its defects.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use btc_features::arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, NullArray, RecordBatch,
    StringArray,
};
use btc_features::arrow::compute::{cast, cast_with_options};
use btc_features::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit};
use btc_features::{
    Definitions, Entity, EntityRows, Error, FeatureSelection, FeatureService, FeatureStore,
    FeatureView, FeatureViewProjection, Field, FileSource, OnDemandFeature, OnDemandFeatureView,
    ValueType,
};
use serde_json::{Map, Value};

use crate::support::{fixture, known, write_parquet};

#[tokio::test]
async fn every_case_gives_the_expected_rows() {
    let golden: Value = serde_json::from_str(&fixture("pit.json")).unwrap();
    known(&golden, &["generator", "entities", "cases"]);
    let cases = golden["cases"].as_array().unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        if let Err(error) = check(case, &golden["entities"]).await {
            wrong.push(format!("{name}: {error}"));
        }
    }
    assert!(!cases.is_empty());
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

async fn check(case: &Value, entities: &Value) -> Result<(), String> {
    // What the two stores of Feast answered each is summed up in `expected`.
    known(
        case,
        &[
            "name",
            "note",
            "sources",
            "views",
            "service",
            "odfv",
            "features",
            "full_feature_names",
            "filter_by_created_timestamp",
            "entity_rows",
            "entity_tz",
            "entity_ts_col",
            "entity_unit",
            "start_date",
            "end_date",
            "expected",
            "expected_duckdb",
            "expected_file",
            "stores_agree_as_sets",
        ],
    );
    known(&case["expected"], &["columns", "rows", "error"]);
    let dir = tempfile::tempdir().unwrap();
    let mut store = FeatureStore::init(dir.path(), "golden").unwrap();
    let definitions = definitions(case, entities, dir.path());
    let texts = |list: &Value| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|text| text.as_str().unwrap().to_owned())
            .collect()
    };
    let selection = match case.get("service") {
        Some(Value::Array(_)) => FeatureSelection::service("service"),
        _ => FeatureSelection::features(texts(&case["features"])),
    };
    let selection = selection
        .with_full_feature_names(case["full_feature_names"].as_bool().unwrap_or(false))
        .with_filter_by_created_timestamp(
            case.get("filter_by_created_timestamp")
                .and_then(Value::as_bool)
                .unwrap_or(false),
        );
    let expected = &case["expected"];
    let result = match store.apply(&definitions) {
        Err(error) => Err(error),
        Ok(_) => {
            store
                .get_historical_features(entity_rows(case), &selection)
                .await
        }
    };
    let batch = match (result, expected.get("error").and_then(Value::as_str)) {
        (Err(Error::Collision { .. }), Some("collision")) => return Ok(()),
        (other, Some(error)) => return Err(format!("expected {error}, got {other:?}")),
        (result, None) => result.map_err(|error| format!("{error} ({error:?})"))?,
    };
    let columns: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|field| field.name().clone())
        .collect();
    if columns != texts(&expected["columns"]) {
        return Err(format!(
            "columns {columns:?}, expected {}",
            expected["columns"]
        ));
    }
    let mut rows = rows(&batch);
    let mut wanted: Vec<Vec<Value>> = expected["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| columns.iter().map(|column| normal(&row[column])).collect())
        .collect();
    if case["entity_rows"].is_null() {
        rows.sort_by_key(|row| format!("{row:?}"));
        wanted.sort_by_key(|row| format!("{row:?}"));
    }
    if rows != wanted {
        return Err(format!("rows {rows:?}, expected {wanted:?}"));
    }
    Ok(())
}

fn definitions(case: &Value, entities: &Value, dir: &Path) -> Definitions {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let mut sources: BTreeMap<String, RecordBatch> = BTreeMap::new();
    let mut definitions = Definitions::new();
    for source in case["sources"].as_array().unwrap() {
        known(
            source,
            &[
                "name",
                "rows",
                "columns",
                "timestamp_field",
                "created_timestamp_column",
                "tz",
                "unit",
                "field_mapping",
            ],
        );
        let name = text(&source["name"]).unwrap();
        let created = text(&source["created_timestamp_column"]);
        let timestamp_field = text(&source["timestamp_field"]).unwrap();
        let mut times = vec![timestamp_field.clone()];
        times.extend(created.clone());
        let batch = table(
            source["rows"].as_array().unwrap(),
            source.get("columns"),
            &times,
            text(&source["tz"]).as_deref(),
            text(&source["unit"]).as_deref().unwrap_or("us"),
        );
        let path = dir.join(format!("{name}.parquet"));
        write_parquet(&path, std::slice::from_ref(&batch), 1_000);
        let mut declared = FileSource::new(&name, format!("{name}.parquet"), timestamp_field);
        if let Some(created) = created {
            declared = declared.with_created_timestamp_column(created);
        }
        for (column, to) in source["field_mapping"].as_object().into_iter().flatten() {
            declared = declared.with_field_mapping(column, to.as_str().unwrap());
        }
        definitions = definitions.with_source(declared);
        sources.insert(name, batch);
    }
    for view in case["views"].as_array().unwrap() {
        known(
            view,
            &["name", "source", "features", "entities", "ttl_s", "types"],
        );
        let source = definitions.sources[view["source"].as_str().unwrap()].clone();
        let batch = &sources[&source.name];
        let mut features = Vec::new();
        for feature in view["features"].as_array().unwrap() {
            let feature = feature.as_str().unwrap();
            let declared = view["types"].get(feature).and_then(Value::as_str);
            let column = source.column_of(feature);
            let value_type = match declared.and_then(|name| name.parse().ok()) {
                Some(value_type) => value_type,
                None => batch
                    .column_by_name(column)
                    .and_then(|column| ValueType::from_data_type(column.data_type()))
                    .unwrap_or(ValueType::Float64),
            };
            features.push(Field::new(feature, value_type));
        }
        let names: Vec<&str> = view["entities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e.as_str().unwrap())
            .collect();
        for name in &names {
            let key = entities[name].as_str().unwrap();
            let value_type = batch
                .column_by_name(source.column_of(key))
                .and_then(|column| ValueType::from_data_type(column.data_type()));
            definitions = definitions.with_entity(
                Entity::new(*name)
                    .with_join_key(key)
                    .with_value_type(value_type.unwrap_or(ValueType::String)),
            );
        }
        let mut declared = FeatureView::new(view["name"].as_str().unwrap(), &source.name)
            .with_entities(names)
            .with_features(features);
        if let Some(seconds) = view["ttl_s"].as_f64() {
            declared = declared.with_ttl(Duration::from_secs_f64(seconds));
        }
        definitions = definitions.with_feature_view(declared);
    }
    if case.get("odfv").and_then(Value::as_bool) == Some(true) {
        let view = case["views"][0]["name"].as_str().unwrap();
        definitions = definitions.with_on_demand_feature_view(
            OnDemandFeatureView::new("od")
                .with_sources([view])
                .with_request([Field::new("req", ValueType::Float64)])
                .with_features([OnDemandFeature::new(
                    "x_plus_req",
                    ValueType::Float64,
                    "x + req",
                )]),
        );
    }
    if let Some(Value::Array(projections)) = case.get("service") {
        let projections = projections.iter().map(|projection| {
            known(projection, &["view", "alias", "join_key_map"]);
            let mut declared = FeatureViewProjection::new(projection["view"].as_str().unwrap());
            if let Some(alias) = projection.get("alias").and_then(Value::as_str) {
                declared = declared.with_alias(alias);
            }
            let map = projection.get("join_key_map").and_then(Value::as_object);
            declared.with_join_key_map(
                map.into_iter()
                    .flatten()
                    .map(|(key, to)| (key, to.as_str().unwrap())),
            )
        });
        definitions = definitions.with_feature_service(FeatureService::new("service", projections));
    }
    definitions
}

fn entity_rows(case: &Value) -> EntityRows {
    let Some(rows) = case["entity_rows"].as_array() else {
        let instant = |text: &Value| {
            let text: ArrayRef = Arc::new(StringArray::from(vec![text.as_str().unwrap()]));
            let nanos = cast(&text, &DataType::Timestamp(TimeUnit::Nanosecond, None)).unwrap();
            let nanos = cast(&nanos, &DataType::Int64).unwrap();
            chrono::DateTime::from_timestamp_nanos(nanos.as_primitive::<Int64Type>().value(0))
        };
        return EntityRows::between(instant(&case["start_date"]), instant(&case["end_date"]));
    };
    let zone = case["entity_tz"].as_str();
    let column = case["entity_ts_col"]
        .as_str()
        .unwrap_or("event_timestamp")
        .to_owned();
    let times = if zone == Some("string") {
        Vec::new()
    } else {
        vec![column]
    };
    let unit = case
        .get("entity_unit")
        .and_then(Value::as_str)
        .unwrap_or("us");
    table(rows, None, &times, zone, unit).into()
}

/// A table of rows in JSON. `times` hold local times of `zone`.
fn table(
    rows: &[Value],
    columns: Option<&Value>,
    times: &[String],
    zone: Option<&str>,
    unit: &str,
) -> RecordBatch {
    let mut names: Vec<String> = match columns.and_then(Value::as_array) {
        Some(names) => names
            .iter()
            .map(|name| name.as_str().unwrap().to_owned())
            .collect(),
        None => Vec::new(),
    };
    for row in rows {
        for name in row.as_object().unwrap().keys() {
            if !names.contains(name) {
                names.push(name.clone());
            }
        }
    }
    let columns = names.iter().map(|name| {
        let values: Vec<&Value> = rows.iter().map(|row| &row[name]).collect();
        let array = if times.contains(name) {
            instants(&values, zone, unit)
        } else {
            plain(&values)
        };
        (name.as_str(), array)
    });
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

fn instants(values: &[&Value], zone: Option<&str>, unit: &str) -> ArrayRef {
    let unit = match unit {
        "s" => TimeUnit::Second,
        "ms" => TimeUnit::Millisecond,
        "ns" => TimeUnit::Nanosecond,
        _ => TimeUnit::Microsecond,
    };
    let text: ArrayRef = Arc::new(
        values
            .iter()
            .map(|value| value.as_str())
            .collect::<StringArray>(),
    );
    let naive = cast(&text, &DataType::Timestamp(unit, None)).unwrap();
    // New York keeps standard time, five hours behind, in the cases' months.
    let behind = match zone {
        Some("America/New_York") => 5 * 3_600,
        _ => 0,
    };
    let scale = match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let numbers = cast(&naive, &DataType::Int64).unwrap();
    let numbers: Int64Array = numbers
        .as_primitive::<Int64Type>()
        .unary(|value| value + behind * scale);
    cast(&numbers, &DataType::Timestamp(unit, zone.map(Into::into))).unwrap()
}

fn plain(values: &[&Value]) -> ArrayRef {
    let known: Vec<&Value> = values
        .iter()
        .copied()
        .filter(|value| !value.is_null())
        .collect();
    if known.is_empty() {
        Arc::new(NullArray::new(values.len()))
    } else if known.iter().all(|value| value.is_i64()) {
        Arc::new(
            values
                .iter()
                .map(|value| value.as_i64())
                .collect::<Int64Array>(),
        )
    } else if known.iter().all(|value| value.is_number()) {
        Arc::new(
            values
                .iter()
                .map(|value| value.as_f64())
                .collect::<Float64Array>(),
        )
    } else if known.iter().all(|value| value.is_boolean()) {
        Arc::new(
            values
                .iter()
                .map(|value| value.as_bool())
                .collect::<BooleanArray>(),
        )
    } else {
        Arc::new(
            values
                .iter()
                .map(|value| value.as_str())
                .collect::<StringArray>(),
        )
    }
}

/// The rows of a result in the form of [`normal`].
fn rows(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let columns: Vec<Vec<Value>> = batch.columns().iter().map(values).collect();
    (0..batch.num_rows())
        .map(|row| columns.iter().map(|column| column[row].clone()).collect())
        .collect()
}

fn values(column: &ArrayRef) -> Vec<Value> {
    let valid = |value: Value, row: usize| {
        if column.is_null(row) {
            Value::Null
        } else {
            value
        }
    };
    match column.data_type() {
        DataType::Timestamp(_, zone) => {
            assert_eq!(zone.as_deref(), Some("UTC"), "instants come out in UTC");
            let naive = DataType::Timestamp(TimeUnit::Nanosecond, None);
            let nanos = cast(column, &naive).unwrap();
            let nanos = cast(&nanos, &DataType::Int64).unwrap();
            let nanos = nanos.as_primitive::<Int64Type>();
            (0..nanos.len())
                .map(|row| valid(Value::from(format!("t{}", nanos.value(row))), row))
                .collect()
        }
        DataType::Utf8 => column
            .as_string::<i32>()
            .iter()
            .map(|text| text.map_or(Value::Null, Value::from))
            .collect(),
        DataType::Boolean => column
            .as_boolean()
            .iter()
            .map(|v| v.map_or(Value::Null, Value::from))
            .collect(),
        DataType::Null => vec![Value::Null; column.len()],
        _ => {
            let options = Default::default();
            let floats = cast_with_options(column, &DataType::Float64, &options).unwrap();
            let floats = floats.as_primitive::<Float64Type>();
            floats
                .iter()
                .map(|v| v.map_or(Value::Null, Value::from))
                .collect()
        }
    }
}

/// A value of the golden file, with numbers as floats and instants as text
/// that starts with a `t`.
fn normal(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::from(number.as_f64()),
        Value::String(text) if text.len() >= 19 && text.as_bytes()[10] == b'T' => {
            let array: ArrayRef = Arc::new(StringArray::from(vec![text.as_str()]));
            let utc = DataType::Timestamp(TimeUnit::Nanosecond, Some("UTC".into()));
            let nanos = cast(&cast(&array, &utc).unwrap(), &DataType::Int64).unwrap();
            Value::from(format!("t{}", nanos.as_primitive::<Int64Type>().value(0)))
        }
        Value::Object(_) => Value::Object(Map::new()),
        other => other.clone(),
    }
}
