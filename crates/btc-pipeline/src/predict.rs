//! The forecast of a registered model.

use arrow::array::RecordBatch;
use btc_models::candle_core::Device;
use btc_models::{Forecaster, Interval};
use btc_track::{
    ActiveRun, ModelVersion, RunSpec, RunStatus, TrackingClient, WORSE_THAN_NAIVE_TAG,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::table::{close_of, frame_of};
use crate::{Error, Result};

/// The nominal coverage of [`Prediction::interval`].
const SHOWN_LEVEL: f64 = 0.9;

/// Which model forecasts.
#[derive(Debug, Clone)]
pub struct PredictConfig {
    /// The registered model's name.
    pub model_name: String,
    /// A version, or the latest.
    pub version: Option<u64>,
    /// The last day whose data may be used, or the last complete day.
    pub date_end: Option<NaiveDate>,
    /// What the caller believes the window to be; another number is an error.
    pub timesteps: Option<usize>,
    /// The hash of the data's tables, for the record.
    pub data_hash: String,
}

/// A forecast, with what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The price expected at `target_time`.
    pub forecast: f64,
    /// The naive forecast: the last close.
    pub naive: f64,
    /// The instant the forecast is for.
    pub target_time: DateTime<Utc>,
    /// The instant up to which data was used.
    pub known_until: DateTime<Utc>,
    /// The 90 % interval.
    pub interval: Option<Interval>,
    /// Every interval.
    pub intervals: Vec<Interval>,
    /// The registered model's name.
    pub model: String,
    /// Its version.
    pub version: u64,
    /// The network.
    pub model_type: String,
    /// The instant up to which the model was trained; a forecast made from
    /// earlier data says nothing about its skill.
    pub trained_until: DateTime<Utc>,
    /// Whether the version was registered although it is no better than naive.
    pub worse_than_naive: bool,
    /// The run that records this forecast.
    pub run_id: String,
}

/// The version that `config` names, and its model.
///
/// # Errors
///
/// [`Error::NotFound`] if the registry has no such model or version,
/// [`Error::Models`] if the bundle is not sound.
pub fn load_version(
    client: &TrackingClient,
    model_name: &str,
    version: Option<u64>,
) -> Result<(ModelVersion, Forecaster)> {
    let found = match version {
        Some(version) => client.model_version(model_name, version),
        None => client.latest_version(model_name),
    };
    let version = found.map_err(|error| match error.is_not_found() {
        true => Error::NotFound {
            what: missing_model(client, model_name, version),
        },
        false => error.into(),
    })?;
    Ok((version.clone(), load_bundle(client, &version)?))
}

/// Loads a version's bundle from where it lies, or from a copy if its store is
/// not on this computer.
fn load_bundle(client: &TrackingClient, version: &ModelVersion) -> Result<Forecaster> {
    if let Some(folder) = client.model_path(version)? {
        return Ok(Forecaster::load(&folder, &Device::Cpu)?);
    }
    let folder = tempfile::tempdir().map_err(|source| Error::Io {
        action: "create",
        path: "a temporary folder".into(),
        source,
    })?;
    let uri = client.download_uri(&version.source)?;
    client.download_folder(&uri, "", folder.path())?;
    Ok(Forecaster::load(folder.path(), &Device::Cpu)?)
}

fn missing_model(client: &TrackingClient, name: &str, version: Option<u64>) -> String {
    let known: Vec<String> = client
        .registered_models()
        .map(|models| models.into_iter().map(|model| model.name).collect())
        .unwrap_or_default();
    if let (true, Some(version)) = (known.iter().any(|model| model == name), version) {
        return format!("model {name:?} has no version {version}; see `btc model show {name}`");
    }
    match known.is_empty() {
        true => format!(
            "no model is registered, so there is no {name:?}; run `btc model register-best` first"
        ),
        false => format!(
            "no model is called {name:?}; there are: {}",
            known.join(", ")
        ),
    }
}

/// Forecasts the close after the last row of `table` and records it as a run.
///
/// `table` is a training table up to the day asked for; columns, scaler and
/// window come from the model's bundle.
///
/// # Errors
///
/// As [`load_version`]; [`Error::Mismatch`] if `timesteps` is not the model's;
/// [`Error::OutOfRange`] if the table does not end with `date_end`.
pub fn predict(
    client: &TrackingClient,
    config: &PredictConfig,
    table: &RecordBatch,
) -> Result<Prediction> {
    let (version, forecaster) = load_version(client, &config.model_name, config.version)?;
    if let Some(timesteps) = config.timesteps
        && timesteps != forecaster.timesteps()
    {
        return Err(Error::Mismatch {
            what: format!(
                "model {:?} version {} was trained on windows of {} rows, not {timesteps}; \
                 leave --timesteps out",
                version.name,
                version.version,
                forecaster.timesteps()
            ),
        });
    }
    let series = frame_of(table, &forecaster.feature_names())?;
    if let Some(day) = config.date_end {
        require_day(&series, day)?;
    }
    let forecast = forecaster.forecast(&series)?;
    let Some(target_time) = forecast.target_time() else {
        return Err(Error::Models(btc_models::Error::InvalidSeries {
            reason: "its rows are not on a grid of days".into(),
        }));
    };
    let spec = RunSpec::named(format!("forecast-{}", target_time.format("%Y-%m-%d")))
        .with_tag("kind", "forecast")
        .with_tag("model", &version.name)
        .with_tag("version", version.version.to_string())
        .with_tag("data_hash", &config.data_hash)
        .with_tag("target_time", target_time.to_rfc3339())
        .with_tag("known_until", forecast.known_until().to_rfc3339());
    // Forecasts have an experiment of their own: what registers the best run
    // of an experiment must never meet one.
    let experiment = client.get_or_create_experiment(&forecast_experiment(&version.name))?;
    let run = ActiveRun::start(client, &experiment.experiment_id, spec)?;
    run.log_params([
        ("model_type".to_owned(), forecaster.model_type().to_string()),
        ("timesteps".to_owned(), forecaster.timesteps().to_string()),
    ])?;
    let step = target_time.timestamp() / (24 * 60 * 60);
    run.log_metric("forecast", forecast.point(), step)?;
    run.log_metric("naive", forecast.naive(), step)?;
    for interval in forecast.intervals() {
        let percent = (100.0 * interval.level).round();
        run.log_metric(&format!("low_{percent}"), interval.low, step)?;
        run.log_metric(&format!("high_{percent}"), interval.high, step)?;
    }
    let run_id = run.id().to_string();
    run.end(RunStatus::Finished)?;
    Ok(Prediction {
        forecast: forecast.point(),
        naive: forecast.naive(),
        target_time,
        known_until: forecast.known_until(),
        interval: forecast.interval(SHOWN_LEVEL),
        intervals: forecast.intervals(),
        trained_until: forecaster.training_range().end,
        worse_than_naive: version.tag(WORSE_THAN_NAIVE_TAG) == Some("true"),
        model: version.name,
        version: version.version,
        model_type: forecaster.model_type().to_string(),
        run_id,
    })
}

/// The experiment that holds the forecasts of a model.
pub fn forecast_experiment(model_name: &str) -> String {
    format!("{model_name}-forecasts")
}

fn require_day(series: &btc_models::SeriesFrame, day: NaiveDate) -> Result<()> {
    let wanted = close_of(day);
    let last = series.known_at().last().copied();
    if last == Some(wanted) {
        return Ok(());
    }
    let last = match last {
        Some(last) => format!(
            "ends with {}",
            (last - chrono::Duration::days(1)).date_naive()
        ),
        None => "is empty".to_owned(),
    };
    Err(Error::OutOfRange {
        what: format!(
            "there is no price for {day}: the data up to then {last}; \
             choose another --date-end or run `btc data pull`"
        ),
    })
}
