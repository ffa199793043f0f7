use candle_core::{Result, Tensor};

use super::{CnnConfig, CnnLstmConfig, InputShape, Network, TcnConfig};
use crate::network::Activation;
use crate::nn::kernels::{Map, Output, Unfold};
use crate::nn::layers::{Convolution, Linear, Mode, Recurrent, dropout, map};
use crate::nn::parameters::Parameters;

pub(super) fn activate(x: &Tensor, activation: Activation) -> Result<Tensor> {
    match activation {
        Activation::Tanh => map(x, Map::Tanh),
        Activation::Relu => map(x, Map::Relu),
    }
}

/// One convolution over steps and all features.
#[derive(Debug)]
pub(super) struct Cnn {
    convolution: Convolution,
    head: Linear,
    activation: Activation,
}

impl Cnn {
    pub(super) fn new(
        config: &CnnConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let kernel = config.kernel.min(input.timesteps);
        let unfold = Unfold {
            kernel,
            dilation: 1,
            before: 0,
            after: 0,
        };
        let width = unfold.outputs(input.timesteps) * config.filters;
        let filters = config.filters;
        Ok(Self {
            convolution: Convolution::new(parameters, "conv", input.features, filters, unfold)?,
            head: Linear::new(parameters, "head", width, input.outputs)?,
            activation: config.activation,
        })
    }
}

impl Network for Cnn {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let y = activate(&self.convolution.forward(x)?, self.activation)?;
        self.head.forward(&y.flatten_from(1)?)
    }
}

/// A convolution per step, pooled, and an LSTM over the whole.
#[derive(Debug)]
pub(super) struct CnnLstm {
    convolution: Linear,
    lstm: Recurrent,
    head: Linear,
    activation: Activation,
}

impl CnnLstm {
    pub(super) fn new(
        config: &CnnLstmConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let &CnnLstmConfig {
            filters,
            units,
            activation,
        } = config;
        let pooled = (input.timesteps / 2).max(1) * filters;
        Ok(Self {
            convolution: Linear::new(parameters, "conv", input.features, filters)?,
            lstm: Recurrent::lstm(parameters, "lstm", pooled, units, activation)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            activation,
        })
    }
}

impl Network for CnnLstm {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let y = activate(&self.convolution.forward(x)?, self.activation)?;
        let (batch, steps, filters) = y.dims3()?;
        let pooled = if steps < 2 {
            y
        } else {
            let pairs = y.narrow(1, 0, steps / 2 * 2)?.contiguous()?;
            let pairs = pairs.reshape((batch, steps / 2, 2, filters))?;
            let (first, second) = (pairs.narrow(2, 0, 1)?, pairs.narrow(2, 1, 1)?);
            first.maximum(&second)?
        };
        let whole = pooled.contiguous()?.reshape((batch, 1, ()))?;
        self.head.forward(&self.lstm.forward(&whole, Output::Last)?)
    }
}

/// Two causal convolutions of the same dilation, added to their input.
#[derive(Debug)]
struct Block {
    convolutions: [Convolution; 2],
    /// Brings the input to the number of filters, where it has another.
    residual: Option<Linear>,
}

/// A temporal convolutional network (after Bai, Kolter and Koltun 2018).
#[derive(Debug)]
pub(super) struct Tcn {
    blocks: Vec<Block>,
    head: Linear,
    activation: Activation,
    dropout: f32,
}

impl Tcn {
    pub(super) fn new(
        config: &TcnConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let &TcnConfig {
            filters,
            kernel,
            activation,
            dropout,
        } = config;
        let mut blocks = Vec::new();
        let mut channels = input.features;
        let (mut seen, mut dilation) = (1, 1);
        // As many blocks as it takes to see the whole window.
        while blocks.is_empty() || (seen < input.timesteps && 1 < kernel) {
            let name = format!("blocks.{}", blocks.len());
            let unfold = Unfold {
                kernel,
                dilation,
                before: (kernel - 1) * dilation,
                after: 0,
            };
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
        Ok(Self {
            blocks,
            head,
            activation,
            dropout,
        })
    }
}

impl Network for Tcn {
    fn forward(&self, x: &Tensor, mode: &mut Mode<'_>) -> Result<Tensor> {
        let mut x = x.clone();
        for block in &self.blocks {
            let mut y = x.clone();
            for convolution in &block.convolutions {
                y = activate(&convolution.forward(&y)?, self.activation)?;
                y = dropout(&y, self.dropout, mode)?;
            }
            let residual = match &block.residual {
                Some(linear) => linear.forward(&x)?,
                None => x,
            };
            x = activate(&(residual + y)?, self.activation)?;
        }
        let last = x.narrow(1, x.dim(1)? - 1, 1)?.squeeze(1)?;
        self.head.forward(&last.contiguous()?)
    }
}
