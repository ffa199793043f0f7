//! What training makes small: the crate's own losses, and those that are registered.

use std::fmt::Debug;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use crate::eval::special::normal_quantile;
use crate::registry::{Custom, Named, open_enum, registry, restored};
use crate::{Error, Result};

/// What an own loss is, see [`Loss::custom`].
///
/// # Contract
///
/// * The same arguments give the same numbers.
/// * The loss of several windows is the mean of their losses, and finite for finite arguments.
/// * The gradient is that of the loss.
///
/// `conformance::check_loss` checks it.
pub trait LossSpec: Debug + Send + Sync {
    /// Checks the settings before any work is done.
    ///
    /// # Errors
    ///
    /// Settings that no loss can have.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// The number of outputs that a network needs for each step that it forecasts, at least 1.
    fn outputs(&self) -> usize {
        1
    }

    /// The mean loss, and its gradient with respect to the predictions: one number for each.
    ///
    /// `predictions` holds [`outputs`](Self::outputs) numbers for each of the scaled `targets`.
    fn evaluate(&self, predictions: &[f32], targets: &[f32]) -> (f64, Vec<f32>);

    /// The mean loss of predictions (targets, outputs) as a tensor that can be differentiated, for
    /// training on another device than the CPU without a copy to the host in each step. Without
    /// one, [`evaluate`](Self::evaluate) is called with copies there too.
    ///
    /// # Errors
    ///
    /// A tensor operation failed.
    fn tensor(
        &self,
        _predictions: &Tensor,
        _targets: &Tensor,
    ) -> candle_core::Result<Option<Tensor>> {
        Ok(None)
    }

    /// The point forecast in one window's outputs.
    fn point(&self, outputs: &[f32]) -> f64 {
        f64::from(outputs[0])
    }

    /// The quantiles of the target, as levels between 0 and 1 and values, that one window's
    /// outputs are trained to be; none if it is a point alone.
    fn quantiles(&self, _outputs: &[f32]) -> Vec<(f64, f64)> {
        Vec::new()
    }
}

registry! {
    /// Makes bundles with the loss `C` loadable in this process.
    pub register_loss, LOSSES: dyn LossSpec, "loss",
    ["log_cosh", "mse", "mae", "huber", "pinball", "gaussian_nll"]
}

/// What training makes small, on the scaled target.
///
/// ```
/// use btc_models::Loss;
///
/// let (loss, gradient) = Loss::Mse.evaluate(&[1.0, 3.0], &[1.0, 1.0]);
/// assert_eq!(loss, 2.0);
/// assert_eq!(gradient, [0.0, 2.0]);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", remote = "Self")]
#[non_exhaustive]
pub enum Loss {
    /// Mean of ln(cosh(error)).
    LogCosh,
    /// Mean squared error.
    Mse,
    /// Mean absolute error.
    Mae,
    /// Half the squared error up to `delta`, linear beyond.
    Huber {
        /// The absolute error at which the loss becomes linear.
        delta: f64,
    },
    /// Pinball loss of several quantiles, one output of the network each; mean over quantiles.
    Pinball {
        /// The quantiles, increasing, each between 0 and 1.
        quantiles: Vec<f64>,
    },
    /// Negative log-likelihood of a normal distribution, without its constant; the network's two
    /// outputs are the mean and the logarithm of the variance.
    GaussianNll,
    /// One that is registered under its name; see [`Loss::custom`].
    #[serde(skip)]
    Custom(Custom<dyn LossSpec>),
}

open_enum!(Loss, LOSSES.own());

/// Bounds of the logarithm of the variance, outside of which it has no gradient.
pub(super) const LOG_VARIANCE: (f64, f64) = (-13.8, 13.8);

/// The levels whose quantiles are taken of a normal distribution: its median and the ends of the
/// ranges of 80, 90, 95 and 98 %.
const GAUSSIAN_LEVELS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.5, 0.9, 0.95, 0.975, 0.99];

/// An own loss that is not registered passes no [`validate`](LossSpec::validate), and is NaN.
impl Loss {
    /// A loss of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + LossSpec>(spec: &C) -> Result<Self> {
        Custom::register(&LOSSES, restored!(C, LossSpec), spec).map(Self::Custom)
    }

    /// The number of outputs that a network needs for each step that it forecasts.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Custom(custom) => custom.get(&LOSSES).map_or(1, LossSpec::outputs),
            Self::Pinball { quantiles } => quantiles.len(),
            Self::GaussianNll => 2,
            _ => 1,
        }
    }

    /// The mean loss, and its gradient with respect to the predictions.
    ///
    /// `predictions` holds [`outputs`](Self::outputs) numbers for each of the `targets`.
    ///
    /// # Panics
    ///
    /// Panics if the lengths do not fit.
    pub fn evaluate(&self, predictions: &[f32], targets: &[f32]) -> (f64, Vec<f32>) {
        if let Self::Custom(custom) = self {
            return match custom.get(&LOSSES) {
                Ok(spec) => spec.evaluate(predictions, targets),
                Err(_) => (f64::NAN, vec![f32::NAN; predictions.len()]),
            };
        }
        let outputs = self.outputs();
        assert_eq!(
            predictions.len(),
            targets.len() * outputs,
            "predictions do not fit targets"
        );
        let mut gradient = Vec::with_capacity(predictions.len());
        let mut sum = 0.0;
        let share = 1.0 / (targets.len() as f64);
        for (prediction, &target) in predictions.chunks_exact(outputs).zip(targets) {
            let (y, target) = (f64::from(prediction[0]), f64::from(target));
            let e = y - target;
            match self {
                Self::GaussianNll => {
                    let raw = f64::from(prediction[1]);
                    let log_variance = raw.clamp(LOG_VARIANCE.0, LOG_VARIANCE.1);
                    let precision = (-log_variance).exp();
                    sum += 0.5 * (log_variance + e * e * precision);
                    gradient.push((share * e * precision) as f32);
                    let inside = if raw == log_variance { share } else { 0.0 };
                    gradient.push((inside * 0.5 * (1.0 - e * e * precision)) as f32);
                }
                Self::Pinball { quantiles } => {
                    let share = share / outputs as f64;
                    for (&y, q) in prediction.iter().zip(quantiles) {
                        let e = target - f64::from(y);
                        sum += (q * e).max((q - 1.0) * e) / outputs as f64;
                        let slope = if e > 0.0 { -q } else { 1.0 - q };
                        gradient.push((share * if e == 0.0 { 0.0 } else { slope }) as f32);
                    }
                }
                _ => {
                    let (value, slope) = self.pointwise(e);
                    sum += value;
                    gradient.push((share * slope) as f32);
                }
            }
        }
        (sum * share, gradient)
    }

    /// The loss of one error and its derivative.
    fn pointwise(&self, e: f64) -> (f64, f64) {
        match self {
            Self::LogCosh => {
                // ln(cosh(e)) without overflow.
                let value = e.abs() + (-2.0 * e.abs()).exp().ln_1p() - std::f64::consts::LN_2;
                (value, e.tanh())
            }
            Self::Mae => (e.abs(), if e == 0.0 { 0.0 } else { e.signum() }),
            Self::Huber { delta } => {
                if e.abs() <= *delta {
                    (0.5 * e * e, e)
                } else {
                    (delta * (e.abs() - 0.5 * delta), delta * e.signum())
                }
            }
            Self::Mse | Self::Pinball { .. } | Self::GaussianNll | Self::Custom(_) => {
                (e * e, 2.0 * e)
            }
        }
    }

    /// The point forecast in one window's outputs.
    pub(crate) fn point(&self, outputs: &[f32]) -> f64 {
        match self {
            Self::Custom(custom) => {
                let spec = custom.get(&LOSSES);
                spec.map_or(f64::NAN, |spec| spec.point(outputs))
            }
            own => f64::from(outputs[own.point_output()]),
        }
    }

    /// Which of one window's outputs is the point forecast of one of the crate's own losses.
    pub(crate) fn point_output(&self) -> usize {
        match self {
            Self::Pinball { quantiles } => {
                let distance = |at: &usize| (quantiles[*at] - 0.5).abs();
                let nearest =
                    (0..quantiles.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)));
                nearest.unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// The levels of [`Loss::GaussianNll`], with the quantiles of the standard normal distribution.
    #[cfg(feature = "onnx")]
    pub(crate) fn gaussian_quantiles() -> impl Iterator<Item = (f64, f64)> {
        GAUSSIAN_LEVELS
            .into_iter()
            .map(|level| (level, normal_quantile(level)))
    }

    /// Bounds of the logarithm of the variance of [`Loss::GaussianNll`].
    #[cfg(feature = "onnx")]
    pub(crate) const LOG_VARIANCE: (f64, f64) = LOG_VARIANCE;

    /// The quantiles of the target, as levels and values, that the loss trains one window's
    /// outputs to be or that follow from them; none if it trains a point alone.
    ///
    /// Quantiles are trained one by one and may cross.
    pub(crate) fn quantiles(&self, outputs: &[f32]) -> Vec<(f64, f64)> {
        match self {
            Self::Pinball { quantiles } => quantiles
                .iter()
                .zip(outputs)
                .map(|(level, value)| (*level, f64::from(*value)))
                .collect(),
            Self::GaussianNll => {
                let log_variance = f64::from(outputs[1]).clamp(LOG_VARIANCE.0, LOG_VARIANCE.1);
                let (mean, deviation) = (f64::from(outputs[0]), (0.5 * log_variance).exp());
                GAUSSIAN_LEVELS
                    .iter()
                    .map(|level| (*level, mean + deviation * normal_quantile(*level)))
                    .collect()
            }
            Self::Custom(custom) => {
                let spec = custom.get(&LOSSES);
                spec.map_or_else(|_| Vec::new(), |spec| spec.quantiles(outputs))
            }
            _ => Vec::new(),
        }
    }

    pub(crate) fn validate(&self) -> Result<()> {
        match self {
            Self::Custom(custom) => {
                let spec = custom.get(&LOSSES)?;
                spec.validate()?;
                match spec.outputs() {
                    0 => Err(Error::invalid("outputs", 0, "at least 1 for each step")),
                    _ => Ok(()),
                }
            }
            Self::Huber { delta } if !(*delta > 0.0 && delta.is_finite()) => {
                Err(Error::invalid("delta", delta, "positive"))
            }
            Self::Pinball { quantiles } => {
                let inside = quantiles.iter().all(|q| 0.0 < *q && *q < 1.0);
                if quantiles.is_empty()
                    || !inside
                    || !quantiles.windows(2).all(|pair| pair[0] < pair[1])
                {
                    let value = format!("{quantiles:?}");
                    return Err(Error::invalid(
                        "quantiles",
                        value,
                        "increasing inside (0, 1)",
                    ));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
