//! What is predicted, and how it follows from values and back.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::scaler::Scaler;
use crate::fit::TrainConfig;
use crate::{Error, Result};

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The logarithm of the price `horizon` rows later over the last known price.
    #[default]
    LogReturn,
    /// The price `horizon` rows later less the last known price.
    Difference,
    /// The price `horizon` rows later.
    Level,
}

impl Target {
    /// Every target.
    pub const ALL: [Self; 3] = [Self::LogReturn, Self::Difference, Self::Level];

    /// The name, as [`FromStr`](std::str::FromStr) takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::LogReturn => "log-return",
            Self::Difference => "difference",
            Self::Level => "level",
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Target {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|target| target.name().eq_ignore_ascii_case(name))
            .ok_or_else(|| Error::unknown("target", name, &Self::ALL.map(Self::name)))
    }
}

/// How the target follows from prices and back.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct TargetScaler {
    pub(crate) target: Target,
    scaler: Scaler,
}

impl TargetScaler {
    /// Fits to the targets of the windows that end in `ends`.
    ///
    /// Changes are divided by their standard deviation and not moved: a network that returns 0
    /// repeats the last price.
    pub(crate) fn fit(price: &[f64], ends: Range<usize>, config: &TrainConfig) -> Result<Self> {
        if config.target == Target::LogReturn
            && let Some(row) = price.iter().position(|price| *price <= 0.0)
        {
            return Err(Error::series(format!(
                "the price in row {row} is not positive, so it has no log return; take the target \
                 difference"
            )));
        }
        let scaler = match config.target {
            Target::Level => {
                let end = (ends.end + config.horizon).min(price.len());
                Scaler::fit(config.scaler, &price[..end])
            }
            target => {
                let identity = Scaler {
                    offset: 0.0,
                    scale: 1.0,
                };
                let raw = Self {
                    target,
                    scaler: identity,
                };
                let changes: Vec<f64> = ends
                    .map(|end| raw.scaled(price[end], price[end + config.horizon]))
                    .collect();
                let square = changes.iter().map(|x| x * x).sum::<f64>() / changes.len() as f64;
                let scale = if 0.0 < square { square.sqrt() } else { 1.0 };
                Scaler { offset: 0.0, scale }
            }
        };
        Ok(Self {
            target: config.target,
            scaler,
        })
    }

    /// Whether it is one that [`fit`](Self::fit) can have made.
    pub(crate) fn is_valid(&self) -> bool {
        let Scaler { offset, scale } = self.scaler;
        offset.is_finite() && scale.is_finite() && 0.0 < scale
    }

    /// The network's target where the price goes from `last` to `next`.
    pub(crate) fn scaled(&self, last: f64, next: f64) -> f64 {
        self.scaler.apply(match self.target {
            Target::LogReturn => (next / last).ln(),
            Target::Difference => next - last,
            Target::Level => next,
        })
    }

    /// The price that the network's `output` means after `last`.
    pub(crate) fn price(&self, last: f64, output: f64) -> f64 {
        let value = self.scaler.invert(output);
        match self.target {
            Target::LogReturn => last * value.exp(),
            Target::Difference => last + value,
            Target::Level => value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(rows: usize) -> Vec<f64> {
        (0..rows)
            .map(|i| 100.0 + ((i * 7919) % 23) as f64)
            .collect()
    }

    #[test]
    fn targets_go_there_and_back() {
        let price = walk(40);
        for target in Target::ALL {
            let config = TrainConfig::default().with_target(target);
            let scaler = TargetScaler::fit(&price, 5..30, &config).unwrap();
            let output = scaler.scaled(110.0, 121.0);
            assert!(
                (scaler.price(110.0, output) - 121.0).abs() < 1e-9,
                "{target}"
            );
        }
        assert!(TargetScaler::fit(&[1.0, -1.0, 2.0], 0..2, &TrainConfig::default()).is_err());
    }
}
