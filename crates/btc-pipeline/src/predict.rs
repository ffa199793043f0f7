//! The forecast of a registered model.

use std::num::NonZeroUsize;

use arrow::array::RecordBatch;
use btc_models::candle_core::Device;
use btc_models::{Forecaster, Frequency, Interval, SeriesFrame, Step};
use btc_track::{
    ActiveRun, ModelVersion, RunSpec, RunStatus, TrackingClient, WORSE_THAN_NAIVE_TAG,
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::bundles::load_bundle;
use crate::columns::{frequency_of, with_frequency};
use crate::frame::frame_of_columns;
use crate::instants::{close_of, day_closed_at, instant_text, is_close, list_of_instants};
use crate::tags::{FREQUENCY_TAG, VERDICT_TAG};
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
    /// What the caller believes the model's horizon to be; another number is an error.
    pub horizon: Option<NonZeroUsize>,
    /// What the caller believes to be forecast; another column is an error.
    pub target_column: Option<String>,
    /// Whether instants missing from the rows that the forecast rests on are an error; otherwise
    /// the forecast names them.
    pub refuse_holes: bool,
    /// The hash of the data's tables, for the record.
    pub data_hash: String,
    /// Where the model is applied.
    pub device: Device,
}

impl PredictConfig {
    /// The latest version of a model forecasts from all data.
    pub fn new(model_name: impl Into<String>) -> Self {
        Self {
            model_name: model_name.into(),
            version: None,
            date_end: None,
            timesteps: None,
            horizon: None,
            target_column: None,
            refuse_holes: false,
            data_hash: String::new(),
            device: Device::Cpu,
        }
    }
}

/// A forecast, with what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Prediction {
    /// The column that is forecast.
    pub target_column: String,
    /// The value expected at `target_time`: that of the last step.
    pub forecast: f64,
    /// The naive forecast: the last value.
    pub naive: f64,
    /// The instant the forecast is for: that of the last step.
    pub target_time: DateTime<Utc>,
    /// Every step that the model forecasts, nearest first, with its quantiles.
    pub steps: Vec<Step>,
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
    /// Instants of the series' grid without a row among those that the forecast rests on,
    /// ascending. The model takes its rows to follow each other step by step, so such a forecast
    /// is to be doubted.
    pub missing: Vec<DateTime<Utc>>,
    /// The run that records this forecast.
    pub run_id: String,
}

impl Prediction {
    /// What a person should know before trusting the forecast, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.missing.is_empty() {
            warnings.push(format!(
                "the forecast rests on rows with holes: no data for {}",
                list_of_instants(&self.missing)
            ));
        }
        warnings
    }

    /// The value that the column is below with the probability `level`, `ahead` steps after the
    /// last row; none if that is not forecast.
    pub fn quantile(&self, level: f64, ahead: usize) -> Option<f64> {
        let step = self.steps.iter().find(|step| step.ahead == ahead)?;
        step.quantiles.get(level)
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
    device: &Device,
) -> Result<(ModelVersion, Forecaster)> {
    let found = match version {
        Some(version) => client.model_version(model_name, version),
        None => client.latest_version(model_name),
    };
    let version = found.map_err(|error| match error.is_not_found() {
        true => missing_model(client, model_name, version),
        false => error.into(),
    })?;
    Ok((version.clone(), load_bundle(client, &version, device)?))
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

/// Forecasts what follows the last row of `table` and records it as a run.
///
/// `table` is a training table up to the day asked for; columns, scaler and window come from the
/// model's bundle. A table that does not say how far apart its rows are is taken to be one of the
/// frequency that the version was trained on.
///
/// # Errors
///
/// As [`load_version`]; [`Error::OtherWindow`], [`Error::OtherHorizon`] or [`Error::OtherColumn`]
/// if the model is not what the caller believes, [`Error::OtherFrequency`] if the table says that its rows are of another frequency;
/// [`Error::DayNotThere`] if the table does not end with `date_end`, and [`Error::Holes`] if rows
/// are missing and that is not allowed.
pub fn predict(
    client: &TrackingClient,
    config: &PredictConfig,
    table: &RecordBatch,
) -> Result<Prediction> {
    let (version, forecaster) =
        load_version(client, &config.model_name, config.version, &config.device)?;
    require_asked(config, &version, &forecaster)?;
    let table = of_trained_frequency(table, &version)?;
    let series = frame_of_columns(
        &table,
        &forecaster.feature_names(),
        forecaster.target_name(),
    )?;
    if let Some(day) = config.date_end {
        require_day(&series, day)?;
    }
    let forecast = forecaster.forecast(&series)?;
    let missing = forecast.missing().to_vec();
    if config.refuse_holes && !missing.is_empty() {
        return Err(Error::Holes { missing });
    }
    let Some(target_time) = forecast.target_time() else {
        return Err(Error::Models(btc_models::Error::InvalidSeries {
            reason: "its rows are not on a grid of time".into(),
        }));
    };
    let spec = RunSpec::named(run_name(&target_time))
        .with_tag("kind", "forecast")
        .with_tag("model", &version.name)
        .with_tag("version", version.version.to_string())
        .with_tag("data_hash", &config.data_hash)
        .with_tag("target_time", target_time.to_rfc3339())
        .with_tag("known_until", forecast.known_until().to_rfc3339())
        .with_tag("frequency", series.frequency().to_string())
        .with_tags((!missing.is_empty()).then(|| ("missing", list_of_instants(&missing))));
    // Forecasts have an experiment of their own: what registers the best run
    // of an experiment must never meet one.
    let experiment = client.get_or_create_experiment(&forecast_experiment(&version.name))?;
    let run = ActiveRun::start(client, &experiment.experiment_id, spec)?;
    run.log_params([
        ("model_type".to_owned(), forecaster.model_type().to_string()),
        ("timesteps".to_owned(), forecaster.timesteps().to_string()),
    ])?;
    for step in forecast.steps() {
        log_step(&run, step, forecast.naive(), series.frequency())?;
    }
    let run_id = run.id().to_string();
    run.end(RunStatus::Finished)?;
    Ok(Prediction {
        target_column: forecaster.target_name().to_owned(),
        forecast: forecast.point(),
        naive: forecast.naive(),
        target_time,
        steps: forecast.steps().cloned().collect(),
        known_until: forecast.known_until(),
        interval: forecast.interval(SHOWN_LEVEL),
        intervals: forecast.intervals(),
        trained_until: forecaster.training_range().end,
        worse_than_naive: version.tag(WORSE_THAN_NAIVE_TAG) == Some("true"),
        verdict: version.tag(VERDICT_TAG).map(str::to_owned),
        missing,
        model: version.name,
        version: version.version,
        model_type: forecaster.model_type().to_string(),
        run_id,
    })
}

/// Refuses a version that forecasts something else than the caller believes.
fn require_asked(
    config: &PredictConfig,
    version: &ModelVersion,
    forecaster: &Forecaster,
) -> Result<()> {
    let (model, version) = (version.name.clone(), version.version);
    match (config.timesteps, config.horizon, &config.target_column) {
        (Some(timesteps), _, _) if timesteps != forecaster.timesteps() => Err(Error::OtherWindow {
            model,
            version,
            trained: forecaster.timesteps(),
            asked: timesteps,
        }),
        (_, Some(horizon), _) if horizon.get() != forecaster.horizon() => {
            Err(Error::OtherHorizon {
                model,
                version,
                trained: forecaster.horizon(),
                asked: horizon.get(),
            })
        }
        (_, _, Some(column)) if column != forecaster.target_name() => Err(Error::OtherColumn {
            model,
            version,
            trained: forecaster.target_name().to_owned(),
            asked: column.clone(),
        }),
        _ => Ok(()),
    }
}

/// The table, of the frequency that a version was trained on if it does not say any.
fn of_trained_frequency(table: &RecordBatch, version: &ModelVersion) -> Result<RecordBatch> {
    let trained = version
        .tag(FREQUENCY_TAG)
        .and_then(|text| text.parse().ok());
    let Some(trained) = trained else {
        return Ok(table.clone());
    };
    match frequency_of(table)? {
        None => Ok(with_frequency(table.clone(), trained)),
        Some(found) if is_same_step(found, trained) => Ok(table.clone()),
        Some(found) => Err(Error::OtherFrequency {
            model: version.name.clone(),
            version: version.version,
            trained,
            found,
        }),
    }
}

/// Whether two frequencies are one, in whatever unit each is told.
fn is_same_step(a: Frequency, b: Frequency) -> bool {
    a == b || a.seconds().is_some_and(|step| Some(step) == b.seconds())
}

/// The name of the run of a forecast: its day, and its time if it is no midnight.
fn run_name(target_time: &DateTime<Utc>) -> String {
    match is_close(target_time) {
        true => format!("forecast-{}", target_time.format("%Y-%m-%d")),
        false => format!("forecast-{}", instant_text(target_time)),
    }
}

/// The step of a metric for what is forecast of an instant: steps of the frequency since 1970, or
/// days where steps differ in length. Two instants of one series never share one.
fn metric_step(target_time: &DateTime<Utc>, frequency: Frequency) -> i64 {
    const DAY: i64 = 24 * 60 * 60;
    let length = frequency.seconds().unwrap_or(DAY).max(1);
    target_time.timestamp().div_euclid(length)
}

/// Logs what is forecast of one step.
fn log_step(run: &ActiveRun, forecast: &Step, naive: f64, frequency: Frequency) -> Result<()> {
    let Some(target_time) = &forecast.target_time else {
        return Ok(());
    };
    let step = metric_step(target_time, frequency);
    run.log_metric("forecast", forecast.point, step)?;
    run.log_metric("naive", naive, step)?;
    for interval in forecast.intervals() {
        let percent = (100.0 * interval.level).round();
        run.log_metric(&format!("low_{percent}"), interval.low, step)?;
        run.log_metric(&format!("high_{percent}"), interval.high, step)?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_instants_of_a_series_share_a_step() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let step = |text: &str, frequency| metric_step(&at(text), frequency);
        let day = step("2024-01-02T00:00:00Z", Frequency::days(1));
        assert_eq!(day, 19_724);
        assert_eq!(step("2024-01-03T00:00:00Z", Frequency::days(1)), day + 1);
        let hour = step("2024-01-02T00:00:00Z", Frequency::hours(1));
        assert_eq!(hour, 24 * day);
        assert_eq!(step("2024-01-02T01:00:00Z", Frequency::hours(1)), hour + 1);
        // Off the full hour as well.
        let late = step("2024-01-02T00:13:00Z", Frequency::hours(1));
        assert_eq!(step("2024-01-02T01:13:00Z", Frequency::hours(1)), late + 1);
        assert_eq!(step("2024-01-02T00:00:00Z", Frequency::BusinessDays), day);
        let before = step("1969-12-31T23:00:00Z", Frequency::hours(1));
        assert_eq!(before, -1);
    }

    #[test]
    fn a_run_of_an_hour_is_named_by_it() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        assert_eq!(run_name(&at("2024-01-02T00:00:00Z")), "forecast-2024-01-02");
        assert_eq!(
            run_name(&at("2024-01-02T05:00:00Z")),
            "forecast-2024-01-02T05:00:00Z"
        );
    }

    #[test]
    fn a_step_is_one_in_whatever_unit() {
        assert!(is_same_step(Frequency::days(7), Frequency::weeks(1)));
        assert!(is_same_step(
            Frequency::BusinessDays,
            Frequency::BusinessDays
        ));
        assert!(!is_same_step(Frequency::BusinessDays, Frequency::days(1)));
        assert!(!is_same_step(Frequency::months(1), Frequency::BusinessDays));
    }
}
