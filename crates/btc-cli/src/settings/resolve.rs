//! The layers put on top of each other.

use std::io::IsTerminal;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use btc_pipeline::Project;
use chrono::{DateTime, Utc};

use crate::cli::command::Command;
use crate::cli::global::GlobalArgs;
use crate::cli::values::ColorChoice;
use crate::settings::environment::{self, Credentials};
use crate::settings::file::SettingsFile;
use crate::settings::flags;
use crate::settings::layer::{Layer, Origin, Resolved};
use crate::settings::proxy::Proxies;

/// The experiment of the original project, used when none is named.
const DEFAULT_EXPERIMENT: &str = "crypto-reg-experiment";
/// The registered model of the original project, used when none is named.
const DEFAULT_MODEL: &str = "bitcoin-regression";
/// What networks are computed on when nothing is said.
const DEFAULT_DEVICE: &str = "cpu";
/// Where the web page listens when nothing is said.
const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 5000;

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
    pub(crate) https_proxy: Resolved<Option<String>>,
    pub(crate) http_proxy: Resolved<Option<String>>,
    pub(crate) no_proxy: Resolved<Option<String>>,
    pub(crate) tracking_uri: Resolved<Option<String>>,
    pub(crate) tracking_credentials: Credentials,
    pub(crate) experiment_name: Resolved<String>,
    pub(crate) storage_url: Resolved<String>,
    pub(crate) model_name: Resolved<String>,
    /// The feature service that models are fitted on.
    pub(crate) service: Resolved<String>,
    /// The column that is forecast.
    pub(crate) target_column: Resolved<String>,
    /// Rows between a forecast and its target.
    pub(crate) horizon: Resolved<NonZeroUsize>,
    /// What networks are computed on.
    pub(crate) device: Resolved<String>,
    pub(crate) serve_host: Resolved<String>,
    pub(crate) serve_port: Resolved<u16>,
    pub(crate) serve_token: Resolved<Option<String>>,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// Whether messages are coloured.
    pub(crate) color: bool,
    /// The file of the settings, with what is wrong in it.
    pub(crate) file: SettingsFile,
}

/// One setting as it is shown: name, value and origin.
pub(crate) type Row = (&'static str, String, String);

impl Settings {
    /// Puts flags, environment and `btc.toml` on top of each other. Mistakes in the file are
    /// kept, for the commands that need the section they are in.
    pub(crate) fn resolve(global: &GlobalArgs, command: &Command) -> Self {
        let root = root(global.root.clone());
        let file = SettingsFile::read(&root.value.join("btc.toml"));
        let layers = Layers {
            flags: flags::layer(command),
            environment: environment::layer(),
            file: &file.layer,
            path: &file.path,
        };
        let project = Project::new(&root.value);
        let studies = format!("sqlite:///{}", project.studies().display());
        let key = layers.find(FLAGLESS, "ALPHAVANTAGE_API_KEY", |layer| {
            layer.data.alpha_vantage_api_key.clone()
        });
        Self {
            now: global.now.unwrap_or_else(Utc::now),
            blockchain_url: layers.text("--blockchain-url", "", btc_ingest::BLOCKCHAIN_URL, |l| {
                &l.data.blockchain_url
            }),
            alpha_vantage_url: layers.text(
                "--alpha-vantage-url",
                "",
                btc_ingest::ALPHA_VANTAGE_URL,
                |l| &l.data.alpha_vantage_url,
            ),
            api_key: Resolved {
                value: key.value.and_then(btc_ingest::ApiKey::new),
                origin: key.origin,
            },
            market: layers.text(FLAGLESS, "", "USD", |l| &l.data.market),
            https_proxy: layers.first_of(&HTTPS_PROXY, |l| l.data.proxy.clone()),
            http_proxy: layers.first_of(&HTTP_PROXY, |l| {
                l.data.http_proxy.clone().or_else(|| l.data.proxy.clone())
            }),
            no_proxy: layers.first_of(&NO_PROXY, |l| l.data.no_proxy.clone()),
            tracking_uri: layers.find(FLAGLESS, "MLFLOW_TRACKING_URI", |l| l.tracking.uri.clone()),
            tracking_credentials: environment::credentials(),
            experiment_name: layers.text(
                "--experiment-name",
                "MLFLOW_EXPERIMENT_NAME",
                DEFAULT_EXPERIMENT,
                |l| &l.tracking.experiment_name,
            ),
            storage_url: layers.text("--storage", "", &studies, |l| &l.studies.url),
            model_name: layers.text("--model-name", "", DEFAULT_MODEL, |l| &l.model.name),
            service: layers.text("--service", "", btc_pipeline::SERVICE, |l| &l.model.service),
            target_column: layers.text("--target-column", "", btc_pipeline::PRICE, |l| {
                &l.model.target_column
            }),
            horizon: layers.or("--horizon", "", NonZeroUsize::MIN, |l| l.model.horizon),
            device: layers.text("--device", "", DEFAULT_DEVICE, |l| &l.model.device),
            serve_host: layers.text("--host", "", DEFAULT_HOST, |l| &l.serve.host),
            serve_port: layers.or("--port", "", DEFAULT_PORT, |l| l.serve.port),
            serve_token: layers.find(FLAGLESS, "BTC_TOKEN", |l| l.serve.token.clone()),
            json: global.json,
            quiet: global.quiet,
            color: color(global.color),
            project,
            root,
            file,
        }
    }

    /// The proxies, put together.
    pub(crate) fn proxies(&self) -> Proxies {
        Proxies::new(
            self.https_proxy.value.as_deref(),
            self.http_proxy.value.as_deref(),
            self.no_proxy.value.as_deref(),
        )
    }

    /// Every setting as (name, value, origin); secrets are not shown.
    pub(crate) fn rows(&self) -> Vec<Row> {
        vec![
            row("root", &self.root, |root| root.display().to_string()),
            row("data.blockchain_url", &self.blockchain_url, String::clone),
            row(
                "data.alpha_vantage_url",
                &self.alpha_vantage_url,
                String::clone,
            ),
            row("data.alpha_vantage_api_key", &self.api_key, secret),
            row("data.market", &self.market, String::clone),
            row("data.proxy", &self.https_proxy, address),
            row("data.http_proxy", &self.http_proxy, address),
            row("data.no_proxy", &self.no_proxy, optional),
            row("tracking.uri", &self.tracking_uri, optional),
            row(
                "tracking.experiment_name",
                &self.experiment_name,
                String::clone,
            ),
            row("studies.url", &self.storage_url, String::clone),
            row("model.name", &self.model_name, String::clone),
            row("model.service", &self.service, String::clone),
            row("model.target_column", &self.target_column, String::clone),
            row("model.horizon", &self.horizon, NonZeroUsize::to_string),
            row("model.device", &self.device, String::clone),
            row("serve.host", &self.serve_host, String::clone),
            row("serve.port", &self.serve_port, u16::to_string),
            row("serve.token", &self.serve_token, secret),
        ]
    }
}

fn row<T>(name: &'static str, setting: &Resolved<T>, show: impl Fn(&T) -> String) -> Row {
    (name, show(&setting.value), setting.origin.to_string())
}

fn optional(value: &Option<String>) -> String {
    value.clone().unwrap_or_else(|| "(not set)".to_owned())
}

/// An address without the password that it may hold.
fn address(value: &Option<String>) -> String {
    let Some(text) = value else {
        return optional(value);
    };
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text.as_str()),
    };
    match rest.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}***@{host}"),
        None => text.clone(),
    }
}

fn secret<T>(value: &Option<T>) -> String {
    match value {
        Some(_) => "(set)".to_owned(),
        None => "(not set)".to_owned(),
    }
}

/// Whether messages on stderr are coloured.
fn color(choice: ColorChoice) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => std::io::stderr().is_terminal() && !environment::no_color_requested(),
    }
}

fn root(flag: Option<PathBuf>) -> Resolved<PathBuf> {
    let (value, origin) = match (flag, environment::variable("BTC_ROOT")) {
        (Some(folder), _) => (folder, Origin::Flag("--root")),
        (None, Some(folder)) => (folder.into(), Origin::Environment("BTC_ROOT")),
        (None, None) => (PathBuf::from("."), Origin::Default),
    };
    Resolved { value, origin }
}

/// The variables that name proxies, in the order in which they count.
const HTTPS_PROXY: [&str; 4] = ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
const HTTP_PROXY: [&str; 4] = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
const NO_PROXY: [&str; 2] = ["no_proxy", "NO_PROXY"];

/// For a setting that no flag sets.
const FLAGLESS: &str = "";

struct Layers<'a> {
    flags: Layer,
    environment: Layer,
    file: &'a Layer,
    path: &'a Path,
}

impl Layers<'_> {
    /// The value of the first layer that has one.
    fn find<T>(
        &self,
        flag: &'static str,
        variable: &'static str,
        read: impl Fn(&Layer) -> Option<T>,
    ) -> Resolved<Option<T>> {
        let file = Origin::File(self.path.to_owned());
        let layers = [
            (&self.flags, Origin::Flag(flag)),
            (&self.environment, Origin::Environment(variable)),
            (self.file, file),
        ];
        let found = layers
            .into_iter()
            .find_map(|(layer, origin)| Some((read(layer)?, origin)));
        match found {
            Some((value, origin)) => Resolved {
                value: Some(value),
                origin,
            },
            None => Resolved {
                value: None,
                origin: Origin::Default,
            },
        }
    }

    /// The value of the first variable that is set, else of the file.
    fn first_of(
        &self,
        variables: &[&'static str],
        read: impl Fn(&Layer) -> Option<String>,
    ) -> Resolved<Option<String>> {
        match environment::first_of(variables) {
            Some((name, value)) => Resolved {
                value: Some(value),
                origin: Origin::Environment(name),
            },
            None => self.find(FLAGLESS, "", read),
        }
    }

    fn or<T>(
        &self,
        flag: &'static str,
        variable: &'static str,
        default: T,
        read: impl Fn(&Layer) -> Option<T>,
    ) -> Resolved<T> {
        let found = self.find(flag, variable, read);
        Resolved {
            value: found.value.unwrap_or(default),
            origin: found.origin,
        }
    }

    fn text(
        &self,
        flag: &'static str,
        variable: &'static str,
        default: &str,
        read: impl Fn(&Layer) -> &Option<String>,
    ) -> Resolved<String> {
        self.or(flag, variable, default.to_owned(), |layer| {
            read(layer).clone()
        })
    }
}
