//! A registered model, loaded by Python's MLflow as one of its own.

use std::sync::Arc;

use btc_models::Forecaster;
use btc_models::candle_core::Device;
use btc_pipeline::{frame_of, register_best};
use btc_testing::python_with;
use btc_track::TrackingClient;
use btc_tune::InMemoryStorage;

use crate::{config, project, register_config, run_search, series, table};

const SCRIPT: &str = "
import json, sys
import mlflow, numpy
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = numpy.array([json.load(open(sys.argv[2]))])
assert model.metadata.metadata['features'] == json.loads(sys.argv[3])
answer = model.predict(rows)
print(json.dumps({name: numpy.asarray(values).tolist() for name, values in answer.items()}))
";

#[test]
fn mlflow_loads_what_was_registered_and_forecasts_the_same() {
    let Some(mut python) = python_with("onnxruntime") else {
        return;
    };
    if python_with("mlflow").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let table = table(&project);
    let client = TrackingClient::open(&project.tracking(), &project.artifacts()).unwrap();
    let storage = Arc::new(InMemoryStorage::new());
    run_search(&client, storage, &series(&table), &config(2)).unwrap();
    let registered = register_best(&client, &register_config(), &table).unwrap();
    let version = client.model_version("model", registered.version).unwrap();
    let path = client.model_path(&version).unwrap().unwrap();
    let forecaster = Forecaster::load(&path, &Device::Cpu).unwrap();
    let names = forecaster.feature_names();
    let frame = frame_of(&table, &names).unwrap();
    let expected = forecaster.forecast(&frame).unwrap();

    let columns: Vec<&[f64]> = names
        .iter()
        .map(|name| frame.column(name).unwrap())
        .collect();
    // NaN is a word that Python's JSON knows.
    let row = |row: usize| -> String {
        let values = columns.iter().map(|column| match column[row] {
            x if x.is_finite() => x.to_string(),
            _ => "NaN".to_owned(),
        });
        format!("[{}]", values.collect::<Vec<_>>().join(","))
    };
    let rows: Vec<String> = (0..frame.rows()).map(row).collect();
    let file = folder.path().join("rows.json");
    std::fs::write(&file, format!("[{}]", rows.join(","))).unwrap();
    let output = python
        .args(["-c", SCRIPT])
        .args([&path, &file])
        .arg(serde_json::to_string(&names).unwrap())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let near = |found: &serde_json::Value, expected: f64| {
        let found = found.as_f64().unwrap();
        assert!((found / expected - 1.0).abs() < 1e-6, "{found} {expected}");
    };
    near(&answer["point"][0][0], expected.point());
    let step = expected.steps().next().unwrap();
    for (at, (_, value)) in step.quantiles.knots().iter().enumerate() {
        near(&answer["quantiles"][0][0][at], *value);
    }
}
