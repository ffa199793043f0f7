//! What the environment says.

use crate::settings::layer::{DataSection, Layer, ServeSection, TrackingSection};

/// An environment variable that is set and not empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the command line is where the environment is read"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The first of several variables that is set, with its name.
pub(crate) fn first_of(names: &[&'static str]) -> Option<(&'static str, String)> {
    let value = |name: &&'static str| Some((*name, variable(name)?));
    names.iter().find_map(value)
}

/// Whether `NO_COLOR` asks for plain output (<https://no-color.org>).
pub(crate) fn no_color_requested() -> bool {
    variable("NO_COLOR").is_some()
}

/// Variables with a secret of ours, which no program that we start needs.
pub(crate) const SECRET_VARIABLES: [&str; 2] = ["ALPHAVANTAGE_API_KEY", "BTC_TOKEN"];

/// The settings that have a variable.
pub(crate) fn layer() -> Layer {
    Layer {
        data: DataSection {
            alpha_vantage_api_key: variable("ALPHAVANTAGE_API_KEY"),
            ..DataSection::default()
        },
        tracking: TrackingSection {
            uri: variable("MLFLOW_TRACKING_URI"),
            experiment_name: variable("MLFLOW_EXPERIMENT_NAME"),
        },
        serve: ServeSection {
            token: variable("BTC_TOKEN"),
            ..ServeSection::default()
        },
        ..Layer::default()
    }
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

/// The credentials, which have no place in a file of the project.
pub(crate) fn credentials() -> Credentials {
    Credentials {
        token: variable("MLFLOW_TRACKING_TOKEN"),
        username: variable("MLFLOW_TRACKING_USERNAME"),
        password: variable("MLFLOW_TRACKING_PASSWORD"),
    }
}
