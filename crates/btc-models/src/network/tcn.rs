//! A temporal convolutional network (after Bai, Kolter and Koltun 2018).

use candle_core::{Result, Tensor};
use serde::{Deserialize, Serialize};

use super::{Hyperparameters, NetworkSpec, dropout_rate, size};
use crate::nn::layers::{Activation, Convolution, Linear, Mode, Unfold, dropout};
use crate::nn::network::{InputShape, Network};
use crate::nn::parameters::Parameters;
#[cfg(feature = "onnx")]
use crate::onnx::{Graph, Value};

/// Residual blocks of two causal convolutions with doubling dilation, dense layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TcnConfig {
    /// The number of filters of each convolution.
    pub filters: usize,
    /// Steps that a filter sees.
    pub kernel: usize,
    /// The function after each convolution.
    pub activation: Activation,
    /// The fraction of values that is dropped in training.
    pub dropout: f32,
}

settings!(TcnConfig {
    with_filters(filters: usize),
    with_kernel(kernel: usize),
    with_activation(activation: Activation),
    with_dropout(dropout: f32),
});

impl From<&Hyperparameters> for TcnConfig {
    fn from(hyperparameters: &Hyperparameters) -> Self {
        Self {
            filters: hyperparameters.filters,
            kernel: 3,
            activation: hyperparameters.activation,
            dropout: 0.05,
        }
    }
}

impl NetworkSpec for TcnConfig {
    fn validate(&self) -> crate::Result<()> {
        size("filters", self.filters)?;
        size("kernel", self.kernel)?;
        dropout_rate(self.dropout)
    }

    fn build(&self, input: InputShape, parameters: &mut Parameters) -> Result<Box<dyn Network>> {
        let &Self {
            filters,
            kernel,
            activation,
            dropout,
        } = self;
        let mut blocks = Vec::new();
        let mut channels = input.features;
        let (mut seen, mut dilation) = (1, 1);
        // As many blocks as it takes to see the whole window.
        while blocks.is_empty() || (seen < input.timesteps && 1 < kernel) {
            let name = format!("blocks.{}", blocks.len());
            let unfold = Unfold::causal(kernel, dilation);
            let mut convolution = |name: String, channels| {
                Convolution::new(parameters, &name, channels, filters, unfold)
            };
            let convolutions = [
                convolution(format!("{name}.conv1"), channels)?,
                convolution(format!("{name}.conv2"), filters)?,
            ];
            let residual = (channels != filters)
                .then(|| Linear::new(parameters, &format!("{name}.residual"), channels, filters))
                .transpose()?;
            blocks.push(Block {
                convolutions,
                residual,
            });
            channels = filters;
            seen += 2 * (kernel - 1) * dilation;
            dilation *= 2;
        }
        let head = Linear::new(parameters, "head", filters, input.outputs)?;
        Ok(Box::new(Tcn {
            blocks,
            head,
            activation,
            dropout,
        }))
    }
}

/// Two causal convolutions of the same dilation, added to their input.
#[derive(Debug)]
struct Block {
    convolutions: [Convolution; 2],
    /// Brings the input to the number of filters, where it has another.
    residual: Option<Linear>,
}

#[derive(Debug)]
struct Tcn {
    blocks: Vec<Block>,
    head: Linear,
    activation: Activation,
    dropout: f32,
}

impl Network for Tcn {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let mut x = x.clone();
        for block in &self.blocks {
            let mut y = x.clone();
            for convolution in &block.convolutions {
                y = convolution.activated(&y, self.activation)?;
                y = dropout(&y, self.dropout, mode)?;
            }
            let residual = match &block.residual {
                Some(linear) => linear.forward(&x)?,
                None => x,
            };
            x = self.activation.apply(&(residual + y)?)?;
        }
        let last = x.narrow(1, x.dim(1)? - 1, 1)?.squeeze(1)?;
        self.head.forward(&last.contiguous()?)
    }

    #[cfg(feature = "onnx")]
    fn export(&self, graph: &mut Graph, x: &Value) -> crate::Result<Value> {
        let mut x = x.clone();
        for block in &self.blocks {
            let mut y = x.clone();
            for convolution in &block.convolutions {
                y = convolution.export(graph, &y)?;
                y = self.activation.export(graph, &y);
            }
            let residual = match &block.residual {
                Some(linear) => linear.export(graph, &x)?,
                None => x,
            };
            let sum = graph.add(&residual, &y);
            x = self.activation.export(graph, &sum);
        }
        let steps = x.dims().first().copied().unwrap_or(1);
        let last = graph.narrow(&x, 0, steps - 1, 1)?;
        let last = graph.flatten(&last)?;
        self.head.export(graph, &last)
    }
}
