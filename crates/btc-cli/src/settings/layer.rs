//! What one layer of the settings says, and where a setting came from.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;

/// What one layer says: the flags, the environment, or `btc.toml`, whose
/// sections and keys these are. Every one may be left out.
#[derive(Debug, Default, Clone)]
pub(crate) struct Layer {
    pub(crate) data: DataSection,
    pub(crate) tracking: TrackingSection,
    pub(crate) studies: StudiesSection,
    pub(crate) model: ModelSection,
    pub(crate) serve: ServeSection,
}

/// Where market data comes from.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DataSection {
    pub(crate) blockchain_url: Option<String>,
    pub(crate) alpha_vantage_url: Option<String>,
    pub(crate) alpha_vantage_api_key: Option<String>,
    pub(crate) market: Option<String>,
    /// For both schemes.
    pub(crate) proxy: Option<String>,
    pub(crate) http_proxy: Option<String>,
    pub(crate) no_proxy: Option<String>,
}

/// Where runs and models are kept.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct TrackingSection {
    pub(crate) uri: Option<String>,
    pub(crate) experiment_name: Option<String>,
}

/// Where studies are kept.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StudiesSection {
    pub(crate) url: Option<String>,
}

/// What is forecast, and under which name it is registered.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ModelSection {
    pub(crate) name: Option<String>,
    pub(crate) service: Option<String>,
    pub(crate) target_column: Option<String>,
    pub(crate) horizon: Option<NonZeroUsize>,
    pub(crate) device: Option<String>,
}

/// Where the web page is served.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct ServeSection {
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) token: Option<String>,
}

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A command-line flag.
    Flag(&'static str),
    /// An environment variable.
    Environment(&'static str),
    /// A file.
    File(PathBuf),
    /// Nothing said otherwise.
    Default,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// A value and where it came from.
#[derive(Debug, Clone)]
pub(crate) struct Resolved<T> {
    pub(crate) value: T,
    pub(crate) origin: Origin,
}

impl<T> Resolved<T> {
    /// Whether somebody said it, in whatever layer.
    pub(crate) fn is_given(&self) -> bool {
        self.origin != Origin::Default
    }
}
