//! Ctrl-C: what is running ends, what is there is shown, and the exit code says so.
#![cfg(unix)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{command, succeed};

fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .expect("kill starts");
    assert!(sent.success());
}

/// Starts the command, waits until a line of its stderr holds `says`, sends `name`, and returns
/// its exit code, what it printed, and the rest of its stderr.
fn interrupted(
    root: &Path,
    arguments: &[&str],
    says: &str,
    name: &str,
) -> (Option<i32>, String, String) {
    let mut child = command(root, arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let mut errors = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut told = String::new();
    loop {
        let mut line = String::new();
        let read = errors.read_line(&mut line).expect("text");
        assert!(read > 0, "{arguments:?} ended without {says:?}: {told}");
        told.push_str(&line);
        if line.contains(says) {
            break;
        }
    }
    signal(&child, name);
    let mut rest = String::new();
    errors.read_to_string(&mut rest).expect("text");
    let output = child.wait_with_output().expect("it ends");
    let printed = String::from_utf8(output.stdout).expect("text");
    (output.status.code(), printed, rest)
}

#[test]
fn a_search_shows_what_it_has_and_ends_with_130() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    succeed(root, &["-q", "data", "sample", "--days", "500"]);
    let endless = [
        "tune",
        "run",
        "--model-type",
        "NLinear",
        "--n-trials",
        "1000000",
        "--pruner",
        "none",
    ];
    for name in ["-INT", "-TERM"] {
        let (code, printed, rest) = interrupted(root, &endless, "complete", name);
        assert_eq!(code, Some(130), "{rest}");
        assert!(printed.starts_with("best of "), "{printed}");
        assert!(rest.contains("warning: interrupted"), "{rest}");
    }
    // The workflow registers nothing then.
    let endless = [
        "pipeline",
        "run",
        "--offline",
        "--model-type",
        "NLinear",
        "--n-trials",
        "1000000",
        "--pruner",
        "none",
    ];
    let (code, printed, rest) = interrupted(root, &endless, "complete", "-INT");
    assert_eq!(code, Some(130), "{rest}");
    assert!(printed.starts_with("best of "), "{printed}");
    assert!(rest.contains("nothing is registered"), "{rest}");
    assert_eq!(succeed(root, &["model", "list", "--json"]).trim(), "[]");
}

#[test]
fn a_comparison_says_that_it_goes_on_from_there() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    succeed(root, &["-q", "data", "sample", "--days", "500"]);
    let long = [
        "backtest", "--models", "LSTM", "--epochs", "1", "--seeds", "100000", "--refit", "200",
    ];
    let (code, printed, rest) = interrupted(root, &long, "backtest: ", "-INT");
    assert_eq!(code, Some(130), "{rest}");
    assert!(printed.is_empty(), "{printed}");
    assert!(rest.contains("goes on from there"), "{rest}");
}

#[test]
fn a_pull_that_waits_is_given_up() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // It takes connections and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let mut child = command(folder.path(), &["data", "pull", "--blockchain-url", &url])
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command starts");
    let connection = listener.accept().expect("it asks");
    signal(&child, "-INT");
    let mut told = String::new();
    let mut errors = child.stderr.take().expect("it is piped");
    errors.read_to_string(&mut told).expect("text");
    drop(connection);
    assert_eq!(child.wait().expect("it ends").code(), Some(130), "{told}");
    assert!(told.contains("error: interrupted"), "{told}");
    assert!(!folder.path().join("data/manifest.json").exists());
}
