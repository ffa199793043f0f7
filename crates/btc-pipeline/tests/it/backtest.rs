//! A comparison over past rows knows the champion, on which days it was chosen, and what was known
//! at each origin.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use arrow::array::{ArrayRef, Float64Array, RecordBatch};
use async_trait::async_trait;
use btc_models::backtest::Report;
use btc_models::{Baseline, Model, ModelType};
use btc_pipeline::{
    CHAMPION, EVENT_TIMESTAMP, Error, ErrorKind, Observer, PastData, PastTables, SearchSpace,
    ServiceTables, TableSource, Workflow,
};
use btc_track::{ManualClock, ModelVersionChange, TrackingClient};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use crate::frequency::{loads, steps};
use crate::project;

/// Two hundred days, of which each but the newest was told too high until the next one came.
#[derive(Debug, Default)]
struct Revised {
    asked: Arc<Mutex<Vec<DateTime<Utc>>>>,
    retrieved: Arc<Mutex<Vec<DateTime<Utc>>>>,
}

const TOO_HIGH: f64 = 1000.0;

impl Revised {
    fn today() -> RecordBatch {
        loads(&steps(200, TimeDelta::days(1)))
    }
}

#[async_trait]
impl TableSource for Revised {
    async fn retrieve(&self, now: DateTime<Utc>, _: &dyn Observer) -> btc_pipeline::Result<()> {
        self.retrieved.lock().unwrap().push(now);
        Ok(())
    }

    async fn table(&self, _: Option<NaiveDate>) -> btc_pipeline::Result<RecordBatch> {
        Ok(Self::today())
    }

    fn past(&self) -> btc_pipeline::Result<PastTables> {
        let days = steps(200, TimeDelta::days(1));
        let asked = self.asked.clone();
        Ok(Box::new(move |at| {
            asked.lock().unwrap().push(at);
            let rows = days.partition_point(|day| *day <= at);
            let known = Self::today().slice(0, rows);
            let load = known.column_by_name("load").unwrap();
            let load = load.as_any().downcast_ref::<Float64Array>().unwrap();
            let load: ArrayRef = Arc::new(
                load.iter()
                    .enumerate()
                    .map(|(row, value)| match row + 1 == rows {
                        true => value.map(|value| value + TOO_HIGH),
                        false => value,
                    })
                    .collect::<Float64Array>(),
            );
            let times = known.column_by_name(EVENT_TIMESTAMP).unwrap().clone();
            let columns = [(EVENT_TIMESTAMP, times), ("load", load)];
            RecordBatch::try_from_iter(columns).map_err(|error| Error::Source(error.into()))
        }))
    }
}

/// A workflow whose latest version was chosen on the targets 160 to 180 and judged on the rest.
fn workflow(folder: &std::path::Path) -> Workflow {
    workflow_over(Revised::default(), folder)
}

fn workflow_over(source: Revised, folder: &std::path::Path) -> Workflow {
    let client = TrackingClient::in_memory(folder).unwrap();
    let mut workflow = Workflow::new("load", source, client).with_target_column("load");
    workflow.search.space = Arc::new(SearchSpace {
        model_types: vec![ModelType::NLinear],
        timesteps: Some(5),
    });
    workflow.search.prediction_length = 20;
    workflow.search.holdout = 20;
    workflow.register.allow_worse_than_naive = true;
    workflow.register.champion = true;
    workflow.backtest.comparison = btc_models::backtest::Config::default()
        .with_origins(60)
        .with_refit_every(30);
    let table = Revised::today();
    workflow.search(&table, &()).unwrap();
    assert!(workflow.register(&table).unwrap().champion);
    workflow
}

fn backtest(workflow: &Workflow) -> btc_pipeline::Result<Report> {
    let models: Vec<Box<dyn Model>> = vec![Box::new(Baseline::Ses)];
    let go_on = |_: btc_models::backtest::Progress<'_>| ControlFlow::Continue(());
    workflow.backtest(models, &Revised::today(), &go_on)
}

fn change(workflow: &Workflow, change: ModelVersionChange) {
    let registry = &workflow.client().registry;
    registry.change_model_version("load", 1, &change).unwrap();
}

fn delete(workflow: &Workflow, tag: &str) {
    change(workflow, ModelVersionChange::DeleteTag(tag.into()));
}

#[test]
fn the_champion_is_compared_and_the_days_that_chose_it_are_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let workflow = workflow(folder.path());
    let report = backtest(&workflow).unwrap();
    let names: Vec<&str> = report.models.iter().map(|model| &*model.name).collect();
    assert_eq!(names, ["naive", "ses", CHAMPION]);
    // The last 40 of the 60 targets chose and judged it.
    let marked: Vec<bool> = (0..60).map(|origin| 20 <= origin).collect();
    assert_eq!((report.marked, report.judged), (marked, 20));
    assert!(
        report.notes[0].starts_with("40 of 60"),
        "{:?}",
        report.notes
    );
}

#[test]
fn a_champion_that_does_not_say_what_chose_it_is_told_first() {
    let folder = tempfile::tempdir().unwrap();
    let workflow = workflow(folder.path());
    let unreadable = btc_track::Tag::new("selection_first_target", "yesterday");
    change(&workflow, ModelVersionChange::SetTag(unreadable));
    let report = backtest(&workflow).unwrap();
    assert!(
        report.notes[0].contains("selection_first_target")
            && report.notes[0].contains("yesterday")
            && report.notes[1].starts_with("20 of 60"),
        "{:?}",
        report.notes
    );
    // What the other tags say still counts.
    assert_eq!(report.judged, 40);

    delete(&workflow, "selection_first_target");
    let report = backtest(&workflow).unwrap();
    assert!(report.notes[0].contains("selection_first_target"));

    for end in ["first", "last"] {
        delete(&workflow, &format!("holdout_{end}_target"));
    }
    delete(&workflow, "selection_last_target");
    let report = backtest(&workflow).unwrap();
    assert!(
        report.notes[0].contains("does not say on which days"),
        "{:?}",
        report.notes
    );
    assert_eq!(report.judged, 60);
}

#[test]
fn what_was_not_known_at_an_origin_is_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let source = Revised::default();
    let asked = source.asked.clone();
    let mut workflow = workflow_over(source, folder.path());
    let newest = backtest(&workflow).unwrap();
    assert!(asked.lock().unwrap().is_empty());
    workflow.backtest.data = PastData::AsKnown;
    let known = backtest(&workflow).unwrap();
    // Of three models, all with the same 60 origins, none asks for what another had.
    assert_eq!(asked.lock().unwrap().len(), 60);
    let naive = |report: &Report| report.series.naive.clone();
    let (newest, known) = (naive(&newest), naive(&known));
    assert_eq!(newest.len(), 60);
    for (today, then) in newest.iter().zip(&known) {
        assert_eq!(*then, today + TOO_HIGH);
    }
}

#[test]
fn a_source_without_a_past_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(folder.path()).unwrap();
    let source = btc_pipeline::TableFn::new(|| Ok(Revised::today()));
    let mut workflow = Workflow::new("load", source, client).with_target_column("load");
    workflow.backtest.data = PastData::AsKnown;
    let error = backtest(&workflow).unwrap_err();
    assert!(matches!(error, Error::NoRevisions { .. }), "{error}");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn the_past_of_the_service_is_asked_for_inside_a_runtime_too() {
    let folder = tempfile::tempdir().unwrap();
    let project = project(folder.path());
    let client = TrackingClient::in_memory(folder.path()).unwrap();
    let mut workflow = Workflow::new("search", ServiceTables::new(project), client);
    workflow.backtest.data = PastData::AsKnown;
    workflow.backtest.comparison = btc_models::backtest::Config::default().with_origins(3);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let error = runtime.block_on(async {
        let table = workflow.table(None).await.unwrap();
        let go_on = |_: btc_models::backtest::Progress<'_>| ControlFlow::Continue(());
        workflow.backtest(Vec::new(), &table, &go_on).unwrap_err()
    });
    // The sample was fetched at its end: nothing of it was known before.
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    let text = std::error::Error::source(&error).map(ToString::to_string);
    assert!(text.unwrap().contains("what was known at"), "{error}");
}

#[test]
fn data_is_brought_in_by_the_clock_of_the_workflow() {
    let folder = tempfile::tempdir().unwrap();
    let client = TrackingClient::in_memory(folder.path()).unwrap();
    let source = Revised::default();
    let retrieved = source.retrieved.clone();
    let clock = ManualClock::new(1_700_000_000_000);
    let workflow = Workflow::new("load", source, client).with_clock(Arc::new(clock));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(workflow.retrieve(&())).unwrap();
    let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
    assert_eq!(workflow.now(), now);
    assert_eq!(*retrieved.lock().unwrap(), [now]);
}
