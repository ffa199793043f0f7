//! The layers as operators of ONNX.

use super::graph::{Attribute, Graph, Value};
use crate::Result;
use crate::nn::layers::{Activation, Convolution, LayerNorm, Linear, Output, Recurrent, Unfold};

impl Activation {
    /// Writes the function into a graph.
    pub fn export(self, graph: &mut Graph, x: &Value) -> Value {
        graph.map(x, self.into())
    }
}

impl Linear {
    /// Writes the layer into a graph.
    ///
    /// # Errors
    ///
    /// The last dimension is not the number of inputs.
    pub fn export(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let (weight, bias) = self.weights()?;
        graph.linear(x, &weight, bias)
    }
}

impl Convolution {
    /// Writes the layer into a graph.
    ///
    /// # Errors
    ///
    /// The number of channels is another than the layer's.
    pub fn export(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let (windows, linear) = self.parts();
        let windows = unfold(graph, x, windows)?;
        linear.export(graph, &windows)
    }
}

/// Writes [`unfold`](crate::nn::layers::unfold) into a graph.
///
/// # Errors
///
/// The kernel is longer than the series.
pub fn unfold(graph: &mut Graph, x: &Value, unfold: Unfold) -> Result<Value> {
    let steps = x.dims()[0];
    let padded = match (unfold.before, unfold.after) {
        (0, 0) => x.clone(),
        (before, after) => graph.pad(x, before, after),
    };
    let outputs = unfold.outputs(steps);
    let windows: Vec<Value> = (0..unfold.kernel)
        .map(|k| graph.narrow(&padded, 0, k * unfold.dilation, outputs))
        .collect::<Result<_>>()?;
    graph.concat(&windows, 1)
}

impl LayerNorm {
    /// Writes the layer into a graph.
    ///
    /// # Errors
    ///
    /// The weights cannot be read.
    pub fn export(&self, graph: &mut Graph, x: &Value) -> Result<Value> {
        let (weight, bias) = self.weights();
        let (weight, bias) = (graph.weight(weight)?, graph.weight(bias)?);
        let attributes = vec![
            Attribute::Int("axis", -1),
            Attribute::Float("epsilon", 1e-5),
        ];
        let dims = x.dims().to_vec();
        Ok(graph.apply(
            "LayerNormalization",
            &[x],
            &[&weight, &bias],
            attributes,
            &dims,
        ))
    }
}

/// Writes [`attention`](crate::nn::layers::attention) into a graph.
///
/// # Errors
///
/// The shapes do not fit each other.
pub fn attention(graph: &mut Graph, query: &Value, key: &Value, value: &Value) -> Result<Value> {
    let axes = key.dims().len();
    let width = key.dims()[axes - 1];
    let mut order: Vec<usize> = (0..axes).collect();
    order.swap(axes - 2, axes - 1);
    let transposed = graph.permute(key, &order)?;
    let scores = graph.matmul(query, &transposed)?;
    let dims = scores.dims().to_vec();
    let root = graph.weights(&[], &[(width as f32).sqrt()]);
    let scores = graph.apply("Div", &[&scores], &[&root], vec![], &dims);
    let axis = Attribute::Int("axis", -1);
    let shares = graph.apply("Softmax", &[&scores], &[], vec![axis], &dims);
    graph.matmul(&shares, value)
}

impl Recurrent {
    /// Writes the layer into a graph.
    ///
    /// # Errors
    ///
    /// The weights cannot be read.
    pub fn export(&self, graph: &mut Graph, x: &Value, output: Output) -> Result<Value> {
        let steps = x.dims()[0];
        let weights = self.unpacked()?;
        let (hidden, inputs) = (weights.hidden, weights.inputs);
        // The gates of PyTorch's order that ONNX has in its own.
        let (op, order): (_, &[usize]) = match weights.lstm {
            true => ("LSTM", &[0, 3, 1, 2]),
            false => ("GRU", &[1, 0, 2]),
        };
        let gates = order.len();
        let reorder = |values: &[f32], width: usize| -> Vec<f32> {
            let block = |gate: &usize| {
                let at = gate * hidden * width;
                values[at..at + hidden * width].to_vec()
            };
            order.iter().flat_map(block).collect()
        };
        let activation = if weights.relu { "Relu" } else { "Tanh" };
        let mut attributes = vec![Attribute::Int("hidden_size", hidden as i64)];
        attributes.push(Attribute::Strings(
            "activations",
            match weights.lstm {
                true => vec!["Sigmoid", activation, activation],
                false => vec!["Sigmoid", activation],
            },
        ));
        if !weights.lstm {
            attributes.push(Attribute::Int("linear_before_reset", 1));
        }
        let of_input = reorder(&weights.input, inputs);
        let of_input = graph.f32s(&[1, gates * hidden, inputs], &of_input);
        let of_hidden = reorder(&weights.recurrent, hidden);
        let of_hidden = graph.f32s(&[1, gates * hidden, hidden], &of_hidden);
        let mut bias = reorder(&weights.input_bias, 1);
        bias.extend(reorder(&weights.recurrent_bias, 1));
        let bias = graph.f32s(&[1, 2 * gates * hidden], &bias);
        let steps_first = Attribute::Ints("perm", vec![1, 0, 2]);
        let by_step = graph.node("Transpose", &[&x.name], vec![steps_first]);
        let attributes = attributes.into_iter().map(Into::into).collect();
        let inputs = [by_step.as_str(), &of_input, &of_hidden, &bias];
        let states = graph.outputs(op, &inputs, attributes, 2);
        Ok(match output {
            // (steps, directions, batch, hidden), and (directions, batch, hidden) for the last.
            Output::Sequence => {
                let direction = graph.list(&[1]);
                let states = graph.node("Squeeze", &[&states[0], &direction], vec![]);
                let batch_first = Attribute::Ints("perm", vec![1, 0, 2]);
                let states = graph.node("Transpose", &[&states], vec![batch_first]);
                Value::new(states, &[steps, hidden])
            }
            Output::Last => {
                let direction = graph.list(&[0]);
                let last = graph.node("Squeeze", &[&states[1], &direction], vec![]);
                Value::new(last, &[hidden])
            }
        })
    }
}
