//! How steps are taken along the gradient: the crate's own optimisers, and those that are
//! registered.

use std::fmt::Debug;
use std::sync::Mutex;

use candle_core::backprop::GradStore;
use candle_core::{Tensor, Var};
use serde::{Deserialize, Serialize};

use crate::nn::kernels::{AdamRule, AdamStep, fused};
use crate::registry::{Custom, Named, open_enum, registry, restored};
use crate::{Error, Result};

/// One step of a training.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct OptimizerStep {
    /// The number of the step, from 1 on.
    pub number: usize,
    /// The learning rate.
    pub lr: f64,
}

impl OptimizerStep {
    /// The step of this number, from 1 on, with a learning rate.
    pub fn new(number: usize, lr: f64) -> Self {
        Self { number, lr }
    }
}

/// What an own optimiser is, see [`Optimizer::custom`].
///
/// # Contract
///
/// * All that it remembers of a weight is in the tensors that it declares, so that a training
///   whose weights, tensors and number of steps are stored goes on from there with the same bits.
/// * A step depends on its arguments alone. Whatever tensors it makes are where the weight is.
///
/// `conformance::check_optimizer` checks it.
pub trait OptimizerSpec: Debug + Send + Sync {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    ///
    /// Settings that no optimiser can have.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// The names of the tensors that are kept for each weight from step to step. They have the
    /// weight's shape and are zero before the first step.
    fn state(&self) -> &'static [&'static str];

    /// The weight after one step against its gradient, as a new tensor. What is kept of it is in
    /// `state`, in the order of [`state`](Self::state), and is replaced there.
    ///
    /// # Errors
    ///
    /// A tensor operation failed.
    fn step(
        &self,
        step: OptimizerStep,
        weight: &Tensor,
        gradient: &Tensor,
        state: &mut [Tensor],
    ) -> candle_core::Result<Tensor>;
}

registry! {
    /// Makes bundles of models that were trained with the optimiser `C` loadable in this process.
    pub register_optimizer, OPTIMIZERS: dyn OptimizerSpec, "optimizer", ["adam", "adamw", "sgd"]
}

/// How steps are taken along the gradient.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", remote = "Self")]
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
    /// One that is registered under its name; see [`Optimizer::custom`].
    #[serde(skip)]
    Custom(Custom<dyn OptimizerSpec>),
}

open_enum!(Optimizer, OPTIMIZERS.own());

const BETA1: f64 = 0.9;
const BETA2: f64 = 0.999;
const EPS: f32 = 1e-8;

impl Optimizer {
    /// An optimiser of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + OptimizerSpec>(spec: &C) -> Result<Self> {
        Custom::register(&OPTIMIZERS, restored!(C, OptimizerSpec), spec).map(Self::Custom)
    }

    /// The numbers of one step of Adam, on a gradient that is multiplied by `scale` first.
    fn rule(&self, step: OptimizerStep, scale: f32) -> AdamRule {
        let number = i32::try_from(step.number).unwrap_or(i32::MAX);
        AdamRule {
            lr: step.lr as f32,
            beta1: BETA1 as f32,
            beta2: BETA2 as f32,
            eps: EPS,
            decay: match self {
                Self::AdamW { weight_decay } => *weight_decay as f32,
                _ => 0.0,
            },
            correct1: (1.0 / (1.0 - BETA1.powi(number))) as f32,
            correct2: (1.0 / (1.0 - BETA2.powi(number))) as f32,
            scale,
        }
    }
}

/// The steps of the crate's own optimisers as tensor operations, which any device has.
///
/// An own optimiser that is not registered passes no [`validate`](OptimizerSpec::validate), and
/// takes no step.
impl OptimizerSpec for Optimizer {
    fn validate(&self) -> Result<()> {
        match self {
            Self::Adam => Ok(()),
            Self::AdamW { weight_decay } if (0.0..1.0).contains(weight_decay) => Ok(()),
            Self::AdamW { weight_decay } => Err(Error::invalid(
                "weight_decay",
                weight_decay,
                "at least 0 and below 1",
            )),
            Self::Sgd { momentum, nesterov } => {
                if !(0.0..1.0).contains(momentum) {
                    return Err(Error::invalid(
                        "momentum",
                        momentum,
                        "at least 0 and below 1",
                    ));
                }
                if *nesterov && *momentum == 0.0 {
                    return Err(Error::invalid(
                        "momentum",
                        momentum,
                        "positive with nesterov",
                    ));
                }
                Ok(())
            }
            Self::Custom(custom) => custom.get(&OPTIMIZERS)?.validate(),
        }
    }

    fn state(&self) -> &'static [&'static str] {
        match self {
            Self::Adam | Self::AdamW { .. } => &["first_moment", "second_moment"],
            Self::Sgd { .. } => &["velocity"],
            Self::Custom(custom) => match custom.get(&OPTIMIZERS) {
                Ok(spec) => spec.state(),
                Err(_) => &[],
            },
        }
    }

    fn step(
        &self,
        step: OptimizerStep,
        weight: &Tensor,
        gradient: &Tensor,
        state: &mut [Tensor],
    ) -> candle_core::Result<Tensor> {
        match (self, state) {
            (Self::Custom(custom), state) => match custom.get(&OPTIMIZERS) {
                Ok(spec) => spec.step(step, weight, gradient, state),
                Err(error) => candle_core::bail!("{error}"),
            },
            // PyTorch's descent with momentum: the velocity starts as the first gradient.
            (Self::Sgd { momentum, nesterov }, [velocity]) => {
                *velocity = ((&*velocity * *momentum)? + gradient)?;
                let direction = match nesterov {
                    true => (gradient + (&*velocity * *momentum)?)?,
                    false => velocity.clone(),
                };
                weight - (direction * step.lr)?
            }
            (Self::Adam | Self::AdamW { .. }, [first, second]) => {
                let rule = self.rule(step, 1.0);
                let [lr, beta1, beta2, decay] =
                    [rule.lr, rule.beta1, rule.beta2, rule.decay].map(f64::from);
                *first = ((&*first * beta1)? + (gradient * f64::from(1.0 - rule.beta1))?)?;
                *second = ((&*second * beta2)? + (gradient.sqr()? * f64::from(1.0 - rule.beta2))?)?;
                let corrected = (&*first * (lr * f64::from(rule.correct1)))?;
                let size = (&*second * f64::from(rule.correct2))?.sqrt()?;
                let change = (corrected / (size + f64::from(rule.eps))?)?;
                (weight * (1.0 - lr * decay))? - change
            }
            _ => candle_core::bail!("the optimizer {self:?} has other tensors than these"),
        }
    }
}

/// What is kept of one weight from step to step.
#[derive(Debug)]
enum Kept {
    /// The crate's own optimisers on the CPU: the moments, or the velocity and nothing.
    Slices([Vec<f32>; 2]),
    /// Any other, where the weight is.
    Tensors(Vec<Tensor>),
}

impl Kept {
    fn new(optimizer: &Optimizer, var: &Var) -> candle_core::Result<Self> {
        match optimizer {
            Optimizer::Custom(_) => Self::tensors(optimizer, var),
            _ if fused(var) => {
                let zeros = || vec![0.0; var.elem_count()];
                Ok(Self::Slices([zeros(), zeros()]))
            }
            _ => Self::tensors(optimizer, var),
        }
    }

    fn tensors(optimizer: &Optimizer, var: &Var) -> candle_core::Result<Self> {
        let names = optimizer.state().iter();
        let zeros = names.map(|_| var.as_detached_tensor().zeros_like());
        zeros.collect::<candle_core::Result<_>>().map(Self::Tensors)
    }
}

/// Weights under training, with what the optimizer remembers of each.
#[derive(Debug)]
pub(crate) struct Trainer {
    optimizer: Optimizer,
    vars: Vec<Var>,
    kept: Vec<Kept>,
    step: usize,
}

impl Trainer {
    pub(crate) fn new(optimizer: &Optimizer, vars: Vec<Var>) -> candle_core::Result<Self> {
        let kept = vars.iter().map(|var| Kept::new(optimizer, var));
        Ok(Self {
            kept: kept.collect::<candle_core::Result<_>>()?,
            optimizer: optimizer.clone(),
            vars,
            step: 0,
        })
    }

    /// Takes one step against the gradients, the norm of which is cut to `clip_norm` if given.
    pub(crate) fn step(
        &mut self,
        gradients: &GradStore,
        lr: f64,
        clip_norm: Option<f64>,
    ) -> candle_core::Result<()> {
        self.step += 1;
        let step = OptimizerStep::new(self.step, lr);
        let on_cpu = self.kept.iter().all(|kept| matches!(kept, Kept::Slices(_)));
        let (mut scale, mut factor) = (1.0, None);
        match clip_norm {
            Some(limit) if on_cpu => {
                let norm = self.norm(gradients)?;
                if limit < norm {
                    scale = (limit / norm) as f32;
                }
            }
            Some(limit) => factor = self.factor(gradients, limit)?,
            None => {}
        }
        for (var, kept) in self.vars.iter().zip(&mut self.kept) {
            let Some(gradient) = gradients.get(var) else {
                continue;
            };
            match (kept, &self.optimizer) {
                (Kept::Slices(velocity), Optimizer::Sgd { momentum, nesterov }) => {
                    let mut values: Vec<f32> = var.to_vec1()?;
                    let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
                    let rule = self.optimizer.rule(step, scale);
                    let momentum = *momentum as f32;
                    descend(
                        &mut values,
                        &gradient,
                        &mut velocity[0],
                        rule,
                        momentum,
                        *nesterov,
                    );
                    let length = values.len();
                    var.set(&Tensor::from_vec(values, length, var.device())?)?;
                }
                (Kept::Slices(moments), optimizer) => {
                    let step = AdamStep {
                        rule: optimizer.rule(step, scale),
                        moments: Mutex::new(moments),
                    };
                    var.inplace_op2(&gradient.contiguous()?, &step)?;
                }
                (Kept::Tensors(state), optimizer) => {
                    let gradient = match &factor {
                        Some(factor) => gradient.broadcast_mul(factor)?,
                        None => gradient.clone(),
                    };
                    let weight = var.as_detached_tensor();
                    var.set(&optimizer.step(step, &weight, &gradient, state)?)?;
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

    /// What cuts the norm to `limit`, where the gradients are; none without a gradient.
    fn factor(&self, gradients: &GradStore, limit: f64) -> candle_core::Result<Option<Tensor>> {
        let mut sum: Option<Tensor> = None;
        for gradient in self.vars.iter().filter_map(|var| gradients.get(var)) {
            let square = gradient.sqr()?.sum_all()?;
            sum = Some(match sum {
                Some(sum) => (sum + square)?,
                None => square,
            });
        }
        // A norm below the limit gives a factor above 1, which is cut to it.
        let factor = |sum: Tensor| (sum.sqrt()?.recip()? * limit)?.minimum(1f32);
        sum.map(factor).transpose()
    }
}

/// PyTorch's descent with momentum: the velocity starts as the first gradient.
fn descend(
    values: &mut [f32],
    gradient: &[f32],
    velocity: &mut [f32],
    rule: AdamRule,
    momentum: f32,
    nesterov: bool,
) {
    for ((p, g), velocity) in values.iter_mut().zip(gradient).zip(velocity) {
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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::vectors::{assert_near, exactly, torch};

    #[test]
    fn steps_equal_those_of_pytorch() {
        for case in torch().optimizers {
            let optimizer: Optimizer = exactly(&case.optimizer);
            let var = Var::from_vec(case.start, 4, &Device::Cpu).unwrap();
            let mut trainer = Trainer::new(&optimizer, vec![var.clone()]).unwrap();
            for (gradient, expected) in case.gradients.into_iter().zip(&case.after) {
                let gradient = Tensor::from_vec(gradient, 4, &Device::Cpu).unwrap();
                let store = (var.as_tensor() * gradient).unwrap().sum_all().unwrap();
                trainer
                    .step(&store.backward().unwrap(), case.lr, None)
                    .unwrap();
                let found: Vec<f32> = var.to_vec1().unwrap();
                let found: Vec<f64> = found.into_iter().map(f64::from).collect();
                assert_near(&found, expected, 2e-6, &format!("{optimizer:?}"));
            }
        }
    }

    /// The way that steps take on other devices.
    #[test]
    fn steps_on_tensors_equal_those_in_place() {
        let start: Vec<f32> = (0..37).map(|i| (i as f32 * 0.7).sin()).collect();
        let sgd = |nesterov| Optimizer::Sgd {
            momentum: 0.9,
            nesterov,
        };
        let adamw = Optimizer::AdamW { weight_decay: 0.1 };
        for optimizer in [Optimizer::Adam, adamw, sgd(true), sgd(false)] {
            let trained = |kept: fn(&Optimizer, &Var) -> candle_core::Result<Kept>| {
                let var = Var::from_vec(start.clone(), 37, &Device::Cpu).unwrap();
                let mut trainer = Trainer {
                    kept: vec![kept(&optimizer, &var).unwrap()],
                    optimizer: optimizer.clone(),
                    vars: vec![var.clone()],
                    step: 0,
                };
                for step in 0..5 {
                    let gradient = (0..37).map(|i| ((i + step) as f32 * 1.3).cos());
                    let gradient = Tensor::from_iter(gradient, &Device::Cpu).unwrap();
                    let loss = (var.as_tensor() * gradient).unwrap().sum_all().unwrap();
                    let gradients = loss.backward().unwrap();
                    trainer.step(&gradients, 0.05, Some(1.5)).unwrap();
                }
                var.to_vec1::<f32>().unwrap()
            };
            let (slices, tensors) = (trained(Kept::new), trained(Kept::tensors));
            let near = slices
                .iter()
                .zip(&tensors)
                .all(|(a, b)| (a - b).abs() < 1e-6);
            assert!(near, "{optimizer:?}: {slices:?} {tensors:?}");
        }
    }

    #[test]
    fn the_norm_of_gradients_is_cut() {
        let var = Var::from_vec(vec![0.0f32, 0.0], 2, &Device::Cpu).unwrap();
        let optimizer = Optimizer::Sgd {
            momentum: 0.0,
            nesterov: false,
        };
        let mut trainer = Trainer::new(&optimizer, vec![var.clone()]).unwrap();
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
}
