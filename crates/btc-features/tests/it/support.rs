//! What several tests need.

use std::fs::File;
use std::path::Path;

use btc_features::arrow::array::RecordBatch;
use btc_features::datafusion::parquet::arrow::ArrowWriter;
use btc_features::datafusion::parquet::file::properties::WriterProperties;

pub(crate) use btc_testing::{known, python_with, variable as env};

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

/// A golden file: the one in the folder `BTC_VECTORS`, or the committed one.
#[track_caller]
pub(crate) fn fixture(name: &str) -> String {
    btc_testing::golden(env!("CARGO_MANIFEST_DIR"), name)
}
