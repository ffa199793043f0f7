//! How many cases a property test tries, and which.

use proptest::test_runner::{Config, RngSeed};

/// The settings of a property test that tries `cases` cases.
///
/// The cases are the same on every run, so that a test passes or fails for good and never by chance.
/// `PROPTEST_RNG_SEED` asks for others and `PROPTEST_CASES` for more (or fewer):
///
/// ```sh
/// PROPTEST_CASES=4096 PROPTEST_RNG_SEED=7 cargo test -p btc-tune
/// ```
///
/// A failing case is printed, and no file is written beside the sources.
#[must_use]
pub fn cases(cases: u32) -> Config {
    // Proptest lets the code overrule the environment; here it is the other way round.
    let environment = Config::default();
    let asked = crate::variable("PROPTEST_CASES").is_some();
    let rng_seed = match environment.rng_seed {
        RngSeed::Random => RngSeed::Fixed(0),
        fixed @ RngSeed::Fixed(_) => fixed,
    };
    Config {
        cases: if asked { environment.cases } else { cases },
        // A property that throws away many of its inputs may do so as often as it has cases.
        max_global_rejects: environment.max_global_rejects.max(environment.cases * 4),
        failure_persistence: None,
        rng_seed,
        ..environment
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_repeat_unless_the_environment_asks_for_others() {
        let found = cases(7);
        match crate::variable("PROPTEST_CASES") {
            Some(asked) => assert_eq!(found.cases.to_string(), asked),
            None => assert_eq!(found.cases, 7),
        }
        let seed = crate::variable("PROPTEST_RNG_SEED").unwrap_or_else(|| "0".to_owned());
        assert_eq!(found.rng_seed.to_string(), seed);
        assert!(found.failure_persistence.is_none());
    }
}
