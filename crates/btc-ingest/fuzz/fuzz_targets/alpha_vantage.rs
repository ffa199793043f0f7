#![no_main]

use btc_ingest::alpha_vantage::parse;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    for market in ["USD", "CNY"] {
        if let Ok(prices) = parse(text, market) {
            assert!(prices.bars.is_sorted_by(|a, b| a.date < b.date));
            for bar in &prices.bars {
                let inner = [bar.open, bar.close];
                assert!(inner.iter().all(|price| (bar.low..=bar.high).contains(price)));
                assert!(bar.low > 0.0 && bar.high.is_finite());
                assert!(bar.volume.is_none_or(|volume| volume >= 0.0 && volume.is_finite()));
            }
            let _ = prices.running_day();
        }
    }
});
