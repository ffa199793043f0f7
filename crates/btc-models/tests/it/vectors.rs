//! Values that other libraries computed; see `tests/fixtures/ORIGIN.md`.
//!
//! A key that nobody reads is refused: what it sets would be left out in silence.
#![allow(
    dead_code,
    reason = "unit tests read some of the cases, integration tests the others"
)]

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `torch.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Torch {
    pub(crate) losses: Vec<LossCase>,
    pub(crate) optimizers: Vec<OptimizerCase>,
    pub(crate) recurrent: Vec<RecurrentCase>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LossCase {
    /// For [`exactly`].
    pub(crate) loss: Value,
    pub(crate) predictions: Vec<f32>,
    pub(crate) targets: Vec<f32>,
    pub(crate) value: f64,
    pub(crate) gradient: Vec<f64>,
}

/// Steps with the gradients of a linear function, which are its coefficients.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OptimizerCase {
    /// For [`exactly`].
    pub(crate) optimizer: Value,
    pub(crate) lr: f64,
    pub(crate) start: Vec<f32>,
    pub(crate) gradients: Vec<Vec<f32>>,
    pub(crate) after: Vec<Vec<f64>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Cell {
    #[serde(rename = "LSTM")]
    Lstm,
    #[serde(rename = "GRU")]
    Gru,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecurrentCase {
    pub(crate) kind: Cell,
    pub(crate) x: Vec<f64>,
    pub(crate) weights: CellWeights,
    pub(crate) states: Vec<f64>,
    pub(crate) gradient_of_states: Vec<f64>,
    pub(crate) gradients: CellWeights,
    pub(crate) gradient_of_x: Vec<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CellWeights {
    pub(crate) weight_ih_l0: Vec<f64>,
    pub(crate) weight_hh_l0: Vec<f64>,
    pub(crate) bias_ih_l0: Vec<f64>,
    pub(crate) bias_hh_l0: Vec<f64>,
}

/// `statistics.json`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statistics {
    pub(crate) diebold_mariano: Vec<DieboldMarianoCase>,
    pub(crate) binomial: Vec<BinomialCase>,
    pub(crate) holm: HolmCase,
    pub(crate) metrics: MetricsCase,
    pub(crate) ridge: RidgeCase,
    pub(crate) smoothing: SmoothingCase,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DieboldMarianoCase {
    pub(crate) horizon: usize,
    pub(crate) losses: Vec<f64>,
    pub(crate) other: Vec<f64>,
    pub(crate) statistic: f64,
    pub(crate) p_value: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BinomialCase {
    pub(crate) hits: usize,
    pub(crate) total: usize,
    pub(crate) p_value: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HolmCase {
    pub(crate) p_values: Vec<f64>,
    pub(crate) adjusted: Vec<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MetricsCase {
    pub(crate) actual: Vec<f64>,
    pub(crate) predicted: Vec<f64>,
    pub(crate) mae: f64,
    pub(crate) rmse: f64,
    pub(crate) mape: f64,
    /// By quantile.
    pub(crate) pinball: BTreeMap<String, f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RidgeCase {
    pub(crate) x: Vec<Vec<f64>>,
    pub(crate) y: Vec<f64>,
    /// The penalty that leave-one-out chooses.
    pub(crate) alpha: f64,
    pub(crate) coefficients: Vec<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SmoothingCase {
    pub(crate) series: Vec<f64>,
    pub(crate) simple: SimpleCase,
    pub(crate) damped: DampedCase,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimpleCase {
    pub(crate) alpha: f64,
    pub(crate) forecasts: Vec<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DampedCase {
    pub(crate) alpha: f64,
    pub(crate) beta: f64,
    pub(crate) phi: f64,
    pub(crate) forecasts: Vec<f64>,
}

pub(crate) fn torch() -> Torch {
    read("torch.json")
}

pub(crate) fn statistics() -> Statistics {
    read("statistics.json")
}

/// Reads a golden file, all keys of which must be known.
fn read<T: DeserializeOwned>(file: &str) -> T {
    let text = btc_testing::golden(env!("CARGO_MANIFEST_DIR"), file);
    let cases = serde_json::from_str(&text);
    cases.unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A value of the type, every field of which it has a place for.
#[track_caller]
pub(crate) fn exactly<T: DeserializeOwned + Serialize>(value: &Value) -> T {
    let read: T = serde_json::from_value(value.clone()).unwrap();
    let written = serde_json::to_value(&read).unwrap();
    let fields = |value: &Value| -> Vec<String> {
        let members = value.as_object().into_iter().flatten();
        members.map(|(name, _)| name.clone()).collect()
    };
    let unread = |name: &String| !fields(&written).contains(name);
    let unread: Vec<String> = fields(value).into_iter().filter(unread).collect();
    assert!(unread.is_empty(), "nobody reads {unread:?} of {value}");
    read
}

/// The largest difference, relative to the size of what is expected where that exceeds 1.
#[track_caller]
pub(crate) fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs() / expected.abs().max(1.0);
        assert!(
            error <= tolerance,
            "{what}, number {at}: {found} instead of {expected}"
        );
    }
}
