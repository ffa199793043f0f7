//! Names: what can be typed is listed, a slip is answered with the near name, and the only one
//! there is needs none.

use serde_json::Value;

use crate::{btc, fail, stderr, stdout, succeed};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn the_help_lists_what_can_be_typed() {
    let folder = folder();
    let cases: &[(&[&str], &[&str])] = &[
        (
            &["tune", "run"],
            &["ConvLSTM2D", "cmaes", "successive-halving", "log-return"],
        ),
        (
            &["pipeline", "run"],
            &["NLinear", "hyperband", "difference"],
        ),
        (&["backtest"], &["PatchTST", "ridge", "all"]),
        (&["tune", "create-study"], &["minimize, maximize"]),
        (&["tune", "ask"], &["nsga2", "maximize"]),
        (&["tune", "plot"], &["contour", "pareto"]),
        (&["tune", "trials"], &["value", "json", "table"]),
        (&["tune", "importance"], &["fanova"]),
        (&["data", "export"], &["ohlcv"]),
        (&["features", "list"], &["on-demand"]),
        (&["completions"], &["zsh"]),
    ];
    for (command, names) in cases {
        let help = succeed(folder.path(), &[command, ["--help"].as_slice()].concat());
        for name in *names {
            assert!(help.contains(name), "{command:?} does not list {name}");
        }
    }
}

#[test]
fn a_slip_is_answered_with_the_near_name() {
    let folder = folder();
    let cases: &[(&[&str], &str)] = &[
        (&["tune", "run", "--model-type", "LTSM"], "LSTM"),
        (&["tune", "run", "--sampler", "tpee"], "tpe"),
        (&["tune", "run", "--pruner", "hyperbnd"], "hyperband"),
        (&["tune", "run", "--target", "logreturn"], "log-return"),
        (&["backtest", "--models", "naive,rigde"], "ridge"),
        (
            &[
                "tune",
                "create-study",
                "--study",
                "s",
                "--direction",
                "minimise",
            ],
            "minimize",
        ),
        (&["tune", "plot", "histroy", "--study", "s"], "history"),
    ];
    for (command, near) in cases {
        let output = btc(folder.path(), command);
        assert_eq!(output.status.code(), Some(2), "{command:?}");
        let tip = format!("a similar value exists: '{near}'");
        assert!(stderr(&output).contains(&tip), "{}", stderr(&output));
    }
    // Names are taken in any case.
    fail(
        folder.path(),
        &["tune", "run", "--model-type", "lstm"],
        3,
        "data pull",
    );
}

#[test]
fn the_only_one_there_is_needs_no_name() {
    let folder = folder();
    let root = folder.path();
    let run = [
        "-q",
        "pipeline",
        "run",
        "--sample",
        "--n-trials",
        "1",
        "--model-type",
        "NLinear",
        "--experiment-name",
        "mine",
        "--model-name",
        "my-model",
    ];
    succeed(root, &run);
    succeed(root, &["tune", "trials"]);
    succeed(root, &["tune", "best-trial"]);
    assert!(succeed(root, &["track", "runs"]).contains("FINISHED"));
    succeed(root, &["predict"]);
    let shown = |arguments: &[&str]| -> Value {
        serde_json::from_str(&succeed(root, arguments)).expect("JSON")
    };
    let versions = shown(&["model", "show", "--json"]);
    assert_eq!(versions[0]["name"], "my-model");
    succeed(
        root,
        &["model", "promote", "my-model", "1", "--alias", "best"],
    );
    let versions = shown(&["model", "show", "my-model", "--json"]);
    let aliases = versions[0]["aliases"].as_array().expect("a list");
    assert!(aliases.contains(&"best".into()), "{versions}");
    assert_eq!(versions[0]["model_aliases"]["best"], 1);
    let again = [
        "--json",
        "model",
        "register-best",
        "--allow-worse-than-naive",
        "--model-name",
        "my-model",
    ];
    let registration = shown(&again);
    for key in ["verdict", "p", "looks"] {
        assert!(!registration[key].is_null(), "{key}: {registration}");
    }

    // A comparison with the champion says first on which days that was chosen.
    succeed(root, &["model", "promote", "my-model", "1"]);
    let compared = succeed(root, &["backtest", "--origins", "30", "--refit", "30"]);
    let first = compared.lines().next().unwrap_or_default();
    let says = "days on which the configuration of a compared model was chosen";
    assert!(first.starts_with("30 of 30 origins"), "{compared}");
    assert!(first.contains(says), "{compared}");

    // With several, the error lists them.
    succeed(root, &["tune", "create-study", "--study", "second"]);
    fail(root, &["tune", "trials"], 2, "mine, second");
    fail(
        root,
        &["track", "runs", "--experiment", "other"],
        3,
        "other",
    );
    let search = [
        "--json",
        "-q",
        "tune",
        "run",
        "--n-trials",
        "1",
        "--model-type",
        "NLinear",
        "--experiment-name",
        "second-experiment",
    ];
    let outcome = shown(&search);
    for key in ["best_mape", "naive_mape", "left_out"] {
        assert!(outcome[key].is_number(), "{key}: {outcome}");
    }
    for key in ["data_hash", "first_target", "last_target"] {
        assert!(outcome["window"][key].is_string(), "{key}: {outcome}");
    }
    fail(root, &["track", "runs"], 2, "mine, second-experiment");
}

#[test]
fn what_is_forecast_is_a_setting() {
    let folder = folder();
    let root = folder.path();
    succeed(root, &["-q", "data", "sample", "--days", "600"]);
    let file = "[model]\nhorizon = 2\ntarget_column = \"high\"\n";
    std::fs::write(root.join("btc.toml"), file).expect("a file");
    let shown = succeed(root, &["config", "show", "--json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["model.horizon"]["value"], "2");
    let search = |more: &[&str]| -> Value {
        let run = [
            "--json",
            "-q",
            "tune",
            "run",
            "--n-trials",
            "1",
            "--model-type",
            "NLinear",
        ];
        serde_json::from_str(&succeed(root, &[&run, more].concat())).expect("JSON")
    };
    let outcome = search(&["--experiment-name", "a"]);
    assert_eq!(outcome["window"]["horizon"], 2);
    assert_eq!(outcome["window"]["target_column"], "high");
    let flags = [
        "--experiment-name",
        "b",
        "--horizon",
        "1",
        "--target-column",
        "low",
    ];
    let outcome = search(&flags);
    assert_eq!(outcome["window"]["horizon"], 1);
    assert_eq!(outcome["window"]["target_column"], "low");
    fail(root, &["tune", "run", "--target-column", "hgih"], 2, "hgih");
    fail(root, &["tune", "run", "--service", "nothing"], 3, "nothing");
    fail(root, &["tune", "run", "--device", "gpu"], 2, "--device");
}

#[test]
fn the_originals_retrieval_uses_what_is_saved() {
    let folder = folder();
    let root = folder.path();
    let url = crate::exit_codes::dead_url();
    // Nothing is saved, so the service is asked.
    fail(
        root,
        &["price-data-retrieve", "--blockchain-url", &url],
        4,
        &url,
    );
    succeed(
        root,
        &["data", "sample", "--days", "60", "--last-day", "2024-01-01"],
    );
    let saved = btc(root, &["price-data-retrieve", "--blockchain-url", &url]);
    assert!(
        stdout(&saved).contains("saved data ends with 2024-01-01"),
        "{}",
        stderr(&saved)
    );
}
