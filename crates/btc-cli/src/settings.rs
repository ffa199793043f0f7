//! Flag > environment > `btc.toml` > default, resolved once to plain values.

use std::path::{Path, PathBuf};

use anyhow::Context;
use btc_pipeline::Project;
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::args::GlobalArgs;
use crate::exit::UsageError;

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
    fn flag_or(flag: Option<T>, name: &'static str, otherwise: impl FnOnce() -> Self) -> Self {
        match flag {
            Some(value) => Self {
                value,
                origin: Origin::Flag(name),
            },
            None => otherwise(),
        }
    }
}

/// What `btc.toml` may hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    data: DataSection,
    tracking: TrackingSection,
    studies: StudiesSection,
    serve: ServeSection,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct DataSection {
    blockchain_url: Option<String>,
    alpha_vantage_url: Option<String>,
    alpha_vantage_api_key: Option<String>,
    market: Option<String>,
    proxy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TrackingSection {
    uri: Option<String>,
    experiment_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct StudiesSection {
    url: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServeSection {
    host: Option<String>,
    port: Option<u16>,
    token: Option<String>,
}

/// How to be let in by a tracking server; the names are those of MLflow's client.
#[derive(Default)]
pub(crate) struct Credentials {
    pub(crate) token: Option<String>,
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// Everything a command may want to know, resolved.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) project: Project,
    pub(crate) root: Resolved<PathBuf>,
    pub(crate) now: DateTime<Utc>,
    pub(crate) blockchain_url: Resolved<String>,
    pub(crate) alpha_vantage_url: Resolved<String>,
    pub(crate) api_key: Resolved<Option<btc_ingest::ApiKey>>,
    pub(crate) market: Resolved<String>,
    pub(crate) proxy: Resolved<Option<String>>,
    pub(crate) tracking_uri: Resolved<Option<String>>,
    pub(crate) tracking_credentials: Credentials,
    pub(crate) experiment_name: Resolved<String>,
    pub(crate) storage_url: Resolved<String>,
    pub(crate) serve_host: Resolved<String>,
    pub(crate) serve_port: Resolved<u16>,
    pub(crate) serve_token: Resolved<Option<String>>,
}

/// The experiment of the original project, used when none is named.
pub(crate) const DEFAULT_EXPERIMENT: &str = "crypto-reg-experiment";

impl Settings {
    pub(crate) fn resolve(global: &GlobalArgs) -> anyhow::Result<Self> {
        let root = Resolved::flag_or(global.root.clone(), "--root", || {
            match environment("BTC_ROOT") {
                Some(value) => Resolved {
                    value: PathBuf::from(value),
                    origin: Origin::Environment("BTC_ROOT"),
                },
                None => Resolved {
                    value: PathBuf::from("."),
                    origin: Origin::Default,
                },
            }
        });
        let path = root.value.join("btc.toml");
        let file = read_file(&path)?;
        let layered = Layers { path: &path };
        let project = Project::new(&root.value);
        let storage_default = format!("sqlite:///{}", project.studies().display());
        Ok(Self {
            now: match &global.now {
                Some(now) => *now,
                None => Utc::now(),
            },
            blockchain_url: layered.text(
                None,
                file.data.blockchain_url,
                btc_ingest::BLOCKCHAIN_URL.into(),
            ),
            alpha_vantage_url: layered.text(
                None,
                file.data.alpha_vantage_url,
                btc_ingest::ALPHA_VANTAGE_URL.into(),
            ),
            api_key: {
                let key = layered.optional(
                    Some("ALPHAVANTAGE_API_KEY"),
                    file.data.alpha_vantage_api_key,
                );
                Resolved {
                    value: key.value.and_then(btc_ingest::ApiKey::new),
                    origin: key.origin,
                }
            },
            market: layered.text(None, file.data.market, "USD".into()),
            proxy: layered.optional(Some("HTTPS_PROXY"), file.data.proxy),
            tracking_uri: layered.optional(Some("MLFLOW_TRACKING_URI"), file.tracking.uri),
            tracking_credentials: Credentials {
                token: environment("MLFLOW_TRACKING_TOKEN"),
                username: environment("MLFLOW_TRACKING_USERNAME"),
                password: environment("MLFLOW_TRACKING_PASSWORD"),
            },
            experiment_name: layered.text(
                Some("MLFLOW_EXPERIMENT_NAME"),
                file.tracking.experiment_name,
                DEFAULT_EXPERIMENT.into(),
            ),
            storage_url: layered.text(None, file.studies.url, storage_default),
            serve_host: layered.text(None, file.serve.host, "127.0.0.1".into()),
            serve_port: match file.serve.port {
                Some(value) => Resolved {
                    value,
                    origin: Origin::File(path.clone()),
                },
                None => Resolved {
                    value: 5000,
                    origin: Origin::Default,
                },
            },
            serve_token: layered.optional(Some("BTC_TOKEN"), file.serve.token),
            project,
            root,
        })
    }

    /// Every setting as (name, value, origin); secrets are not shown.
    pub(crate) fn rows(&self) -> Vec<(&'static str, String, String)> {
        let secret = |present: bool| if present { "(set)" } else { "(not set)" }.to_owned();
        let optional = |value: &Option<String>| value.clone().unwrap_or_else(|| "(not set)".into());
        let row = |name, value: String, origin: &Origin| (name, value, origin.to_string());
        vec![
            row(
                "root",
                self.root.value.display().to_string(),
                &self.root.origin,
            ),
            row(
                "data.blockchain_url",
                self.blockchain_url.value.clone(),
                &self.blockchain_url.origin,
            ),
            row(
                "data.alpha_vantage_url",
                self.alpha_vantage_url.value.clone(),
                &self.alpha_vantage_url.origin,
            ),
            row(
                "data.alpha_vantage_api_key",
                secret(self.api_key.value.is_some()),
                &self.api_key.origin,
            ),
            row(
                "data.market",
                self.market.value.clone(),
                &self.market.origin,
            ),
            row(
                "data.proxy",
                optional(&self.proxy.value),
                &self.proxy.origin,
            ),
            row(
                "tracking.uri",
                optional(&self.tracking_uri.value),
                &self.tracking_uri.origin,
            ),
            row(
                "tracking.experiment_name",
                self.experiment_name.value.clone(),
                &self.experiment_name.origin,
            ),
            row(
                "studies.url",
                self.storage_url.value.clone(),
                &self.storage_url.origin,
            ),
            row(
                "serve.host",
                self.serve_host.value.clone(),
                &self.serve_host.origin,
            ),
            row(
                "serve.port",
                self.serve_port.value.to_string(),
                &self.serve_port.origin,
            ),
            row(
                "serve.token",
                secret(self.serve_token.value.is_some()),
                &self.serve_token.origin,
            ),
        ]
    }
}

struct Layers<'a> {
    path: &'a Path,
}

impl Layers<'_> {
    fn text(
        &self,
        variable: Option<&'static str>,
        file: Option<String>,
        default: String,
    ) -> Resolved<String> {
        let found = self.optional(variable, file);
        match found.value {
            Some(value) => Resolved {
                value,
                origin: found.origin,
            },
            None => Resolved {
                value: default,
                origin: Origin::Default,
            },
        }
    }

    fn optional(
        &self,
        variable: Option<&'static str>,
        file: Option<String>,
    ) -> Resolved<Option<String>> {
        if let Some(name) = variable
            && let Some(value) = environment(name)
        {
            return Resolved {
                value: Some(value),
                origin: Origin::Environment(name),
            };
        }
        match file {
            Some(value) => Resolved {
                value: Some(value),
                origin: Origin::File(self.path.to_owned()),
            },
            None => Resolved {
                value: None,
                origin: Origin::Default,
            },
        }
    }
}

fn read_file(path: &Path) -> anyhow::Result<File> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(File::default()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
    };
    toml::from_str(&text).map_err(|error| {
        // The parser's own text quotes the offending line, which may hold the key.
        let line = error
            .span()
            .map(|span| text[..span.start].matches('\n').count() + 1);
        let line = line.map(|line| format!(" line {line}")).unwrap_or_default();
        UsageError(format!("{}{line}: {}", path.display(), error.message())).into()
    })
}

/// An environment variable that is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Whether `NO_COLOR` asks for plain output (<https://no-color.org>).
pub(crate) fn no_color_requested() -> bool {
    environment("NO_COLOR").is_some()
}
