//! On-demand features: the same offline and online.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use btc_features::arrow::array::{
    Array as _, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampSecondArray,
};
use btc_features::arrow::util::display::array_value_to_string;
use btc_features::datafusion::logical_expr::Volatility;
use btc_features::{
    Definitions, Error, FeatureSelection, FeatureService, FeatureStore, FeatureViewProjection,
    OnDemandFeature, OnDemandFeatureView, OnlineRequest, ValueType,
};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::support::write_parquet;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(20 * 86_400, 0).unwrap()
}

/// A store with one row of each kind of feature, and one of nulls.
fn store(dir: &Path) -> FeatureStore {
    let days: ArrayRef = Arc::new(TimestampSecondArray::from(vec![86_400, 86_400]));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new(Int64Array::from(vec![1, 2]))),
        ("event_timestamp", days),
        ("f", Arc::new(Float64Array::from(vec![Some(0.25), None]))),
        ("i", Arc::new(Int64Array::from(vec![Some(3), None]))),
        ("s", Arc::new(StringArray::from(vec![Some("2.5-Öl"), None]))),
        ("b", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        (
            "t",
            Arc::new(TimestampSecondArray::from(vec![Some(1_622_505_661), None])),
        ),
    ];
    let columns = columns
        .into_iter()
        .map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    write_parquet(&dir.join("s.parquet"), &[batch], 10);
    let mut store = FeatureStore::init(dir, "shop").unwrap();
    let text = "[[entity]]\nname = \"id\"\n[[source]]\nname = \"s\"\npath = \"s.parquet\"\n\
                [[feature_view]]\nname = \"v\"\nsource = \"s\"\nentities = [\"id\"]\nfeatures = [\
                { name = \"f\", type = \"Float64\" }, { name = \"i\", type = \"Int64\" }, \
                { name = \"s\", type = \"String\" }, { name = \"b\", type = \"Bool\" }, \
                { name = \"t\", type = \"UnixTimestamp\" }]";
    store.apply(&Definitions::from_toml(text).unwrap()).unwrap();
    store
}

fn on_demand(features: impl IntoIterator<Item = (String, String)>) -> Definitions {
    let features = features
        .into_iter()
        .map(|(name, expression)| OnDemandFeature::new(name, ValueType::String, expression));
    let view = OnDemandFeatureView::new("od")
        .with_sources(["v"])
        .with_features(features);
    Definitions::new().with_on_demand_feature_view(view)
}

/// Every function, with arguments that it takes: tried until one is accepted.
fn calls(function: &str) -> Vec<String> {
    let arguments = [
        "",
        "f",
        "i",
        "s",
        "b",
        "t",
        "f, i",
        "i, i",
        "f, f",
        "s, i",
        "s, s",
        "i, s",
        "s, s, s",
        "s, i, i",
        "s, i, s",
        "f, f, f",
        "i, i, i",
        "'day', t",
        "'epoch', t",
        "t, '%Y-%m-%d'",
        "t, 'Int64'",
        "f, 'Int32'",
        "s, '%Y'",
        "s, '-', 1",
        "s, 'a', 'b'",
        "2021, 6, 1",
        "12, 30, 1",
        "interval '1 day', t, timestamp '2001-01-01T00:00:00'",
        "interval '1 day', t",
        "'2021-06-01'",
        "'12:30:00'",
        "'a', i, 'b', f",
        "i, 'x'",
        "arrow_cast(t, 'Timestamp(s)')",
        "named_struct('a', i), 'a'",
        "b, i, i",
        "'x', s",
        "s, s, s, s",
        "s, 'base64'",
        "encode(s, 'base64'), 'base64'",
    ];
    let call = |arguments: &&str| match function {
        // What gives a structure is asked for one of its fields.
        "struct" => format!("cast(get_field(struct({arguments}), 'c0') as varchar)"),
        "named_struct" => "cast(get_field(named_struct('a', i), 'a') as varchar)".into(),
        "arrow_field" => {
            format!("cast(get_field(arrow_field({arguments}), 'data_type') as varchar)")
        }
        "decode" => format!("cast(decode({arguments}) as varchar)"),
        _ => format!("cast({function}({arguments}) as varchar)"),
    };
    arguments.iter().map(call).collect()
}

#[tokio::test]
async fn every_function_gives_the_same_offline_and_online() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    store
        .materialize(&[], DateTime::UNIX_EPOCH..=now())
        .await
        .unwrap();
    let state = store.context().state();
    let mut functions: Vec<(String, Volatility)> = state
        .scalar_functions()
        .values()
        .map(|function| (function.name().to_owned(), function.signature().volatility))
        .collect();
    functions.sort_by(|a, b| a.0.cmp(&b.0));
    functions.dedup_by(|a, b| a.0 == b.0);
    assert!(60 < functions.len(), "{}", functions.len());
    let mut untried = BTreeSet::new();
    let mut tried = 0;
    for (function, volatility) in &functions {
        let mut accepted = 0;
        for (number, call) in calls(function).into_iter().enumerate() {
            let definitions = on_demand([(format!("x{number}"), call.clone())]);
            let applied = store.apply(&definitions);
            if *volatility != Volatility::Immutable {
                let error = applied.unwrap_err().to_string();
                assert!(
                    error.contains("cannot be used") || error.contains(&format!("{function}()")),
                    "{error}"
                );
                continue;
            }
            if applied.is_err() {
                continue;
            }
            let feature = format!("od:x{number}");
            let offline = offline(&store, &feature).await;
            let online = online(&store, &feature);
            match (offline, online) {
                (Ok(offline), Ok(online)) => {
                    assert_eq!(offline, online, "{call}");
                    accepted += 1;
                    if accepted == 2 {
                        break;
                    }
                }
                (Err(_), Err(_)) => {}
                (offline, online) => panic!("{call}: {offline:?} and {online:?}"),
            }
        }
        if *volatility == Volatility::Immutable {
            tried += 1;
            if accepted == 0 {
                untried.insert(function.as_str());
            }
        }
    }
    // No value type is a union; and the SQL parser makes of `substr` a syntax of
    // its own, which is refused as soon as it is applied.
    let unreachable = BTreeSet::from(["substr", "union_extract", "union_tag"]);
    assert_eq!(untried, unreachable, "of {tried} functions");
}

async fn offline(store: &FeatureStore, feature: &str) -> Result<Vec<Value>, Error> {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let days: ArrayRef = Arc::new(TimestampSecondArray::from(vec![20 * 86_400; 3]));
    let rows = RecordBatch::try_from_iter([("id", ids), ("event_timestamp", days)]).unwrap();
    let selection = FeatureSelection::features([feature]);
    let joined = store.get_historical_features(rows, &selection).await?;
    let column = joined.columns().last().unwrap();
    Ok((0..3)
        .map(|row| match column.is_null(row) {
            true => Value::Null,
            false => array_value_to_string(column, row).unwrap().into(),
        })
        .collect())
}

fn online(store: &FeatureStore, feature: &str) -> Result<Vec<Value>, Error> {
    let body = json!({"features": [feature], "entities": {"id": [1, 2, 3]}});
    let request: OnlineRequest = serde_json::from_value(body).unwrap();
    let answer = store.get_online_features(&request, now())?;
    Ok(answer.results.last().unwrap().values.clone())
}

#[tokio::test]
async fn a_constant_is_a_feature_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    let constant = OnDemandFeature::new("one", ValueType::Float64, "1.0");
    let view = OnDemandFeatureView::new("c").with_features([constant]);
    store
        .apply(&Definitions::new().with_on_demand_feature_view(view))
        .unwrap();
    assert_eq!(
        offline(&store, "c:one").await.unwrap(),
        vec![json!("1.0"); 3]
    );
    assert_eq!(online(&store, "c:one").unwrap(), vec![json!(1.0); 3]);
}

#[test]
fn clocks_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    for (expression, name) in [
        ("date_part('epoch', now() - t)", "now()"),
        ("current_date", "current_date()"),
        ("cast(current_time as varchar)", "current_time()"),
        ("current_timestamp", "now()"),
        ("random()", "random()"),
        ("uuid()", "uuid()"),
        ("case when f > 1 then f else random() end", "random()"),
        ("sum(f)", "an aggregate"),
    ] {
        let definitions = on_demand([("x".into(), expression.into())]);
        let error = store.apply(&definitions).unwrap_err();
        assert!(
            matches!(error, Error::InvalidDefinition { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(name), "{expression}: {error}");
    }
}

#[tokio::test]
async fn of_two_projections_of_a_view_none_is_taken_at_a_guess() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path());
    let twice = |own: bool| {
        let alias = |alias: &str, key: &str| {
            FeatureViewProjection::new("v")
                .with_alias(alias)
                .with_join_key_map([("id", key)])
                .with_features(["f"])
        };
        let mut views = vec![alias("origin", "id"), alias("dest", "dest")];
        if own {
            views.push(FeatureViewProjection::new("v").with_features(["f"]));
        }
        views.push(FeatureViewProjection::new("od"));
        FeatureService::new("trip", views)
    };
    let definitions = on_demand([("x".into(), "cast(f as varchar)".into())]);
    let error = store
        .apply(&definitions.clone().with_feature_service(twice(false)))
        .unwrap_err();
    assert!(error.to_string().contains("origin and dest"), "{error}");
    store
        .apply(&definitions.with_feature_service(twice(true)))
        .unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let other: ArrayRef = Arc::new(Int64Array::from(vec![2]));
    let days: ArrayRef = Arc::new(TimestampSecondArray::from(vec![20 * 86_400]));
    let columns = [("dest", other), ("id", ids), ("event_timestamp", days)];
    let rows = RecordBatch::try_from_iter(columns).unwrap();
    let selection = FeatureSelection::service("trip").with_full_feature_names(true);
    let joined = store
        .get_historical_features(rows, &selection)
        .await
        .unwrap();
    assert_eq!(array_value_to_string(&joined["od__x"], 0).unwrap(), "0.25");
}
