//! Distributions as samplers see them: a piece of the real line, or a list of points.

use super::{Distribution, FloatDistribution};

impl Distribution {
    /// The interval samplers draw from: logarithms on a logarithmic scale, half a step wider on each
    /// side where values are discrete. Categorical: the range of the index.
    pub(crate) fn transformed_bounds(&self) -> (f64, f64) {
        match self {
            Self::Float(d) if d.log => (d.low.ln(), d.high.ln()),
            Self::Float(d) => {
                let half = d.step.map_or(0.0, |step| step / 2.0);
                (d.low - half, d.high + half)
            }
            Self::Int(d) if d.log => ((d.low as f64 - 0.5).ln(), (d.high as f64 + 0.5).ln()),
            Self::Int(d) => {
                let half = d.step as f64 / 2.0;
                (d.low as f64 - half, d.high as f64 + half)
            }
            Self::Categorical(d) => (-0.5, d.choices.len() as f64 - 0.5),
        }
    }

    /// Takes an internal value to the line [`transformed_bounds`](Self::transformed_bounds) lies on.
    pub(crate) fn transform(&self, internal: f64) -> f64 {
        if self.is_log() {
            internal.ln()
        } else {
            internal
        }
    }

    /// Takes a point of that line to the nearest value of the distribution.
    pub(crate) fn untransform(&self, x: f64) -> f64 {
        match self {
            Self::Float(d) if d.log => x.exp().clamp(d.low, below(d.high, d.low)),
            Self::Float(d) => match d.step {
                Some(step) => {
                    let k = ((x - d.low) / step).round_ties_even();
                    (d.low + k * step).clamp(d.low, d.high)
                }
                None => x.clamp(d.low, below(d.high, d.low)),
            },
            Self::Int(d) if d.log => x.exp().round_ties_even().clamp(d.low as f64, d.high as f64),
            Self::Int(d) => {
                let (low, step) = (d.low as f64, d.step as f64);
                (low + ((x - low) / step + 0.5).floor() * step).clamp(low, d.high as f64)
            }
            Self::Categorical(d) => x.round().clamp(0.0, d.choices.len() as f64 - 1.0),
        }
    }

    /// Every possible internal value, or `None` where they are too many to list.
    pub(crate) fn grid(&self) -> Option<Vec<f64>> {
        const MOST: f64 = 1e7;
        let count = match self {
            Self::Float(FloatDistribution {
                low,
                high,
                step: Some(step),
                ..
            }) => ((high - low) / step).round() + 1.0,
            Self::Float(d) if d.low == d.high => 1.0,
            Self::Float(_) => return None,
            Self::Int(d) => ((d.high - d.low) / d.step) as f64 + 1.0,
            Self::Categorical(d) => d.choices.len() as f64,
        };
        if count > MOST {
            return None;
        }
        let step = self.step().unwrap_or(1.0);
        let last = self.last();
        Some(
            (0..count as usize)
                .map(|k| (self.first() + k as f64 * step).min(last))
                .collect(),
        )
    }
}

/// The largest number below `high`, but not below `low`: the upper bound is exclusive when sampling.
fn below(high: f64, low: f64) -> f64 {
    if high > low { high.next_down() } else { high }
}
