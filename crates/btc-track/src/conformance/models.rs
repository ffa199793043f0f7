//! What every store does with logged and registered models.

use super::{EXISTS, INVALID, MISSING, Store, fails};
use crate::entity::*;
use crate::error::Result;
use crate::store::*;

pub(super) fn logged_models_are_kept(store: &Store) -> Result<()> {
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

pub(super) fn version(name: &str, source: &str) -> NewModelVersion {
    NewModelVersion {
        name: name.into(),
        source: source.into(),
        ..Default::default()
    }
}

pub(super) fn models_have_numbered_versions(store: &Store) -> Result<()> {
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

pub(super) fn models_have_aliases_and_stages(store: &Store) -> Result<()> {
    let registry = store.registry();
    let new = NewModelVersion {
        create_model: true,
        aliases: vec!["champion".into()],
        ..version("btc", "mlflow-artifacts:/0/x/model")
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
    for alias in ["latest", "Latest", "v1", "V12", "", "a/b", "a b", "a.b"] {
        fails(INVALID, store.client.set_alias("btc", alias, 1));
    }
    fails(INVALID, store.client.set_alias("btc", &"a".repeat(256), 1));
    for alias in ["v", "7", "ünï-1_x"] {
        store.client.set_alias("btc", alias, 1)?;
        store.client.delete_alias("btc", alias)?;
    }
    let tag = |length| RegisteredModelChange::SetTag(Tag::new("long", "x".repeat(length)));
    registry.change_registered_model("btc", &tag(100_000))?;
    fails(
        INVALID,
        registry.change_registered_model("btc", &tag(100_001)),
    );
    for latest in ["latest", "Latest"] {
        assert_eq!(registry.model_version_by_alias("btc", latest)?.version, 2);
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

pub(super) fn one_run_is_one_version_however_many_register_it(store: &Store) -> Result<()> {
    let new = |tag: &str| NewModelVersion {
        create_model: true,
        run_id: Some("0123456789abcdef0123456789abcdef".into()),
        tags: vec![Tag::new("by", tag)],
        aliases: vec!["champion".into()],
        ..version("btc", "mlflow-artifacts:/0/run/artifacts/model")
    };
    let start = std::sync::Barrier::new(4);
    let registered: Vec<Result<_>> = std::thread::scope(|scope| {
        let racers: Vec<_> = (0..4)
            .map(|racer| {
                let (new, start) = (new(&racer.to_string()), &start);
                scope.spawn(move || {
                    start.wait();
                    store.registry().register_model_version(&new)
                })
            })
            .collect();
        let join = |racer: std::thread::ScopedJoinHandle<'_, _>| racer.join().expect("no panic");
        racers.into_iter().map(join).collect()
    });
    let mut new_ones = 0;
    let left = store.client.model_versions("btc")?;
    assert_eq!(left.len(), 1);
    for outcome in registered {
        let (version, was_there) = outcome?;
        assert_eq!(
            version.version, left[0].version,
            "all get the one that stays"
        );
        new_ones += usize::from(!was_there);
    }
    assert_eq!(new_ones, 1, "one of them made it");
    assert_eq!(left[0].aliases, ["champion"]);

    // Later, too, and what is new is added.
    let (again, was_there) = store.registry().register_model_version(&new("later"))?;
    assert_eq!((again.version, was_there), (left[0].version, true));
    assert_eq!(again.tag("by"), Some("later"));
    // Another folder of the run is another version.
    let other = NewModelVersion {
        source: "mlflow-artifacts:/0/run/artifacts/other".into(),
        ..new("other")
    };
    let (other, was_there) = store.registry().register_model_version(&other)?;
    assert!(!was_there && other.version != again.version);
    Ok(())
}

pub(super) fn a_failed_version_leaves_no_model(store: &Store) -> Result<()> {
    let new = NewModelVersion {
        create_model: true,
        aliases: vec!["latest".into()],
        ..version("btc", "mlflow-artifacts:/0/x/model")
    };
    fails(INVALID, store.registry().create_model_version(&new));
    fails(MISSING, store.registry().registered_model("btc"));
    // A source that names nothing makes no version, with MLflow's codes.
    for (code, source) in [
        (INVALID, "runs:/00000000000000000000000000000000/model"),
        (MISSING, "models:/nothing/1"),
        (MISSING, "models:/nothing@champion"),
        (MISSING, "models:/m-00000000000000000000000000000000"),
    ] {
        let new = NewModelVersion {
            aliases: Vec::new(),
            source: source.into(),
            ..new.clone()
        };
        fails(code, store.registry().create_model_version(&new));
        fails(MISSING, store.registry().registered_model("btc"));
    }
    Ok(())
}
