//! The whole workflow through the command line, offline.

use serde_json::Value;

use crate::{btc, fail, stderr, succeed};

#[test]
fn the_first_command_gives_a_forecast_and_the_second_adds_trials() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    let run = ["--json", "pipeline", "run", "--sample", "--n-trials", "2"];
    let first: Value = serde_json::from_str(&succeed(root, &run)).expect("JSON");
    assert_eq!(first["search"]["trials"], 2);
    assert_eq!(first["prediction"]["target_time"], "2025-01-02T00:00:00Z");
    assert_eq!(first["prediction"]["known_until"], "2025-01-01T00:00:00Z");
    for key in [
        "forecast",
        "naive",
        "target_time",
        "known_until",
        "interval",
        "model",
        "version",
    ] {
        assert!(!first["prediction"][key].is_null(), "{key}");
    }

    let again: Value = serde_json::from_str(&succeed(root, &run)).expect("JSON");
    assert_eq!(again["search"]["trials"], 4);
    assert_eq!(again["prediction"]["version"], 2);

    // The model is of the next close, whatever is asked for.
    let says = "forecasts 1 rows ahead, not 7";
    fail(root, &["predict", "--horizon", "7"], 2, says);
    fail(
        root,
        &["predict", "--target-column", "volume"],
        2,
        "forecasts \"close\", not \"volume\"",
    );
    let says = "nothing to register";
    fail(root, &["model", "register-best", "--horizon", "3"], 3, says);

    // The databases are complete in one file each.
    for file in ["studies.db-wal", "track.db-wal"] {
        let size = std::fs::metadata(root.join(file)).map_or(0, |found| found.len());
        assert_eq!(size, 0, "{file} holds something");
    }
}

#[test]
fn the_same_seed_gives_the_same_forecast() {
    let forecast = || {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let run = [
            "--json",
            "pipeline",
            "run",
            "--sample",
            "--n-trials",
            "2",
            "--seed",
            "5",
        ];
        let summary: Value = serde_json::from_str(&succeed(folder.path(), &run)).expect("JSON");
        summary["prediction"]["forecast"].to_string()
    };
    assert_eq!(forecast(), forecast());
}

#[test]
fn the_stages_one_by_one_under_their_old_names() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    succeed(
        root,
        &["-q", "pipeline", "run", "--sample", "--n-trials", "1"],
    );
    succeed(root, &["price-data-retrieve", "--pull-data", "false"]);
    succeed(root, &["price-training-data-create"]);
    let optimize = [
        "price-regression-optimize",
        "--model-type",
        "LSTM",
        "--n-trials",
        "1",
        "--timesteps",
        "5",
        "--prediction-length",
        "5",
        "--experiment-name",
        "old",
        "--version",
        "2",
    ];
    succeed(root, &optimize);
    // Whether the model beats naive is up to the data; either answer is one clear line.
    let register = btc(root, &["register-best-model", "--experiment-id", "old-v2"]);
    let refused = stderr(&register).contains("--allow-worse-than-naive");
    assert!(
        register.status.success() || refused,
        "{}",
        stderr(&register)
    );
    let predicted = succeed(
        root,
        &[
            "price-predict",
            "--registered-model-name",
            "bitcoin-regression",
        ],
    );
    assert!(predicted.contains("naive forecast"), "{predicted}");
}
