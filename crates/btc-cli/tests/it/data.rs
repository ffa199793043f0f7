//! `btc data`, without a network.

use std::sync::Arc;

use btc_ingest::arrow::array::{ArrayRef, AsArray, RecordBatch, TimestampMicrosecondArray};
use btc_ingest::arrow::datatypes::Float64Type;

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
    let strict = [&import[..], &["--strict"]].concat();
    let cell = "line 3, column \"Close\": \"oops\"";
    fail(folder.path(), &strict, 1, cell);
    let dry = btc(folder.path(), &[&import[..], &["--dry-run"]].concat());
    assert!(dry.status.success() && !folder.path().join("data").exists());
    let (shown, told) = (text(&dry.stdout), text(&dry.stderr));
    assert!(
        shown.contains("2012-01-01") && shown.contains("5.2"),
        "{shown}"
    );
    assert!(
        told.contains("recognised: UTF-8, ','") && told.contains(cell),
        "{told}"
    );
    let stored = btc(folder.path(), &import);
    assert!(stored.status.success() && text(&stored.stderr).contains(cell));
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

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_ambiguous_file_is_asked_about_by_flag() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("a.csv");
    std::fs::write(&file, "Date,Close\n01/02/2024,1\n02/02/2024,2\n").expect("a file");
    let file = file.to_str().expect("a path of text");
    let import = [
        "data",
        "import",
        file,
        "--name",
        "a",
        "--date",
        "Date",
        "--column",
        "Close=close",
    ];
    fail(folder.path(), &import, 2, "give --date-format");
    let told = [&import[..], &["--date-format", "dmy"]].concat();
    assert!(succeed(folder.path(), &told).contains("2024-02-01"));
}

#[test]
fn a_preset_names_the_columns_and_flags_replace_them() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("k.csv");
    let rows = "1735430400000,1,4,1,2,9,0,0,0,0,0,0\n1735516800000,1,4,1,3,9,0,0,0,0,0,0\n";
    std::fs::write(&file, rows).expect("a file");
    let file = file.to_str().expect("a path of text");
    let import = [
        "data", "import", file, "--name", "b", "--preset", "binance", "--json",
    ];
    let all: serde_json::Value =
        serde_json::from_str(&succeed(folder.path(), &import)).expect("JSON");
    assert_eq!(all["series"].as_array().map(Vec::len), Some(5));
    assert_eq!(all["step"], "1d");
    let other = [&import[..], &["--column", "1=close", "--dry-run"]].concat();
    let preview: serde_json::Value =
        serde_json::from_str(&succeed(folder.path(), &other)).expect("JSON");
    let columns = preview["columns"].as_array().expect("columns");
    let close = columns
        .iter()
        .position(|name| name == "close")
        .expect("a close");
    assert_eq!(preview["first_rows"][0][close], "1.0");
    let help = succeed(folder.path(), &["data", "import", "--help"]);
    assert!(
        help.contains("coinmarketcap") && help.contains("investing"),
        "{help}"
    );
}

#[test]
fn hours_are_imported_and_joined() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("h.csv");
    let rows: String = (0..48)
        .map(|hour| format!("{},{hour}.5\n", 1_704_067_200 + 3600 * hour))
        .collect();
    std::fs::write(&file, format!("time,close\n{rows}")).expect("a file");
    let daily = folder.path().join("d.csv");
    std::fs::write(&daily, "Date,Close\n2024-01-01,7\n2024-01-02,8\n").expect("a file");
    let path = |path: &std::path::Path| path.to_str().expect("a path of text").to_owned();
    let import = |file: &str, name: &str, date: &str, column: &str| {
        succeed(
            folder.path(),
            &[
                "data", "import", file, "--name", name, "--date", date, "--column", column,
            ],
        )
    };
    let told = import(&path(&file), "hourly", "time", "close=close");
    assert!(told.contains("stored in steps of 1h"), "{told}");
    import(&path(&daily), "daily", "Date", "Close=close");
    let features = folder.path().join("features");
    std::fs::create_dir_all(&features).expect("a folder");
    std::fs::write(features.join("feature_store.toml"), "project = \"btc\"\n").expect("a file");
    let view = |name: &str, table: &str| {
        format!(
            "[[source]]\nname = \"{name}\"\npath = \"../data/processed/{table}\"\n\
             created_timestamp_column = \"created_timestamp\"\n\
             [[feature_view]]\nname = \"{name}\"\nsource = \"{name}\"\nttl = \"3d\"\n\
             features = [{{ name = \"close\", type = \"Float64\" }}]\n"
        )
    };
    let definitions = format!("{}{}", view("day", "ohlcv"), view("hour", "hourly"));
    std::fs::write(features.join("d.toml"), definitions).expect("a file");
    let output = folder.path().join("o.parquet");
    let rows = folder.path().join("rows.parquet");
    let times = ["2024-01-01T12:30:00Z", "2024-01-02T00:00:00Z"];
    let times = times.map(|time| {
        time.parse::<chrono::DateTime<chrono::Utc>>()
            .expect("a time")
    });
    let times = times.map(|time| time.timestamp_micros()).to_vec();
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"));
    let batch = RecordBatch::try_from_iter([("event_timestamp", times)]).expect("a column");
    btc_ingest::write_parquet(&rows, &batch).expect("a file");
    let entities = path(&rows);
    let output_path = path(&output);
    succeed(
        folder.path(),
        &[
            "features",
            "historical",
            "--entities",
            &entities,
            "--features",
            "hour:close",
            "--output",
            &output_path,
        ],
    );
    let table = btc_ingest::read_parquet(&output).expect("a table");
    let close = table.column_by_name("close").expect("a column");
    let close = close.as_primitive::<Float64Type>();
    // The hour from 11 to 12 is the last that is over at half past twelve.
    assert_eq!(close.values().to_vec(), [11.5, 23.5]);
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
    let url = btc_testing::NO_SERVER;
    fail(
        folder.path(),
        &["data", "pull", "--blockchain-url", url],
        4,
        "cannot read",
    );
}
