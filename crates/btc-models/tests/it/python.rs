//! Stored models, applied by PyTorch.

use btc_models::{ModelType, TrainConfig};
use btc_testing::python_with;

use crate::support::{network, random_walk, train};

#[test]
fn pytorch_loads_every_model_and_forecasts_the_same() {
    let Some(mut command) = python_with("torch") else {
        return;
    };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/pytorch.py");
    let frame = random_walk(4, 120);
    let dir = tempfile::tempdir().unwrap();
    let series = dir.path().join("series.json");
    let columns: serde_json::Map<String, serde_json::Value> = frame
        .names()
        .iter()
        .map(|name| (name.clone(), frame.column(name).unwrap().into()))
        .collect();
    std::fs::write(&series, serde_json::Value::from(columns).to_string()).unwrap();
    command.arg(script).arg(&series);
    let mut expected = Vec::new();
    for model in ModelType::ALL {
        let config = TrainConfig::default().with_epochs(3);
        let forecaster = train(&network(model, true), &frame, &config);
        let bundle = dir.path().join(model.name());
        forecaster.save(&bundle).unwrap();
        expected.push(forecaster.forecast(&frame).unwrap().point());
        command.arg(bundle);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8_lossy(&output.stdout);
    let found: Vec<f64> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(found.len(), expected.len());
    for (model, (found, expected)) in ModelType::ALL.iter().zip(found.iter().zip(expected)) {
        let error = (found / expected - 1.0).abs();
        assert!(error < 1e-6, "{model}: {found} instead of {expected}");
    }
}
