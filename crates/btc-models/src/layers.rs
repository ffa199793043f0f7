//! Layers, each fused on the CPU and made of candle's operations elsewhere.

use candle_core::{D, Result, Tensor};
use candle_nn::ops;

use crate::kernels::{
    Dropped, FusedGru, FusedLinear, FusedLstm, GruBuffers, LstmBuffers, Map, Mapped, Output, Pool,
    SequenceShape, Unfold, fused,
};
use crate::network::Activation;
use crate::parameters::{Init, Parameters, Part};
use crate::random::Stream;

/// Whether a network is applied or trained; in training, dropout draws from the stream.
#[derive(Debug)]
pub(crate) enum Mode<'a> {
    Evaluate,
    Train(&'a mut Stream),
}

/// Applies a function to each number.
pub(crate) fn map(x: &Tensor, map: Map) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(Mapped(map));
    }
    match map {
        Map::Relu => x.relu(),
        Map::LeakyRelu(slope) => ops::leaky_relu(x, f64::from(slope)),
        Map::Sigmoid => ops::sigmoid(x),
        Map::Tanh => x.tanh(),
    }
}

/// Sets a share `rate` of the numbers to zero in training, and scales up the others.
pub(crate) fn dropout(x: &Tensor, rate: f32, mode: &mut Mode<'_>) -> Result<Tensor> {
    match mode {
        Mode::Train(stream) if 0.0 < rate => {
            let keep = 1.0 / (1.0 - rate);
            let draw = |_| if stream.uniform() < rate { 0.0 } else { keep };
            let mask: Vec<f32> = (0..x.elem_count()).map(draw).collect();
            if fused(x) {
                x.contiguous()?.apply_op1(Dropped(mask))
            } else {
                x.mul(&Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?)
            }
        }
        _ => Ok(x.clone()),
    }
}

/// x wᵀ + b over the last dimension.
#[derive(Debug)]
pub(crate) struct Linear {
    weight: Tensor,
    bias: Tensor,
}

impl Linear {
    pub(crate) fn new(
        parameters: &mut Parameters,
        name: &str,
        inputs: usize,
        outputs: usize,
    ) -> Result<Self> {
        let init = Init::fan_in(inputs);
        Ok(Self {
            weight: parameters.weight(&format!("{name}.weight"), &[outputs, inputs], init)?,
            bias: parameters.weight(&format!("{name}.bias"), &[outputs], init)?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut shape = x.dims().to_vec();
        let inputs = shape.pop().unwrap_or(1);
        let rows = x.elem_count() / inputs.max(1);
        let flat = x.reshape((rows, inputs))?;
        let y = linear(&flat, &self.weight, &self.bias)?;
        shape.push(y.dim(1)?);
        y.reshape(shape)
    }
}

fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    if fused(x) {
        x.contiguous()?.apply_op3(weight, bias, FusedLinear)
    } else {
        x.matmul(&weight.t()?)?.broadcast_add(bias)
    }
}

/// A convolution over the steps of (batch, steps, channels).
///
/// Its weight is stored as (outputs, kernel * channels): the channels of the first step of a
/// window, then those of the second.
#[derive(Debug)]
pub(crate) struct Convolution {
    unfold: Unfold,
    linear: Linear,
}

impl Convolution {
    pub(crate) fn new(
        parameters: &mut Parameters,
        name: &str,
        channels: usize,
        outputs: usize,
        unfold: Unfold,
    ) -> Result<Self> {
        let linear = Linear::new(parameters, name, unfold.kernel * channels, outputs)?;
        Ok(Self { unfold, linear })
    }

    /// (batch, outputs of the unfolding, outputs).
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.linear.forward(&unfold(x, self.unfold)?)
    }
}

/// The windows of a convolution, side by side.
pub(crate) fn unfold(x: &Tensor, unfold: Unfold) -> Result<Tensor> {
    if fused(x) {
        return x.contiguous()?.apply_op1(unfold);
    }
    let padded = x.pad_with_zeros(1, unfold.before, unfold.after)?;
    let outputs = unfold.outputs(x.dim(1)?);
    let windows: Vec<Tensor> = (0..unfold.kernel)
        .map(|k| padded.narrow(1, k * unfold.dilation, outputs))
        .collect::<Result<_>>()?;
    Tensor::cat(&windows, 2)
}

/// The kind of a recurrent layer, with the buffers it uses again.
#[derive(Debug)]
enum Cell {
    Lstm(Pool<LstmBuffers>),
    Gru(Pool<GruBuffers>),
}

/// A recurrent layer over (batch, steps, inputs).
#[derive(Debug)]
pub(crate) struct Recurrent {
    cell: Cell,
    weights: Tensor,
    inputs: usize,
    hidden: usize,
    relu: bool,
}

impl Recurrent {
    pub(crate) fn lstm(
        parameters: &mut Parameters,
        name: &str,
        inputs: usize,
        hidden: usize,
        activation: Activation,
    ) -> Result<Self> {
        let init = Init::fan_in(hidden);
        let weights = parameters.packed(
            name,
            &[
                Part::new(format!("{name}.weight_ih_l0"), &[4 * hidden, inputs], init),
                Part::new(format!("{name}.weight_hh_l0"), &[4 * hidden, hidden], init),
                Part::new(format!("{name}.bias_ih_l0"), &[4 * hidden], init),
            ],
        )?;
        let relu = activation == Activation::Relu;
        Ok(Self {
            cell: Cell::Lstm(Pool::default()),
            weights,
            inputs,
            hidden,
            relu,
        })
    }

    pub(crate) fn gru(
        parameters: &mut Parameters,
        name: &str,
        inputs: usize,
        hidden: usize,
        activation: Activation,
    ) -> Result<Self> {
        let init = Init::fan_in(hidden);
        let weights = parameters.packed(
            name,
            &[
                Part::new(format!("{name}.weight_ih_l0"), &[3 * hidden, inputs], init),
                Part::new(format!("{name}.weight_hh_l0"), &[3 * hidden, hidden], init),
                Part::new(format!("{name}.bias_ih_l0"), &[3 * hidden], init),
                Part::new(format!("{name}.bias_hh_l0"), &[3 * hidden], init),
            ],
        )?;
        let relu = activation == Activation::Relu;
        Ok(Self {
            cell: Cell::Gru(Pool::default()),
            weights,
            inputs,
            hidden,
            relu,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor, output: Output) -> Result<Tensor> {
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
    fn composed(&self, x: &Tensor, output: Output) -> Result<Tensor> {
        let (batch, steps, inputs) = x.dims3()?;
        let n = self.hidden;
        let gates = match self.cell {
            Cell::Lstm(_) => 4 * n,
            Cell::Gru(_) => 3 * n,
        };
        let weights = self.weights.to_dtype(x.dtype())?;
        let w_ih = weights
            .narrow(0, 0, gates * inputs)?
            .reshape((gates, inputs))?;
        let w_hh = weights
            .narrow(0, gates * inputs, gates * n)?
            .reshape((gates, n))?;
        let bias = weights.narrow(0, gates * (inputs + n), gates)?;
        let activate = |x: &Tensor| if self.relu { x.relu() } else { x.tanh() };
        let mut h = Tensor::zeros((batch, n), x.dtype(), x.device())?;
        let mut c = h.clone();
        let mut states = Vec::with_capacity(steps);
        for t in 0..steps {
            let from_x = x
                .narrow(1, t, 1)?
                .squeeze(1)?
                .matmul(&w_ih.t()?)?
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
                    let bias = weights.narrow(0, gates * (inputs + n + 1), gates)?;
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

/// Layer normalisation over the last dimension.
#[derive(Debug)]
pub(crate) struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
}

impl LayerNorm {
    pub(crate) fn new(parameters: &mut Parameters, name: &str, width: usize) -> Result<Self> {
        Ok(Self {
            weight: parameters.weight(&format!("{name}.weight"), &[width], Init::Constant(1.0))?,
            bias: parameters.weight(&format!("{name}.bias"), &[width], Init::Constant(0.0))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + 1e-5)?.sqrt()?)?;
        normal
            .broadcast_mul(&self.weight)?
            .broadcast_add(&self.bias)
    }
}

/// Scaled dot-product attention of (.., steps, width) onto itself or others (Vaswani et al. 2017).
pub(crate) fn attention(query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
    let width = query.dim(D::Minus1)? as f64;
    let transposed = key.transpose(D::Minus2, D::Minus1)?.contiguous()?;
    let scores = (query.contiguous()?.matmul(&transposed)? / width.sqrt())?;
    ops::softmax(&scores, D::Minus1)?.matmul(&value.contiguous()?)
}
