//! A trained network as a model of ONNX, which any of its runtimes applies.
//!
//! The graph is the whole forecast: it takes raw rows of the features and returns what
//! [`Forecaster::forecast`] returns of a frame of these rows, one a step apart.
//!
//! | name | shape, type | content |
//! |---|---|---|
//! | input `rows` | (batch, rows, features), f64 | The features by [`feature_names`](Forecaster::feature_names), the oldest row first; at least [`required_rows`](Forecaster::required_rows) rows, and more for intervals that know more of the recent spread. NaN stands for what is missing. |
//! | output `point` | (batch, steps), f64 | The forecast of each step, the nearest first. |
//! | output `quantiles` | (batch, steps, levels), f64 | The quantiles of each step. |
//!
//! The names of the features, the levels of the quantiles, and what else a caller needs stand in
//! the model's metadata, each in JSON: `features`, `target`, `timesteps`, `required_rows`,
//! `steps`, `quantile_levels`, `model_type`.
//!
//! A network of the caller's own takes part if it implements
//! [`Network::export`](crate::nn::network::Network::export), for which [`Graph`] has the
//! operators.

mod forecast;
mod graph;
mod layers;
mod proto;
mod window;

use prost::Message;

pub use graph::{Attribute, Graph, Value, Weight};
pub use layers::{attention, unfold};

use crate::fit::Forecaster;
use crate::{Error, Result};
use graph::{known, named};
use proto::{DataType, ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// The version of ONNX's operators that models are written in.
pub const OPSET: i64 = 17;
/// The version of the format that came with these operators.
const IR_VERSION: i64 = 8;

impl Forecaster {
    /// The forecaster as a model of ONNX: the bytes of a `.onnx` file.
    ///
    /// The same model gives the same bytes.
    ///
    /// ```
    /// # use std::ops::ControlFlow;
    /// # use btc_models::{Hyperparameters, ModelType, NetworkConfig, SeriesFrame, TrainConfig, fit};
    /// # let start = chrono::DateTime::from_timestamp(1_600_000_000, 0).unwrap();
    /// # let days = (0..80).map(|day| start + chrono::Days::new(day)).collect();
    /// # let close = (0..80).map(|day| 100.0 + f64::from(day * 37 % 11)).collect();
    /// # let frame = SeriesFrame::new(days, [("close", close)], "close")?;
    /// # let network = NetworkConfig::new(ModelType::NLinear, &Hyperparameters::default());
    /// # let config = TrainConfig::default().with_epochs(1);
    /// # let device = candle_core::Device::Cpu;
    /// let forecaster = fit(&network, &frame, &config, &device, |_| Ok(ControlFlow::Continue(())))?;
    /// let bytes = forecaster.to_onnx()?; // std::fs::write("model.onnx", bytes)
    /// assert!(!bytes.is_empty());
    /// # Ok::<(), btc_models::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::NotExportable`] for a network or a transform of the caller's own that does not say
    /// how, and for a model that sees more than the features.
    pub fn to_onnx(&self) -> Result<Vec<u8>> {
        let manifest = &self.manifest;
        let names = self.feature_names();
        let price = self.target_name();
        let Some(at) = names.iter().position(|name| *name == price) else {
            return Err(Error::NotExportable {
                reason: format!("its target {price:?} is none of its features"),
            });
        };
        let mut graph = Graph::default();
        let rows = "rows";
        graph.input(rows, DataType::Double, window::input_dims(names.len()));
        let window = window::window(&mut graph, rows, &manifest.preprocessor, self.timesteps())?;
        let outputs = self.network_of().export(&mut graph, &window)?;
        let outputs = forecast::doubled(&mut graph, &outputs);
        let origin = forecast::Origin::new(&mut graph, rows, at);
        let width = manifest.loss.outputs() as i64;
        let (mut points, mut quantiles) = (Vec::new(), Vec::new());
        let mut levels: Vec<f64> = Vec::new();
        let steps = manifest.config.steps();
        for (place, (ahead, fitted)) in (0..).zip(steps.clone().zip(manifest.steps())) {
            let of_step = graph.range(&outputs, 1, place * width, (place + 1) * width);
            let (point, of_levels, found) =
                origin.step(&mut graph, &manifest.loss, fitted, ahead, &of_step)?;
            if place == 0 {
                levels = found;
            } else if levels != found {
                return Err(Error::NotExportable {
                    reason: "its steps have quantiles of other levels".to_owned(),
                });
            }
            points.push(point);
            let axis = graph.list(&[1]);
            quantiles.push(graph.node("Unsqueeze", &[&of_levels, &axis], vec![]));
        }
        for (parts, name) in [(&points, "point"), (&quantiles, "quantiles")] {
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let together = graph.node("Concat", &parts, vec![Attribute::Int("axis", 1)]);
            graph.rename(&together, name);
        }
        let per_step = vec![named("batch"), known(steps.len())];
        graph.output("point", DataType::Double, per_step.clone());
        let per_level = per_step.into_iter().chain([known(levels.len())]).collect();
        graph.output("quantiles", DataType::Double, per_level);
        let model = ModelProto {
            ir_version: IR_VERSION,
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            doc_string: format!(
                "{}: the next values of {price}, from raw rows of its features",
                self.model_type()
            ),
            graph: Some(graph.finish("forecast")),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: OPSET,
            }],
            metadata_props: metadata([
                ("features", names.into()),
                ("target", price.into()),
                ("timesteps", self.timesteps().into()),
                ("required_rows", self.required_rows().into()),
                ("steps", steps.collect::<Vec<_>>().into()),
                ("quantile_levels", levels.into()),
                ("model_type", self.model_type().into()),
            ]),
        };
        Ok(model.encode_to_vec())
    }
}

fn metadata<const N: usize>(
    entries: [(&str, serde_json::Value); N],
) -> Vec<StringStringEntryProto> {
    entries
        .into_iter()
        .map(|(key, value)| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_string(),
        })
        .collect()
}
