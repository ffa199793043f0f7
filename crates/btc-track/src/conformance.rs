//! What every store must do, as a suite for implementors.
//!
//! ```
//! use std::sync::Arc;
//! use btc_track::{TrackingClient, conformance};
//!
//! # let folder = tempfile::tempdir()?;
//! conformance::check(|clock| TrackingClient::in_memory_with(folder.path(), clock));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;

use crate::client::TrackingClient;
use crate::clock::ManualClock;
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

/// Runs every case on stores made by `make`, each on a fresh one.
///
/// # Panics
///
/// Panics with the name of the first case that a store fails.
pub fn check(make: impl Fn(Arc<ManualClock>) -> TrackingClient) {
    for (name, case) in CASES {
        let clock = Arc::new(ManualClock::new(1_700_000_000_000));
        let store = Store {
            client: make(clock.clone()),
            clock,
        };
        if let Err(error) = case(&store) {
            panic!("{name}: {error} ({})", error.code());
        }
    }
}

type Case = fn(&Store) -> Result<()>;

const CASES: &[(&str, Case)] = &[
    (
        "experiments have unique names",
        experiments_have_unique_names,
    ),
    (
        "experiments are deleted with their runs",
        experiments_are_deleted_with_their_runs,
    ),
    ("experiments are searched", experiments_are_searched),
    ("runs record values", runs_record_values),
    ("batches are all or nothing", batches_are_all_or_nothing),
    (
        "the latest metric is the greatest",
        the_latest_metric_is_the_greatest,
    ),
    ("histories have no duplicates", histories_have_no_duplicates),
    ("histories are paged", histories_are_paged),
    ("buckets keep extremes", buckets_keep_extremes),
    ("deleted runs take nothing", deleted_runs_take_nothing),
    ("inputs and outputs are kept", inputs_and_outputs_are_kept),
    ("bad values are refused", bad_values_are_refused),
    ("runs are filtered", runs_are_filtered),
    ("runs are ordered and paged", runs_are_ordered_and_paged),
    ("logged models are kept", logged_models_are_kept),
    (
        "models have numbered versions",
        models_have_numbered_versions,
    ),
    (
        "models have aliases and stages",
        models_have_aliases_and_stages,
    ),
    (
        "a failed version leaves no model",
        a_failed_version_leaves_no_model,
    ),
    (
        "purge removes what was deleted",
        purge_removes_what_was_deleted,
    ),
];

struct Store {
    client: TrackingClient,
    clock: Arc<ManualClock>,
}

impl Store {
    fn tracking(&self) -> &dyn TrackingStore {
        &*self.client.tracking
    }

    fn registry(&self) -> &dyn RegistryStore {
        &*self.client.registry
    }

    fn experiment(&self, name: &str) -> Result<String> {
        let new = NewExperiment {
            name: name.into(),
            ..Default::default()
        };
        Ok(self.tracking().create_experiment(&new)?.experiment_id)
    }

    fn run(&self, experiment_id: &str) -> Result<RunId> {
        let new = NewRun {
            experiment_id: experiment_id.into(),
            ..Default::default()
        };
        Ok(self.tracking().create_run(&new)?.info.run_id)
    }

    fn log(&self, run: &str, key: &str, value: f64, timestamp: i64, step: i64) -> Result<()> {
        let metrics = vec![Metric::new(key, value, timestamp, step)];
        self.tracking().log_batch(
            run,
            &Batch {
                metrics,
                ..Default::default()
            },
        )
    }

    fn param(&self, run: &str, key: &str, value: &str) -> Result<()> {
        let params = vec![Param::new(key, value)];
        self.tracking().log_batch(
            run,
            &Batch {
                params,
                ..Default::default()
            },
        )
    }

    fn tag(&self, run: &str, key: &str, value: &str) -> Result<()> {
        let tags = vec![Tag::new(key, value)];
        self.tracking().log_batch(
            run,
            &Batch {
                tags,
                ..Default::default()
            },
        )
    }
}

#[track_caller]
fn fails<T>(code: &str, result: Result<T>) {
    match result {
        Ok(_) => panic!("succeeded instead of failing with {code}"),
        Err(error) => assert_eq!(error.code(), code, "{error}"),
    }
}

const MISSING: &str = "RESOURCE_DOES_NOT_EXIST";
const EXISTS: &str = "RESOURCE_ALREADY_EXISTS";
const INVALID: &str = "INVALID_PARAMETER_VALUE";

fn experiments_have_unique_names(store: &Store) -> Result<()> {
    let id = store.experiment("price")?;
    let experiment = store.tracking().experiment(&id)?;
    assert_eq!(experiment.name, "price");
    assert_eq!(experiment.lifecycle_stage, LifecycleStage::Active);
    assert_eq!(store.tracking().experiment_by_name("price")?, experiment);
    assert_eq!(store.tracking().experiment("0")?.name, "Default");
    fails(EXISTS, store.experiment("price"));
    fails(EXISTS, store.experiment("Default"));
    fails(INVALID, store.experiment(" "));
    for id in ["99999", "x", "", "00", "-1", "9999999999999999999999"] {
        fails(MISSING, store.tracking().experiment(id));
    }
    fails(MISSING, store.tracking().experiment_by_name("Price"));
    let change = |change| store.tracking().change_experiment(&id, &change);
    change(ExperimentChange::Rename("other".into()))?;
    fails(EXISTS, change(ExperimentChange::Rename("Default".into())));
    assert_eq!(store.tracking().experiment(&id)?.name, "other");
    change(ExperimentChange::SetTag(Tag::new("b", "1")))?;
    change(ExperimentChange::SetTag(Tag::new("a", "1")))?;
    change(ExperimentChange::SetTag(Tag::new("b", "2")))?;
    assert_eq!(
        store.tracking().experiment(&id)?.tags,
        [Tag::new("a", "1"), Tag::new("b", "2")]
    );
    change(ExperimentChange::DeleteTag("a".into()))?;
    fails(MISSING, change(ExperimentChange::DeleteTag("a".into())));
    Ok(())
}

fn experiments_are_deleted_with_their_runs(store: &Store) -> Result<()> {
    let id = store.experiment("price")?;
    let (kept, deleted) = (store.run(&id)?, store.run(&id)?);
    store
        .tracking()
        .set_run_lifecycle(&deleted, LifecycleStage::Deleted)?;
    let change = |change| store.tracking().change_experiment(&id, &change);
    fails(INVALID, change(ExperimentChange::Restore));
    change(ExperimentChange::Delete)?;
    let stage = |run: &str| -> Result<LifecycleStage> {
        Ok(store.tracking().run(run)?.info.lifecycle_stage)
    };
    assert_eq!(stage(&kept)?, LifecycleStage::Deleted);
    fails(INVALID, store.run(&id));
    fails(INVALID, store.log(&kept, "m", 1.0, 0, 0));
    fails(INVALID, change(ExperimentChange::Delete));
    fails(EXISTS, store.experiment("price"));
    fails(
        INVALID,
        store
            .tracking()
            .set_run_lifecycle(&deleted, LifecycleStage::Active),
    );
    change(ExperimentChange::Restore)?;
    assert_eq!(stage(&kept)?, LifecycleStage::Active);
    assert_eq!(stage(&deleted)?, LifecycleStage::Deleted);
    Ok(())
}

fn experiments_are_searched(store: &Store) -> Result<()> {
    for name in ["b", "a", "C", "d%"] {
        store.clock.advance(1);
        store.experiment(name)?;
    }
    let names = |filter: &str, order: &[&str], view| -> Result<Vec<String>> {
        let mut query = SearchQuery {
            view,
            ..SearchQuery::filtered(filter)
        };
        query.order_by = order.iter().map(|s| (*s).to_owned()).collect();
        query.max_results = 2;
        let mut names = Vec::new();
        loop {
            let page = store.tracking().search_experiments(&query)?;
            assert!(page.items.len() <= 2);
            names.extend(page.items.into_iter().map(|e| e.name));
            query.page_token = page.next_page_token;
            if query.page_token.is_none() {
                return Ok(names);
            }
        }
    };
    let active = ViewType::ActiveOnly;
    assert_eq!(names("", &[], active)?, ["d%", "C", "a", "b", "Default"]);
    assert_eq!(
        names("", &["name"], active)?,
        ["C", "Default", "a", "b", "d%"]
    );
    assert_eq!(names("name ILIKE 'c'", &[], active)?, ["C"]);
    assert_eq!(
        names("name != 'a' AND name LIKE '_'", &["name DESC"], active)?,
        ["b", "C"]
    );
    let id = store.tracking().experiment_by_name("a")?.experiment_id;
    store
        .tracking()
        .change_experiment(&id, &ExperimentChange::SetTag(Tag::new("t", "1")))?;
    assert_eq!(names("tags.t = '1'", &[], active)?, ["a"]);
    store
        .tracking()
        .change_experiment(&id, &ExperimentChange::Delete)?;
    assert_eq!(names("", &[], ViewType::DeletedOnly)?, ["a"]);
    assert_eq!(names("", &[], ViewType::All)?.len(), 5);
    fails(INVALID, names("metrics.m = 1", &[], active));
    let none = SearchQuery {
        max_results: 0,
        ..Default::default()
    };
    fails(INVALID, store.tracking().search_experiments(&none));
    Ok(())
}

fn runs_record_values(store: &Store) -> Result<()> {
    let id = store.experiment("price")?;
    let run = store.tracking().create_run(&NewRun {
        experiment_id: id.clone(),
        run_name: Some("first".into()),
        user_id: "me".into(),
        start_time: Some(5),
        tags: vec![Tag::new("z", "1"), Tag::new("a", "2")],
    })?;
    assert_eq!(run.info.run_id.len(), 32);
    assert_eq!(
        (run.info.status, run.info.start_time),
        (RunStatus::Running, 5)
    );
    assert_eq!(
        (run.info.run_name.as_str(), run.info.user_id.as_str()),
        ("first", "me")
    );
    assert!(
        run.info
            .artifact_uri
            .ends_with(&format!("/{}/artifacts", run.info.run_id))
    );
    let keys: Vec<_> = run.data.tags.iter().map(|tag| tag.key.as_str()).collect();
    assert_eq!(keys, ["a", "mlflow.runName", "z"]);
    let id = run.info.run_id;
    store.log(&id, "m", 1.5, 10, 0)?;
    store.param(&id, "p", "ünï")?;
    store.param(&id, "p", "ünï")?;
    fails(INVALID, store.param(&id, "p", "other"));
    store.tag(&id, "z", "3")?;
    store.tag(&id, "mlflow.runName", "second")?;
    let update = RunUpdate {
        status: Some(RunStatus::Finished),
        end_time: Some(9),
        run_name: None,
    };
    let info = store.tracking().update_run(&id, &update)?;
    assert_eq!((info.status, info.end_time), (RunStatus::Finished, Some(9)));
    assert_eq!(info.run_name, "second");
    let run = store.tracking().run(&id)?;
    assert_eq!(
        (run.metric("m"), run.param("p"), run.tag("z")),
        (Some(1.5), Some("ünï"), Some("3"))
    );
    store.tracking().delete_run_tag(&id, "z")?;
    fails(MISSING, store.tracking().delete_run_tag(&id, "z"));
    fails(MISSING, store.tracking().run("nothing"));
    fails(MISSING, store.log("nothing", "m", 1.0, 0, 0));
    fails(MISSING, store.run("424242"));
    let new = NewRun {
        experiment_id: "0".into(),
        ..Default::default()
    };
    assert_eq!(
        store.tracking().create_run(&new)?.info.start_time,
        1_700_000_000_000
    );
    Ok(())
}

fn batches_are_all_or_nothing(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    store.param(&run, "p", "1")?;
    let before = store.tracking().run(&run)?;
    let batch = Batch {
        metrics: vec![Metric::new("never seen before", 1.0, 0, 0)],
        params: vec![Param::new("q", "1"), Param::new("p", "2")],
        tags: vec![Tag::new("t", "1")],
        model_metrics: Vec::new(),
    };
    fails(INVALID, store.tracking().log_batch(&run, &batch));
    let twice = Batch {
        params: vec![Param::new("q", "1"), Param::new("q", "2")],
        ..Default::default()
    };
    fails(INVALID, store.tracking().log_batch(&run, &twice));
    let metric = Metric::new("never seen before", 1.0, 0, 0);
    let unknown_model = ModelMetric {
        model_id: "m-unknown".into(),
        metric: metric.clone(),
        dataset_name: String::new(),
        dataset_digest: String::new(),
        run_id: None,
    };
    let batch = Batch {
        metrics: vec![metric],
        model_metrics: vec![unknown_model],
        ..Default::default()
    };
    fails(MISSING, store.tracking().log_batch(&run, &batch));
    assert_eq!(store.tracking().run(&run)?, before);
    // A name that was undone can be used afterwards.
    store.log(&run, "never seen before", 2.0, 0, 0)?;
    assert_eq!(
        store.tracking().run(&run)?.metric("never seen before"),
        Some(2.0)
    );
    Ok(())
}

fn the_latest_metric_is_the_greatest(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    let latest = |value: f64, timestamp, step| -> Result<f64> {
        store.log(&run, "m", value, timestamp, step)?;
        Ok(store.tracking().run(&run)?.metric("m").unwrap_or(-1.0))
    };
    assert_eq!(latest(1.0, 10, 5)?, 1.0);
    assert_eq!(latest(2.0, 99, 4)?, 1.0, "the step comes first");
    assert_eq!(latest(3.0, 9, 5)?, 1.0, "then the time");
    assert_eq!(latest(4.0, 10, 5)?, 4.0, "then the value");
    assert_eq!(latest(0.0, 11, 5)?, 0.0);
    assert!(latest(f64::NAN, 12, 5)?.is_nan());
    assert_eq!(latest(-7.0, 12, 5)?, -7.0, "any number beats NaN");
    assert_eq!(latest(f64::INFINITY, 0, 6)?, f64::MAX);
    assert_eq!(latest(f64::NEG_INFINITY, 0, 7)?, f64::MIN);
    Ok(())
}

fn histories_have_no_duplicates(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    for value in [1.0, 1.0, 2.0, f64::NAN, f64::NAN] {
        store.log(&run, "m", value, 1, -1)?;
    }
    let metrics = vec![Metric::new("m", 1.0, 1, -1), Metric::new("m", 1.0, 0, 3)];
    store.tracking().log_batch(
        &run,
        &Batch {
            metrics,
            ..Default::default()
        },
    )?;
    let page = store.tracking().metric_history(&run, "m", 10, None)?;
    let values: Vec<_> = page
        .items
        .iter()
        .map(|m| (m.timestamp, m.step, m.value.to_string()))
        .collect();
    let text = |value: &str| value.to_owned();
    assert_eq!(
        values,
        [
            (0, 3, text("1")),
            (1, -1, text("NaN")),
            (1, -1, text("1")),
            (1, -1, text("2"))
        ]
    );
    assert_eq!(
        store.tracking().metric_history(&run, "n", 10, None)?,
        Page::default()
    );
    fails(
        MISSING,
        store.tracking().metric_history("nothing", "m", 10, None),
    );
    Ok(())
}

fn histories_are_paged(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    let metrics: Vec<_> = (0..25)
        .map(|i| Metric::new("m", i as f64, i / 3, i % 7))
        .collect();
    store.tracking().log_batch(
        &run,
        &Batch {
            metrics,
            ..Default::default()
        },
    )?;
    let whole = store.tracking().metric_history(&run, "m", 100, None)?.items;
    assert_eq!(whole.len(), 25);
    let mut paged = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let page = store
            .tracking()
            .metric_history(&run, "m", 5, token.as_deref())?;
        paged.extend(page.items);
        token = page.next_page_token;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(paged, whole);
    fails(
        INVALID,
        store.tracking().metric_history(&run, "m", 5, Some("x")),
    );
    fails(INVALID, store.tracking().metric_history(&run, "m", 0, None));
    Ok(())
}

fn buckets_keep_extremes(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    let value = |i: i64| match i {
        77 => -100.0,
        78 => f64::NAN,
        500 => 100.0,
        _ => i as f64 / 1000.0,
    };
    let metrics: Vec<_> = (0..1000)
        .map(|i| Metric::new("m", value(i), i, i))
        .collect();
    store.tracking().log_batch(
        &run,
        &Batch {
            metrics,
            ..Default::default()
        },
    )?;
    let buckets = store.tracking().metric_buckets(&run, "m", 10)?;
    assert!(
        (1..=10).contains(&buckets.len()),
        "{} buckets",
        buckets.len()
    );
    assert_eq!(buckets.iter().map(|b| b.count).sum::<u64>(), 1000);
    let min = buckets
        .iter()
        .map(|b| b.min.value)
        .fold(f64::INFINITY, f64::min);
    let max = buckets
        .iter()
        .map(|b| b.max.value)
        .fold(f64::NEG_INFINITY, f64::max);
    assert_eq!((min, max), (-100.0, 100.0));
    assert_eq!(buckets[0].first.step, 0);
    assert_eq!(buckets[buckets.len() - 1].last.step, 999);
    let in_order = buckets
        .windows(2)
        .all(|pair| pair[0].last.step < pair[1].first.step);
    assert!(in_order, "{buckets:?}");
    assert!(store.tracking().metric_buckets(&run, "n", 10)?.is_empty());
    fails(INVALID, store.tracking().metric_buckets(&run, "m", 0));
    Ok(())
}

fn deleted_runs_take_nothing(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    store.tag(&run, "t", "1")?;
    store
        .tracking()
        .set_run_lifecycle(&run, LifecycleStage::Deleted)?;
    fails(INVALID, store.log(&run, "m", 1.0, 0, 0));
    fails(INVALID, store.tag(&run, "t", "2"));
    fails(INVALID, store.tracking().delete_run_tag(&run, "t"));
    fails(
        INVALID,
        store.tracking().update_run(&run, &RunUpdate::default()),
    );
    fails(INVALID, store.tracking().log_inputs(&run, &[]));
    fails(INVALID, store.tracking().log_outputs(&run, &[]));
    assert_eq!(store.tracking().run(&run)?.tag("t"), Some("1"));
    store
        .tracking()
        .set_run_lifecycle(&run, LifecycleStage::Active)?;
    store.log(&run, "m", 1.0, 0, 0)?;
    fails(
        MISSING,
        store
            .tracking()
            .set_run_lifecycle("nothing", LifecycleStage::Deleted),
    );
    Ok(())
}

fn inputs_and_outputs_are_kept(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    let input = |name: &str, digest: &str| DatasetInput {
        dataset: Dataset {
            name: name.into(),
            digest: digest.into(),
            source_type: "local".into(),
            source: "{}".into(),
            ..Default::default()
        },
        tags: vec![Tag::new("mlflow.data.context", "training")],
    };
    let inputs = [input("prices", "1"), input("prices", "2")];
    store.tracking().log_inputs(&run, &inputs)?;
    store.tracking().log_inputs(&run, &inputs[..1])?;
    let output = ModelOutput {
        model_id: "m-1".into(),
        step: 3,
    };
    store
        .tracking()
        .log_outputs(&run, std::slice::from_ref(&output))?;
    let recorded = store.tracking().run(&run)?;
    assert_eq!(recorded.inputs, inputs);
    assert_eq!(recorded.outputs, [output]);
    fails(
        INVALID,
        store.tracking().log_inputs(&run, &[input("", "1")]),
    );
    Ok(())
}

fn bad_values_are_refused(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    let long = "x".repeat(MAX_KEY_LENGTH + 1);
    for key in [
        "",
        "..",
        "a/../b",
        "/a",
        "a//b",
        "a\nb",
        "a'b",
        "a;b",
        long.as_str(),
    ] {
        fails(INVALID, store.log(&run, key, 1.0, 0, 0));
        fails(INVALID, store.param(&run, key, "1"));
        fails(INVALID, store.tag(&run, key, "1"));
    }
    for key in ["a/b", "a b", "a.b:c-d_e", "größe"] {
        store.log(&run, key, 1.0, 0, 0)?;
    }
    store.param(&run, "long", &"ü".repeat(MAX_PARAM_LENGTH))?;
    fails(
        INVALID,
        store.param(&run, "longer", &"ü".repeat(MAX_PARAM_LENGTH + 1)),
    );
    store.tag(&run, "long", &"x".repeat(MAX_TAG_LENGTH))?;
    fails(
        INVALID,
        store.tag(&run, "longer", &"x".repeat(MAX_TAG_LENGTH + 1)),
    );
    for location in [
        "file:///tmp/x",
        "/tmp/x",
        "x",
        "mlflow-artifacts:/../x",
        "s3://b/x?y",
    ] {
        let new = NewExperiment {
            name: format!("at {}", location.len()),
            artifact_location: Some(location.into()),
            tags: Vec::new(),
        };
        fails(INVALID, store.tracking().create_experiment(&new));
    }
    Ok(())
}

/// Six runs with and without values, the times in creation order.
fn six_runs(store: &Store, experiment: &str) -> Result<Vec<RunId>> {
    let mut ids = Vec::new();
    for i in 0..6 {
        let run = store.tracking().create_run(&NewRun {
            experiment_id: experiment.into(),
            run_name: Some(format!("Run{i}")),
            start_time: Some(1000 + i),
            ..Default::default()
        })?;
        let id = run.info.run_id;
        if i < 5 {
            let value = if i == 4 { f64::NAN } else { i as f64 };
            store.log(&id, "m", value, 0, 0)?;
            store.param(
                &id,
                "p",
                &format!("{}_%X", ["a", "b", "c", "d", "e"][i as usize]),
            )?;
        }
        store.tag(&id, "odd", &(i % 2).to_string())?;
        if i % 2 == 1 {
            let update = RunUpdate {
                status: Some(RunStatus::Finished),
                end_time: Some(2000 + i),
                run_name: None,
            };
            store.tracking().update_run(&id, &update)?;
        }
        ids.push(id);
    }
    Ok(ids)
}

fn runs_are_filtered(store: &Store) -> Result<()> {
    let experiment = store.experiment("price")?;
    let ids = six_runs(store, &experiment)?;
    let found = |filter: &str| -> Result<Vec<usize>> {
        let query = RunQuery::new([&experiment])
            .with_filter(filter)
            .with_order("start_time");
        let runs = store.tracking().search_runs(&query)?.items;
        Ok(runs
            .iter()
            .filter_map(|r| ids.iter().position(|id| *id == r.info.run_id))
            .collect())
    };
    let check = |filter: &str, expected: &[usize]| -> Result<()> {
        assert_eq!(found(filter)?, expected, "{filter}");
        Ok(())
    };
    check("", &[0, 1, 2, 3, 4, 5])?;
    check("metrics.m = 1", &[1])?;
    check("metrics.m != 1", &[0, 2, 3, 4])?;
    check("metrics.m < 2", &[0, 1])?;
    check("metrics.m <= 2", &[0, 1, 2])?;
    check("metrics.m > 1 and metrics.m >= 3", &[3])?;
    check("metrics.m > -1e999", &[0, 1, 2, 3])?;
    check("metrics.none = 1", &[])?;
    check("metrics.none != 1", &[])?;
    check("params.p = 'a_%X'", &[0])?;
    check("params.p != 'a_%X'", &[1, 2, 3, 4])?;
    check("params.p LIKE 'b%'", &[1])?;
    check("params.p LIKE 'B%'", &[])?;
    check("params.p ILIKE 'B%'", &[1])?;
    check("params.p LIKE '[ab]%'", &[])?;
    check("params.p LIKE '?_%X' ", &[])?;
    check("params.p IS NULL", &[5])?;
    check("params.p IS NOT NULL AND tags.odd = '1'", &[1, 3])?;
    check("status = 'FINISHED'", &[1, 3, 5])?;
    check("end_time > 2001", &[3, 5])?;
    check("end_time != 2001", &[3, 5])?;
    check("attributes.`run name` LIKE '%2'", &[2])?;
    check(&format!("run_id IN ('{}','x')", ids[4]), &[4])?;
    check(&format!("run_id NOT IN ('{}')", ids[4]), &[0, 1, 2, 3, 5])?;
    check("tags.odd = \"x' OR '1' = '1\"", &[])?;
    fails(INVALID, found("metrics.m = 1 OR metrics.m = 2"));
    let nowhere = RunQuery::new(["12345", "x"]);
    assert_eq!(store.tracking().search_runs(&nowhere)?, Page::default());
    let both = RunQuery::new([experiment.as_str(), "0"]);
    assert_eq!(store.tracking().search_runs(&both)?.items.len(), 6);
    Ok(())
}

fn runs_are_ordered_and_paged(store: &Store) -> Result<()> {
    let experiment = store.experiment("price")?;
    let ids = six_runs(store, &experiment)?;
    let check = |order: &[&str], expected: &[usize]| -> Result<()> {
        for max_results in [1, 2, 4, 100] {
            let mut query = RunQuery::new([&experiment]).with_max_results(max_results);
            query.order_by = order.iter().map(|s| (*s).to_owned()).collect();
            let mut found = Vec::new();
            loop {
                let page = store.tracking().search_runs(&query)?;
                let of_id = |id: &RunId| ids.iter().position(|known| known == id);
                found.extend(page.items.iter().filter_map(|run| of_id(&run.info.run_id)));
                query.page_token = page.next_page_token;
                if query.page_token.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{order:?}, {max_results} a page");
        }
        Ok(())
    };
    check(&[], &[5, 4, 3, 2, 1, 0])?;
    check(&["start_time ASC"], &[0, 1, 2, 3, 4, 5])?;
    check(&["metrics.m ASC"], &[0, 1, 2, 3, 4, 5])?;
    check(&["metrics.m DESC"], &[3, 2, 1, 0, 4, 5])?;
    check(&["metrics.none"], &[5, 4, 3, 2, 1, 0])?;
    check(&["tags.odd DESC", "metrics.m DESC"], &[3, 1, 5, 2, 0, 4])?;
    check(&["end_time DESC", "params.p ASC"], &[5, 3, 1, 0, 2, 4])?;
    check(&["params.p DESC"], &[4, 3, 2, 1, 0, 5])?;
    check(&["attributes.status", "run_name"], &[1, 3, 5, 0, 2, 4])?;
    let foreign = RunQuery {
        page_token: Some("00".into()),
        ..RunQuery::new([&experiment])
    };
    fails(INVALID, store.tracking().search_runs(&foreign));
    let none = RunQuery::new([&experiment]).with_max_results(0);
    fails(INVALID, store.tracking().search_runs(&none));
    Ok(())
}

fn logged_models_are_kept(store: &Store) -> Result<()> {
    let run = store.run("0")?;
    let new = NewLoggedModel {
        experiment_id: "0".into(),
        name: "lstm".into(),
        model_type: "network".into(),
        source_run_id: Some(run.clone()),
        params: vec![Param::new("units", "64")],
        tags: vec![Tag::new("a", "1")],
    };
    let model = store.tracking().create_logged_model(&new)?;
    let id = model.model_id.clone();
    assert!(id.starts_with("m-") && id.len() == 34, "{id}");
    assert_eq!(model.status, LoggedModelStatus::Pending);
    assert!(
        model
            .artifact_uri
            .ends_with(&format!("/models/{id}/artifacts"))
    );
    let change = |change| store.tracking().change_logged_model(&id, &change);
    store.clock.advance(10);
    change(LoggedModelChange::Status(LoggedModelStatus::Ready))?;
    change(LoggedModelChange::SetTags(vec![
        Tag::new("b", "2"),
        Tag::new("a", "3"),
    ]))?;
    change(LoggedModelChange::DeleteTag("b".into()))?;
    fails(MISSING, change(LoggedModelChange::DeleteTag("b".into())));
    fails(
        INVALID,
        change(LoggedModelChange::LogParams(vec![Param::new(
            "units", "65",
        )])),
    );
    change(LoggedModelChange::LogParams(vec![Param::new("lr", "1")]))?;
    for (value, step) in [(1.0, 0), (3.0, 1)] {
        let metric = Metric::new("mape", value, 0, step);
        let model_metric = ModelMetric {
            model_id: id.clone(),
            metric: metric.clone(),
            dataset_name: "prices".into(),
            dataset_digest: "1".into(),
            run_id: None,
        };
        let batch = Batch {
            metrics: vec![metric],
            model_metrics: vec![model_metric],
            ..Default::default()
        };
        store.tracking().log_batch(&run, &batch)?;
    }
    let found = store.tracking().logged_model(&id)?;
    assert_eq!(found.status, LoggedModelStatus::Ready);
    assert_eq!(found.tags, [Tag::new("a", "3")]);
    assert_eq!(
        found.params,
        [Param::new("lr", "1"), Param::new("units", "64")]
    );
    assert_eq!(found.metrics.len(), 1);
    assert_eq!(found.metrics[0].metric.value, 3.0);
    assert_eq!(found.metrics[0].run_id.as_deref(), Some(run.as_str()));
    assert_eq!(found.last_updated_timestamp - found.creation_timestamp, 10);
    let other = NewLoggedModel {
        experiment_id: "0".into(),
        ..Default::default()
    };
    let other = store.tracking().create_logged_model(&other)?;
    let names = |filter: &str| -> Result<Vec<String>> {
        let query = SearchQuery::filtered(filter);
        let page = store
            .tracking()
            .search_logged_models(&["0".to_owned()], &query)?;
        Ok(page.items.into_iter().map(|model| model.name).collect())
    };
    assert_eq!(names("")?, [other.name.as_str(), "lstm"]);
    assert_eq!(
        names("name = 'lstm' AND metrics.mape > 2 AND params.units = '64'")?,
        ["lstm"]
    );
    change(LoggedModelChange::Delete)?;
    fails(MISSING, store.tracking().logged_model(&id));
    assert_eq!(names("")?, [other.name]);
    Ok(())
}

fn version(name: &str, source: &str) -> NewModelVersion {
    NewModelVersion {
        name: name.into(),
        source: source.into(),
        ..Default::default()
    }
}

fn models_have_numbered_versions(store: &Store) -> Result<()> {
    let registry = store.registry();
    let source = "mlflow-artifacts:/0/run/artifacts/model";
    fails(
        MISSING,
        registry.create_model_version(&version("btc", source)),
    );
    store.client.create_registered_model("btc")?;
    fails(EXISTS, store.client.create_registered_model("btc"));
    for name in ["", "a/b", "a:b", ".."] {
        fails(INVALID, store.client.create_registered_model(name));
    }
    fails(MISSING, store.client.latest_version("btc"));
    for number in 1..=11 {
        assert_eq!(
            registry
                .create_model_version(&version("btc", source))?
                .version,
            number
        );
    }
    assert_eq!(
        store.client.latest_version("btc")?.version,
        11,
        "numbers, not texts"
    );
    registry.delete_model_version("btc", 11)?;
    fails(MISSING, registry.model_version("btc", 11));
    assert_eq!(
        registry
            .create_model_version(&version("btc", source))?
            .version,
        12
    );
    let change = |change| registry.change_model_version("btc", 3, &change);
    change(ModelVersionChange::Description("third".into()))?;
    change(ModelVersionChange::SetTag(Tag::new("k", "v")))?;
    let found = registry.model_version("btc", 3)?;
    assert_eq!(
        (found.description.as_str(), found.tag("k")),
        ("third", Some("v"))
    );
    let numbers: Vec<_> = store
        .client
        .model_versions("btc")?
        .iter()
        .map(|found| found.version)
        .collect();
    assert_eq!(numbers, [12, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
    let query = SearchQuery::filtered("tags.k = 'v' AND name = 'btc'");
    assert_eq!(registry.search_model_versions(&query)?.items, [found]);
    registry.change_registered_model("btc", &RegisteredModelChange::Rename("eth".into()))?;
    fails(MISSING, registry.registered_model("btc"));
    assert_eq!(registry.model_version("eth", 3)?.name, "eth");
    registry.delete_registered_model("eth")?;
    fails(MISSING, registry.model_version("eth", 3));
    for source in [
        "file:///x",
        "/x",
        "runs:/../x",
        "mlflow-artifacts:/x#y",
        "models:/a/../../b",
    ] {
        let new = NewModelVersion {
            create_model: true,
            ..version("btc", source)
        };
        fails(INVALID, registry.create_model_version(&new));
    }
    Ok(())
}

fn models_have_aliases_and_stages(store: &Store) -> Result<()> {
    let registry = store.registry();
    let new = NewModelVersion {
        create_model: true,
        aliases: vec!["champion".into()],
        ..version("btc", "runs:/x/model")
    };
    assert_eq!(registry.create_model_version(&new)?.aliases, ["champion"]);
    assert_eq!(registry.create_model_version(&new)?.version, 2);
    assert_eq!(
        registry.model_version_by_alias("btc", "champion")?.version,
        2
    );
    assert!(registry.model_version("btc", 1)?.aliases.is_empty());
    store.client.set_alias("btc", "champion", 1)?;
    store.client.set_alias("btc", "best", 1)?;
    assert_eq!(
        registry.model_version("btc", 1)?.aliases,
        ["best", "champion"]
    );
    fails(MISSING, store.client.set_alias("btc", "x", 9));
    for alias in ["latest", "v1", "7", ""] {
        fails(INVALID, store.client.set_alias("btc", alias, 1));
    }
    fails(INVALID, registry.model_version_by_alias("btc", "nobody"));
    fails(MISSING, registry.model_version_by_alias("eth", "champion"));
    registry.change_registered_model("btc", &RegisteredModelChange::DeleteAlias("best".into()))?;
    let aliases = registry.registered_model("btc")?.aliases;
    assert_eq!(aliases, [("champion".to_owned(), 1)]);
    let stage = |number, stage, archive_existing| {
        let change = ModelVersionChange::Stage {
            stage,
            archive_existing,
        };
        registry.change_model_version("btc", number, &change)
    };
    stage(1, Stage::Production, false)?;
    stage(2, Stage::Production, true)?;
    assert_eq!(
        registry.model_version("btc", 1)?.current_stage,
        Stage::Archived
    );
    let latest = registry.registered_model("btc")?.latest_versions;
    let latest: Vec<_> = latest
        .iter()
        .map(|v| (v.current_stage, v.version))
        .collect();
    assert_eq!(latest, [(Stage::Production, 2), (Stage::Archived, 1)]);
    registry.delete_model_version("btc", 1)?;
    fails(INVALID, registry.model_version_by_alias("btc", "champion"));
    let query = SearchQuery::filtered("name = 'btc' AND tag.`mlflow.prompt.is_prompt` != 'true'");
    assert_eq!(registry.search_registered_models(&query)?.items.len(), 1);
    Ok(())
}

fn a_failed_version_leaves_no_model(store: &Store) -> Result<()> {
    let new = NewModelVersion {
        create_model: true,
        aliases: vec!["latest".into()],
        ..version("btc", "runs:/x/model")
    };
    fails(INVALID, store.registry().create_model_version(&new));
    fails(MISSING, store.registry().registered_model("btc"));
    Ok(())
}

fn purge_removes_what_was_deleted(store: &Store) -> Result<()> {
    // A store whose server does this by itself says so.
    if store
        .tracking()
        .purgeable(0)
        .is_err_and(|error| error.code() == INVALID)
    {
        return Ok(());
    }
    let experiment = store.experiment("price")?;
    let (kept, gone, registered) = (
        store.run(&experiment)?,
        store.run(&experiment)?,
        store.run(&experiment)?,
    );
    let uri = |run: &str| Ok::<_, Error>(store.tracking().run(run)?.info.artifact_uri);
    let (gone_uri, registered_uri) = (uri(&gone)?, uri(&registered)?);
    let new = NewModelVersion {
        create_model: true,
        ..version("btc", &format!("{registered_uri}/model"))
    };
    store.registry().create_model_version(&new)?;
    store.log(&gone, "m", 1.0, 0, 0)?;
    for run in [&gone, &registered] {
        store
            .tracking()
            .set_run_lifecycle(run, LifecycleStage::Deleted)?;
    }
    let now = store.client.clock.now_ms();
    assert_eq!(
        store.tracking().purge(now)?,
        Purged::default(),
        "not older than now"
    );
    let purgeable = store.tracking().purgeable(now + 1)?;
    let purged = store.tracking().purge(now + 1)?;
    assert_eq!(purgeable, purged, "and asking has removed nothing");
    assert_eq!(
        purged.artifact_uris,
        [gone_uri],
        "a registered version keeps its files"
    );
    assert_eq!(purged.run_ids.len(), 2);
    fails(MISSING, store.tracking().run(&gone));
    store.tracking().run(&kept)?;
    store
        .tracking()
        .change_experiment(&experiment, &ExperimentChange::Delete)?;
    let purged = store.tracking().purge(now + 1)?;
    assert_eq!(
        (purged.run_ids, purged.experiment_ids),
        (vec![kept], vec![experiment])
    );
    // The name is free again, the id is not.
    assert_ne!(
        store.experiment("price")?,
        purged.artifact_uris.len().to_string()
    );
    Ok(())
}
