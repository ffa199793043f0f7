//! Fused layers against the same out of candle's operations, PyTorch and differences.

use candle_core::{DType, Device, Result, Tensor, Var};

use super::activation::*;
use super::convolution::{Convolution, unfold};
use super::dropout::*;
use super::linear::Linear;
use super::recurrent::Recurrent;
use super::{Output, Unfold};
use crate::nn::kernels::{Map, with_slope};
use crate::nn::parameters::Parameters;
use crate::nn::random::Stream;

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
    use crate::vectors::{Cell, CellWeights, assert_near, torch};
    let single = |values: Vec<f64>, shape: &[usize]| {
        let values: Vec<f32> = values.into_iter().map(|x| x as f32).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    let double = |tensor: &Tensor| -> Vec<f64> {
        let flat = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
        flat.to_vec1().unwrap()
    };
    for case in torch().recurrent {
        let gru = case.kind == Cell::Gru;
        let gates = if gru { 3 * 7 } else { 4 * 7 };
        if !gru {
            // The layer has one bias, which PyTorch's first one is.
            assert!(case.weights.bias_hh_l0.iter().all(|x| *x == 0.0));
        }
        let pack = |parts: &CellWeights| -> Vec<f64> {
            let of_inputs = &parts.weight_ih_l0;
            let transposed = (0..gates * 5).map(|k| of_inputs[k % gates * 5 + k / gates]);
            let mut packed = vec![
                transposed.collect(),
                parts.bias_ih_l0.clone(),
                parts.weight_hh_l0.clone(),
            ];
            if gru {
                packed.push(parts.bias_hh_l0.clone());
            }
            packed.concat()
        };
        let weights = single(pack(&case.weights), &[weight_count(gru, (5, 7))]);
        let weights = Var::from_tensor(&weights).unwrap();
        let x = Var::from_tensor(&single(case.x, &[3, 4, 5])).unwrap();
        let layer = recurrent(gru, (5, 7), Activation::Tanh, weights.as_tensor());
        let states = layer.forward(x.as_tensor(), Output::Sequence).unwrap();
        assert_near(&double(&states), &case.states, 1e-6, "states");
        let slope = single(case.gradient_of_states, &[3, 4, 7]);
        let store = (states * slope)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        let found = double(store.get(&weights).unwrap());
        assert_near(
            &found,
            &pack(&case.gradients),
            1e-5,
            "gradient of the weights",
        );
        let found = double(store.get(&x).unwrap());
        assert_near(&found, &case.gradient_of_x, 1e-5, "gradient of the inputs");
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
    // Few and many outputs are summed up in two ways.
    for outputs in [3, 21] {
        let inputs = [
            numbers("x", &[6, 2, 5]),
            numbers("w", &[outputs, 5]),
            numbers("b", &[outputs]),
        ];
        let layer = |t: &[Tensor], inputs| Linear {
            weight: t[1].flatten_all().unwrap(),
            bias: t[2].clone(),
            inputs,
            outputs,
        };
        let forward = |t: &[Tensor]| layer(t, 5).forward(&t[0]);
        check(&inputs, forward, forward);
        let wide = [
            inputs[0].clone(),
            numbers("w", &[outputs, 10]),
            inputs[2].clone(),
        ];
        let flat = |t: &[Tensor]| layer(t, 10).forward_flat(&t[0]);
        check(&wide, flat, flat);
        for rate in [0.0, 0.3] {
            let dropped = |t: &[Tensor]| {
                let mut stream = Stream::new(5, "dropout");
                let mode = &mut Mode::Train(&mut stream);
                layer(t, 10).forward_dropped(&t[0], Map::LeakyRelu(0.5), rate, mode)
            };
            check(&wide, dropped, dropped);
        }
        assert!(layer(&inputs, 4).forward(&inputs[0]).is_err());
        assert!(layer(&inputs, 5).forward_flat(&inputs[0]).is_err());
    }
}

#[test]
fn a_fused_convolution_equals_one_of_candle_operations() {
    let kernels = [
        Unfold::within(3),
        Unfold::causal(3, 2),
        Unfold {
            before: 1,
            after: 1,
            ..Unfold::within(3)
        },
    ];
    for unfold in kernels {
        let inputs = [
            numbers("x", &[4, 8, 7]),
            numbers("w", &[5, 21]),
            numbers("b", &[5]),
        ];
        let layer = |t: &[Tensor]| Convolution {
            unfold,
            linear: Linear {
                weight: t[1].flatten_all().unwrap(),
                bias: t[2].clone(),
                inputs: 21,
                outputs: 5,
            },
        };
        let forward = |t: &[Tensor]| layer(t).forward(&t[0]);
        check(&inputs, forward, forward);
        for activation in Activation::ALL {
            let activated = |t: &[Tensor]| layer(t).activated(&t[0], activation);
            check(&inputs, activated, activated);
        }
        let other = numbers("x", &[4, 8, 6]);
        assert!(layer(&inputs).forward(&other).is_err());
    }
}

#[test]
fn a_slope_is_the_gradient_of_what_it_is_given_for() {
    let slope = vec![0.5, -2.0, 0.0, 3.0];
    for dtype in [DType::F32, DType::F64] {
        let x = Var::from_tensor(&numbers("x", &[2, 2]).to_dtype(dtype).unwrap()).unwrap();
        let y = (x.as_tensor() * 2.0).unwrap();
        let number = with_slope(&y, slope.clone()).unwrap();
        let gradients = number.backward().unwrap();
        let found = gradients.get(&x).unwrap().to_dtype(DType::F32).unwrap();
        let found: Vec<f32> = found.flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(found, [1.0, -4.0, 0.0, 6.0]);
        assert!(with_slope(&y, vec![1.0]).is_err());
    }
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
