#![no_main]

use btc_ingest::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use btc_ingest::{ColumnMapping, write_parquet};
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};

/// A file that is right, to be damaged.
static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let days: ArrayRef = Arc::new(StringArray::from(vec!["2024-01-01", "2024-01-02"]));
    let values: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.0), None]));
    let batch = RecordBatch::try_from_iter([("d", days), ("c", values)]).expect("two columns");
    let path = std::env::temp_dir().join(format!("btc-fuzz-{}.parquet", std::process::id()));
    write_parquet(&path, &batch).expect("a folder for temporary files");
    let bytes = std::fs::read(&path).expect("the file that was written");
    let _ = std::fs::remove_file(&path);
    bytes
});

fuzz_target!(|changes: &[u8]| {
    let columns = ColumnMapping::new("d").with("c", "close");
    let mut bytes = WHOLE.clone();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
        bytes[at] = change[2];
    }
    if let Ok(batch) = columns.read_csv(&bytes) {
        assert_eq!(batch.num_columns(), 2);
    }
    let _ = columns.read_csv(&[b"PAR1".as_slice(), changes].concat());
});
