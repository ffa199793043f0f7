//! One clear line, the right exit code, and nothing half-written.

use crate::exit_codes::dead_url;
use crate::{fail, succeed};

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

#[test]
fn a_dead_service_is_an_upstream_failure_and_stores_no_table() {
    let folder = folder();
    let url = dead_url();
    let arguments = [
        "-q",
        "data",
        "pull",
        "--blockchain-url",
        &url,
        "--alpha-vantage-url",
        &url,
    ];
    fail(folder.path(), &arguments, 4, &url);
    assert!(!folder.path().join("data/manifest.json").exists());
    assert!(!folder.path().join("data/processed").exists());
}

#[test]
fn an_empty_project_says_where_data_comes_from() {
    let folder = folder();
    for command in [
        ["predict"].as_slice(),
        &["tune", "run"],
        &["features", "build"],
    ] {
        fail(folder.path(), command, 3, "btc data pull");
    }
}

#[test]
fn a_misspelt_setting_is_a_usage_error_that_does_not_show_the_key() {
    let folder = folder();
    let file = "[data]\nalpha_vantage_api_kye = \"topsecret\"\n";
    std::fs::write(folder.path().join("btc.toml"), file).expect("the folder is writable");
    fail(folder.path(), &["config", "show"], 2, "btc.toml line 2");
    let output = crate::btc(folder.path(), &["config", "show"]);
    assert!(!crate::stderr(&output).contains("topsecret"));
}

#[test]
fn the_key_is_never_shown() {
    let folder = folder();
    let file = "[data]\nalpha_vantage_api_key = \"topsecret\"\n";
    std::fs::write(folder.path().join("btc.toml"), file).expect("the folder is writable");
    let shown = succeed(folder.path(), &["config", "show"]);
    assert!(
        shown.contains("(set)") && !shown.contains("topsecret"),
        "{shown}"
    );
    let url = dead_url();
    let arguments = [
        "data",
        "pull",
        "--blockchain-url",
        &url,
        "--alpha-vantage-url",
        &url,
    ];
    let output = crate::btc(folder.path(), &arguments);
    let text = crate::stderr(&output) + &crate::stdout(&output);
    assert!(!text.contains("topsecret"), "{text}");
}

#[test]
fn listening_beyond_this_machine_needs_a_token() {
    fail(
        folder().path(),
        &["serve", "--host", "0.0.0.0", "--port", "0"],
        2,
        "BTC_TOKEN",
    );
    fail(
        folder().path(),
        &["serve", "--host", "nonsense"],
        2,
        "not an IP address",
    );
}
