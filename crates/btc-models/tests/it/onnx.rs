//! Models written for ONNX, applied by onnxruntime.

use std::process::Command;

use btc_models::{
    Error, FeatureTransform, Forecaster, Loss, ModelType, ScalerKind, SeriesFrame, Target,
    TrainConfig,
};
use btc_testing::python_with;
use serde_json::{Value, json};

use crate::support::{frame, network, normals, random_walk, train};

/// Models with the frames whose rows they are applied to.
#[derive(Default)]
struct Cases(Vec<(Forecaster, Vec<SeriesFrame>)>);

impl Cases {
    /// The model, applied to the `rows` rows up to each of the last `windows` of the frame.
    fn add(&mut self, forecaster: Forecaster, whole: &SeriesFrame, rows: usize, windows: usize) {
        assert!(forecaster.required_rows() <= rows);
        let end = whole.rows();
        let frames = (end - windows + 1..=end)
            .map(|end| whole.slice(end - rows..end).unwrap())
            .collect();
        self.0.push((forecaster, frames));
    }

    /// Asserts that onnxruntime forecasts what the crate does.
    fn check(&self, mut python: Command) {
        let dir = tempfile::tempdir().unwrap();
        let mut cases = Vec::new();
        for (at, (forecaster, frames)) in self.0.iter().enumerate() {
            let model = dir.path().join(format!("{at}.onnx"));
            std::fs::write(&model, forecaster.to_onnx().unwrap()).unwrap();
            let rows: Vec<Value> = frames
                .iter()
                .map(|frame| raw_rows(forecaster, frame))
                .collect();
            cases.push(json!({ "model": model, "rows": rows }));
        }
        let path = dir.path().join("cases.json");
        std::fs::write(&path, Value::from(cases).to_string()).unwrap();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/apply_onnx.py");
        let output = python.arg(script).arg(&path).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        let answers: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(answers.len(), self.0.len());
        for ((forecaster, frames), answer) in self.0.iter().zip(answers) {
            let name = forecaster.model_type();
            assert_eq!(answer["features"], json!(forecaster.feature_names()));
            let levels: Vec<f64> = serde_json::from_value(answer["levels"].clone()).unwrap();
            for (window, frame) in frames.iter().enumerate() {
                let expected = match forecaster.forecast(frame) {
                    Err(Error::NotPositive { .. }) => {
                        // No return on such a value: no number either.
                        assert_eq!(answer["point"][window][0], Value::Null);
                        continue;
                    }
                    expected => expected.unwrap(),
                };
                for (at, step) in expected.steps().enumerate() {
                    let found = |name: &str| &answer[name][window][at];
                    near(name, found("point"), step.point);
                    let knots = step.quantiles.knots();
                    let known: Vec<f64> = knots.iter().map(|(level, _)| *level).collect();
                    assert_eq!(levels, known, "{name}");
                    for (level, (_, value)) in knots.iter().enumerate() {
                        near(name, &found("quantiles")[level], *value);
                    }
                }
            }
        }
    }
}

fn raw_rows(forecaster: &Forecaster, frame: &SeriesFrame) -> Value {
    let columns: Vec<&[f64]> = forecaster
        .feature_names()
        .iter()
        .map(|name| frame.column(name).unwrap())
        .collect();
    (0..frame.rows())
        .map(|row| {
            columns
                .iter()
                .map(|column| Some(column[row]).filter(|x| x.is_finite()))
                .collect::<Vec<Option<f64>>>()
        })
        .collect::<Vec<_>>()
        .into()
}

fn near(name: &str, found: &Value, expected: f64) {
    let found = found.as_f64().unwrap_or(f64::NAN);
    let difference = (found - expected).abs() / expected.abs().max(1.0);
    assert!(difference <= 1e-6, "{name}: {found} instead of {expected}");
}

#[test]
fn onnxruntime_forecasts_the_same_with_every_network() {
    let Some(python) = python_with("onnxruntime") else {
        return;
    };
    let whole = random_walk(4, 160);
    let mut cases = Cases::default();
    for model in ModelType::ALL {
        let config = TrainConfig::default().with_epochs(3);
        let forecaster = train(
            &network(model, true),
            &whole.slice(0..120).unwrap(),
            &config,
        );
        // A window alone, and one with rows before it, of which intervals know more.
        let needed = forecaster.required_rows();
        cases.add(forecaster, &whole, needed, 3);
        let forecaster = train(
            &network(model, true),
            &whole.slice(0..120).unwrap(),
            &config,
        );
        cases.add(forecaster, &whole, 90, 2);
    }
    cases.check(python);
}

#[test]
fn every_activation_length_and_number_of_steps_is_written() {
    let Some(python) = python_with("onnxruntime") else {
        return;
    };
    let whole = random_walk(5, 160);
    let training = whole.slice(0..120).unwrap();
    let mut cases = Cases::default();
    for model in ModelType::ALL {
        let relu = btc_models::Hyperparameters::default()
            .with_units(8)
            .with_filters(5)
            .with_activation(btc_models::Activation::Relu);
        let relu = btc_models::NetworkConfig::new(model, &relu);
        for timesteps in [1, 2, 7] {
            let config = TrainConfig::default()
                .with_epochs(2)
                .with_timesteps(timesteps)
                .with_steps(3);
            cases.add(train(&relu, &training, &config), &whole, 60, 1);
        }
    }
    cases.check(python);
}

#[test]
fn every_loss_target_scaler_and_transform_is_written() {
    let Some(python) = python_with("onnxruntime") else {
        return;
    };
    let whole = random_walk(6, 160);
    let training = whole.slice(0..120).unwrap();
    let n_linear = network(ModelType::NLinear, true);
    let mut cases = Cases::default();
    let config = TrainConfig::default().with_epochs(2);
    let pinball = Loss::Pinball {
        quantiles: vec![0.05, 0.1, 0.3, 0.5, 0.8, 0.99],
    };
    for loss in [Loss::Mae, Loss::GaussianNll, pinball] {
        for target in [Target::LogReturn, Target::Difference, Target::Level] {
            let config = config.clone().with_loss(loss.clone()).with_target(target);
            cases.add(train(&n_linear, &training, &config), &whole, 50, 2);
        }
    }
    for scaler in [ScalerKind::MinMax, ScalerKind::Standard, ScalerKind::Robust] {
        for transform in [
            FeatureTransform::Auto,
            FeatureTransform::Level,
            FeatureTransform::Log,
            FeatureTransform::Difference,
            FeatureTransform::LogDifference,
            FeatureTransform::ZScore { window: 9 },
        ] {
            let mut config = config.clone().with_clip(None);
            config.scaler = scaler.clone();
            config.transform = transform;
            cases.add(train(&n_linear, &training, &config), &whole, 40, 2);
        }
    }
    cases.check(python);
}

#[test]
fn missing_and_negative_values_are_what_they_are_to_the_crate() {
    let Some(python) = python_with("onnxruntime") else {
        return;
    };
    let rows = 160;
    let mut load: Vec<f64> = normals(9, rows).iter().map(|x| 60.0 + 5.0 * x).collect();
    let mut wind: Vec<f64> = normals(10, rows).iter().map(|x| x.exp()).collect();
    // One that keeps its value, one that is missing for longer than it may, and a zero.
    for row in (100..103).chain(120..140).chain(158..160) {
        wind[row] = f64::NAN;
    }
    wind[110] = 0.0;
    load[150] = -3.0;
    let whole = frame(&[("load", load), ("wind", wind)]);
    let training = whole.slice(0..100).unwrap();
    let mut cases = Cases::default();
    for target in [Target::LogReturn, Target::Difference] {
        let config = TrainConfig::default().with_epochs(2).with_target(target);
        let forecaster = train(&network(ModelType::NLinear, true), &training, &config);
        cases.add(forecaster, &whole, 60, 55);
    }
    cases.check(python);
}

#[test]
fn a_model_gives_the_same_bytes_and_what_cannot_be_written_is_told() {
    let whole = random_walk(7, 120);
    let config = TrainConfig::default().with_epochs(1);
    let make = || {
        let forecaster = train(&network(ModelType::Lstm, true), &whole, &config);
        forecaster.to_onnx().unwrap()
    };
    assert_eq!(make(), make());
    let known = whole.clone().with_known_future(["volume"]).unwrap();
    let forecaster = train(&network(ModelType::NLinear, true), &known, &config);
    let error = forecaster.to_onnx().unwrap_err();
    assert!(matches!(error, Error::NotExportable { .. }), "{error}");
    assert!(error.to_string().contains("known ahead"), "{error}");
}
