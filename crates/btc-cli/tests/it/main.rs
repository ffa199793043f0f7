//! The integration tests of the `btc` command.

mod data;
mod errors;
mod exit_codes;
mod help;
mod interrupt;
mod names;
mod proxy;
mod studies;
mod tidy;
mod untouched;
mod vintage;
mod workflow;

use std::path::Path;
use std::process::{Command, Output};

/// The command, with nothing of the caller's environment that would steer it.
fn btc(root: &Path, arguments: &[&str]) -> Output {
    command(root, arguments)
        .output()
        .expect("the command starts")
}

/// The same, not started yet.
fn command(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_btc"));
    command
        .arg("--root")
        .arg(root)
        .args(arguments)
        .current_dir(std::env::temp_dir());
    let steers = |name: &str| {
        let name = name.to_uppercase();
        let families = ["ALPHAVANTAGE_", "BTC_", "MLFLOW_", "GIT_"];
        families.iter().any(|family| name.starts_with(family))
            || name.ends_with("_PROXY")
            || ["COLUMNS", "NO_COLOR"].contains(&name.as_str())
    };
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(steers) {
            command.env_remove(name);
        }
    }
    command
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("data is text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn succeed(root: &Path, arguments: &[&str]) -> String {
    let output = btc(root, arguments);
    assert!(
        output.status.success(),
        "btc {}: {}",
        arguments.join(" "),
        stderr(&output)
    );
    stdout(&output)
}

/// Checks the exit code and that the error is one line that says `says`.
#[track_caller]
fn fail(root: &Path, arguments: &[&str], code: i32, says: &str) {
    let output = btc(root, arguments);
    let text = stderr(&output);
    assert_eq!(
        output.status.code(),
        Some(code),
        "btc {}: {text}",
        arguments.join(" ")
    );
    let errors: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), 1, "{text}");
    assert!(errors[0].contains(says), "{text}");
}
