//! What several tests need.

use std::fs::File;
use std::path::{Path, PathBuf};

use btc_features::arrow::array::RecordBatch;
use btc_features::datafusion::parquet::arrow::ArrowWriter;
use btc_features::datafusion::parquet::file::properties::WriterProperties;

/// Writes a Parquet file with row groups of `row_group` rows.
pub(crate) fn write_parquet(path: &Path, batches: &[RecordBatch], row_group: usize) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(row_group))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batches[0].schema(), Some(properties)).unwrap();
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.close().unwrap();
}

/// A variable of the test's environment.
#[expect(
    clippy::disallowed_methods,
    reason = "tests are steered by the environment"
)]
pub(crate) fn env(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A golden file: the one in the folder `BTC_VECTORS`, or the committed one.
pub(crate) fn fixture(name: &str) -> String {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let path = env("BTC_VECTORS")
        .map(|dir| PathBuf::from(dir).join(name))
        .filter(|path| path.is_file())
        .unwrap_or(committed);
    std::fs::read_to_string(path).unwrap()
}

/// Refuses an object with a member that the reader of a case does not know: what it sets would be left
/// out in silence.
#[track_caller]
pub(crate) fn known(value: &serde_json::Value, keys: &[&str]) {
    for key in value
        .as_object()
        .into_iter()
        .flat_map(|members| members.keys())
    {
        assert!(
            keys.contains(&key.as_str()),
            "nobody reads {key} of {value}"
        );
    }
}

/// The Python that can import `module`: `BTC_PYTHON`, or `python3`. Without it
/// the test is skipped, unless `BTC_REQUIRE` names the module.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
pub(crate) fn python_with(module: &str) -> Option<std::process::Command> {
    let python = env("BTC_PYTHON").unwrap_or_else(|| "python3".into());
    let found = std::process::Command::new(&python)
        .args(["-c", &format!("import {module}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if found {
        return Some(std::process::Command::new(python));
    }
    let required = env("BTC_REQUIRE").unwrap_or_default();
    let required = required.split([',', ' ']).any(|name| name == module);
    assert!(
        !required,
        "{python} cannot import {module}, which BTC_REQUIRE names"
    );
    println!("skipped: {python} cannot import {module}");
    None
}
