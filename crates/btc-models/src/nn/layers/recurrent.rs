//! LSTM and GRU.

use candle_core::{Result, Tensor};
use candle_nn::ops;

use super::activation::Activation;
use crate::nn::kernels::{
    FusedGru, FusedLstm, GruBuffers, LstmBuffers, Output, Pool, SequenceShape, fused,
};
use crate::nn::parameters::{Init, Parameters, Part};

/// The kind of a recurrent layer, with the buffers it uses again.
#[derive(Debug)]
enum Cell {
    Lstm(Pool<LstmBuffers>),
    Gru(Pool<GruBuffers>),
}

impl Cell {
    /// The number of its gates, each of which has the layer's width.
    fn gates(&self) -> usize {
        match self {
            Self::Lstm(_) => 4,
            Self::Gru(_) => 3,
        }
    }
}

/// What a recurrent layer consists of; see [`Recurrent::unpacked`].
#[cfg(feature = "onnx")]
#[derive(Debug)]
pub(crate) struct RecurrentWeights {
    pub(crate) lstm: bool,
    pub(crate) relu: bool,
    pub(crate) inputs: usize,
    pub(crate) hidden: usize,
    /// (gates * hidden, inputs).
    pub(crate) input: Vec<f32>,
    pub(crate) input_bias: Vec<f32>,
    /// (gates * hidden, hidden).
    pub(crate) recurrent: Vec<f32>,
    pub(crate) recurrent_bias: Vec<f32>,
}

/// A recurrent layer over (batch, steps, inputs).
#[derive(Debug)]
pub struct Recurrent {
    cell: Cell,
    pub(super) weights: Tensor,
    inputs: usize,
    hidden: usize,
    relu: bool,
}

impl Recurrent {
    /// Long short-term memory (Hochreiter and Schmidhuber 1997) with PyTorch's gates and weights.
    ///
    /// # Errors
    ///
    /// Another weight has the name, or the one that was stored another shape.
    pub fn lstm(
        parameters: &mut Parameters,
        name: &str,
        inputs: usize,
        hidden: usize,
        activation: Activation,
    ) -> Result<Self> {
        let cell = Cell::Lstm(Pool::default());
        Self::new(cell, parameters, name, inputs, hidden, activation)
    }

    /// A gated recurrent unit (Cho et al. 2014) with PyTorch's gates and weights.
    ///
    /// # Errors
    ///
    /// Another weight has the name, or the one that was stored another shape.
    pub fn gru(
        parameters: &mut Parameters,
        name: &str,
        inputs: usize,
        hidden: usize,
        activation: Activation,
    ) -> Result<Self> {
        let cell = Cell::Gru(Pool::default());
        Self::new(cell, parameters, name, inputs, hidden, activation)
    }

    fn new(
        cell: Cell,
        parameters: &mut Parameters,
        name: &str,
        inputs: usize,
        hidden: usize,
        activation: Activation,
    ) -> Result<Self> {
        let gates = cell.gates() * hidden;
        let init = Init::fan_in(hidden);
        let mut parts = vec![
            Part::transposed(format!("{name}.weight_ih_l0"), [gates, inputs], init),
            Part::new(format!("{name}.bias_ih_l0"), &[gates], init),
            Part::new(format!("{name}.weight_hh_l0"), &[gates, hidden], init),
        ];
        let second_bias = format!("{name}.bias_hh_l0");
        let is_lstm = matches!(cell, Cell::Lstm(_));
        if !is_lstm {
            parts.push(Part::new(second_bias.clone(), &[gates], init));
        }
        let weights = parameters.packed(name, &parts)?;
        if is_lstm {
            // Two biases that are always added are one; PyTorch wants both to be there.
            parameters.zeros(second_bias, &[gates])?;
        }
        Ok(Self {
            cell,
            weights,
            inputs,
            hidden,
            relu: activation == Activation::Relu,
        })
    }

    /// The weights one by one, with PyTorch's order of gates.
    #[cfg(feature = "onnx")]
    pub(crate) fn unpacked(&self) -> Result<RecurrentWeights> {
        let &Self {
            inputs,
            hidden,
            relu,
            ..
        } = self;
        let lstm = matches!(self.cell, Cell::Lstm(_));
        let gates = self.cell.gates() * hidden;
        let input = self.weights.narrow(0, 0, gates * inputs)?;
        let input = input.reshape((inputs, gates))?.t()?.flatten_all()?;
        let all: Vec<f32> = self.weights.to_vec1()?;
        let (input_bias, rest) = all[gates * inputs..].split_at(gates);
        let (recurrent, bias) = rest.split_at(gates * hidden);
        Ok(RecurrentWeights {
            lstm,
            relu,
            inputs,
            hidden,
            input: input.to_vec1()?,
            input_bias: input_bias.to_vec(),
            recurrent: recurrent.to_vec(),
            recurrent_bias: match lstm {
                true => vec![0.0; gates],
                false => bias.to_vec(),
            },
        })
    }

    /// The hidden states of (batch, steps, inputs).
    ///
    /// # Errors
    ///
    /// The last dimension is not the number of inputs, or there is no step.
    pub fn forward(&self, x: &Tensor, output: Output) -> Result<Tensor> {
        let (batch, steps, inputs) = x.dims3()?;
        if inputs != self.inputs || steps == 0 {
            candle_core::bail!(
                "a recurrent layer of {} inputs was given {inputs}",
                self.inputs
            );
        }
        if !fused(x) {
            return self.composed(x, output);
        }
        let shape = SequenceShape {
            batch,
            steps,
            inputs,
            hidden: self.hidden,
        };
        let x = x.contiguous()?;
        match &self.cell {
            Cell::Lstm(pool) => x.apply_op2(
                &self.weights,
                FusedLstm::new(shape, self.relu, output, pool),
            ),
            Cell::Gru(pool) => {
                x.apply_op2(&self.weights, FusedGru::new(shape, self.relu, output, pool))
            }
        }
    }

    /// The same out of candle's operations: for other devices and types, and as a reference.
    pub(super) fn composed(&self, x: &Tensor, output: Output) -> Result<Tensor> {
        let (batch, steps, inputs) = x.dims3()?;
        let n = self.hidden;
        let gates = self.cell.gates() * n;
        let weights = self.weights.to_dtype(x.dtype())?;
        let of_inputs = weights
            .narrow(0, 0, gates * (inputs + 1))?
            .reshape((inputs + 1, gates))?;
        let w_ih = of_inputs.narrow(0, 0, inputs)?;
        let bias = of_inputs.narrow(0, inputs, 1)?;
        let w_hh = weights
            .narrow(0, gates * (inputs + 1), gates * n)?
            .reshape((gates, n))?;
        let activate = |x: &Tensor| if self.relu { x.relu() } else { x.tanh() };
        let mut h = Tensor::zeros((batch, n), x.dtype(), x.device())?;
        let mut c = h.clone();
        let mut states = Vec::with_capacity(steps);
        for t in 0..steps {
            let from_x = x
                .narrow(1, t, 1)?
                .squeeze(1)?
                .matmul(&w_ih)?
                .broadcast_add(&bias)?;
            let from_h = h.matmul(&w_hh.t()?)?;
            let gate = |from: &Tensor, k: usize| from.narrow(1, k * n, n);
            match self.cell {
                Cell::Lstm(_) => {
                    let all = (from_x + from_h)?;
                    let i = ops::sigmoid(&gate(&all, 0)?)?;
                    let f = ops::sigmoid(&gate(&all, 1)?)?;
                    let g = activate(&gate(&all, 2)?)?;
                    let o = ops::sigmoid(&gate(&all, 3)?)?;
                    c = ((f * c)? + (i * g)?)?;
                    h = (o * activate(&c)?)?;
                }
                Cell::Gru(_) => {
                    let bias = weights.narrow(0, gates * (inputs + 1 + n), gates)?;
                    let from_h = from_h.broadcast_add(&bias)?;
                    let r = ops::sigmoid(&(gate(&from_x, 0)? + gate(&from_h, 0)?)?)?;
                    let z = ops::sigmoid(&(gate(&from_x, 1)? + gate(&from_h, 1)?)?)?;
                    let new = activate(&(gate(&from_x, 2)? + (r * gate(&from_h, 2)?)?)?)?;
                    h = (&new + (z * (h - &new)?)?)?;
                }
            }
            states.push(h.clone());
        }
        match output {
            Output::Last => Ok(h),
            Output::Sequence => Tensor::stack(&states, 1),
        }
    }
}
