//! Where runs and models are kept: the project's own file, another file, or an
//! MLflow server.

use btc_track::{RestConfig, TrackingClient};

use crate::exit::UsageError;
use crate::settings::Settings;

/// Opens the store that `MLFLOW_TRACKING_URI` or `tracking.uri` names, else
/// the project's own.
pub(crate) fn tracking_client(settings: &Settings) -> anyhow::Result<TrackingClient> {
    let Some(uri) = settings.tracking_uri.value.as_deref() else {
        return project_client(settings);
    };
    if is_server(uri) {
        return server_client(uri, settings);
    }
    let path = uri.strip_prefix("sqlite:///").unwrap_or(uri);
    if path.contains("://") || path.starts_with("file:") || std::path::Path::new(path).is_dir() {
        return Err(UsageError(format!(
            "cannot track to {uri} ({}): name a server as http://HOST:PORT, or a file as sqlite:///FILE",
            settings.tracking_uri.origin
        ))
        .into());
    }
    settings.project.create()?;
    Ok(TrackingClient::open(
        path.as_ref(),
        &settings.project.artifacts(),
    )?)
}

/// Opens what `btc serve` serves: never another server, which may be itself.
pub(crate) fn served_client(settings: &Settings) -> anyhow::Result<TrackingClient> {
    match settings.tracking_uri.value.as_deref() {
        Some(uri) if is_server(uri) => project_client(settings),
        _ => tracking_client(settings),
    }
}

fn project_client(settings: &Settings) -> anyhow::Result<TrackingClient> {
    settings.project.create()?;
    let project = &settings.project;
    Ok(TrackingClient::open(
        &project.tracking(),
        &project.artifacts(),
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
