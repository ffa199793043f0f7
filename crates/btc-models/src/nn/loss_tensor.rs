//! The crate's own losses on tensors, for devices where a step must not wait for the host.

use candle_core::{Result, Tensor};

use super::loss::{LOG_VARIANCE, LOSSES, Loss, LossSpec};

/// The larger of each number and 0.
fn positive(x: &Tensor) -> Result<Tensor> {
    x.relu()
}

impl Loss {
    /// The mean loss of predictions (targets, outputs) as a tensor that can be differentiated;
    /// none if an own loss has none. See [`LossSpec::tensor`].
    pub(crate) fn tensor(&self, predictions: &Tensor, targets: &Tensor) -> Result<Option<Tensor>> {
        let column = |at: usize| predictions.narrow(1, at, 1)?.squeeze(1);
        let each = match self {
            Self::Custom(custom) => {
                return match custom.get(&LOSSES) {
                    Ok(spec) => spec.tensor(predictions, targets),
                    Err(error) => candle_core::bail!("{error}"),
                };
            }
            Self::Mse => column(0)?.sub(targets)?.sqr()?,
            Self::Mae => column(0)?.sub(targets)?.abs()?,
            // |e| + ln(1 + exp(-2 |e|)) - ln 2 does not overflow.
            Self::LogCosh => {
                let size = column(0)?.sub(targets)?.abs()?;
                let tail = ((size.affine(-2.0, 0.0)?.exp()? + 1.0)?).log()?;
                ((size + tail)? - std::f64::consts::LN_2)?
            }
            // Half the square of the part up to delta, and delta times the rest.
            Self::Huber { delta } => {
                let size = column(0)?.sub(targets)?.abs()?;
                let rest = positive(&(&size - *delta)?)?;
                let inner = (size - &rest)?;
                ((inner.sqr()? * 0.5)? + (rest * *delta)?)?
            }
            Self::Pinball { quantiles } => {
                let mut sum = targets.zeros_like()?;
                for (at, q) in quantiles.iter().enumerate() {
                    let e = targets.sub(&column(at)?)?;
                    // q e where it is positive, (q - 1) e elsewhere.
                    let above = (positive(&e)? * *q)?;
                    let below = (positive(&e.neg()?)? * (1.0 - q))?;
                    sum = ((sum + above)? + below)?;
                }
                (sum / quantiles.len() as f64)?
            }
            Self::GaussianNll => {
                let raw = column(1)?;
                // Outside its bounds the variance has no gradient.
                let inside = raw.clamp(LOG_VARIANCE.0, LOG_VARIANCE.1)?.detach();
                let mask = raw.eq(&inside)?.to_dtype(raw.dtype())?;
                let bounded = ((&raw * &mask)? + (inside * (mask.neg()? + 1.0)?)?)?;
                let square = column(0)?.sub(targets)?.sqr()?;
                let scaled = (square * bounded.neg()?.exp()?)?;
                ((bounded + scaled)? * 0.5)?
            }
        };
        each.mean_all().map(Some)
    }
}

impl LossSpec for Loss {
    fn validate(&self) -> crate::Result<()> {
        Self::validate(self)
    }

    fn outputs(&self) -> usize {
        Self::outputs(self)
    }

    fn evaluate(&self, predictions: &[f32], targets: &[f32]) -> (f64, Vec<f32>) {
        Self::evaluate(self, predictions, targets)
    }

    fn tensor(&self, predictions: &Tensor, targets: &Tensor) -> Result<Option<Tensor>> {
        Self::tensor(self, predictions, targets)
    }

    fn point(&self, outputs: &[f32]) -> f64 {
        Self::point(self, outputs)
    }

    fn quantiles(&self, outputs: &[f32]) -> Vec<(f64, f64)> {
        Self::quantiles(self, outputs)
    }
}
