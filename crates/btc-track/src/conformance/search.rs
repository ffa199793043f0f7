//! How every store filters, orders and pages runs.

use super::{INVALID, Store, fails};
use crate::entity::*;
use crate::error::Result;
use crate::store::*;

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

pub(super) fn runs_are_filtered(store: &Store) -> Result<()> {
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
    fails(INVALID, found("params.p LIKE 'a%\0'"));
    let nowhere = RunQuery::new(["12345", "x"]);
    assert_eq!(store.tracking().search_runs(&nowhere)?, Page::default());
    let both = RunQuery::new([experiment.as_str(), "0"]);
    assert_eq!(store.tracking().search_runs(&both)?.items.len(), 6);
    Ok(())
}

pub(super) fn runs_are_ordered_and_paged(store: &Store) -> Result<()> {
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
