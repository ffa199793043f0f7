//! Both stores give the same answers to the same questions.

use btc_track::*;
use proptest::prelude::*;

#[derive(Debug, Clone)]
struct Spec {
    start: i64,
    metrics: Vec<(u8, f64, i64, i64)>,
    params: Vec<(u8, u8)>,
    deleted: bool,
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (-3i32..3).prop_map(f64::from),
        1 => Just(f64::NAN),
        1 => Just(f64::INFINITY),
        1 => Just(f64::NEG_INFINITY),
        1 => any::<f64>(),
    ]
}

fn spec() -> impl Strategy<Value = Spec> {
    let metric = (0u8..3, value(), 0i64..3, -2i64..3);
    (
        0i64..4,
        prop::collection::vec(metric, 0..6),
        prop::collection::vec((0u8..3, 0u8..4), 0..3),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(start, metrics, params, deleted)| Spec {
            start,
            metrics,
            params,
            deleted,
        })
}

fn clause() -> impl Strategy<Value = String> {
    let operator = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let number = prop::sample::select(vec!["-1", "0", "1.0", "2e0", "1e999", "-1e999"]);
    let text = prop::sample::select(vec!["'v0'", "'V1'", "'v%'", "'_1'", "\"v2\"", "'%[v]*'"]);
    let texts = prop::sample::select(vec!["=", "!=", "LIKE", "ILIKE"]);
    prop_oneof![
        (0u8..4, operator.clone(), number.clone())
            .prop_map(|(k, o, n)| format!("metrics.m{k} {o} {n}")),
        (0u8..4, texts, text).prop_map(|(k, o, t)| format!("params.`p{k}` {o} {t}")),
        (0u8..4).prop_map(|k| format!("params.p{k} IS NULL")),
        (0u8..4).prop_map(|k| format!("params.p{k} is not null")),
        (operator, number).prop_map(|(o, n)| format!("start_time {o} {n}")),
    ]
}

fn order() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "metrics.m0",
        "metrics.m1",
        "metrics.m9",
        "params.p0",
        "params.p1",
        "start_time",
        "run_name",
    ]);
    let direction = prop::sample::select(vec!["", " ASC", " DESC"]);
    (key, direction).prop_map(|(key, direction)| format!("{key}{direction}"))
}

/// Creates the runs and gives the names that a search finds, page by page.
fn found(client: &TrackingClient, specs: &[Spec], query: &RunQuery) -> Vec<String> {
    for (i, spec) in specs.iter().enumerate() {
        let new = NewRun {
            experiment_id: "0".into(),
            run_name: Some(format!("r{i:02}")),
            start_time: Some(spec.start),
            ..Default::default()
        };
        let id = client.tracking.create_run(&new).unwrap().info.run_id;
        let metric = |(key, value, time, step): &(u8, f64, i64, i64)| {
            Metric::new(format!("m{key}"), *value, *time, *step)
        };
        let metrics = spec.metrics.iter().map(metric).collect();
        client
            .tracking
            .log_batch(
                &id,
                &Batch {
                    metrics,
                    ..Default::default()
                },
            )
            .unwrap();
        for (key, value) in &spec.params {
            let params = vec![Param::new(format!("p{key}"), format!("v{value}"))];
            let _ = client.tracking.log_batch(
                &id,
                &Batch {
                    params,
                    ..Default::default()
                },
            );
        }
        if spec.deleted {
            client.delete_run(&id).unwrap();
        }
    }
    let mut query = query.clone();
    let mut names = Vec::new();
    loop {
        let page = client.tracking.search_runs(&query).unwrap();
        for run in page.items {
            let metrics: Vec<_> = run.data.metrics.iter().map(|m| format!("{m:?}")).collect();
            names.push(format!(
                "{} {metrics:?} {:?}",
                run.info.run_name, run.data.params
            ));
        }
        query.page_token = page.next_page_token;
        if query.page_token.is_none() {
            return names;
        }
    }
}

proptest! {
    #![proptest_config(btc_testing::cases(64))]

    #[test]
    fn memory_and_sqlite_find_the_same_runs_in_the_same_order(
        specs in prop::collection::vec(spec(), 0..12),
        clauses in prop::collection::vec(clause(), 0..3),
        mut orders in prop::collection::vec(order(), 0..3),
        view in prop::sample::select(vec![ViewType::ActiveOnly, ViewType::DeletedOnly, ViewType::All]),
        max_results in 1usize..6,
    ) {
        // Run ids break ties and differ between the stores, names do not.
        orders.push("run_name".into());
        let query = RunQuery {
            filter: clauses.join(" AND "),
            order_by: orders,
            view,
            ..RunQuery::new(["0"]).with_max_results(max_results)
        };
        let folder = tempfile::tempdir().unwrap();
        let sqlite = TrackingClient::open(&folder.path().join("track.db"), folder.path()).unwrap();
        let memory = TrackingClient::in_memory(folder.path()).unwrap();
        prop_assert_eq!(found(&sqlite, &specs, &query), found(&memory, &specs, &query));
    }
}
