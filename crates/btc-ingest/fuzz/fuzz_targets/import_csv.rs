#![no_main]

use btc_ingest::ColumnMapping;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let columns = ColumnMapping::new("Date").with("Close", "close").with("Volume", "volume");
    if let Ok(batch) = columns.read_csv(text) {
        assert_eq!(batch.num_columns(), 3);
    }
    // Whatever follows a right header.
    let text = [b"Date,Close,Volume\n".as_slice(), text].concat();
    let _ = columns.read_csv(&text);
});
