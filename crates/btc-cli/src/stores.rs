//! What the commands open: the tracking store (the project's own file, another
//! file, or an MLflow server), the feature store and the studies.

use std::path::Path;
use std::sync::Arc;

use btc_features::FeatureStore;
use btc_track::{Durability, RestConfig, SystemClock, TrackingClient};

use btc_tune::Storage;

use crate::errors::UsageError;
use crate::settings::resolve::Settings;

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
fn is_server(uri: &str) -> bool {
    uri.starts_with("http://") || uri.starts_with("https://")
}

/// A client of the MLflow server at `uri`, with the credentials that MLflow's
/// own client would take.
fn server_client(uri: &str, settings: &Settings) -> anyhow::Result<TrackingClient> {
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

/// Opens the feature store as it is.
pub(crate) fn feature_store(settings: &Settings) -> btc_features::Result<FeatureStore> {
    FeatureStore::open(&settings.project.features_dir())
}

/// Opens the feature store; where nothing was ever applied, what is declared is.
pub(crate) fn applied_features(settings: &Settings) -> anyhow::Result<FeatureStore> {
    let folder = settings.project.features_dir();
    if folder.join("feature_store.toml").exists() {
        let store = feature_store(settings)?;
        if store.registry().version != 0 {
            return Ok(store);
        }
    }
    Ok(btc_pipeline::feature_store(&settings.project)?)
}

/// Opens the storage of the studies.
pub(crate) fn study_storage(settings: &Settings) -> btc_tune::Result<Arc<dyn Storage>> {
    btc_tune::storage_from_url(&settings.storage_url.value)
}

/// Opens a server, another project's folder, or without a name this project's store.
pub(crate) fn tracking_place(
    uri: Option<&str>,
    settings: &Settings,
) -> anyhow::Result<TrackingClient> {
    match uri {
        None => tracking_client(settings),
        Some(uri) if is_server(uri) => server_client(uri, settings),
        Some(folder) => {
            let project = btc_pipeline::Project::new(Path::new(folder));
            Ok(TrackingClient::open(
                &project.tracking(),
                &project.artifacts(),
            )?)
        }
    }
}
