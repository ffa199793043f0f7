//! Exit codes by the kind of error, over the commands.

use crate::{btc, fail, stderr, succeed};

/// A server that is not there.
pub(crate) fn dead_url() -> String {
    btc_testing::NO_SERVER.to_owned()
}

/// A project with data, one trial and one registered model.
fn project() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = ["-q", "pipeline", "run", "--sample", "--n-trials", "1"];
    succeed(folder.path(), &run);
    folder
}

#[test]
fn a_wrong_argument_is_two_and_a_missing_thing_three() {
    let folder = project();
    let cases: &[(&[&str], i32, &str)] = &[
        (&["backtest", "--origins", "0"], 2, "--origins"),
        (&["backtest", "--origins", "100000"], 2, "100062 are needed"),
        (&["backtest", "--refit", "0"], 2, "--refit"),
        (&["backtest", "--horizon", "0"], 2, "--horizon"),
        (&["backtest", "--seeds", "0"], 2, "--seeds"),
        (&["backtest", "--epochs", "0"], 2, "--epochs"),
        (&["backtest", "--models", "LTSM"], 2, "LSTM"),
        (&["tune", "run", "--n-trials", "0"], 2, "--n-trials"),
        (
            &["tune", "run", "--prediction-length", "0"],
            2,
            "--prediction-length",
        ),
        (&["tune", "run", "--holdout", "100000"], 2, "too few"),
        (&["tune", "run", "--storage", "foo://x"], 2, "foo://x"),
        (
            &["pipeline", "run", "--offline", "--storage", "foo://x"],
            2,
            "foo://x",
        ),
        (&["tune", "studies", "--storage", "foo://x"], 2, "foo://x"),
        (
            &["tune", "trials", "--study", "s", "--storage", "foo://x"],
            2,
            "foo://x",
        ),
        (
            &["tune", "best-trial", "--study", "s", "--storage", "foo://x"],
            2,
            "foo://x",
        ),
        (
            &[
                "tune",
                "best-trials",
                "--study",
                "s",
                "--storage",
                "foo://x",
            ],
            2,
            "foo://x",
        ),
        (
            &[
                "tune",
                "create-study",
                "--study",
                "s",
                "--storage",
                "foo://x",
            ],
            2,
            "foo://x",
        ),
        (
            &[
                "tune",
                "delete-study",
                "--study",
                "s",
                "--storage",
                "foo://x",
            ],
            2,
            "foo://x",
        ),
        (
            &[
                "tune",
                "ask",
                "--study",
                "s",
                "--search-space",
                "{}",
                "--storage",
                "foo://x",
            ],
            2,
            "foo://x",
        ),
        (
            &[
                "tune",
                "tell",
                "--study",
                "s",
                "--trial",
                "0",
                "--storage",
                "foo://x",
            ],
            2,
            "foo://x",
        ),
        (
            &["tune", "importance", "--study", "s", "--storage", "foo://x"],
            2,
            "foo://x",
        ),
        (
            &[
                "tune",
                "plot",
                "history",
                "--study",
                "s",
                "--storage",
                "foo://x",
            ],
            2,
            "foo://x",
        ),
        (
            &["tune", "export", "--study", "s", "--storage", "foo://x"],
            2,
            "foo://x",
        ),
        (
            &["track", "runs", "--filter", "metrics.MAPE <"],
            2,
            "position",
        ),
        (&["data", "pull", "--blockchain-url", "x"], 2, "http://"),
        (&["serve", "--host", "nonsense"], 2, "not an IP address"),
        (&["tune", "trials", "--study", "nothing"], 3, "nothing"),
        (&["tune", "best-trial", "--study", "nothing"], 3, "nothing"),
        (
            &["tune", "plot", "history", "--study", "nothing"],
            3,
            "nothing",
        ),
        (
            &[
                "tune",
                "tell",
                "--study",
                "crypto-reg-experiment",
                "--trial",
                "99",
                "--values",
                "1",
            ],
            3,
            "99",
        ),
        (&["track", "runs", "--experiment", "nothing"], 3, "nothing"),
        (
            &["track", "show", "0123456789abcdef0123456789abcdef"],
            3,
            "0123456789abcdef",
        ),
        (
            &[
                "track",
                "metrics",
                "0123456789abcdef0123456789abcdef",
                "loss",
            ],
            3,
            "0123456789abcdef",
        ),
        (
            &["track", "delete", "0123456789abcdef0123456789abcdef"],
            3,
            "0123456789abcdef",
        ),
        (&["model", "show", "nothing"], 3, "nothing"),
        (&["model", "promote", "bitcoin-regression", "99"], 3, "99"),
        (&["model", "promote", "nothing", "1"], 3, "nothing"),
        (&["model", "delete", "bitcoin-regression", "99"], 3, "99"),
        (
            &["model", "register-best", "--experiment", "nothing"],
            3,
            "nothing",
        ),
        (&["predict", "--model-name", "nothing"], 3, "nothing"),
        (&["predict", "--version", "99"], 3, "99"),
        (&["features", "describe", "nothing"], 3, "nothing"),
        (&["features", "build", "--service", "nothing"], 3, "nothing"),
        (&["features", "stats", "nothing"], 3, "nothing"),
        (
            &["features", "online", "--service", "nothing"],
            3,
            "nothing",
        ),
        (
            &[
                "features",
                "historical",
                "--end",
                "2024-01-01",
                "--service",
                "nothing",
                "--output",
                "x.parquet",
            ],
            3,
            "nothing",
        ),
        (
            &["features", "import", "--feast", "/nothing/registry.db"],
            3,
            "nothing",
        ),
        (
            &[
                "data",
                "import",
                "/nothing.csv",
                "--name",
                "n",
                "--date",
                "d",
                "--column",
                "c=close",
            ],
            3,
            "nothing",
        ),
        (
            &[
                "track",
                "copy",
                "--from",
                "/nothing",
                "--to",
                "/tmp/nothing",
            ],
            3,
            "/nothing",
        ),
    ];
    let mut wrong = Vec::new();
    for (arguments, code, says) in cases {
        let output = btc(folder.path(), arguments);
        let text = stderr(&output);
        if output.status.code() != Some(*code) || !text.contains(says) {
            wrong.push(format!("{arguments:?}: {:?} {text}", output.status.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_server_that_does_not_answer_is_four_wherever_it_is_named() {
    let folder = project();
    let url = dead_url();
    fail(folder.path(), &["track", "copy", "--to", &url], 4, &url);
    fail(folder.path(), &["track", "copy", "--from", &url], 4, &url);
    for command in [
        ["model", "list"].as_slice(),
        &["model", "show"],
        &["model", "register-best"],
        &["track", "experiments"],
        &["track", "runs"],
        &["predict"],
        &["backtest"],
        &["tune", "run", "--n-trials", "1"],
    ] {
        let output = crate::command(folder.path(), command)
            .env("MLFLOW_TRACKING_URI", &url)
            .output()
            .expect("the command starts");
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(4), "{command:?}: {text}");
        assert!(text.contains(&url), "{text}");
    }
}
