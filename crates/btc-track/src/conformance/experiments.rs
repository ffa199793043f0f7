//! What every store does with experiments.

use super::models::version;
use super::{EXISTS, INVALID, MISSING, Store, fails};
use crate::entity::*;
use crate::error::{Error, Result};
use crate::store::*;

pub(super) fn experiments_have_unique_names(store: &Store) -> Result<()> {
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

pub(super) fn experiments_are_deleted_with_their_runs(store: &Store) -> Result<()> {
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

pub(super) fn experiments_are_searched(store: &Store) -> Result<()> {
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

pub(super) fn purge_removes_what_was_deleted(store: &Store) -> Result<()> {
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
    assert_eq!(purged.run_ids, std::slice::from_ref(&gone));
    assert_eq!(purged.kept, std::slice::from_ref(&registered));
    fails(MISSING, store.tracking().run(&gone));
    store.tracking().run(&kept)?;
    // Folders are named until they are gone.
    assert_eq!(
        store.tracking().purge(now + 1)?.artifact_uris,
        purged.artifact_uris
    );
    store.tracking().artifacts_deleted(&purged.artifact_uris)?;
    assert!(store.tracking().purge(now + 1)?.artifact_uris.is_empty());
    // Without the version, what it needed goes too.
    store.registry().delete_model_version("btc", 1)?;
    let purged = store.tracking().purge(now + 1)?;
    assert_eq!(purged.run_ids, [registered]);
    assert_eq!(purged.artifact_uris, [registered_uri]);
    store
        .tracking()
        .change_experiment(&experiment, &ExperimentChange::Delete)?;
    let purged = store.tracking().purge(now + 1)?;
    assert_eq!(
        (purged.run_ids.clone(), purged.experiment_ids.clone()),
        (vec![kept], vec![experiment])
    );
    // The name is free again, the id is not.
    assert_ne!(store.experiment("price")?, purged.experiment_ids[0]);
    Ok(())
}
