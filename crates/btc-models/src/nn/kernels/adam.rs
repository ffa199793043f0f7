//! A step of Adam in place: weights and moments are read and written once.

use std::sync::Mutex;

use candle_core::{CpuStorage, InplaceOp2, Layout, Result};

use super::simd::{Kernel, dispatch};
use super::values;

/// The numbers of one step, the same for all weights.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamRule {
    pub(crate) lr: f32,
    pub(crate) beta1: f32,
    pub(crate) beta2: f32,
    pub(crate) eps: f32,
    /// Share of the weights that is taken away, as AdamW does it.
    pub(crate) decay: f32,
    /// 1 / (1 - beta^step) of either moment.
    pub(crate) correct1: f32,
    pub(crate) correct2: f32,
    /// The gradient is multiplied by this first (clipping).
    pub(crate) scale: f32,
}

/// Moments of one weight, and the step to take.
#[derive(Debug)]
pub(crate) struct AdamStep<'a> {
    pub(crate) rule: AdamRule,
    pub(crate) moments: Mutex<&'a mut [Vec<f32>; 2]>,
}

struct Update<'a> {
    rule: AdamRule,
    p: &'a mut [f32],
    g: &'a [f32],
    m: &'a mut [f32],
    v: &'a mut [f32],
}

impl Kernel for Update<'_> {
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let AdamRule {
            lr,
            beta1,
            beta2,
            eps,
            decay,
            correct1,
            correct2,
            scale,
        } = self.rule;
        let keep = 1.0 - lr * decay;
        let zip = self.p.iter_mut().zip(self.g).zip(self.m).zip(self.v);
        for (((p, g), m), v) in zip {
            let g = g * scale;
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *p = *p * keep - lr * (*m * correct1) / ((*v * correct2).sqrt() + eps);
        }
    }
}

impl InplaceOp2 for AdamStep<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, p: &mut CpuStorage, pl: &Layout, g: &CpuStorage, gl: &Layout) -> Result<()> {
        let g = values(g, gl)?;
        let Some((start, end)) = pl.contiguous_offsets() else {
            candle_core::bail!("weights must be contiguous");
        };
        let CpuStorage::F32(p) = p else {
            candle_core::bail!("weights must be f32");
        };
        let mut moments = self
            .moments
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let [m, v] = &mut **moments;
        if m.len() != g.len() || end - start != g.len() {
            candle_core::bail!("a gradient does not fit its weights");
        }
        dispatch(Update {
            rule: self.rule,
            p: &mut p[start..end],
            g,
            m,
            v,
        });
        Ok(())
    }
}
