#![no_main]

use btc_ingest::blockchain::parse_csv;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    if let Ok(parsed) = parse_csv(text, "hash-rate") {
        let lines: String = parsed
            .points
            .iter()
            .map(|point| format!("{},{}\n", point.stamp.format("%Y-%m-%d %H:%M:%S"), point.value))
            .collect();
        let again = parse_csv(lines.as_bytes(), "hash-rate").expect("what was read can be read");
        assert_eq!(again.points.len(), parsed.points.len());
        assert!(again.points.iter().zip(&parsed.points).all(|(a, b)| a.value == b.value));
    }
});
