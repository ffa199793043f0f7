//! Reading writes nothing, and a broken file stops only what needs it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{btc, fail, stderr, stdout, succeed};

/// Every file below a folder with its content, and every folder.
fn tree(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.display().to_string();
        if path.is_dir() {
            found.extend(tree(&path));
            found.insert(name, Vec::new());
        } else {
            found.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    found
}

/// What only looks.
const READING: &[&[&str]] = &[
    &["config", "show"],
    &["data", "status"],
    &["data", "verify"],
    &["data", "pull", "--offline"],
    &["data", "pull", "--dry-run"],
    &["features", "plan"],
    &["features", "list"],
    &["features", "describe", "daily_bitcoin_v1"],
    &["features", "online", "--service", "daily_bitcoin_v1"],
    &["features", "stats"],
    &["features", "validate"],
    &["features", "teardown", "--dry-run"],
    &["tune", "studies"],
    &["tune", "trials", "--study", "crypto-reg-experiment"],
    &["tune", "best-trial", "--study", "crypto-reg-experiment"],
    &["tune", "best-trials", "--study", "crypto-reg-experiment"],
    &["tune", "importance", "--study", "crypto-reg-experiment"],
    &[
        "tune",
        "plot",
        "history",
        "--study",
        "crypto-reg-experiment",
    ],
    &["tune", "export", "--study", "crypto-reg-experiment"],
    &["model", "list"],
    &["model", "show"],
    &["track", "experiments"],
    &["track", "runs"],
    &["track", "show", "0123456789abcdef0123456789abcdef"],
    &[
        "track",
        "metrics",
        "0123456789abcdef0123456789abcdef",
        "loss",
    ],
    &["track", "artifacts", "0123456789abcdef0123456789abcdef"],
    &["track", "gc", "--dry-run"],
    &["completions", "bash"],
];

#[test]
fn an_empty_folder_stays_empty() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let more: &[&[&str]] = &[
        &["data", "profile"],
        &["predict"],
        &["backtest"],
        &["features", "build"],
        &["tune", "run"],
        &["tune", "delete-study", "--study", "s"],
        &["model", "register-best"],
        &["model", "promote", "bitcoin-regression", "1"],
        &["model", "delete", "bitcoin-regression", "1"],
        &["track", "delete", "0123456789abcdef0123456789abcdef"],
        &["pipeline", "run", "--offline", "--storage", "foo://x"],
        &["track", "copy", "--from", "nothing-here"],
    ];
    for command in READING.iter().chain(more) {
        let output = btc(folder.path(), command);
        let code = output.status.code();
        let missing = matches!(code, Some(0 | 2 | 3));
        assert!(missing, "{command:?}: {code:?} {}", stderr(&output));
        let left = tree(folder.path());
        assert!(left.is_empty(), "{command:?} left {:?}", left.keys());
    }
    // A folder that is not there is not made.
    let nowhere = folder.path().join("nowhere");
    for command in READING {
        btc(&nowhere, command);
        assert!(!nowhere.exists(), "{command:?}");
    }
    for list in [["model", "list"], ["tune", "studies"]] {
        let text = succeed(folder.path(), &[&list, ["--json"].as_slice()].concat());
        assert_eq!(text.trim(), "[]", "{list:?}");
    }
}

#[test]
fn a_full_project_is_read_and_stays_as_it_is() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    succeed(
        root,
        &["-q", "pipeline", "run", "--sample", "--n-trials", "2"],
    );
    let runs = succeed(root, &["track", "runs", "--json"]);
    let runs: serde_json::Value = serde_json::from_str(&runs).expect("JSON");
    let id = runs[0]["run_id"].as_str().expect("an id").to_owned();
    let before = tree(root);
    for command in READING {
        let command: Vec<&str> = command
            .iter()
            .map(|word| match *word {
                "0123456789abcdef0123456789abcdef" => id.as_str(),
                word => word,
            })
            .collect();
        let output = btc(root, &command);
        // A study of two trials has no importances, and nothing is materialised.
        let allowed = ["importance", "online"].contains(&command[1]);
        assert!(
            output.status.success() || allowed,
            "{command:?}: {}",
            stderr(&output)
        );
        assert!(tree(root) == before, "{command:?} changed the project");
    }
}

#[test]
fn a_broken_settings_file_stops_only_who_needs_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    let file = root.join("btc.toml");
    std::fs::write(&file, "[data]\nmarket = \"USD\"\n[serve]\nport = \"x\"\n").expect("a file");
    succeed(root, &["completions", "bash"]);
    succeed(root, &["--version"]);
    succeed(root, &["--help"]);
    succeed(root, &["data", "pull", "--dry-run"]);
    succeed(root, &["features", "list"]);
    succeed(root, &["track", "experiments"]);
    fail(root, &["serve", "--port", "0"], 2, "btc.toml line 4");
    let shown = btc(root, &["config", "show"]);
    assert_eq!(shown.status.code(), Some(2));
    assert!(stderr(&shown).contains("btc.toml line 4"));
    assert!(
        stdout(&shown).contains("data.market"),
        "what can be read is shown"
    );

    std::fs::write(&file, "no toml at all [").expect("a file");
    succeed(root, &["completions", "bash"]);
    succeed(root, &["features", "list"]);
    fail(root, &["data", "pull", "--dry-run"], 2, "btc.toml line 1");
    fail(root, &["config", "show"], 2, "btc.toml line 1");
    std::fs::write(&file, "[trackign]\nuri = \"x\"\n").expect("a file");
    fail(root, &["track", "experiments"], 2, "trackign");
}

/// What a command writes has the mode that the umask leaves, not one of its own.
#[cfg(unix)]
#[test]
fn files_are_written_with_the_mode_that_the_umask_leaves() {
    use std::os::unix::fs::PermissionsExt as _;
    for (umask, expected) in [("077", 0o600), ("022", 0o644), ("002", 0o664)] {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let program = env!("CARGO_BIN_EXE_btc");
        let root = folder.path().display();
        let script = format!(
            "set -e; umask {umask}; btc() {{ {program} --root {root} -q \"$@\" >/dev/null; }}
             btc data sample --days 400 --last-day 2024-01-01
             btc data profile
             btc data profile --output {root}/page.html
             btc data export ohlcv --output {root}/prices.parquet
             btc features apply
             btc features build --output {root}/train.parquet
             btc features export --feast {root}/registry.db
             btc features historical --end 2023-06-01 --service daily_bitcoin_v1 --output {root}/joined.parquet --save joined
             btc tune create-study --study s
             btc tune plot history --study s --output {root}/plot.svg
             btc tune export --study s --output {root}/trials.csv
             btc tune export --study s --output {root}/trials.parquet
             btc backtest --origins 5 --html {root}/report.html"
        );
        let output = std::process::Command::new("sh")
            .args(["-c", &script])
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{}", stderr(&output));
        let mut files = 0;
        for name in tree(folder.path()).keys() {
            let metadata = std::fs::metadata(name).expect("it is there");
            if metadata.is_file() {
                files += 1;
                // SQLite asks for 0644 itself.
                let most = if name.ends_with(".db") {
                    0o644 & expected
                } else {
                    expected
                };
                let mode = metadata.permissions().mode() & 0o777;
                assert!(
                    mode == most || (name.contains("registry.db") && mode == expected),
                    "umask {umask}: {name} has {mode:o}"
                );
            }
        }
        assert!(files > 15, "{files}");
    }
}
