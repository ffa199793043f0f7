//! What the commands open: the tracking store (the project's own file, another
//! file, or an MLflow server), the feature store and the studies.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use btc_features::{Definitions, FeatureStore};
use btc_models::candle_core::Device;
use btc_pipeline::{Project, ServiceTables, Workflow, declared, preview_store};
use btc_track::{Durability, ManualClock, RestConfig, RunQuery, SystemClock, TrackingClient};
use btc_tune::Storage;

use crate::errors::{NotFoundError, UsageError};
use crate::settings::resolve::Settings;

/// Opens the store that `MLFLOW_TRACKING_URI` or `tracking.uri` names, else
/// the project's own, which is made if it is not there: to record something new.
pub(crate) fn tracking_client(settings: &Settings) -> anyhow::Result<TrackingClient> {
    match settings.tracking_uri.value.as_deref() {
        Some(uri) if is_server(uri) => server_client(uri, settings),
        _ => file_client(settings, Durability::default()),
    }
}

/// Opens the same store to read it, or to change what is in it: nothing is
/// made, and a store that is not there is an empty one.
pub(crate) fn existing_tracking(settings: &Settings) -> anyhow::Result<TrackingClient> {
    match settings.tracking_uri.value.as_deref() {
        Some(uri) if is_server(uri) => server_client(uri, settings),
        _ => existing_file(&tracking_file(settings)?, &settings.project.artifacts())
            .map_err(|error| named(error, settings)),
    }
}

/// Says who has named the tracking store, if somebody has.
fn named(error: anyhow::Error, settings: &Settings) -> anyhow::Error {
    match settings.tracking_uri.value.as_deref() {
        Some(uri) if !is_server(uri) => error.context(format!(
            "cannot use the tracking store {uri} ({})",
            settings.tracking_uri.origin
        )),
        _ => error,
    }
}

fn existing_file(database: &Path, artifacts: &Path) -> anyhow::Result<TrackingClient> {
    Ok(match database.exists() {
        true => TrackingClient::open_existing(database, artifacts)?,
        false => TrackingClient::in_memory(artifacts)?,
    })
}

/// Opens the file that is named, or the project's own if none or a server is
/// named: what `btc serve` serves is never another server, which may be itself.
pub(crate) fn file_client(
    settings: &Settings,
    durability: Durability,
) -> anyhow::Result<TrackingClient> {
    let database = tracking_file(settings)?;
    settings.project.create()?;
    let artifacts = settings.project.artifacts();
    let clock = Arc::new(SystemClock);
    TrackingClient::open_with(&database, &artifacts, durability, clock)
        .map_err(|error| named(error.into(), settings))
}

/// The file of the tracking store.
fn tracking_file(settings: &Settings) -> Result<PathBuf, UsageError> {
    let uri = match settings.tracking_uri.value.as_deref() {
        Some(uri) if !is_server(uri) => uri,
        _ => return Ok(settings.project.tracking()),
    };
    let path = uri.strip_prefix("sqlite:///").unwrap_or(uri);
    if path.contains("://") || path.starts_with("file:") || Path::new(path).is_dir() {
        return Err(UsageError(format!(
            "cannot track to {uri} ({}): name a server as http://HOST:PORT, \
             or a file as sqlite:///FILE",
            settings.tracking_uri.origin
        )));
    }
    Ok(path.into())
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
        proxy: settings.proxies().of(uri),
    };
    Ok(TrackingClient::rest(uri, &config)?)
}

/// Opens a server, another project's folder, or without a name this project's
/// store, to read it.
pub(crate) fn tracking_source(
    uri: Option<&str>,
    settings: &Settings,
) -> anyhow::Result<TrackingClient> {
    match uri {
        None => existing_tracking(settings),
        Some(uri) if is_server(uri) => server_client(uri, settings),
        Some(folder) => {
            let project = Project::new(Path::new(folder));
            if !project.tracking().exists() {
                let text = format!(
                    "there is no tracking store {}",
                    project.tracking().display()
                );
                return Err(NotFoundError(text).into());
            }
            existing_file(&project.tracking(), &project.artifacts())
        }
    }
}

/// The same, to write into it.
pub(crate) fn tracking_target(
    uri: Option<&str>,
    settings: &Settings,
) -> anyhow::Result<TrackingClient> {
    match uri {
        None => tracking_client(settings),
        Some(uri) if is_server(uri) => server_client(uri, settings),
        Some(folder) => {
            let project = Project::new(Path::new(folder));
            let artifacts = project.artifacts();
            Ok(TrackingClient::open(&project.tracking(), &artifacts)?)
        }
    }
}

/// Opens the feature store as it is.
pub(crate) fn feature_store(settings: &Settings) -> btc_features::Result<FeatureStore> {
    FeatureStore::open(settings.project.features_dir())
}

/// The feature store as it is, to read it; one that is not there is an empty one.
pub(crate) fn existing_features(settings: &Settings) -> btc_pipeline::Result<FeatureStore> {
    preview_store(&settings.project, &Definitions::new())
}

/// The feature store to read from; where nothing was ever applied, with what is declared.
pub(crate) fn applied_features(settings: &Settings) -> btc_pipeline::Result<FeatureStore> {
    let store = existing_features(settings)?;
    match store.registry().version {
        0 => declared_features(settings),
        _ => Ok(store),
    }
}

/// The feature store to read from, with everything declared; nothing is written.
pub(crate) fn declared_features(settings: &Settings) -> btc_pipeline::Result<FeatureStore> {
    preview_store(&settings.project, &declared(&settings.project)?)
}

/// The tables that models are fitted on.
pub(crate) fn tables(settings: &Settings) -> ServiceTables {
    ServiceTables::new(settings.project.clone()).with_service(&settings.service.value)
}

/// The workflow of the settings over some tables, in an experiment of some name.
pub(crate) fn workflow(
    experiment: &str,
    tables: ServiceTables,
    client: TrackingClient,
    settings: &Settings,
) -> Result<Workflow, UsageError> {
    let now = ManualClock::new(settings.now.timestamp_millis());
    let mut workflow = Workflow::new(experiment, tables, client)
        .with_model_name(&settings.model_name.value)
        .with_device(device(&settings.device.value)?)
        .with_clock(Arc::new(now));
    // What is not said is left to the model that is registered or asked.
    let (column, horizon) = (&settings.target_column, &settings.horizon);
    if column.is_given() {
        workflow = workflow.with_target_column(&column.value);
    }
    if horizon.is_given() {
        workflow = workflow.with_horizon(horizon.value);
    }
    Ok(workflow)
}

/// What networks are computed on.
fn device(name: &str) -> Result<Device, UsageError> {
    let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
    let wrong = || {
        UsageError(format!(
            "--device {name:?}: use cpu, or cuda:0 or metal:0 in a program that is built for it"
        ))
    };
    let index = index.parse().map_err(|_| wrong())?;
    let opened = match kind {
        "cpu" => Ok(Device::Cpu),
        "cuda" => Device::new_cuda(index),
        "metal" => Device::new_metal(index),
        _ => return Err(wrong()),
    };
    opened.map_err(|error| UsageError(format!("--device {name}: {error}")))
}

/// Opens the storage of the studies, which is made if it is not there.
pub(crate) fn study_storage(settings: &Settings) -> btc_tune::Result<Arc<dyn Storage>> {
    btc_tune::storage_from_url(&settings.storage_url.value)
}

/// Opens the storage of the studies to look at them, or to change what is there.
pub(crate) fn existing_studies(settings: &Settings) -> btc_tune::Result<Arc<dyn Storage>> {
    btc_tune::existing_storage_from_url(&settings.storage_url.value)
}

/// The name of the only study there is.
pub(crate) fn only_study(settings: &Settings) -> anyhow::Result<String> {
    let studies = existing_studies(settings)?.studies()?;
    let names = studies.into_iter().map(|study| study.name).collect();
    only("study", "--study", names)
}

/// The experiment that is named, or else the only one that holds trials.
pub(crate) fn experiment_name(
    client: &TrackingClient,
    settings: &Settings,
) -> anyhow::Result<String> {
    let setting = &settings.experiment_name;
    if setting.is_given() {
        return Ok(setting.value.clone());
    }
    let all = client.experiments()?;
    if all.iter().any(|one| one.name == setting.value) {
        return Ok(setting.value.clone());
    }
    let mut searched = Vec::new();
    for experiment in all {
        // Others hold forecasts, looks at the hold-out, or nothing.
        let trials = RunQuery::new([&experiment.experiment_id])
            .with_filter("tags.study LIKE '%'")
            .with_max_results(1);
        if !client.tracking.search_runs(&trials)?.items.is_empty() {
            searched.push(experiment.name);
        }
    }
    only("experiment", "--experiment", searched)
}

/// The registered model that is named, or else the only one there is.
pub(crate) fn model_name(client: &TrackingClient, settings: &Settings) -> anyhow::Result<String> {
    let setting = &settings.model_name;
    if setting.is_given() {
        return Ok(setting.value.clone());
    }
    let mut names: Vec<String> = client
        .registered_models()?
        .into_iter()
        .map(|model| model.name)
        .collect();
    match names.len() {
        1 => Ok(names.remove(0)),
        _ => Ok(setting.value.clone()),
    }
}

/// The one of `names`; several or none are told.
fn only(what: &str, flag: &str, mut names: Vec<String>) -> anyhow::Result<String> {
    names.sort_unstable();
    match names.len() {
        0 => Err(NotFoundError(format!("there is no {what} yet; `btc tune run` makes one")).into()),
        1 => Ok(names.remove(0)),
        _ => Err(UsageError(format!(
            "name one with {flag}; there are: {}",
            names.join(", ")
        ))
        .into()),
    }
}
