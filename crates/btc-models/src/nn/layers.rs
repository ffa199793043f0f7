//! Layers, each fused on the CPU and made of candle's operations elsewhere.

use candle_core::{D, Result, Tensor};
use candle_nn::ops;

use crate::network::Activation;
use crate::nn::kernels::{
    Dropped, FusedGru, FusedLinear, FusedLstm, GruBuffers, LstmBuffers, Map, Mapped, Output, Pool,
    SequenceShape, Unfold, fused,
};
use crate::nn::parameters::{Init, Parameters, Part};
use crate::nn::random::Stream;

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
            // A product, not a branch, which would be taken at random.
            let draw = |_| keep * f32::from(u8::from(stream.uniform() >= rate));
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
/// Its weight is stored as (outputs, 1, kernel, channels), as PyTorch's two-dimensional
/// convolution over an image of steps and channels has it.
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
        let inputs = unfold.kernel * channels;
        let init = Init::fan_in(inputs);
        let shape = [outputs, 1, unfold.kernel, channels];
        let weight = parameters.weight(&format!("{name}.weight"), &shape, init)?;
        let bias = parameters.weight(&format!("{name}.bias"), &[outputs], init)?;
        let linear = Linear {
            weight: weight.reshape((outputs, inputs))?,
            bias,
        };
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
                Part::transposed(format!("{name}.weight_ih_l0"), [4 * hidden, inputs], init),
                Part::new(format!("{name}.bias_ih_l0"), &[4 * hidden], init),
                Part::new(format!("{name}.weight_hh_l0"), &[4 * hidden, hidden], init),
            ],
        )?;
        // Two biases that are always added are one; PyTorch wants both to be there.
        parameters.zeros(format!("{name}.bias_hh_l0"), &[4 * hidden])?;
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
                Part::transposed(format!("{name}.weight_ih_l0"), [3 * hidden, inputs], init),
                Part::new(format!("{name}.bias_ih_l0"), &[3 * hidden], init),
                Part::new(format!("{name}.weight_hh_l0"), &[3 * hidden, hidden], init),
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

#[cfg(test)]
pub(crate) mod tests {
    use candle_core::{DType, Device, Var};

    use super::*;

    /// `shape` of numbers between -1 and 1.
    pub(crate) fn numbers(name: &str, shape: &[usize]) -> Tensor {
        let mut stream = Stream::new(3, name);
        let data: Vec<f32> = (0..shape.iter().product())
            .map(|_| 2.0 * stream.uniform() - 1.0)
            .collect();
        Tensor::from_vec(data, shape, &Device::Cpu).unwrap()
    }

    fn far(a: &Tensor, b: &Tensor) -> f64 {
        let a = a.to_dtype(DType::F64).unwrap();
        let difference = (a - b.to_dtype(DType::F64).unwrap())
            .unwrap()
            .abs()
            .unwrap();
        difference
            .flatten_all()
            .unwrap()
            .max(0)
            .unwrap()
            .to_scalar()
            .unwrap()
    }

    /// Compares values and gradients of the fused operation with candle's in f64.
    #[track_caller]
    pub(crate) fn check(
        inputs: &[Tensor],
        fused: impl Fn(&[Tensor]) -> Result<Tensor>,
        composed: impl Fn(&[Tensor]) -> Result<Tensor>,
    ) {
        let run = |dtype, f: &dyn Fn(&[Tensor]) -> Result<Tensor>| {
            let vars: Vec<Var> = inputs
                .iter()
                .map(|x| Var::from_tensor(&x.to_dtype(dtype).unwrap()).unwrap())
                .collect();
            let tensors: Vec<Tensor> = vars.iter().map(|var| var.as_tensor().clone()).collect();
            let y = f(&tensors).unwrap();
            let weights = numbers("gradient", y.dims()).to_dtype(dtype).unwrap();
            let sum = (&y * weights).unwrap().sum_all().unwrap();
            let back = || -> Vec<Tensor> {
                let gradients = sum.backward().unwrap();
                let gradient = |var| gradients.get(var).unwrap().clone();
                vars.iter().map(|var| gradient(var)).collect()
            };
            let gradients = back();
            // Nothing that a way back leaves behind may change the next.
            for (first, second) in gradients.iter().zip(back()) {
                assert_eq!(far(first, &second), 0.0, "the second time");
            }
            (y, gradients)
        };
        let (y, gradients) = run(DType::F32, &fused);
        let (expected, expected_gradients) = run(DType::F64, &composed);
        assert!(
            far(&y, &expected) < 1e-5,
            "values are off by {}",
            far(&y, &expected)
        );
        for (at, (found, expected)) in gradients.iter().zip(&expected_gradients).enumerate() {
            let size = expected
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap()
                .max(0)
                .unwrap();
            let limit = 1e-5 * size.to_scalar::<f64>().unwrap().max(1.0);
            assert!(
                far(found, expected) < limit,
                "gradient {at}: {}",
                far(found, expected)
            );
        }
    }

    fn recurrent(
        gru: bool,
        (inputs, hidden): (usize, usize),
        activation: Activation,
        weights: &Tensor,
    ) -> Recurrent {
        let mut parameters = Parameters::seeded(1, &Device::Cpu);
        let new = if gru { Recurrent::gru } else { Recurrent::lstm };
        let mut layer = new(&mut parameters, "layer", inputs, hidden, activation).unwrap();
        layer.weights = weights.clone();
        layer
    }

    fn weight_count(gru: bool, (inputs, hidden): (usize, usize)) -> usize {
        if gru {
            3 * hidden * (inputs + hidden + 2)
        } else {
            4 * hidden * (inputs + hidden + 1)
        }
    }

    #[test]
    fn fused_recurrent_layers_equal_those_of_candle_operations() {
        // The gates of 23 units are more than one panel of weights, and 23 no multiple of a
        // vector's numbers.
        for (batch, steps, size) in [(4, 6, (5, 7)), (1, 1, (5, 7)), (3, 2, (40, 23))] {
            for gru in [false, true] {
                let weights = numbers("w", &[weight_count(gru, size)]);
                let given = [numbers("x", &[batch, steps, size.0]), weights];
                for activation in Activation::ALL {
                    let layer = |weights: &Tensor| recurrent(gru, size, activation, weights);
                    for output in [Output::Last, Output::Sequence] {
                        check(
                            &given,
                            |t| layer(&t[1]).forward(&t[0], output),
                            |t| layer(&t[1]).composed(&t[0], output),
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn recurrent_layers_equal_those_of_pytorch() {
        use crate::vectors::{assert_near, numbers, read};
        let single = |values: Vec<f64>, shape: &[usize]| {
            let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let double = |tensor: &Tensor| -> Vec<f64> {
            let flat = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
            flat.to_vec1().unwrap()
        };
        for case in read("torch.json")["recurrent"].as_array().unwrap() {
            let gru = case["kind"] == "GRU";
            let gates = if gru { 3 * 7 } else { 4 * 7 };
            let pack = |key: &str| -> Vec<f64> {
                let part = |name: &str| numbers(&case[key][name]);
                let of_inputs = part("weight_ih_l0");
                let transposed = (0..gates * 5).map(|k| of_inputs[k % gates * 5 + k / gates]);
                let mut packed = vec![
                    transposed.collect(),
                    part("bias_ih_l0"),
                    part("weight_hh_l0"),
                ];
                if gru {
                    packed.push(part("bias_hh_l0"));
                }
                packed.concat()
            };
            let weights = single(pack("weights"), &[weight_count(gru, (5, 7))]);
            let weights = Var::from_tensor(&weights).unwrap();
            let x = Var::from_tensor(&single(numbers(&case["x"]), &[3, 4, 5])).unwrap();
            let layer = recurrent(gru, (5, 7), Activation::Tanh, weights.as_tensor());
            let states = layer.forward(x.as_tensor(), Output::Sequence).unwrap();
            assert_near(&double(&states), &numbers(&case["states"]), 1e-6, "states");
            let slope = single(numbers(&case["gradient_of_states"]), &[3, 4, 7]);
            let store = (states * slope)
                .unwrap()
                .sum_all()
                .unwrap()
                .backward()
                .unwrap();
            let found = double(store.get(&weights).unwrap());
            assert_near(&found, &pack("gradients"), 1e-5, "gradient of the weights");
            let found = double(store.get(&x).unwrap());
            assert_near(
                &found,
                &numbers(&case["gradient_of_x"]),
                1e-5,
                "gradient of the inputs",
            );
        }
    }

    /// The composed layers themselves, against differences of their values.
    #[test]
    fn gradients_of_recurrent_layers_equal_finite_differences() {
        for gru in [false, true] {
            let size = weight_count(gru, (5, 7));
            let x = numbers("x", &[2, 3, 5]).to_dtype(DType::F64).unwrap();
            let weights: Vec<f64> = numbers("w", &[size])
                .to_dtype(DType::F64)
                .unwrap()
                .to_vec1()
                .unwrap();
            let value = |weights: &[f64]| {
                let weights = Var::from_slice(weights, weights.len(), &Device::Cpu).unwrap();
                let layer = recurrent(gru, (5, 7), Activation::Tanh, weights.as_tensor());
                let y = layer.composed(&x, Output::Sequence).unwrap();
                (y.sqr().unwrap().sum_all().unwrap(), weights)
            };
            let (y, var) = value(&weights);
            let gradient: Vec<f64> = y.backward().unwrap().get(&var).unwrap().to_vec1().unwrap();
            for at in (0..size).step_by(13) {
                let shifted = |by: f64| {
                    let mut weights = weights.clone();
                    weights[at] += by;
                    value(&weights).0.to_scalar::<f64>().unwrap()
                };
                let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
                assert!((difference - gradient[at]).abs() < 1e-6, "weight {at}");
            }
        }
    }

    #[test]
    fn a_fused_linear_layer_equals_one_of_candle_operations() {
        let inputs = [
            numbers("x", &[6, 5]),
            numbers("w", &[3, 5]),
            numbers("b", &[3]),
        ];
        check(
            &inputs,
            |t| linear(&t[0], &t[1], &t[2]),
            |t| linear(&t[0], &t[1], &t[2]),
        );
    }

    #[test]
    fn unfolding_equals_narrowing_and_joining() {
        for (kernel, dilation, before, after) in [(3, 1, 0, 0), (3, 2, 4, 0), (3, 1, 1, 1)] {
            let windows = Unfold {
                kernel,
                dilation,
                before,
                after,
            };
            let inputs = [numbers("x", &[2, 8, 3])];
            check(
                &inputs,
                |t| unfold(&t[0], windows),
                |t| unfold(&t[0], windows),
            );
        }
    }

    #[test]
    fn maps_equal_those_of_candle() {
        for function in [Map::Relu, Map::LeakyRelu(0.5), Map::Sigmoid, Map::Tanh] {
            let inputs = [numbers("x", &[4, 9])];
            check(&inputs, |t| map(&t[0], function), |t| map(&t[0], function));
        }
    }

    #[test]
    fn dropout_keeps_the_mean_and_is_off_outside_training() {
        let x = Tensor::ones((100, 100), DType::F32, &Device::Cpu).unwrap();
        let mut stream = Stream::new(1, "dropout");
        let y = dropout(&x, 0.2, &mut Mode::Train(&mut stream)).unwrap();
        let mean = y.mean_all().unwrap().to_scalar::<f32>().unwrap();
        assert!((mean - 1.0).abs() < 0.02, "{mean}");
        assert_eq!(
            far(&dropout(&x, 0.2, &mut Mode::Evaluate).unwrap(), &x),
            0.0
        );
    }
}
