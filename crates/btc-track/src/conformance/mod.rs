//! What every store must do, as a suite for implementors.
//!
//! ```
//! use btc_track::{TrackingClient, conformance};
//!
//! # let folder = tempfile::tempdir()?;
//! conformance::check(|clock| TrackingClient::in_memory_with(folder.path(), clock));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod experiments;
mod models;
mod search;
mod values;

use std::sync::Arc;

use crate::client::TrackingClient;
use crate::clock::ManualClock;
use crate::entity::*;
use crate::error::Result;
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
        experiments::experiments_have_unique_names,
    ),
    (
        "experiments are deleted with their runs",
        experiments::experiments_are_deleted_with_their_runs,
    ),
    (
        "experiments are searched",
        experiments::experiments_are_searched,
    ),
    ("runs record values", values::runs_record_values),
    (
        "batches are all or nothing",
        values::batches_are_all_or_nothing,
    ),
    (
        "the latest metric is the greatest",
        values::the_latest_metric_is_the_greatest,
    ),
    (
        "histories have no duplicates",
        values::histories_have_no_duplicates,
    ),
    ("histories are paged", values::histories_are_paged),
    ("buckets keep extremes", values::buckets_keep_extremes),
    (
        "deleted runs take nothing",
        values::deleted_runs_take_nothing,
    ),
    (
        "inputs and outputs are kept",
        values::inputs_and_outputs_are_kept,
    ),
    ("bad values are refused", values::bad_values_are_refused),
    ("runs are filtered", search::runs_are_filtered),
    (
        "runs are ordered and paged",
        search::runs_are_ordered_and_paged,
    ),
    ("logged models are kept", models::logged_models_are_kept),
    (
        "models have numbered versions",
        models::models_have_numbered_versions,
    ),
    (
        "models have aliases and stages",
        models::models_have_aliases_and_stages,
    ),
    (
        "one run is one version, however many register it",
        models::one_run_is_one_version_however_many_register_it,
    ),
    (
        "a failed version leaves no model",
        models::a_failed_version_leaves_no_model,
    ),
    (
        "purge removes what was deleted",
        experiments::purge_removes_what_was_deleted,
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
