//! A convolutional LSTM over neighbouring features, followed by an LSTM over the whole.

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, odd_size, size};
use crate::nn::kernels::{ConvLstmBuffers, ConvShape, FusedConvLstm, Pool, fused};
use crate::nn::layers::{Activation, Linear, Map, Mode, Output, Recurrent, Unfold, map, unfold};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::{Init, Parameters, Part};
#[cfg(feature = "onnx")]
use crate::onnx::{self, Graph, Value};

/// Convolutional LSTM over neighbouring features, LSTM over the whole, two dense layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ConvLstmConfig {
    /// The number of filters of the convolutional LSTM.
    pub filters: usize,
    /// The number of neighbouring features that a filter sees, an odd number.
    pub kernel: usize,
    /// The width of the LSTM and of the first dense layer.
    pub units: usize,
    /// The function inside both recurrent layers.
    pub activation: Activation,
}

settings!(ConvLstmConfig {
    with_filters(filters: usize),
    with_kernel(kernel: usize),
    with_units(units: usize),
    with_activation(activation: Activation),
});

impl From<&Hyperparameters> for ConvLstmConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            filters: 64,
            kernel: 3,
            units: hyperparameters.units,
            activation: hyperparameters.activation,
        }
    }
}

impl NetworkSpec for ConvLstmConfig {
    fn validate(&self) -> crate::Result<()> {
        size("filters", self.filters)?;
        size("units", self.units)?;
        odd_size("kernel", self.kernel)
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let &Self {
            filters,
            kernel,
            units,
            activation,
        } = self;
        let width = input.timesteps * input.features * filters;
        Ok(Box::new(ConvLstm {
            encoder: ConvRecurrent::new(parameters, "conv", filters, kernel, activation)?,
            lstm: Recurrent::lstm(parameters, "lstm", width, units, activation)?,
            dense: Linear::new(parameters, "dense", units, units)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
        }))
    }
}

/// A convolutional LSTM layer (Shi et al. 2015) over neighbouring features.
#[derive(Debug)]
struct ConvRecurrent {
    weights: Tensor,
    filters: usize,
    kernel: usize,
    activation: Activation,
    pool: Pool<ConvLstmBuffers>,
}

impl ConvRecurrent {
    fn new(
        parameters: &mut Parameters,
        name: &str,
        filters: usize,
        kernel: usize,
        activation: Activation,
    ) -> Result<Self> {
        let init = Init::fan_in(kernel * filters);
        let gates = 4 * filters;
        let weights = parameters.packed(
            name,
            &[
                Part::new(format!("{name}.input.weight"), &[gates, 1, kernel, 1], init),
                Part::new(
                    format!("{name}.hidden.weight"),
                    &[gates, 1, kernel, filters],
                    init,
                ),
                Part::new(format!("{name}.input.bias"), &[gates], init),
            ],
        )?;
        Ok(Self {
            weights,
            filters,
            kernel,
            activation,
            pool: Pool::default(),
        })
    }

    /// The hidden states of (batch, steps, features): (batch, steps, features * filters).
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !fused(x) {
            return self.composed(x);
        }
        let (batch, steps, positions) = x.dims3()?;
        let &Self {
            filters, kernel, ..
        } = self;
        let shape = ConvShape {
            batch,
            steps,
            positions,
            filters,
            kernel,
        };
        let relu = self.activation == Activation::Relu;
        x.contiguous()?
            .apply_op2(&self.weights, FusedConvLstm::new(shape, relu, &self.pool))
    }

    /// The same out of candle's operations: for other devices and types, and as a reference.
    fn composed(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, steps, features) = x.dims3()?;
        let (n, kernel) = (self.filters, self.kernel);
        let weights = self.weights.to_dtype(x.dtype())?;
        let (of_input, of_hidden) = (4 * n * kernel, 4 * n * kernel * n);
        let w_input = weights.narrow(0, 0, of_input)?.reshape((4 * n, kernel))?;
        let w_hidden = weights
            .narrow(0, of_input, of_hidden)?
            .reshape((4 * n, kernel * n))?;
        let bias = weights.narrow(0, of_input + of_hidden, 4 * n)?;
        let window = Unfold {
            kernel,
            dilation: 1,
            before: kernel / 2,
            after: kernel / 2,
        };
        let times = |x: &Tensor, w: &Tensor| {
            let (_, _, width) = x.dims3()?;
            x.reshape(((), width))?
                .matmul(&w.t()?)?
                .reshape((batch, features, 4 * n))
        };
        let mut state: Option<(Tensor, Tensor)> = None;
        let mut states = Vec::with_capacity(steps);
        for t in 0..steps {
            let now = x.narrow(1, t, 1)?.reshape((batch, features, 1))?;
            let mut gates = times(&unfold(&now, window)?, &w_input)?.broadcast_add(&bias)?;
            if let Some((h, _)) = &state {
                gates = (gates + times(&unfold(h, window)?, &w_hidden)?)?;
            }
            let gate = |k: usize| gates.narrow(2, k * n, n);
            let i = map(&gate(0)?, Map::Sigmoid)?;
            let f = map(&gate(1)?, Map::Sigmoid)?;
            let g = self.activation.apply(&gate(2)?)?;
            let o = map(&gate(3)?, Map::Sigmoid)?;
            let mut c = (i * g)?;
            if let Some((_, before)) = &state {
                c = (c + (f * before)?)?;
            }
            let h = (o * self.activation.apply(&c)?)?;
            states.push(h.clone());
            state = Some((h, c));
        }
        Tensor::stack(&states, 1)?.reshape((batch, steps, features * n))
    }
}

#[cfg(feature = "onnx")]
impl ConvRecurrent {
    /// Writes the layer into a graph, step by step.
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let dims = x.dims().to_vec();
        let (steps, features) = (dims[0], dims[1]);
        let (n, kernel) = (self.filters, self.kernel);
        let (of_input, of_hidden) = (4 * n * kernel, 4 * n * kernel * n);
        let part = |from, length| self.weights.narrow(0, from, length);
        let w_input = part(0, of_input)?.reshape((4 * n, kernel))?;
        let w_hidden = part(of_input, of_hidden)?.reshape((4 * n, kernel * n))?;
        let bias = part(of_input + of_hidden, 4 * n)?;
        let no_bias = bias.zeros_like()?;
        let window = Unfold {
            kernel,
            dilation: 1,
            before: kernel / 2,
            after: kernel / 2,
        };
        let mut state: Option<(Value, Value)> = None;
        let mut states = Vec::with_capacity(steps);
        for t in 0..steps {
            let now = graph.narrow(x, 0, t, 1)?;
            let now = graph.reshape(&now, &[features, 1])?;
            let now = onnx::unfold(graph, &now, window)?;
            let mut gates = graph.linear(&now, &w_input, &bias)?;
            if let Some((h, _)) = &state {
                let around = onnx::unfold(graph, h, window)?;
                let from_hidden = graph.linear(&around, &w_hidden, &no_bias)?;
                gates = graph.add(&gates, &from_hidden);
            }
            let gate = |graph: &mut Graph, k: usize| graph.narrow(&gates, 1, k * n, n);
            let (i, f) = (gate(graph, 0)?, gate(graph, 1)?);
            let (g, o) = (gate(graph, 2)?, gate(graph, 3)?);
            let [i, f, o] = [i, f, o].map(|x| graph.map(&x, Map::Sigmoid));
            let g = self.activation.export(graph, &g);
            let mut c = graph.mul(&i, &g);
            if let Some((_, before)) = &state {
                let kept = graph.mul(&f, before);
                c = graph.add(&c, &kept);
            }
            let active = self.activation.export(graph, &c);
            let h = graph.mul(&o, &active);
            states.push(graph.reshape(&h, &[1, features * n])?);
            state = Some((h, c));
        }
        graph.concat(&states, 0)
    }
}

#[derive(Debug)]
struct ConvLstm {
    encoder: ConvRecurrent,
    lstm: Recurrent,
    dense: Linear,
    head: Linear,
}

impl Network for ConvLstm {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let states = self.encoder.forward(x)?;
        let whole = states.reshape((x.dim(0)?, 1, ()))?;
        let code = self.lstm.forward(&whole, Output::Last)?;
        self.head.forward(&self.dense.forward(&code)?)
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let states = self.encoder.export(graph, x)?;
        let numbers = states.dims().iter().product();
        let whole = graph.reshape(&states, &[1, numbers])?;
        let code = self.lstm.export(graph, &whole, Output::Last)?;
        let dense = self.dense.export(graph, &code)?;
        self.head.export(graph, &dense)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;
    use crate::nn::layers::tests::{check, numbers};

    #[test]
    fn the_fused_layer_equals_one_of_candle_operations() {
        let layer = |weights: &Tensor, activation| ConvRecurrent {
            weights: weights.clone(),
            filters: 3,
            kernel: 3,
            activation,
            pool: Pool::default(),
        };
        for (batch, steps, features) in [(2, 4, 5), (1, 1, 1), (3, 2, 2)] {
            let inputs = [
                numbers("x", &[batch, steps, features]),
                numbers("w", &[12 * (3 + 9 + 1)]),
            ];
            for activation in Activation::ALL {
                check(
                    &inputs,
                    |t| layer(&t[1], activation).forward(&t[0]),
                    |t| layer(&t[1], activation).composed(&t[0]),
                );
            }
        }
    }

    /// Smaller batches after larger ones use the same buffers.
    #[test]
    fn buffers_hold_nothing_of_the_batch_before() {
        let weights = Var::from_tensor(&numbers("w", &[12 * (3 + 9 + 1)])).unwrap();
        let layer = ConvRecurrent {
            weights: weights.as_tensor().clone(),
            filters: 3,
            kernel: 3,
            activation: Activation::Tanh,
            pool: Pool::default(),
        };
        let x = numbers("x", &[2, 4, 5]);
        let run = || {
            let y = layer.forward(&x).unwrap();
            let store = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let gradient: Vec<f32> = store.get(&weights).unwrap().to_vec1().unwrap();
            (y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), gradient)
        };
        let first = run();
        for batch in [5, 1] {
            let other = numbers("y", &[batch, 4, 5]);
            let y = layer
                .forward(&other.to_device(&Device::Cpu).unwrap())
                .unwrap();
            y.sum_all().unwrap().backward().unwrap();
        }
        assert_eq!(run(), first);
    }
}
