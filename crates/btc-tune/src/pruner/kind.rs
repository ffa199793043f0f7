//! The pruners that a name chooses.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{
    HyperbandConfig, HyperbandPruner, MedianPruner, NopPruner, PercentileConfig, Pruner,
    SuccessiveHalvingConfig, SuccessiveHalvingPruner,
};
use crate::error::{Error, Result};

/// A pruner chosen by its name.
///
/// ```
/// use std::sync::Arc;
///
/// use btc_tune::{InMemoryStorage, PercentileConfig, PrunerKind, Study};
///
/// let kind: PrunerKind = "successive-halving".parse()?;
/// let study = Study::builder("s", Arc::new(InMemoryStorage::new()))
///     .shared_pruner(kind.build(PercentileConfig::default())?)
///     .create()?;
/// # Ok::<(), btc_tune::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PrunerKind {
    /// Ends trials that are worse than the median of the complete ones at the same step.
    #[default]
    Median,
    /// Ends trials that fall behind in the bracket of Hyperband they are in.
    Hyperband,
    /// Ends trials that are not among the best quarter at step 1, 4, 16, …
    SuccessiveHalving,
    /// Ends none.
    None,
}

impl PrunerKind {
    /// Every one, in the order of a list to choose from.
    pub const ALL: [Self; 4] = [
        Self::Median,
        Self::Hyperband,
        Self::SuccessiveHalving,
        Self::None,
    ];

    /// The name that chooses it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Median => "median",
            Self::Hyperband => "hyperband",
            Self::SuccessiveHalving => "successive-halving",
            Self::None => "none",
        }
    }

    /// The pruner: the median with `median` as its settings, the others with their defaults.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidSetting`] if the settings make no sense.
    pub fn build(self, median: PercentileConfig) -> Result<Arc<dyn Pruner>> {
        Ok(match self {
            Self::Median => Arc::new(MedianPruner::new(median)?),
            Self::Hyperband => Arc::new(HyperbandPruner::new(HyperbandConfig::default())?),
            Self::SuccessiveHalving => Arc::new(SuccessiveHalvingPruner::new(
                SuccessiveHalvingConfig::default(),
            )?),
            Self::None => Arc::new(NopPruner),
        })
    }
}

impl FromStr for PrunerKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        crate::names::find("pruner", &Self::ALL, Self::name, text)
    }
}

impl fmt::Display for PrunerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_chooses_a_pruner() {
        for kind in PrunerKind::ALL {
            assert_eq!(kind.to_string().parse::<PrunerKind>().unwrap(), kind);
            let pruner = kind.build(PercentileConfig::default()).unwrap();
            let shown = format!("{pruner:?}").to_lowercase();
            let expected = match kind {
                PrunerKind::None => "nop",
                PrunerKind::SuccessiveHalving => "successivehalving",
                PrunerKind::Median => "median",
                PrunerKind::Hyperband => "hyperband",
            };
            assert!(shown.starts_with(expected), "{kind}: {shown}");
        }
        let error = "hyperbnd".parse::<PrunerKind>().unwrap_err().to_string();
        assert!(error.contains("did you mean \"hyperband\"?"), "{error}");
    }
}
