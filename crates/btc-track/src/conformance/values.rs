//! What every store keeps of a run: metrics, parameters, tags, inputs.

use super::{INVALID, MISSING, Store, fails};
use crate::entity::*;
use crate::error::Result;
use crate::store::*;

pub(super) fn runs_record_values(store: &Store) -> Result<()> {
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

pub(super) fn batches_are_all_or_nothing(store: &Store) -> Result<()> {
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

pub(super) fn the_latest_metric_is_the_greatest(store: &Store) -> Result<()> {
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
    // In one batch too, whatever the order there.
    let metrics = vec![
        Metric::new("n", f64::NAN, 0, 0),
        Metric::new("n", f64::NEG_INFINITY, 0, 0),
    ];
    store.tracking().log_batch(
        &run,
        &Batch {
            metrics,
            ..Default::default()
        },
    )?;
    assert_eq!(store.tracking().run(&run)?.metric("n"), Some(f64::MIN));
    assert_eq!(latest(f64::INFINITY, 0, 6)?, f64::MAX);
    assert_eq!(latest(f64::NEG_INFINITY, 0, 7)?, f64::MIN);
    Ok(())
}

pub(super) fn histories_have_no_duplicates(store: &Store) -> Result<()> {
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

pub(super) fn histories_are_paged(store: &Store) -> Result<()> {
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

pub(super) fn buckets_keep_extremes(store: &Store) -> Result<()> {
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

pub(super) fn deleted_runs_take_nothing(store: &Store) -> Result<()> {
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
    fails(INVALID, store.tracking().log_inputs(&run, &[], &[]));
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

pub(super) fn inputs_and_outputs_are_kept(store: &Store) -> Result<()> {
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
    let models = ["m-2".to_owned(), "m-1".to_owned()];
    store.tracking().log_inputs(&run, &inputs, &models)?;
    store
        .tracking()
        .log_inputs(&run, &inputs[..1], &models[..1])?;
    let output = ModelOutput {
        model_id: "m-1".into(),
        step: 3,
    };
    store
        .tracking()
        .log_outputs(&run, std::slice::from_ref(&output))?;
    let recorded = store.tracking().run(&run)?;
    assert_eq!(recorded.inputs, inputs);
    assert_eq!(recorded.model_inputs, ["m-1", "m-2"]);
    assert_eq!(recorded.outputs, [output]);
    fails(
        INVALID,
        store.tracking().log_inputs(&run, &[input("", "1")], &[]),
    );
    Ok(())
}

pub(super) fn bad_values_are_refused(store: &Store) -> Result<()> {
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
