//! From a network's outputs to the forecast and its quantiles.

use super::graph::{Attribute, Graph, Value};
use super::proto::DataType;
use super::window::{logarithm, running_variance};
use crate::forecast::interval::{Conformal, ErrorScale};
use crate::forecast::quantiles::SAME_LEVEL;
use crate::transform::{Target, TargetScaler};
use crate::{Error, Loss, Result};

/// What the outputs of all steps are expressed by.
pub(super) struct Origin {
    /// The last value of the target: (batch, 1).
    last: String,
    /// Whether all values of the target are positive: (batch, 1).
    positive: String,
    /// The variance of the next change of the logarithm, and of the value: (batch, 1).
    variance: [String; 2],
}

impl Origin {
    /// Of the raw rows (batch, rows, features), whose target is the feature `at`.
    pub(super) fn new(graph: &mut Graph, rows: &str, at: usize) -> Self {
        let column = graph.column(rows, at);
        let last = graph.range(&column, 1, -1, i64::MAX);
        let least = graph.node(
            "ReduceMin",
            &[&column],
            vec![Attribute::Ints("axes", vec![1])],
        );
        let (zero, nan) = (graph.f64(0.0), graph.f64(f64::NAN));
        let positive = graph.node("Greater", &[&least, &zero], vec![]);
        let logarithms = logarithm(graph, &column, &nan);
        let mut variance = |values: &str, name: &str| {
            let variance = running_variance(graph, values, name);
            let axis = graph.list(&[1]);
            graph.node("Unsqueeze", &[&variance, &axis], vec![])
        };
        let variance = [
            variance(&logarithms, "logarithms"),
            variance(&column, "values"),
        ];
        Self {
            last,
            positive,
            variance,
        }
    }

    /// The value that an output (batch, 1) means.
    fn value(&self, graph: &mut Graph, target: &TargetScaler, output: &str) -> Result<String> {
        let (offset, scale) = target.scaler().linear()?;
        let (offset, scale) = (graph.f64(offset), graph.f64(scale));
        let scaled = graph.node("Mul", &[output, &scale], vec![]);
        let value = graph.node("Add", &[&scaled, &offset], vec![]);
        Ok(match &target.target {
            Target::Custom(custom) => {
                return Err(Error::NotExportable {
                    reason: format!("its target {:?} is the program's own", custom.name()),
                });
            }
            Target::LogReturn => {
                // There is no return on a value that is not positive.
                let (zero, nan) = (graph.f64(0.0), graph.f64(f64::NAN));
                let positive = graph.node("Greater", &[&self.last, &zero], vec![]);
                let last = graph.node("Where", &[&positive, &self.last, &nan], vec![]);
                let factor = graph.node("Exp", &[&value], vec![]);
                graph.node("Mul", &[&last, &factor], vec![])
            }
            Target::Difference => graph.node("Add", &[&self.last, &value], vec![]),
            Target::Level => value,
        })
    }

    /// The levels and values of the intervals around `point`, from the lowest to the highest, the
    /// point itself among them.
    fn around(
        &self,
        graph: &mut Graph,
        conformal: &Conformal,
        ahead: usize,
        point: &str,
    ) -> Vec<(f64, String)> {
        let steps = graph.f64(ahead as f64);
        let mut deviation = |variance: &str| {
            let variance = graph.node("Mul", &[variance, &steps], vec![]);
            graph.node("Sqrt", &[&variance], vec![])
        };
        let deviations = [deviation(&self.variance[0]), deviation(&self.variance[1])];
        let zero = graph.f64(0.0);
        let usable = graph.node("Greater", &[point, &zero], vec![]);
        let usable = graph.node("And", &[&usable, &self.positive], vec![]);
        let mut end = |score: f64| {
            let score = graph.f64(score);
            let by = graph.node("Mul", &[&deviations[1], &score], vec![]);
            let absolute = graph.node("Add", &[point, &by], vec![]);
            match conformal.scale {
                ErrorScale::Absolute => absolute,
                ErrorScale::Log => {
                    let by = graph.node("Mul", &[&deviations[0], &score], vec![]);
                    let factor = graph.node("Exp", &[&by], vec![]);
                    let relative = graph.node("Mul", &[point, &factor], vec![]);
                    graph.node("Where", &[&usable, &relative, &absolute], vec![])
                }
            }
        };
        let levels = conformal.levels();
        let mut knots: Vec<(f64, String)> = levels
            .iter()
            .rev()
            .map(|(level, score)| (0.5 * (1.0 - level), end(-score)))
            .collect();
        knots.push((0.5, point.to_owned()));
        knots.extend(
            levels
                .iter()
                .map(|(level, score)| (1.0 - 0.5 * (1.0 - level), end(*score))),
        );
        knots
    }

    /// The point (batch, 1) and the quantiles (batch, levels) of one step, with their levels.
    ///
    /// `outputs` are the network's for that step: (batch, outputs of the loss).
    pub(super) fn step(
        &self,
        graph: &mut Graph,
        loss: &Loss,
        (target, conformal): (&TargetScaler, &Conformal),
        ahead: usize,
        outputs: &str,
    ) -> Result<(String, String, Vec<f64>)> {
        let output =
            |graph: &mut Graph, at: usize| graph.range(outputs, 1, at as i64, at as i64 + 1);
        let at = loss.point_output();
        let point = output(graph, at);
        let point = self.value(graph, target, &point)?;
        let mut trained: Vec<(f64, String)> = Vec::new();
        match loss {
            Loss::Pinball { quantiles } => {
                for (at, level) in quantiles.iter().enumerate() {
                    let value = output(graph, at);
                    trained.push((*level, self.value(graph, target, &value)?));
                }
            }
            Loss::GaussianNll => {
                let (mean, log_variance) = (output(graph, 0), output(graph, 1));
                let (low, high) = Loss::LOG_VARIANCE;
                let (low, high, half) = (graph.f64(low), graph.f64(high), graph.f64(0.5));
                let bounded = graph.node("Clip", &[&log_variance, &low, &high], vec![]);
                let halved = graph.node("Mul", &[&bounded, &half], vec![]);
                let deviation = graph.node("Exp", &[&halved], vec![]);
                for (level, normal) in Loss::gaussian_quantiles() {
                    let normal = graph.f64(normal);
                    let away = graph.node("Mul", &[&deviation, &normal], vec![]);
                    let value = graph.node("Add", &[&mean, &away], vec![]);
                    trained.push((level, self.value(graph, target, &value)?));
                }
            }
            Loss::Custom(custom) => {
                return Err(Error::NotExportable {
                    reason: format!("its loss {:?} is the program's own", custom.name()),
                });
            }
            _ => {}
        }
        let trained = sorted(graph, &trained);
        let others = self.around(graph, conformal, ahead, &point);
        let mut knots = trained.clone();
        for (level, mut value) in others {
            let after = trained.partition_point(|(known, _)| *known < level);
            let before = after.checked_sub(1).map(|at| &trained[at]);
            let after = trained.get(after);
            let same = |other: Option<&(f64, String)>| {
                other.is_some_and(|(known, _)| (known - level).abs() < SAME_LEVEL)
            };
            if same(before) || same(after) {
                continue;
            }
            if let Some((_, low)) = before {
                value = graph.node("Max", &[&value, low], vec![]);
            }
            if let Some((_, high)) = after {
                value = graph.node("Min", &[&value, high], vec![]);
            }
            knots.push((level, value));
        }
        knots.sort_by(|a, b| a.0.total_cmp(&b.0));
        let levels = knots.iter().map(|(level, _)| *level).collect();
        let quantiles = in_order(graph, &knots);
        Ok((point, quantiles, levels))
    }
}

/// The values side by side in increasing order: (batch, values).
fn in_order(graph: &mut Graph, knots: &[(f64, String)]) -> String {
    let values: Vec<&str> = knots.iter().map(|(_, value)| value.as_str()).collect();
    let together = graph.node("Concat", &values, vec![Attribute::Int("axis", 1)]);
    if knots.len() < 2 {
        return together;
    }
    let count = graph.list(&[knots.len() as i64]);
    let attributes = vec![
        Attribute::Int("axis", 1).into(),
        Attribute::Int("largest", 0).into(),
        Attribute::Int("sorted", 1).into(),
    ];
    graph
        .outputs("TopK", &[&together, &count], attributes, 2)
        .swap_remove(0)
}

/// The same levels with the values in increasing order.
fn sorted(graph: &mut Graph, knots: &[(f64, String)]) -> Vec<(f64, String)> {
    if knots.len() < 2 {
        return knots.to_vec();
    }
    let together = in_order(graph, knots);
    (0..knots.len() as i64)
        .zip(knots)
        .map(|(at, (level, _))| (*level, graph.range(&together, 1, at, at + 1)))
        .collect()
}

/// The network's outputs (batch, outputs) in double precision.
pub(super) fn doubled(graph: &mut Graph, outputs: &Value) -> String {
    let to = Attribute::Int("to", DataType::Double as i64);
    graph.node("Cast", &[&outputs.name], vec![to])
}
