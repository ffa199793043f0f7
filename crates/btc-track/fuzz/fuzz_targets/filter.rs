//! Filters and orderings of searches: both stores agree on what they accept,
//! and neither panics.
#![no_main]

use std::sync::LazyLock;

use btc_track::search::{Filter, OrderBy, Subject};
use btc_track::{ActiveRun, Error, RunQuery, RunSpec, TrackingClient, TrackingStore};
use libfuzzer_sys::fuzz_target;

static STORES: LazyLock<(tempfile::TempDir, [TrackingClient; 2])> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let sqlite = TrackingClient::open(&folder.path().join("track.db"), folder.path()).unwrap();
    let memory = TrackingClient::in_memory(folder.path()).unwrap();
    for client in [&sqlite, &memory] {
        for i in 0..4 {
            let run = ActiveRun::start(client, "0", RunSpec::named(format!("r{i}"))).unwrap();
            run.log_metric("m", if i == 3 { f64::NAN } else { f64::from(i) }, 0).unwrap();
            run.log_param("p", format!("a%_{i}")).unwrap();
            run.set_tag("t", i % 2).unwrap();
        }
    }
    (folder, [sqlite, memory])
});

fn names(store: &dyn TrackingStore, query: &RunQuery) -> Result<Vec<String>, String> {
    match store.search_runs(query) {
        Ok(page) => {
            let mut names: Vec<_> = page.items.into_iter().map(|run| run.info.run_name).collect();
            names.sort();
            Ok(names)
        }
        Err(error @ (Error::InvalidFilter { .. } | Error::InvalidParameter { .. })) => {
            Err(error.to_string())
        }
        Err(error) => panic!("{error:?} for {query:?}"),
    }
}

fuzz_target!(|text: &str| {
    for subject in [
        Subject::Run,
        Subject::Experiment,
        Subject::RegisteredModel,
        Subject::ModelVersion,
        Subject::LoggedModel,
    ] {
        let _ = OrderBy::parse(subject, text);
        if let Err(Error::InvalidFilter { position, .. }) = Filter::parse(subject, text) {
            assert!(position <= text.len());
        }
    }
    // Ids and times differ between the stores.
    if ["run_id", "uri", "time", "reated"].iter().any(|word| text.contains(word)) {
        return;
    }
    let (_, [sqlite, memory]) = &*STORES;
    let filtered = RunQuery::new(["0"]).with_filter(text);
    assert_eq!(names(&*sqlite.tracking, &filtered), names(&*memory.tracking, &filtered));
    let ordered = RunQuery::new(["0"]).with_order(text);
    assert_eq!(names(&*sqlite.tracking, &ordered), names(&*memory.tracking, &ordered));
});
