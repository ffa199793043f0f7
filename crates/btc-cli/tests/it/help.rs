//! Every command explains itself, with two examples.

use crate::succeed;

const COMMANDS: &[&[&str]] = &[
    &["data", "pull"],
    &["data", "sample"],
    &["data", "import"],
    &["data", "status"],
    &["data", "profile"],
    &["data", "verify"],
    &["data", "export"],
    &["features", "plan"],
    &["features", "apply"],
    &["features", "build"],
    &["tune", "run"],
    &["tune", "studies"],
    &["tune", "trials"],
    &["tune", "best-trial"],
    &["tune", "best-trials"],
    &["tune", "create-study"],
    &["tune", "delete-study"],
    &["tune", "ask"],
    &["tune", "tell"],
    &["tune", "importance"],
    &["tune", "plot"],
    &["tune", "export"],
    &["model", "register-best"],
    &["model", "list"],
    &["model", "show"],
    &["predict"],
    &["backtest"],
    &["pipeline", "run"],
    &["serve"],
    &["config", "show"],
    &["completions"],
];

#[test]
fn every_command_has_two_examples_that_parse() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for command in COMMANDS {
        let help = succeed(folder.path(), &[command, ["--help"].as_slice()].concat());
        let (_, examples) = help.split_once("Examples:").unwrap_or_else(|| {
            panic!("btc {} --help has no examples", command.join(" "));
        });
        let examples: Vec<&str> = examples
            .lines()
            .map(str::trim)
            .filter(|line| line.contains("btc "))
            .collect();
        assert!(
            examples.len() >= 2,
            "btc {}: {examples:?}",
            command.join(" ")
        );
        for example in examples {
            // Up to what the shell takes: assignments before, redirections after.
            let words: Vec<&str> = example
                .split_whitespace()
                .skip_while(|word| *word != "btc")
                .skip(1)
                .collect();
            let words: Vec<&str> = words.into_iter().take_while(|word| *word != ">").collect();
            let output = crate::btc(folder.path(), &[words.as_slice(), &["--help"]].concat());
            assert!(
                output.status.success(),
                "{example}: {}",
                crate::stderr(&output)
            );
        }
    }
}

#[test]
fn help_fits_a_hundred_columns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let help = succeed(folder.path(), &["--help"]);
    for line in help.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}
