use candle_core::{Result, Tensor};

use super::convolution::activate;
use super::{Activation, ConvLstmConfig, InputShape, Network};
use crate::kernels::{Map, Output, Unfold};
use crate::layers::{Convolution, Linear, Mode, Recurrent, map};
use crate::parameters::Parameters;

/// A convolutional LSTM (Shi et al. 2015) over neighbouring features, followed by an LSTM.
#[derive(Debug)]
pub(super) struct ConvLstm {
    from_input: Convolution,
    from_hidden: Convolution,
    lstm: Recurrent,
    dense: Linear,
    head: Linear,
    filters: usize,
    activation: Activation,
}

impl ConvLstm {
    pub(super) fn new(
        config: &ConvLstmConfig,
        input: InputShape,
        parameters: &mut Parameters,
    ) -> Result<Self> {
        let &ConvLstmConfig {
            filters,
            kernel,
            units,
            activation,
        } = config;
        let unfold = Unfold {
            kernel,
            dilation: 1,
            before: kernel / 2,
            after: kernel / 2,
        };
        let width = input.timesteps * input.features * filters;
        Ok(Self {
            from_input: Convolution::new(parameters, "conv.input", 1, 4 * filters, unfold)?,
            from_hidden: Convolution::new(parameters, "conv.hidden", filters, 4 * filters, unfold)?,
            lstm: Recurrent::lstm(parameters, "lstm", width, units, activation)?,
            dense: Linear::new(parameters, "dense", units, units)?,
            head: Linear::new(parameters, "head", units, input.outputs)?,
            filters,
            activation,
        })
    }
}

impl Network for ConvLstm {
    fn forward(&self, x: &Tensor, _: &mut Mode<'_>) -> Result<Tensor> {
        let (batch, steps, features) = x.dims3()?;
        let n = self.filters;
        // Features take the place of steps: the convolution runs over them.
        let rows = x.reshape((batch * steps, features, 1))?;
        let inputs = self
            .from_input
            .forward(&rows)?
            .reshape((batch, steps, features, 4 * n))?;
        let mut state: Option<(Tensor, Tensor)> = None;
        let mut states = Vec::with_capacity(steps);
        for t in 0..steps {
            let mut gates = inputs.narrow(1, t, 1)?.squeeze(1)?;
            if let Some((h, _)) = &state {
                gates = (gates + self.from_hidden.forward(h)?)?;
            }
            let gate = |k: usize| gates.narrow(2, k * n, n);
            let i = map(&gate(0)?, Map::Sigmoid)?;
            let f = map(&gate(1)?, Map::Sigmoid)?;
            let g = activate(&gate(2)?, self.activation)?;
            let o = map(&gate(3)?, Map::Sigmoid)?;
            let mut c = (i * g)?;
            if let Some((_, before)) = &state {
                c = (c + (f * before)?)?;
            }
            let h = (o * activate(&c, self.activation)?)?;
            states.push(h.clone());
            state = Some((h, c));
        }
        let whole = Tensor::stack(&states, 1)?.reshape((batch, 1, ()))?;
        let code = self.lstm.forward(&whole, Output::Last)?;
        self.head.forward(&self.dense.forward(&code)?)
    }
}
