//! From raw rows to the window that a network sees, and what is known of the target's spread.

use super::graph::{Attribute, Graph, Value, known, named};
use super::proto::DataType;
use crate::forecast::interval::{DECAY, WARM_UP};
use crate::transform::{FeatureTransform, Preprocessor};
use crate::{Error, Result};

/// Writes the scaled window (batch, timesteps, features) of the raw rows (batch, rows, features).
///
/// # Errors
///
/// What the network sees beside the features is not in the raw rows.
pub(super) fn window(
    graph: &mut Graph,
    rows: &str,
    preprocessor: &Preprocessor,
    timesteps: usize,
) -> Result<Value> {
    if !preprocessor.channels.is_empty() {
        return Err(Error::NotExportable {
            reason: "it sees values known ahead, static values or categories, which raw rows of \
                     features do not hold"
                .to_owned(),
        });
    }
    let filled = forward_fill(graph, rows, preprocessor.max_staleness);
    let needed = (timesteps + preprocessor.lookback()) as i64;
    let filled = graph.range(&filled, 1, -needed, i64::MAX);
    let nan = graph.f64(f64::NAN);
    let mut columns = Vec::new();
    for (at, feature) in preprocessor.features.iter().enumerate() {
        let column = graph.column(&filled, at);
        let column = transformed(graph, &column, &feature.transform, timesteps, &nan)?;
        let (offset, scale) = feature.scaler.linear()?;
        let (offset, scale) = (graph.f64(offset), graph.f64(scale));
        let moved = graph.node("Sub", &[&column, &offset], vec![]);
        let scaled = graph.node("Div", &[&moved, &scale], vec![]);
        let finite = is_finite(graph, &scaled);
        let fill = graph.f64(feature.fill);
        let whole = graph.node("Where", &[&finite, &scaled, &fill], vec![]);
        let axis = graph.list(&[2]);
        columns.push(graph.node("Unsqueeze", &[&whole, &axis], vec![]));
    }
    let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
    let mut window = graph.node("Concat", &columns, vec![Attribute::Int("axis", 2)]);
    if let Some(clip) = preprocessor.clip {
        let (low, high) = (graph.f64(-clip), graph.f64(clip));
        window = graph.node("Clip", &[&window, &low, &high], vec![]);
    }
    let to = Attribute::Int("to", DataType::Float as i64);
    let window = graph.node("Cast", &[&window], vec![to]);
    Ok(Value::new(window, &[timesteps, preprocessor.width()]))
}

/// Whether a number is one: only then is it 0 less itself.
fn is_finite(graph: &mut Graph, x: &str) -> String {
    let (difference, zero) = (graph.node("Sub", &[x, x], vec![]), graph.f64(0.0));
    graph.node("Equal", &[&difference, &zero], vec![])
}

/// Missing values keep the last one over at most `limit` rows.
fn forward_fill(graph: &mut Graph, rows: &str, limit: usize) -> String {
    let mut body = Graph::new("fill.");
    let mut columns = |name: &str| {
        let dims = vec![named("batch"), named("columns")];
        body.input(name, DataType::Double, dims);
    };
    columns("fill.last");
    columns("fill.age");
    columns("fill.row");
    let finite = is_finite(&mut body, "fill.row");
    let last = body.node("Where", &[&finite, "fill.row", "fill.last"], vec![]);
    let (zero, one) = (body.f64(0.0), body.f64(1.0));
    let older = body.node("Add", &["fill.age", &one], vec![]);
    let age = body.node("Where", &[&finite, &zero, &older], vec![]);
    let (limit, nan) = (body.f64(limit as f64), body.f64(f64::NAN));
    let fresh = body.node("LessOrEqual", &[&age, &limit], vec![]);
    let filled = body.node("Where", &[&fresh, &last, &nan], vec![]);
    for (value, name) in [(&last, "last"), (&age, "age"), (&filled, "filled")] {
        let name = format!("fill.next.{name}");
        body.rename(value, &name);
        let dims = vec![named("batch"), named("columns")];
        body.output(&name, DataType::Double, dims);
    }
    let by_row = graph.node(
        "Transpose",
        &[rows],
        vec![Attribute::Ints("perm", vec![1, 0, 2])],
    );
    // States of the size of a row: no value yet, so that the first rows stay missing.
    let (_, shape) = graph.first(&by_row);
    let (nan, zero) = (graph.f64(f64::NAN), graph.f64(0.0));
    let last = graph.node("Expand", &[&nan, &shape], vec![]);
    let age = graph.node("Expand", &[&zero, &shape], vec![]);
    let outputs = graph.scan(body.finish("forward_fill"), &[&last, &age], &by_row);
    graph.node(
        "Transpose",
        &[&outputs[2]],
        vec![Attribute::Ints("perm", vec![1, 0, 2])],
    )
}

/// The last `timesteps` values of what a transform makes of a column (batch, rows).
fn transformed(
    graph: &mut Graph,
    column: &str,
    transform: &FeatureTransform,
    timesteps: usize,
    nan: &str,
) -> Result<String> {
    let steps = timesteps as i64;
    let last = |graph: &mut Graph, x: &str, back: i64| match back {
        0 => graph.range(x, 1, -steps, i64::MAX),
        back => graph.range(x, 1, -steps - back, -back),
    };
    let change = |graph: &mut Graph, x: &str| {
        let (now, before) = (last(graph, x, 0), last(graph, x, 1));
        graph.node("Sub", &[&now, &before], vec![])
    };
    Ok(match transform {
        FeatureTransform::Custom(custom) => {
            return Err(Error::NotExportable {
                reason: format!("its transform {:?} is the program's own", custom.name()),
            });
        }
        FeatureTransform::Level => last(graph, column, 0),
        FeatureTransform::Log => {
            let logarithm = logarithm(graph, column, nan);
            last(graph, &logarithm, 0)
        }
        FeatureTransform::Auto | FeatureTransform::Difference => change(graph, column),
        FeatureTransform::LogDifference => {
            let logarithm = logarithm(graph, column, nan);
            change(graph, &logarithm)
        }
        FeatureTransform::ZScore { window } => {
            // The rows that each step's window has, from the last one back.
            let first = -(steps + *window as i64 - 1);
            let places: Vec<i64> = (0..steps)
                .flat_map(|step| (0..*window as i64).map(move |k| first + step + k))
                .collect();
            let places = graph.i64s(&[timesteps, *window], &places);
            let windows = graph.node(
                "Gather",
                &[column, &places],
                vec![Attribute::Int("axis", 1)],
            );
            let mean = |graph: &mut Graph, x: &str| {
                let axes = Attribute::Ints("axes", vec![2]);
                graph.node("ReduceMean", &[x], vec![axes])
            };
            let centre = mean(graph, &windows);
            let distance = graph.node("Sub", &[&windows, &centre], vec![]);
            let square = graph.node("Mul", &[&distance, &distance], vec![]);
            let variance = mean(graph, &square);
            let deviation = graph.node("Sqrt", &[&variance], vec![]);
            let last = graph.range(&distance, 2, -1, i64::MAX);
            let score = graph.node("Div", &[&last, &deviation], vec![]);
            let zero = graph.f64(0.0);
            let level = graph.node("Equal", &[&variance, &zero], vec![]);
            let score = graph.node("Where", &[&level, &zero, &score], vec![]);
            let axis = graph.list(&[2]);
            graph.node("Squeeze", &[&score, &axis], vec![])
        }
    })
}

/// The logarithm of positive numbers; others have none.
pub(super) fn logarithm(graph: &mut Graph, x: &str, nan: &str) -> String {
    let (zero, one) = (graph.f64(0.0), graph.f64(1.0));
    let positive = graph.node("Greater", &[x, &zero], vec![]);
    let safe = graph.node("Where", &[&positive, x, &one], vec![]);
    let logarithm = graph.node("Log", &[&safe], vec![]);
    graph.node("Where", &[&positive, &logarithm, nan], vec![])
}

/// The variance of the next change of a column (batch, rows), as expected from its changes so far:
/// (batch). It is the one that [`Spread`](crate::forecast::interval::Spread) knows, for rows that
/// are one step apart.
pub(super) fn running_variance(graph: &mut Graph, column: &str, name: &str) -> String {
    let label = |part: &str| format!("{name}.{part}");
    let mut body = Graph::new(&label(""));
    for part in ["variance", "count", "last", "row"] {
        body.input(&label(part), DataType::Double, vec![named("batch")]);
    }
    let (variance, count) = (label("variance"), label("count"));
    let change = body.node("Sub", &[&label("row"), &label("last")], vec![]);
    let square = body.node("Mul", &[&change, &change], vec![]);
    let difference = body.node("Sub", &[&square, &variance], vec![]);
    // A mean while there are few changes, and none before the first.
    let (zero, one) = (body.f64(0.0), body.f64(1.0));
    let at_least_one = body.node("Max", &[&count, &one], vec![]);
    let step = body.node("Div", &[&difference, &at_least_one], vec![]);
    let mean = body.node("Add", &[&variance, &step], vec![]);
    let (decay, rest) = (body.f64(DECAY), body.f64(1.0 - DECAY));
    let old = body.node("Mul", &[&variance, &decay], vec![]);
    let new = body.node("Mul", &[&square, &rest], vec![]);
    let weighted = body.node("Add", &[&old, &new], vec![]);
    let warm_up = body.f64(WARM_UP as f64);
    let early = body.node("LessOrEqual", &[&count, &warm_up], vec![]);
    let next = body.node("Where", &[&early, &mean, &weighted], vec![]);
    let first = body.node("Equal", &[&count, &zero], vec![]);
    let next = body.node("Where", &[&first, &zero, &next], vec![]);
    let counted = body.node("Add", &[&count, &one], vec![]);
    for (value, part) in [
        (&next, "next.variance"),
        (&counted, "next.count"),
        (&label("row"), "next.last"),
    ] {
        body.rename(value, &label(part));
        body.output(&label(part), DataType::Double, vec![named("batch")]);
    }
    let by_row = graph.node(
        "Transpose",
        &[column],
        vec![Attribute::Ints("perm", vec![1, 0])],
    );
    let (first, shape) = graph.first(&by_row);
    let zero = graph.f64(0.0);
    let zeros = graph.node("Expand", &[&zero, &shape], vec![]);
    let body = body.finish("running_variance");
    let mut outputs = graph.scan(body, &[&zeros, &zeros, &first], &by_row);
    outputs.swap_remove(0)
}

/// The shape of the raw rows.
pub(super) fn input_dims(features: usize) -> Vec<super::proto::Dimension> {
    vec![named("batch"), named("rows"), known(features)]
}
