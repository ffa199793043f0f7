//! What training gave once: the built-in networks keep their weights, bit for bit on one kind of
//! CPU, and to rounding on any other.

use std::collections::BTreeMap;
use std::path::Path;

use btc_models::{Forecaster, ModelType, TrainConfig};
use serde::{Deserialize, Serialize};

use crate::support::{network, random_walk, train};

/// A few numbers of a trained network.
#[derive(Debug, Serialize, Deserialize)]
struct Pin {
    weights: usize,
    sum: f64,
    sum_of_squares: f64,
    some: Vec<f32>,
    forecast: f64,
}

fn pin(model: ModelType) -> Pin {
    let frame = random_walk(3, 150);
    // The epoch is chosen on all of the windows that training does not see, as it was then.
    let config = TrainConfig::default()
        .with_epochs(2)
        .with_seed(21)
        .with_calibration_fraction(0.0);
    let forecaster: Forecaster = train(&network(model, true), &frame, &config);
    let dir = tempfile::tempdir().unwrap();
    forecaster.save(&dir.path().join("m")).unwrap();
    let bytes = std::fs::read(dir.path().join("m/weights.safetensors")).unwrap();
    // A safetensors file is the length of its header, the header and the numbers.
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let (numbers, _) = bytes[8 + header..].as_chunks::<4>();
    let weights: Vec<f32> = numbers.iter().map(|x| f32::from_le_bytes(*x)).collect();
    let wide = || weights.iter().map(|x| f64::from(*x));
    Pin {
        weights: weights.len(),
        sum: wide().sum(),
        sum_of_squares: wide().map(|x| x * x).sum(),
        some: weights
            .iter()
            .step_by(1 + weights.len() / 8)
            .copied()
            .collect(),
        forecast: forecaster.forecast(&frame).unwrap().point(),
    }
}

fn path() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/networks.json")
}

#[test]
fn networks_train_to_the_weights_that_they_always_had() {
    let text = std::fs::read_to_string(path()).unwrap();
    let pins: BTreeMap<ModelType, Pin> = serde_json::from_str(&text).unwrap();
    for model in ModelType::ALL {
        let (found, expected) = (pin(model), &pins[&model]);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-4 * (1.0 + b.abs());
        let same = found.weights == expected.weights
            && near(found.sum, expected.sum)
            && near(found.sum_of_squares, expected.sum_of_squares)
            && near(found.forecast, expected.forecast)
            && (found.some.iter().zip(&expected.some)).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(same, "{model}: {found:?} instead of {expected:?}");
    }
}

#[test]
#[ignore = "writes the fixture"]
fn write() {
    let pins: BTreeMap<ModelType, Pin> = ModelType::ALL
        .into_iter()
        .map(|model| (model, pin(model)))
        .collect();
    std::fs::write(path(), serde_json::to_string_pretty(&pins).unwrap() + "\n").unwrap();
}
