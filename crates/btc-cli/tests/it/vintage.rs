//! `btc backtest --vintage`: models see what was known at each origin, not what was revised later.

use std::fmt::Write as _;

use chrono::{Days, NaiveDate};
use serde_json::Value;

use crate::{fail, succeed};

const DAYS: u64 = 100;

fn day(number: u64) -> NaiveDate {
    NaiveDate::from_ymd_opt(2024, 1, 1).expect("a day") + Days::new(number)
}

/// Some price of a day.
fn close(number: u64) -> f64 {
    100.0 + (number * 7919 % 23) as f64
}

/// Imports days as fetched when the day `fetched` had closed.
fn import(root: &std::path::Path, rows: &[(u64, f64)], fetched: u64) {
    let mut text = "date,close\n".to_owned();
    for (number, close) in rows {
        writeln!(text, "{},{close}", day(*number)).expect("a text grows");
    }
    let file = root.join("prices.csv");
    std::fs::write(&file, text).expect("the file is written");
    let now = format!("{}T00:00:00Z", day(fetched + 1));
    let file = file.to_str().expect("a path of text");
    let import = ["data", "import", file, "--name", "file", "--date", "date"];
    let column = ["--column", "close=close", "--now", &now];
    succeed(root, &[&import[..], &column[..]].concat());
}

/// A project of one source of prices, whose service is the built-in one's namesake.
fn project(root: &std::path::Path) {
    let folder = root.join("features");
    std::fs::create_dir_all(&folder).expect("the folder is made");
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).expect("the file is written");
    };
    write("feature_store.toml", "project = \"btc\"\n");
    write(
        "prices.toml",
        r#"
[[source]]
name = "ohlcv"
path = "../data/processed/ohlcv"
created_timestamp_column = "created_timestamp"
[[feature_view]]
name = "ohlcv"
source = "ohlcv"
ttl = "3d"
features = [{ name = "close", type = "Float64" }]
[[feature_service]]
name = "daily_bitcoin_v1"
views = [{ view = "ohlcv" }]
"#,
    );
}

#[test]
fn a_revision_is_not_seen_before_it_was_fetched() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    project(root);
    let all: Vec<(u64, f64)> = (0..DAYS).map(|number| (number, close(number))).collect();
    // The last three days came in one by one, the others at once.
    import(root, &all[..97], 96);
    for last in 97..DAYS {
        import(root, &all[last as usize..=last as usize], last);
    }
    // Later, the price of the second origin was revised.
    import(root, &[(97, 150.0)], DAYS + 5);

    let naive = |flags: &[&str]| -> Vec<f64> {
        let arguments = ["backtest", "--origins", "3", "--refit", "1", "--json"];
        let report = succeed(root, &[&arguments[..], flags].concat());
        let report: Value = serde_json::from_str(&report).expect("one JSON document");
        serde_json::from_value(report["series"]["naive"].clone()).expect("numbers")
    };
    assert_eq!(naive(&[]), [close(96), 150.0, close(98)]);
    assert_eq!(naive(&["--vintage"]), [close(96), close(97), close(98)]);

    // Nothing was fetched before day 96 had closed.
    let says = "what was known at 2024-04-06";
    fail(root, &["backtest", "--origins", "4", "--vintage"], 3, says);
}
