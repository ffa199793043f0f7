//! The forecast of a registered model.

use arrow::array::RecordBatch;
use btc_models::candle_core::Device;
use btc_models::{Forecaster, Interval, SeriesFrame};
use btc_track::{
    ActiveRun, ModelVersion, RunSpec, RunStatus, TrackingClient, WORSE_THAN_NAIVE_TAG,
};
use chrono::{DateTime, Days, NaiveDate, Utc};
use serde::Serialize;

use crate::error::list_of_days;
use crate::register::VERDICT_TAG;
use crate::table::{close_of, day_closed_at, frame_of_columns};
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
    /// Whether days missing from the rows that the forecast rests on are an error; otherwise the
    /// forecast names them.
    pub refuse_holes: bool,
    /// The hash of the data's tables, for the record.
    pub data_hash: String,
}

impl PredictConfig {
    /// The latest version of a model forecasts from all data.
    pub fn new(model_name: impl Into<String>) -> Self {
        Self {
            model_name: model_name.into(),
            version: None,
            date_end: None,
            timesteps: None,
            refuse_holes: false,
            data_hash: String::new(),
        }
    }
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
    /// What the hold-out said of the version beside naive, if it was judged: `beats`,
    /// `undecided` or `worse`.
    pub verdict: Option<String>,
    /// Days without a row among those that the forecast rests on, ascending. The model takes its
    /// rows to be consecutive days, so such a forecast is to be doubted.
    pub missing_days: Vec<NaiveDate>,
    /// The run that records this forecast.
    pub run_id: String,
}

impl Prediction {
    /// What a person should know before trusting the forecast, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.missing_days.is_empty() {
            warnings.push(format!(
                "the forecast rests on rows with holes: no data for {}",
                list_of_days(&self.missing_days)
            ));
        }
        warnings
    }
}

/// The version that `config` names, and its model.
///
/// # Errors
///
/// [`Error::UnknownModel`] or [`Error::UnknownVersion`] if the registry has no such model or
/// version, [`Error::Models`] if the bundle is not sound.
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
        true => missing_model(client, model_name, version),
        false => error.into(),
    })?;
    Ok((version.clone(), load_bundle(client, &version)?))
}

/// Loads a version's bundle from where it lies, or from a copy if its store is
/// not on this computer. Files that are not those that were registered are
/// refused before anything is read from them.
pub(crate) fn load_bundle(client: &TrackingClient, version: &ModelVersion) -> Result<Forecaster> {
    if let Some(folder) = client.model_path(version)? {
        return Ok(Forecaster::load(&folder, &Device::Cpu)?);
    }
    let folder = tempfile::tempdir().map_err(|source| Error::Io {
        action: "create",
        path: "a temporary folder".into(),
        source,
    })?;
    client.download_version(version, folder.path())?;
    Ok(Forecaster::load(folder.path(), &Device::Cpu)?)
}

/// Says what there is where the model or version that was asked for is not.
fn missing_model(client: &TrackingClient, name: &str, version: Option<u64>) -> Error {
    let versions = client.model_versions(name).unwrap_or_default();
    if let (Some(version), false) = (version, versions.is_empty()) {
        let mut known: Vec<u64> = versions.iter().map(|one| one.version).collect();
        known.sort_unstable();
        return Error::UnknownVersion {
            model: name.to_owned(),
            version,
            known,
        };
    }
    let models = client.registered_models().unwrap_or_default();
    Error::UnknownModel {
        name: name.to_owned(),
        known: models.into_iter().map(|model| model.name).collect(),
    }
}

/// Forecasts the close after the last row of `table` and records it as a run.
///
/// `table` is a training table up to the day asked for; columns, scaler and
/// window come from the model's bundle.
///
/// # Errors
///
/// As [`load_version`]; [`Error::OtherWindow`] if `timesteps` is not the model's;
/// [`Error::DayNotThere`] if the table does not end with `date_end`.
pub fn predict(
    client: &TrackingClient,
    config: &PredictConfig,
    table: &RecordBatch,
) -> Result<Prediction> {
    let (version, forecaster) = load_version(client, &config.model_name, config.version)?;
    if let Some(timesteps) = config.timesteps
        && timesteps != forecaster.timesteps()
    {
        return Err(Error::OtherWindow {
            model: version.name,
            version: version.version,
            trained: forecaster.timesteps(),
            asked: timesteps,
        });
    }
    let series = frame_of_columns(table, &forecaster.feature_names(), forecaster.target_name())?;
    if let Some(day) = config.date_end {
        require_day(&series, day)?;
    }
    let missing_days = missing_days(&series, forecaster.required_rows());
    if config.refuse_holes && !missing_days.is_empty() {
        return Err(Error::Holes { days: missing_days });
    }
    let forecast = forecaster.forecast(&series)?;
    let Some(target_time) = forecast.target_time() else {
        return Err(Error::Models(btc_models::Error::InvalidSeries {
            reason: "its rows are not on a grid of time".into(),
        }));
    };
    let spec = RunSpec::named(format!("forecast-{}", target_time.format("%Y-%m-%d")))
        .with_tag("kind", "forecast")
        .with_tag("model", &version.name)
        .with_tag("version", version.version.to_string())
        .with_tag("data_hash", &config.data_hash)
        .with_tag("target_time", target_time.to_rfc3339())
        .with_tag("known_until", forecast.known_until().to_rfc3339())
        .with_tags(
            (!missing_days.is_empty()).then(|| ("missing_days", list_of_days(&missing_days))),
        );
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
        verdict: version.tag(VERDICT_TAG).map(str::to_owned),
        missing_days,
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

fn require_day(series: &SeriesFrame, day: NaiveDate) -> Result<()> {
    let wanted = close_of(day);
    let known_at = series.known_at();
    if known_at.last() == Some(&wanted) {
        return Ok(());
    }
    Err(Error::DayNotThere {
        day,
        first: known_at.first().map(day_closed_at),
        last: known_at.last().map(day_closed_at),
    })
}

/// The days without a row among the last `rows` rows, ascending: a forecast takes the rows to
/// follow each other day by day.
fn missing_days(series: &SeriesFrame, rows: usize) -> Vec<NaiveDate> {
    let known_at = series.known_at();
    let context = &known_at[known_at.len().saturating_sub(rows)..];
    let mut missing = Vec::new();
    for pair in context.windows(2) {
        let mut next = pair[0] + Days::new(1);
        // Rows closer than a day have no hole that a day could name.
        while next < pair[1] {
            missing.push(day_closed_at(&next));
            next = next + Days::new(1);
        }
    }
    missing
}
