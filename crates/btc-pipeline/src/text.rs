//! Parameters and distributions as Optuna's MLflow callback writes them.

use btc_tune::Distribution;

/// A distribution as Optuna's MLflow callback writes it: Python's `repr`.
pub(crate) fn distribution_text(distribution: &Distribution) -> String {
    match distribution {
        Distribution::Float(float) => format!(
            "FloatDistribution(high={}, log={}, low={}, step={})",
            python_number(float.high()),
            python_bool(float.is_log()),
            python_number(float.low()),
            float.step().map_or_else(|| "None".into(), python_number)
        ),
        Distribution::Int(int) => format!(
            "IntDistribution(high={}, log={}, low={}, step={})",
            int.high(),
            python_bool(int.is_log()),
            int.low(),
            int.step()
        ),
        Distribution::Categorical(categorical) => {
            let choices: Vec<String> = categorical
                .choices()
                .iter()
                .map(|choice| python_value(&choice.to_json()))
                .collect();
            // A tuple of one ends with a comma.
            let end = if choices.len() == 1 { "," } else { "" };
            format!(
                "CategoricalDistribution(choices=({}{end}))",
                choices.join(", ")
            )
        }
    }
}

fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}

/// A float as Python writes it: an exponent has a sign or not, and two digits.
fn python_number(value: f64) -> String {
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("+", exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text,
    }
}

fn python_value(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "None".into(),
        serde_json::Value::Bool(value) => python_bool(*value).into(),
        serde_json::Value::String(text) => format!("'{text}'"),
        other => other.to_string(),
    }
}

/// A JSON value as MLflow shows it: strings without quotes.
pub(crate) fn plain(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use btc_tune::{CategoricalDistribution, FloatDistribution, IntDistribution};

    use super::*;

    #[track_caller]
    fn check(distribution: impl Into<Distribution>, expected: &str) {
        assert_eq!(distribution_text(&distribution.into()), expected);
    }

    // Expected texts: Python's `str()` of the same distributions in Optuna 5.0.0.
    #[test]
    fn distributions_read_as_in_python() {
        check(
            FloatDistribution::log(1e-5, 1e-1).unwrap(),
            "FloatDistribution(high=0.1, log=True, low=1e-05, step=None)",
        );
        check(
            FloatDistribution::stepped(0.0, 1.0, 0.25).unwrap(),
            "FloatDistribution(high=1.0, log=False, low=0.0, step=0.25)",
        );
        check(
            FloatDistribution::new(0.0, 1e16).unwrap(),
            "FloatDistribution(high=1e+16, log=False, low=0.0, step=None)",
        );
        check(
            IntDistribution::new(1, 9).unwrap(),
            "IntDistribution(high=9, log=False, low=1, step=1)",
        );
        check(
            CategoricalDistribution::new(["tanh", "relu"]).unwrap(),
            "CategoricalDistribution(choices=('tanh', 'relu'))",
        );
        check(
            CategoricalDistribution::new([true]).unwrap(),
            "CategoricalDistribution(choices=(True,))",
        );
    }
}
