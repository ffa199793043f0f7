//! Where runs and models are kept: the project's own file, another file, or an
//! MLflow server.

use std::path::Path;
use std::sync::Arc;

use btc_track::{Durability, RestConfig, SystemClock, TrackingClient};

use crate::exit::UsageError;
use crate::settings::Settings;

/// Opens the store that `MLFLOW_TRACKING_URI` or `tracking.uri` names, else
/// the project's own.
pub(crate) fn tracking_client(settings: &Settings) -> anyhow::Result<TrackingClient> {
    match settings.tracking_uri.value.as_deref() {
        Some(uri) if is_server(uri) => server_client(uri, settings),
        _ => file_client(settings, Durability::default()),
    }
}

/// Opens the file that is named, or the project's own if none or a server is
/// named: what `btc serve` serves is never another server, which may be itself.
pub(crate) fn file_client(
    settings: &Settings,
    durability: Durability,
) -> anyhow::Result<TrackingClient> {
    let named = settings
        .tracking_uri
        .value
        .as_deref()
        .filter(|uri| !is_server(uri));
    let database = match named {
        Some(uri) => {
            let path = uri.strip_prefix("sqlite:///").unwrap_or(uri);
            if path.contains("://") || path.starts_with("file:") || Path::new(path).is_dir() {
                return Err(UsageError(format!(
                    "cannot track to {uri} ({}): name a server as http://HOST:PORT, \
                     or a file as sqlite:///FILE",
                    settings.tracking_uri.origin
                ))
                .into());
            }
            path.into()
        }
        None => settings.project.tracking(),
    };
    settings.project.create()?;
    let artifacts = settings.project.artifacts();
    Ok(TrackingClient::open_with(
        &database,
        &artifacts,
        durability,
        Arc::new(SystemClock),
    )?)
}

/// Whether `uri` names a server.
pub(crate) fn is_server(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

/// A client of the MLflow server at `uri`, with the credentials that MLflow's
/// own client would take.
pub(crate) fn server_client(uri: &str, settings: &Settings) -> anyhow::Result<TrackingClient> {
    let credentials = &settings.tracking_credentials;
    let config = RestConfig {
        token: credentials.token.clone(),
        basic: credentials
            .username
            .clone()
            .zip(credentials.password.clone()),
        // A proxy is for what lies outside.
        proxy: settings
            .proxy
            .value
            .clone()
            .filter(|_| uri.starts_with("https://")),
    };
    Ok(TrackingClient::rest(uri, &config)?)
}
