#![no_main]

use btc_ingest::blockchain::parse_json;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for chart in ["hash-rate", "market-price"] {
        if let Ok(parsed) = parse_json(text, chart) {
            let is_price = chart == "market-price";
            for point in parsed.points {
                assert!(point.value.is_finite() && point.value >= 0.0);
                assert!(!is_price || point.value > 0.0);
            }
        }
    }
});
