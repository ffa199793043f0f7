//! How gradients change the weights.

use std::sync::Mutex;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::nn::kernels::{AdamRule, AdamStep, fused};
use crate::{Error, Result};

/// How steps are taken along the gradient.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Optimizer {
    /// Adam with PyTorch's constants (Kingma and Ba 2015).
    Adam,
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019).
    AdamW {
        /// The share of a weight that is taken away per step and unit of the learning rate.
        weight_decay: f64,
    },
    /// Gradient descent.
    Sgd {
        /// The share of the last step that is kept.
        momentum: f64,
        /// Whether to look ahead along the momentum (Nesterov).
        nesterov: bool,
    },
}

impl Optimizer {
    pub(crate) fn validate(&self) -> Result<()> {
        match *self {
            Self::Adam => Ok(()),
            Self::AdamW { weight_decay } if (0.0..1.0).contains(&weight_decay) => Ok(()),
            Self::AdamW { weight_decay } => Err(Error::invalid(
                "weight_decay",
                weight_decay,
                "at least 0 and below 1",
            )),
            Self::Sgd { momentum, nesterov } => {
                if !(0.0..1.0).contains(&momentum) {
                    return Err(Error::invalid(
                        "momentum",
                        momentum,
                        "at least 0 and below 1",
                    ));
                }
                if nesterov && momentum == 0.0 {
                    return Err(Error::invalid(
                        "momentum",
                        momentum,
                        "positive with nesterov",
                    ));
                }
                Ok(())
            }
        }
    }
}

/// Weights under training, with what the optimizer remembers of each.
#[derive(Debug)]
pub(crate) struct Trainer {
    optimizer: Optimizer,
    vars: Vec<Var>,
    /// First and second moment of each weight; for descent, the first is the velocity.
    moments: Vec<[Vec<f32>; 2]>,
    step: i32,
}

impl Trainer {
    pub(crate) fn new(optimizer: Optimizer, vars: Vec<Var>) -> Self {
        let zeros = |var: &Var| [vec![0.0; var.elem_count()], vec![0.0; var.elem_count()]];
        Self {
            optimizer,
            moments: vars.iter().map(zeros).collect(),
            vars,
            step: 0,
        }
    }

    /// Takes one step against the gradients, the norm of which is cut to `clip_norm` if given.
    pub(crate) fn step(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        clip_norm: Option<f64>,
    ) -> candle_core::Result<()> {
        let scale = match clip_norm {
            Some(limit) => {
                let norm = self.norm(gradients)?;
                if limit < norm {
                    (limit / norm) as f32
                } else {
                    1.0
                }
            }
            None => 1.0,
        };
        self.step += 1;
        let (beta1, beta2) = (0.9f64, 0.999f64);
        let decay = match self.optimizer {
            Optimizer::AdamW { weight_decay } => weight_decay as f32,
            _ => 0.0,
        };
        let rule = AdamRule {
            lr: lr as f32,
            beta1: beta1 as f32,
            beta2: beta2 as f32,
            eps: 1e-8,
            decay,
            correct1: (1.0 / (1.0 - beta1.powi(self.step))) as f32,
            correct2: (1.0 / (1.0 - beta2.powi(self.step))) as f32,
            scale,
        };
        for (var, moments) in self.vars.iter().zip(&mut self.moments) {
            let Some(gradient) = gradients.get(var) else {
                continue;
            };
            match self.optimizer {
                Optimizer::Adam | Optimizer::AdamW { .. } if fused(var) => {
                    let step = AdamStep {
                        rule,
                        moments: Mutex::new(moments),
                    };
                    var.inplace_op2(&gradient.contiguous()?, &step)?;
                }
                _ => {
                    let mut values: Vec<f32> = var.to_vec1()?;
                    let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
                    match self.optimizer {
                        Optimizer::Sgd { momentum, nesterov } => {
                            let momentum = momentum as f32;
                            descend(&mut values, &gradient, moments, rule, momentum, nesterov);
                        }
                        _ => adam(&mut values, &gradient, moments, rule),
                    }
                    let length = values.len();
                    var.set(&Tensor::from_vec(values, length, var.device())?)?;
                }
            }
        }
        Ok(())
    }

    fn norm(&self, gradients: &GradStore) -> candle_core::Result<f64> {
        let mut sum = 0.0;
        for gradient in self.vars.iter().filter_map(|var| gradients.get(var)) {
            let values: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
            sum += values.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>();
        }
        Ok(sum.sqrt())
    }
}

/// PyTorch's descent with momentum: the velocity starts as the first gradient.
fn descend(
    values: &mut [f32],
    gradient: &[f32],
    moments: &mut [Vec<f32>; 2],
    rule: AdamRule,
    momentum: f32,
    nesterov: bool,
) {
    for ((p, g), velocity) in values.iter_mut().zip(gradient).zip(&mut moments[0]) {
        let g = g * rule.scale;
        *velocity = momentum * *velocity + g;
        *p -= rule.lr
            * if nesterov {
                g + momentum * *velocity
            } else {
                *velocity
            };
    }
}

fn adam(values: &mut [f32], gradient: &[f32], moments: &mut [Vec<f32>; 2], rule: AdamRule) {
    let [m, v] = moments;
    for (((p, g), m), v) in values.iter_mut().zip(gradient).zip(m).zip(v) {
        let g = g * rule.scale;
        *m = rule.beta1 * *m + (1.0 - rule.beta1) * g;
        *v = rule.beta2 * *v + (1.0 - rule.beta2) * g * g;
        *p = *p * (1.0 - rule.lr * rule.decay)
            - rule.lr * (*m * rule.correct1) / ((*v * rule.correct2).sqrt() + rule.eps);
    }
}

/// How the learning rate changes over training.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Schedule {
    /// It does not.
    #[default]
    Constant,
    /// Falls along half a cosine to this share of its start (Loshchilov and Hutter 2017).
    Cosine {
        /// The share that is left at the end.
        final_share: f64,
    },
    /// Rises from a 25th for this share of the steps, then falls towards nothing (Smith 2018).
    OneCycle {
        /// The share of the steps in which it rises.
        rise: f64,
    },
    /// Is multiplied by a factor whenever the validation loss has not fallen for some epochs.
    Plateau {
        /// The factor.
        factor: f64,
        /// The epochs to wait.
        patience: usize,
    },
}

impl Schedule {
    /// The factor on the learning rate at `progress` in 0..1 of all steps; [`Plateau`] is left
    /// to the loop.
    ///
    /// [`Plateau`]: Self::Plateau
    pub(crate) fn factor(&self, progress: f64) -> f64 {
        let half_cosine = |from: f64, to: f64, at: f64| {
            to + (from - to) * 0.5 * (1.0 + (std::f64::consts::PI * at).cos())
        };
        match *self {
            Self::Constant | Self::Plateau { .. } => 1.0,
            Self::Cosine { final_share } => half_cosine(1.0, final_share, progress),
            Self::OneCycle { rise } if progress < rise => {
                half_cosine(1.0 / 25.0, 1.0, progress / rise)
            }
            Self::OneCycle { rise } => {
                half_cosine(1.0, 1.0 / 250_000.0, (progress - rise) / (1.0 - rise))
            }
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match *self {
            Self::Cosine { final_share } if !(0.0..=1.0).contains(&final_share) => Err(
                Error::invalid("final_share", final_share, "between 0 and 1"),
            ),
            Self::OneCycle { rise } if !(0.0 < rise && rise < 1.0) => {
                Err(Error::invalid("rise", rise, "between 0 and 1"))
            }
            Self::Plateau { factor, .. } if !(0.0 < factor && factor < 1.0) => {
                Err(Error::invalid("factor", factor, "between 0 and 1"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::vectors::{assert_near, number, numbers, read};

    /// Steps with the gradients of a linear function, which are its coefficients.
    #[test]
    fn steps_equal_those_of_pytorch() {
        for case in read("torch.json")["optimizers"].as_array().unwrap() {
            let optimizer: Optimizer = serde_json::from_value(case["optimizer"].clone()).unwrap();
            let singles = |value| {
                numbers(value)
                    .into_iter()
                    .map(|x| x as f32)
                    .collect::<Vec<_>>()
            };
            let var = Var::from_vec(singles(&case["start"]), 4, &Device::Cpu).unwrap();
            let mut trainer = Trainer::new(optimizer, vec![var.clone()]);
            let gradients = case["gradients"].as_array().unwrap();
            for (gradient, expected) in gradients.iter().zip(case["after"].as_array().unwrap()) {
                let gradient = Tensor::from_vec(singles(gradient), 4, &Device::Cpu).unwrap();
                let store = (var.as_tensor() * gradient).unwrap().sum_all().unwrap();
                trainer
                    .step(&store.backward().unwrap(), number(&case["lr"]), None)
                    .unwrap();
                let found: Vec<f64> = var
                    .to_vec1::<f32>()
                    .unwrap()
                    .into_iter()
                    .map(f64::from)
                    .collect();
                assert_near(&found, &numbers(expected), 2e-6, &format!("{optimizer:?}"));
            }
        }
    }

    /// The way that steps take on other devices.
    #[test]
    fn steps_on_slices_equal_those_in_place() {
        let rule = AdamRule {
            lr: 0.05,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            decay: 0.1,
            correct1: 10.0,
            correct2: 1000.0,
            scale: 0.5,
        };
        let start: Vec<f32> = (0..37).map(|i| (i as f32 * 0.7).sin()).collect();
        let gradient: Vec<f32> = (0..37).map(|i| (i as f32 * 1.3).cos()).collect();
        let mut slices = start.clone();
        let mut moments = [vec![0.1; 37], vec![0.2; 37]];
        let mut other_moments = moments.clone();
        adam(&mut slices, &gradient, &mut moments, rule);
        let var = Var::from_vec(start, 37, &Device::Cpu).unwrap();
        let step = AdamStep {
            rule,
            moments: Mutex::new(&mut other_moments),
        };
        var.inplace_op2(
            &Tensor::from_vec(gradient, 37, &Device::Cpu).unwrap(),
            &step,
        )
        .unwrap();
        let fused: Vec<f32> = var.to_vec1().unwrap();
        let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(near(&slices, &fused) && near(&moments[1], &other_moments[1]));
    }

    #[test]
    fn the_norm_of_gradients_is_cut() {
        let var = Var::from_vec(vec![0.0f32, 0.0], 2, &Device::Cpu).unwrap();
        let optimizer = Optimizer::Sgd {
            momentum: 0.0,
            nesterov: false,
        };
        let mut trainer = Trainer::new(optimizer, vec![var.clone()]);
        let gradient = Tensor::from_vec(vec![3.0f32, 4.0], 2, &Device::Cpu).unwrap();
        let store = (var.as_tensor() * gradient)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        trainer.step(&store, 1.0, Some(1.0)).unwrap();
        let found: Vec<f32> = var.to_vec1().unwrap();
        assert!(
            (found[0] + 0.6).abs() < 1e-6 && (found[1] + 0.8).abs() < 1e-6,
            "{found:?}"
        );
    }

    #[test]
    fn schedules_start_and_end_where_they_say() {
        let cosine = Schedule::Cosine { final_share: 0.1 };
        assert_eq!(cosine.factor(0.0), 1.0);
        assert!((cosine.factor(1.0) - 0.1).abs() < 1e-12);
        let cycle = Schedule::OneCycle { rise: 0.25 };
        assert!((cycle.factor(0.0) - 0.04).abs() < 1e-12);
        assert!((cycle.factor(0.25) - 1.0).abs() < 1e-12);
        assert!(cycle.factor(1.0) < 1e-5);
    }
}
