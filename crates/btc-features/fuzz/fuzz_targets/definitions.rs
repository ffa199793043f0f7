#![no_main]

use btc_features::Definitions;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(definitions) = Definitions::from_toml(text)
        && definitions.validate().is_ok()
    {
        let again = Definitions::from_toml(&definitions.to_toml()).expect("it was written here");
        assert_eq!(again, definitions);
    }
});
