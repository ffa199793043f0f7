#![no_main]

use btc_ingest::{ColumnMapping, Preset};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let columns = ColumnMapping::new("Date").with("Close", "close").with("Volume", "volume");
    // The layout is recognised from whatever there is.
    if let Ok(batch) = columns.read_csv(text) {
        assert_eq!(batch.num_columns(), 3);
    }
    let _ = ColumnMapping::new("0").with("1", "close").read_csv(text);
    for preset in Preset::ALL {
        let _ = preset.columns().read_csv(text);
    }
    // Whatever follows a right header, in two layouts.
    for header in ["Date,Close,Volume\n", "Date;Close;Volume\n"] {
        let _ = columns.read_csv(&[header.as_bytes(), text].concat());
    }
});
