//! What Optuna makes of distributions and their values.

use serde_json::Value;

use super::*;
use crate::choice::Choice;
use crate::golden::{assert_close, cases, float, known, list};
use crate::storage::codec::{decode_distribution, encode_distribution};

#[test]
fn values_are_what_optuna_makes_of_them() {
    let cases = cases("distribution.json");
    known(
        &cases,
        &[
            "optuna",
            "distributions",
            "constructor_errors",
            "read_compat",
            "compatible_old_new",
        ],
    );
    for case in list(&cases, "distributions") {
        known(
            case,
            &[
                "json",
                "kind",
                "single",
                "repr",
                "contains",
                "to_external_of",
                "uniform_bounds",
                "untransform",
            ],
        );
        let text = case["json"].as_str().unwrap();
        let distribution = decode_distribution(text).unwrap();
        assert_eq!(encode_distribution(&distribution), text);
        assert_eq!(
            distribution.is_single(),
            case["single"].as_bool().unwrap(),
            "{text}"
        );
        for pair in list(case, "contains") {
            let inside = pair[1].as_bool().unwrap();
            assert_eq!(
                distribution.contains(float(&pair[0])),
                inside,
                "{} in {text}",
                pair[0]
            );
        }
        for pair in list(case, "repr") {
            check_representation(&distribution, pair, text);
        }
        for pair in case["to_external_of"].as_array().into_iter().flatten() {
            let external = distribution.to_external(float(&pair[0]));
            assert_close(float(&external), float(&pair[1]), 0.0, text);
        }
        if let Some(bounds) = case["uniform_bounds"].as_array() {
            let (low, high) = distribution.transformed_bounds();
            assert_close(low, float(&bounds[0]), 1e-15, text);
            assert_close(high, float(&bounds[1]), 1e-15, text);
        }
        for triple in case["untransform"].as_array().into_iter().flatten() {
            let value = distribution.untransform(float(&triple[1]));
            assert_close(
                value,
                float(&triple[2]),
                1e-14,
                &format!("{triple} of {text}"),
            );
        }
    }
}

fn check_representation(distribution: &Distribution, case: &Value, text: &str) {
    known(case, &["external", "external_type", "internal", "back"]);
    let internal = float(&case["internal"]);
    let external = match &case["external"] {
        Value::Object(special) => crate::choice::float_to_json(float(&special["$float"])),
        external => external.clone(),
    };
    match distribution {
        Distribution::Categorical(d) => {
            // Equal choices share the first index, so it is the choice that is compared.
            assert_eq!(
                distribution.to_internal(&external),
                Some(internal),
                "{external} {text}"
            );
            let choice = &d.choices()[internal as usize];
            let same = choice.to_json() == external
                || Choice::from_json(&external).is_some_and(|other| other == *choice);
            assert!(same, "{external} of {text}");
        }
        _ => {
            if distribution.contains(internal) {
                assert_eq!(
                    distribution.to_internal(&external),
                    Some(internal),
                    "{text}"
                );
                assert_eq!(float(&distribution.to_external(internal)), float(&external));
            }
        }
    }
}

#[test]
fn nonsense_is_refused_where_optuna_refuses_it() {
    assert!(FloatDistribution::new(1.0, 0.0).is_err());
    assert!(FloatDistribution::log(0.0, 1.0).is_err());
    assert!(FloatDistribution::build(1.0, 2.0, true, Some(0.1)).is_err());
    assert!(FloatDistribution::stepped(0.0, 1.0, 0.0).is_err());
    assert!(FloatDistribution::new(f64::NAN, 0.0).is_err());
    assert!(IntDistribution::log(0, 5).is_err());
    assert!(IntDistribution::build(1, 5, true, 2).is_err());
    assert!(IntDistribution::stepped(0, 1, 0).is_err());
    assert!(IntDistribution::new(i64::MIN, i64::MAX).is_err());
    assert!(CategoricalDistribution::new(Vec::<Choice>::new()).is_err());
}

#[test]
fn texts_of_earlier_versions_are_read() {
    for case in list(&cases("distribution.json"), "read_compat") {
        known(case, &["in", "class", "as_new"]);
        let distribution = decode_distribution(case["in"].as_str().unwrap()).unwrap();
        assert_eq!(
            encode_distribution(&distribution),
            case["as_new"].as_str().unwrap()
        );
    }
}

#[test]
fn a_name_keeps_its_kind_scale_and_choices() {
    for case in list(&cases("distribution.json"), "compatible_old_new") {
        let [old, new] = [0, 1].map(|i| decode_distribution(case[i].as_str().unwrap()).unwrap());
        let compatible = case[2].as_bool().unwrap_or(false);
        assert_eq!(old.incompatibility(&new).is_none(), compatible, "{case}");
    }
}
