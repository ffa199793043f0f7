//! A table's frequency is what it says, or what its rows show; targets and holes follow from it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Float64Array, RecordBatch, TimestampSecondArray,
};
use arrow::datatypes::TimestampNanosecondType;
use btc_models::{Frequency, ModelType};
use btc_pipeline::{
    EVENT_TIMESTAMP, Error, ErrorKind, Prediction, SearchSpace, TableFn, Workflow, frame_for,
    frequency_of, with_frequency,
};
use btc_track::TrackingClient;
use chrono::{DateTime, Datelike, TimeDelta, Utc, Weekday};

use crate::{project, table};

/// A column `load` with a value at each of the instants.
pub(crate) fn loads(instants: &[DateTime<Utc>]) -> RecordBatch {
    let times = instants.iter().map(DateTime::timestamp);
    let load = (0..instants.len()).map(|row| 50.0 + (row * 37 % 11) as f64);
    let columns: [(&str, ArrayRef); 2] = [
        (
            EVENT_TIMESTAMP,
            Arc::new(TimestampSecondArray::from_iter_values(times)),
        ),
        ("load", Arc::new(Float64Array::from_iter_values(load))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

pub(crate) fn steps(rows: i64, step: TimeDelta) -> Vec<DateTime<Utc>> {
    let start: DateTime<Utc> = "2024-01-01T00:00:00Z".parse().unwrap();
    let step = i32::try_from(step.num_seconds()).unwrap();
    (0..rows)
        .map(|row| start + TimeDelta::seconds(i64::from(step) * row))
        .collect()
}

/// A workflow of one small trial over the table.
fn workflow(folder: &std::path::Path, table: RecordBatch) -> Workflow {
    let source = TableFn::new(move || Ok(table.clone()));
    let client = TrackingClient::in_memory(folder).unwrap();
    let mut workflow = Workflow::new("load", source, client).with_target_column("load");
    workflow.search.space = Arc::new(SearchSpace {
        model_types: vec![ModelType::NLinear],
        timesteps: Some(6),
    });
    workflow.search.prediction_length = 20;
    workflow.search.holdout = 20;
    workflow.register.allow_worse_than_naive = true;
    workflow
}

/// Searches, registers, and forecasts from the rows that `keep` says.
fn predicted(
    workflow: &Workflow,
    whole: &RecordBatch,
    keep: impl Fn(usize) -> bool,
) -> btc_pipeline::Result<Prediction> {
    workflow.search(whole, &())?;
    workflow.register(whole)?;
    let kept: BooleanArray = (0..whole.num_rows()).map(|row| Some(keep(row))).collect();
    let part = arrow::compute::filter_record_batch(whole, &kept).unwrap();
    workflow.predict(&part)
}

#[test]
fn the_daily_service_is_daily_whichever_days_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&project(folder.path()));
    assert_eq!(frequency_of(&table).unwrap(), Some(Frequency::days(1)));
    let times = table.column_by_name(EVENT_TIMESTAMP).unwrap();
    let times = times.as_primitive::<TimestampNanosecondType>();
    // Known at the midnight after the day: those of weekends are known on Sundays and Mondays.
    let weekdays: BooleanArray = times
        .iter()
        .map(|nanos| {
            let day = DateTime::from_timestamp_nanos(nanos?).weekday();
            Some(!matches!(day, Weekday::Sun | Weekday::Mon))
        })
        .collect();
    let table = arrow::compute::filter_record_batch(&table, &weekdays).unwrap();
    let frame = frame_for(&table, "close", 0).unwrap().series;
    assert_eq!(frame.frequency(), Frequency::days(1));
    assert!(!frame.holes().is_empty());
    // The target of a Friday, known on Saturday, is a Saturday, known on Sunday.
    let friday = frame
        .known_at()
        .iter()
        .position(|at| at.weekday() == Weekday::Sat)
        .unwrap();
    let target = frame.target_time(friday, 1).unwrap();
    assert_eq!(target - frame.known_at()[friday], TimeDelta::days(1));
}

#[test]
fn a_workflow_takes_the_frequency_that_it_is_given() {
    let weekdays: Vec<DateTime<Utc>> = steps(400, TimeDelta::days(1))
        .into_iter()
        .filter(|at| !matches!(at.weekday(), Weekday::Sat | Weekday::Sun))
        .collect();
    // Ends on a Friday.
    let friday = weekdays
        .iter()
        .rposition(|at| at.weekday() == Weekday::Fri)
        .unwrap();
    let whole = loads(&weekdays[..=friday]);
    let folder = tempfile::tempdir().unwrap();
    let inferred = workflow(folder.path(), whole.clone());
    let prediction = predicted(&inferred, &whole, |_| true).unwrap();
    assert_eq!(prediction.target_time.weekday(), Weekday::Mon);
    // A weekend is no hole of business days.
    assert!(prediction.missing.is_empty() && prediction.warnings().is_empty());

    let given = inferred.clone().with_frequency(Frequency::days(1));
    assert_eq!(
        given.frame(&whole).unwrap().series.frequency(),
        Frequency::days(1)
    );
    // The version was trained on business days.
    let error = given.predict(&whole).unwrap_err();
    assert!(
        matches!(
            error,
            Error::OtherFrequency {
                trained: Frequency::BusinessDays,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::Usage);
}

#[test]
fn a_missing_business_day_is_named_and_a_weekend_is_not() {
    let weekdays: Vec<DateTime<Utc>> = steps(400, TimeDelta::days(1))
        .into_iter()
        .filter(|at| !matches!(at.weekday(), Weekday::Sat | Weekday::Sun))
        .collect();
    let whole = loads(&weekdays);
    let folder = tempfile::tempdir().unwrap();
    let workflow = workflow(folder.path(), whole.clone());
    let missing = weekdays.len() - 3;
    let prediction = predicted(&workflow, &whole, |row| row != missing).unwrap();
    assert_eq!(prediction.missing, [weekdays[missing]]);
}

#[test]
fn an_hour_that_is_missing_is_named_as_an_hour() {
    let hours = steps(400, TimeDelta::hours(1));
    let whole = loads(&hours);
    let folder = tempfile::tempdir().unwrap();
    let mut workflow = workflow(folder.path(), whole.clone());
    let prediction = predicted(&workflow, &whole, |row| row != 397 && row != 398).unwrap();
    assert_eq!(prediction.missing, hours[397..399]);
    assert!(
        prediction.warnings()[0].contains("2024-01-17 13:00 UTC"),
        "{:?}",
        prediction.warnings()
    );
    assert_eq!(prediction.target_time, hours[399] + TimeDelta::hours(1));

    let (one, two) = (whole.slice(0, 390), whole.slice(0, 391));
    let steps: Vec<i64> = [one, two]
        .iter()
        .map(|table| {
            let id = workflow.predict(table).unwrap().run_id;
            let history = workflow.client().metric_history(&id, "forecast").unwrap();
            history[0].step
        })
        .collect();
    assert_eq!(steps[1], steps[0] + 1);

    workflow.predict.refuse_holes = true;
    let gap = arrow::compute::filter_record_batch(
        &whole,
        &(0..400)
            .map(|row| Some(row != 398))
            .collect::<BooleanArray>(),
    )
    .unwrap();
    assert!(matches!(
        workflow.predict(&gap).unwrap_err(),
        Error::Holes { missing } if missing == [hours[398]]
    ));
}

#[test]
fn a_short_table_is_of_the_frequency_that_the_version_was_trained_on() {
    // Every second hour is there, of the last rows only: they alone look like two-hourly rows.
    let hours = steps(400, TimeDelta::hours(1));
    let whole = loads(&hours);
    let folder = tempfile::tempdir().unwrap();
    let workflow = workflow(folder.path(), whole.clone());
    let prediction = predicted(&workflow, &whole, |row| 380 <= row && row % 2 == 1).unwrap();
    assert_eq!(prediction.target_time, hours[399] + TimeDelta::hours(1));
    assert!(!prediction.missing.is_empty());
}

#[test]
fn a_table_that_says_nonsense_is_refused() {
    let mut table = with_frequency(
        loads(&steps(10, TimeDelta::hours(1))),
        Frequency::minutes(1),
    );
    assert!(frame_for(&table, "load", 0).is_ok());
    table
        .schema_metadata_mut()
        .insert(btc_pipeline::FREQUENCY_KEY.into(), "often".into());
    let error = frame_for(&table, "load", 0).unwrap_err();
    assert!(error.to_string().contains("often"), "{error}");
}
