//! Stored models, applied by PyTorch.

use std::process::Command;

use btc_models::{ModelType, TrainConfig};

use crate::support::{network, random_walk, train};

#[expect(
    clippy::disallowed_methods,
    reason = "which Python to use is for tests alone"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The Python that has `module`; without one, the test is skipped unless it is required.
pub(crate) fn python(module: &str) -> Option<String> {
    let python = setting("BTC_PYTHON").unwrap_or_else(|| "python3".into());
    let found = Command::new(&python)
        .args(["-c", &format!("import {module}")])
        .output();
    if found.is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    let required = setting("BTC_REQUIRE").unwrap_or_default();
    let required = required
        .split([',', ' '])
        .any(|name| name.eq_ignore_ascii_case(module));
    assert!(
        !required,
        "{python} cannot import {module}, which BTC_REQUIRE asks for"
    );
    println!("skipped: {python} cannot import {module}");
    None
}

#[test]
fn pytorch_loads_every_model_and_forecasts_the_same() {
    let Some(python) = python("torch") else {
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
    let mut command = Command::new(&python);
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
