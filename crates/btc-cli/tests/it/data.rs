//! `btc data`, without a network.

use crate::{btc, fail, succeed};

#[test]
fn a_sample_can_be_looked_at_checked_drawn_and_exported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    let sample = ["data", "sample", "--days", "60", "--last-day", "2024-01-01"];
    let text = succeed(root, &sample);
    assert!(text.contains("last complete day: 2024-01-01"), "{text}");

    let status = succeed(root, &["data", "status", "--json", "--now", "2024-01-05"]);
    let status: serde_json::Value = serde_json::from_str(&status).expect("one JSON document");
    assert_eq!(status["synthetic"], true);
    assert_eq!(status["series"].as_array().map(Vec::len), Some(20));
    assert_eq!(status["series"][0]["days"], 60);
    assert_eq!(status["series"][0]["days_behind"], 3);
    assert!(succeed(root, &["data", "status"]).contains("all values are synthetic"));

    let page = succeed(root, &["data", "profile"]);
    let page = std::fs::read_to_string(page.trim()).expect("the page");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("synthetic"));

    let file = root.join("then.parquet");
    let file = file.to_str().expect("a path of text");
    let export = [
        "data",
        "export",
        "ohlcv",
        "--as-of",
        "2020-01-01",
        "--output",
        file,
    ];
    succeed(root, &export);
    let batch = btc_ingest::read_parquet(file).expect("a Parquet file");
    assert_eq!(batch.num_rows(), 0, "nothing was known then");
    succeed(root, &["data", "export", "ohlcv", "--output", file]);
    let batch = btc_ingest::read_parquet(file).expect("a Parquet file");
    assert_eq!(batch.num_rows(), 60);

    assert!(succeed(root, &["data", "verify"]).contains("0 problems"));
    std::fs::remove_file(root.join("data/raw/synthetic/2023.parquet")).expect("a raw table");
    let output = btc(root, &["data", "verify"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(crate::stdout(&output).contains("raw/synthetic/2023.parquet: missing"));
}

#[test]
fn a_dry_run_lists_the_requests_and_makes_none() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pull = [
        "data",
        "pull",
        "--dry-run",
        "--chart",
        "hash-rate",
        "--blockchain-url",
        "http://h",
    ];
    let text = succeed(folder.path(), &pull);
    assert_eq!(
        text,
        "http://h/charts/hash-rate?timespan=all&format=json&sampled=false\n"
    );
    assert!(!folder.path().join("data").exists());
    fail(
        folder.path(),
        &["data", "pull", "--chart", "../x"],
        2,
        "names look like hash-rate",
    );
    fail(
        folder.path(),
        &["data", "pull", "--blockchain-url", "x"],
        2,
        "use http:// or https://",
    );
}

#[test]
fn a_file_is_imported_by_its_columns() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("old.csv");
    std::fs::write(&file, "Date,Close\n2012-01-01,5.2\n2012-01-02,oops\n").expect("a file");
    let file = file.to_str().expect("a path of text");
    let import = [
        "data",
        "import",
        file,
        "--name",
        "old",
        "--date",
        "Date",
        "--column",
        "Close=close",
    ];
    fail(
        folder.path(),
        &import,
        1,
        "line 3, column \"Close\": \"oops\"",
    );
    std::fs::write(file, "Date,Close\n2012-01-01,5.2\n2012-01-02,5.3\n").expect("a file");
    assert!(succeed(folder.path(), &import).contains("old/close"));
    fail(
        folder.path(),
        &[
            "data",
            "import",
            file,
            "--name",
            "A",
            "--date",
            "Date",
            "--column",
            "Close=close",
        ],
        2,
        "cannot be the name of a source",
    );
    assert!(btc(folder.path(), &["data", "import", file]).status.code() == Some(2));
}

#[test]
fn a_folder_without_data_is_not_found() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for verb in ["status", "profile", "verify"] {
        fail(folder.path(), &["data", verb], 3, "pull data first");
    }
    fail(
        folder.path(),
        &["data", "pull", "--offline"],
        3,
        "pull data first",
    );
}

#[test]
fn a_service_that_cannot_be_reached_is_exit_code_four() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    fail(
        folder.path(),
        &["data", "pull", "--blockchain-url", &url],
        4,
        "cannot read",
    );
}
