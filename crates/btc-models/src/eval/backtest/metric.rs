//! Measures of point forecasts that a comparison reports beside its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::eval::metrics;
use crate::registry::{Custom, Named, registry, restored};
use crate::{Error, Result};

/// What an own measure is, see [`Metric::custom`].
///
/// # Contract
///
/// The three slices have one length, and belong together value by value. The result depends on
/// them alone and not on the order of the values, beyond rounding; it is NaN where the values have
/// no such measure. `conformance::check_metric` checks it.
pub trait MetricSpec: fmt::Debug + Send + Sync {
    /// The measure of what a model forecast, beside what was there and what naive did.
    fn evaluate(&self, actual: &[f64], points: &[f64], naive: &[f64]) -> f64;

    /// Whether a model with a lower figure is the better one.
    fn lower_is_better(&self) -> bool {
        true
    }
}

registry! {
    /// Makes the measure `C` known by its name, so that [`Metric`] can be made of it.
    pub register_metric, METRICS: dyn MetricSpec, "metric",
    ["mae", "rmse", "mape", "relative_mae", "r2", "direction_accuracy"]
}

type Measure = dyn Fn(&[f64], &[f64], &[f64]) -> f64 + Send + Sync;

/// A measure that stands in the report beside those that it always has.
///
/// One that is registered, or one of the crate's own, is also made from its name:
///
/// ```
/// use btc_models::backtest::{Metric, MetricSpec};
///
/// let mae: Metric = "mae".parse()?;
/// assert_eq!(mae.evaluate(&[1.0, 2.0], &[2.0, 4.0], &[0.0, 1.0]), 1.5);
/// # Ok::<(), btc_models::Error>(())
/// ```
#[derive(Clone)]
pub struct Metric {
    name: String,
    lower_is_better: bool,
    measure: Arc<Measure>,
}

impl Metric {
    /// A measure by its name, lower being better: a function of the actual values, a model's
    /// points, and naive's.
    pub fn new(
        name: impl Into<String>,
        measure: impl Fn(&[f64], &[f64], &[f64]) -> f64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            lower_is_better: true,
            measure: Arc::new(measure),
        }
    }

    /// A measure of the caller's own, which is registered under its name.
    ///
    /// # Errors
    ///
    /// The name is one of the crate's own or another type's; settings that JSON cannot hold.
    pub fn custom<C: Named + MetricSpec>(spec: &C) -> Result<Self> {
        Self::of(Custom::register(&METRICS, restored!(C, MetricSpec), spec)?)
    }

    fn of(custom: Custom<dyn MetricSpec>) -> Result<Self> {
        let lower_is_better = custom.get(&METRICS)?.lower_is_better();
        let name = custom.name().to_owned();
        let measure = move |actual: &[f64], points: &[f64], naive: &[f64]| {
            let spec = custom.get(&METRICS);
            spec.map_or(f64::NAN, |spec| spec.evaluate(actual, points, naive))
        };
        Ok(Self {
            name,
            lower_is_better,
            measure: Arc::new(measure),
        })
    }

    /// The name under which the report has it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl MetricSpec for Metric {
    fn evaluate(&self, actual: &[f64], points: &[f64], naive: &[f64]) -> f64 {
        (self.measure)(actual, points, naive)
    }

    fn lower_is_better(&self) -> bool {
        self.lower_is_better
    }
}

impl FromStr for Metric {
    type Err = Error;

    /// Takes the name of one of the crate's own, or of one that is registered and needs no
    /// settings.
    fn from_str(name: &str) -> Result<Self> {
        let own: fn(&[f64], &[f64], &[f64]) -> f64 = match name {
            "mae" => |actual, points, _| metrics::mae(actual, points),
            "rmse" => |actual, points, _| metrics::rmse(actual, points),
            "mape" => |actual, points, _| metrics::mape(actual, points),
            "relative_mae" => metrics::relative_mae,
            "r2" => metrics::r2_out_of_sample,
            "direction_accuracy" => metrics::direction_accuracy,
            other => return Self::of(Custom::named(other)),
        };
        Ok(Self {
            lower_is_better: !matches!(name, "r2" | "direction_accuracy"),
            ..Self::new(name, own)
        })
    }
}

impl fmt::Debug for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metric").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_of_the_crates_own_is_a_metric_and_another_is_not() {
        for name in METRICS.own() {
            assert_eq!(name.parse::<Metric>().unwrap().name(), *name);
        }
        let error = "meae".parse::<Metric>().unwrap_err();
        let Error::NotRegistered { suggestion, .. } = &error else {
            panic!("{error}");
        };
        assert_eq!(suggestion.as_deref(), Some("mae"));
    }
}
