//! What plots of a study show, as plain numbers for any front end, and as SVG.
//!
//! Each function takes the trials of a study; [`Chart::to_svg`] draws what it returns.

mod svg;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::best;
use crate::distribution::Distribution;
use crate::frozen::{FrozenTrial, StudyDirection, TrialState};

/// How positions along an axis are spaced.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Scale {
    /// Evenly.
    #[default]
    Linear,
    /// By their logarithm.
    Log,
    /// One place per category: position `i` is category `i`.
    Categories(Vec<String>),
    /// Seconds since 1970, shown as times.
    Time,
}

/// An axis of a chart.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Axis {
    /// What it measures.
    pub title: String,
    /// How positions are spaced.
    pub scale: Scale,
}

/// How the points of a series are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// As dots.
    Dots,
    /// As a line from point to point.
    Line,
    /// As a line that keeps its height until the next point.
    Steps,
    /// As bars from zero along x; y is the place.
    Bars,
    /// As bars from the x of each even point to that of the next odd one; y is the place.
    Spans,
}

/// Points that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// What they are, for the legend; empty for none.
    pub name: String,
    /// How they are drawn.
    pub mark: Mark,
    /// Their positions.
    pub points: Vec<(f64, f64)>,
    /// A number per point that its colour shows, from 0 to 1; empty for one colour.
    pub shades: Vec<f64>,
}

impl Series {
    fn new(name: &str, mark: Mark, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.to_owned(),
            mark,
            points,
            shades: Vec::new(),
        }
    }
}

/// A chart: two axes and some series.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// The series, drawn in this order.
    pub series: Vec<Series>,
}

fn axis(title: impl Into<String>) -> Axis {
    Axis {
        title: title.into(),
        scale: Scale::Linear,
    }
}

type Trials<'a> = &'a [Arc<FrozenTrial>];

/// Complete trials with a finite value of an objective.
fn evaluated<'a>(
    trials: Trials<'a>,
    objective: usize,
) -> impl Iterator<Item = (&'a Arc<FrozenTrial>, f64)> {
    trials
        .iter()
        .filter(|trial| trial.state == TrialState::Complete)
        .filter_map(move |trial| Some((trial, *trial.values.get(objective)?)))
        .filter(|(_, value)| value.is_finite())
}

/// The value of each trial and the best so far, by number.
pub fn optimization_history(
    trials: Trials<'_>,
    directions: &[StudyDirection],
    objective: usize,
) -> Chart {
    let direction = directions.get(objective).copied().unwrap_or_default();
    let points: Vec<(f64, f64)> = evaluated(trials, objective)
        .map(|(t, value)| (t.number as f64, value))
        .collect();
    let mut best = f64::INFINITY;
    let bests = evaluated(trials, objective)
        .map(|(trial, value)| {
            if best::is_feasible(trial) {
                best = best.min(direction.as_loss(value));
            }
            // Turning a loss back is the same as turning a value.
            (trial.number as f64, direction.as_loss(best))
        })
        .filter(|(_, value)| value.is_finite())
        .collect();
    Chart {
        title: "Optimization history".to_owned(),
        x: axis("Trial"),
        y: axis(objective_title(directions, objective)),
        series: vec![
            Series::new("value", Mark::Dots, points),
            Series::new("best", Mark::Steps, bests),
        ],
    }
}

fn objective_title(directions: &[StudyDirection], objective: usize) -> String {
    if directions.len() > 1 {
        format!("Objective {objective}")
    } else {
        "Objective value".to_owned()
    }
}

/// What each trial reported, by step.
pub fn intermediate_values(trials: Trials<'_>) -> Chart {
    let series = trials
        .iter()
        .filter(|trial| !trial.intermediate_values.is_empty())
        .map(|trial| {
            let points = trial
                .intermediate_values
                .iter()
                .map(|(step, v)| (*step as f64, *v));
            let name = format!("trial {}", trial.number);
            Series::new(
                &name,
                Mark::Line,
                points.filter(|(_, v)| v.is_finite()).collect(),
            )
        })
        .collect();
    Chart {
        title: "Intermediate values".to_owned(),
        x: axis("Step"),
        y: axis("Intermediate value"),
        series,
    }
}

/// The axis and positions of a parameter over complete trials; `None` if no trial has it.
fn parameter_axis(trials: Trials<'_>, name: &str) -> Option<Axis> {
    let distribution = trials
        .iter()
        .filter(|trial| trial.state == TrialState::Complete)
        .find_map(|trial| trial.parameter(name))?
        .distribution
        .clone();
    let scale = match &*distribution {
        Distribution::Categorical(d) => {
            Scale::Categories(d.choices().iter().map(ToString::to_string).collect())
        }
        other if other.is_log() => Scale::Log,
        _ => Scale::Linear,
    };
    Some(Axis {
        title: name.to_owned(),
        scale,
    })
}

/// The objective against one parameter; later trials are darker. `None` if no complete trial has it.
pub fn slice(
    trials: Trials<'_>,
    directions: &[StudyDirection],
    objective: usize,
    name: &str,
) -> Option<Chart> {
    let x = parameter_axis(trials, name)?;
    let last = trials.len().max(2) as f64 - 1.0;
    let (points, shades) = evaluated(trials, objective)
        .filter_map(|(trial, value)| {
            let position = trial.parameter(name)?.internal;
            Some(((position, value), trial.number as f64 / last))
        })
        .unzip();
    Some(Chart {
        title: format!("Slice along {name}"),
        x,
        y: axis(objective_title(directions, objective)),
        series: vec![Series {
            shades,
            ..Series::new("", Mark::Dots, points)
        }],
    })
}

/// Two parameters against each other; the colour shows the rank of the objective, the best darkest.
///
/// `None` if no complete trial has both.
pub fn rank(
    trials: Trials<'_>,
    directions: &[StudyDirection],
    objective: usize,
    names: (&str, &str),
) -> Option<Chart> {
    let (x, y) = (
        parameter_axis(trials, names.0)?,
        parameter_axis(trials, names.1)?,
    );
    let placed = placed(trials, directions, objective, names);
    if placed.is_empty() {
        return None;
    }
    let mut losses: Vec<f64> = placed.iter().map(|(_, loss)| *loss).collect();
    losses.sort_by(f64::total_cmp);
    let last = losses.len().max(2) as f64 - 1.0;
    let shade = |loss: f64| 1.0 - losses.partition_point(|other| *other < loss) as f64 / last;
    let shades = placed.iter().map(|(_, loss)| shade(*loss)).collect();
    let points = placed.into_iter().map(|(point, _)| point).collect();
    Some(Chart {
        title: format!("Rank over {} and {}", names.0, names.1),
        x,
        y,
        series: vec![Series {
            shades,
            ..Series::new("", Mark::Dots, points)
        }],
    })
}

fn placed(
    trials: Trials<'_>,
    directions: &[StudyDirection],
    objective: usize,
    names: (&str, &str),
) -> Vec<((f64, f64), f64)> {
    let direction = directions.get(objective).copied().unwrap_or_default();
    evaluated(trials, objective)
        .filter_map(|(trial, value)| {
            let (x, y) = (trial.parameter(names.0)?, trial.parameter(names.1)?);
            Some(((x.internal, y.internal), direction.as_loss(value)))
        })
        .collect()
}

/// Values on a grid over two parameters, between the trials that were made.
#[derive(Debug, Clone, PartialEq)]
pub struct Contour {
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// Positions of the columns.
    pub columns: Vec<f64>,
    /// Positions of the rows.
    pub rows: Vec<f64>,
    /// The objective at each row and column.
    pub values: Vec<Vec<f64>>,
    /// The trials, with their values.
    pub points: Vec<((f64, f64), f64)>,
}

/// Estimates the objective over two parameters from the nearest trials.
///
/// `None` if no complete trial has both.
pub fn contour(
    trials: Trials<'_>,
    directions: &[StudyDirection],
    objective: usize,
    names: (&str, &str),
) -> Option<Contour> {
    const CELLS: usize = 30;
    let (x, y) = (
        parameter_axis(trials, names.0)?,
        parameter_axis(trials, names.1)?,
    );
    let direction = directions.get(objective).copied().unwrap_or_default();
    let points: Vec<((f64, f64), f64)> = placed(trials, directions, objective, names)
        .into_iter()
        .map(|(point, loss)| (point, direction.as_loss(loss)))
        .collect();
    let along = |axis: &Axis, pick: fn(&(f64, f64)) -> f64| -> Option<Vec<f64>> {
        if let Scale::Categories(names) = &axis.scale {
            return Some((0..names.len()).map(|i| i as f64).collect());
        }
        let positions = || {
            points
                .iter()
                .map(|(point, _)| svg::project(&axis.scale, pick(point)))
        };
        let (low, high) = (
            positions().min_by(f64::total_cmp)?,
            positions().max_by(f64::total_cmp)?,
        );
        let step = (high - low) / (CELLS - 1) as f64;
        Some(
            (0..CELLS)
                .map(|i| svg::unproject(&axis.scale, low + i as f64 * step))
                .collect(),
        )
    };
    let (columns, rows) = (along(&x, |p| p.0)?, along(&y, |p| p.1)?);
    let unit = |axis: &Axis, positions: &[f64], value: f64| {
        let (low, high) = (positions[0], positions[positions.len() - 1]);
        let [low, high, value] = [low, high, value].map(|v| svg::project(&axis.scale, v));
        if high > low {
            (value - low) / (high - low)
        } else {
            0.0
        }
    };
    let values = rows
        .iter()
        .map(|row| {
            columns
                .iter()
                .map(|column| {
                    // Shepard's weights: near trials count with the inverse fourth power.
                    let (sum, weight) = points.iter().fold((0.0, 0.0), |(s, w), (point, value)| {
                        let dx = unit(&x, &columns, point.0) - unit(&x, &columns, *column);
                        let dy = unit(&y, &rows, point.1) - unit(&y, &rows, *row);
                        let near = 1.0 / ((dx * dx + dy * dy).powi(2) + 1e-9);
                        (s + near * value, w + near)
                    });
                    sum / weight
                })
                .collect()
        })
        .collect();
    Some(Contour {
        x,
        y,
        columns,
        rows,
        values,
        points,
    })
}

/// Trials as lines across several axes.
#[derive(Debug, Clone, PartialEq)]
pub struct ParallelCoordinates {
    /// The objective first, then the parameters.
    pub axes: Vec<Axis>,
    /// Per trial its number and position on each axis.
    pub lines: Vec<(usize, Vec<f64>)>,
}

/// The complete trials that have all of the parameters, across the objective and these.
pub fn parallel_coordinates(
    trials: Trials<'_>,
    directions: &[StudyDirection],
    objective: usize,
    names: &[&str],
) -> ParallelCoordinates {
    let names: Vec<&str> = names
        .iter()
        .copied()
        .filter(|name| parameter_axis(trials, name).is_some())
        .collect();
    let mut axes = vec![axis(objective_title(directions, objective))];
    axes.extend(names.iter().filter_map(|name| parameter_axis(trials, name)));
    let lines = evaluated(trials, objective)
        .filter_map(|(trial, value)| {
            let mut positions = vec![value];
            for name in &names {
                positions.push(trial.parameter(name)?.internal);
            }
            Some((trial.number, positions))
        })
        .collect();
    ParallelCoordinates { axes, lines }
}

/// The share of trials at least as small as each value, for one or more studies by name.
pub fn edf(studies: &[(&str, Trials<'_>)], objective: usize) -> Chart {
    let series = studies
        .iter()
        .map(|(name, trials)| {
            let mut values: Vec<f64> = evaluated(trials, objective).map(|(_, v)| v).collect();
            values.sort_by(f64::total_cmp);
            let count = values.len() as f64;
            let points = values
                .into_iter()
                .enumerate()
                .map(|(i, v)| (v, (i + 1) as f64 / count))
                .collect();
            Series::new(name, Mark::Steps, points)
        })
        .collect();
    Chart {
        title: "Empirical distribution".to_owned(),
        x: axis("Objective value"),
        y: axis("Cumulative probability"),
        series,
    }
}

/// When each trial ran, by state.
pub fn timeline(trials: Trials<'_>) -> Chart {
    let mut spans: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    let seconds = |time: chrono::DateTime<chrono::Utc>| time.timestamp_micros() as f64 / 1e6;
    let latest = trials
        .iter()
        .filter_map(|t| t.datetime_complete.or(t.datetime_start))
        .max();
    for trial in trials {
        // A running trial reaches to the last thing that is known to have happened.
        let (Some(start), Some(end)) = (trial.datetime_start, trial.datetime_complete.or(latest))
        else {
            continue;
        };
        let points = spans.entry(trial.state.as_str()).or_default();
        points.extend([start, end.max(start)].map(|time| (seconds(time), trial.number as f64)));
    }
    Chart {
        title: "Timeline".to_owned(),
        x: Axis {
            title: "Time (UTC)".to_owned(),
            scale: Scale::Time,
        },
        y: axis("Trial"),
        series: spans
            .into_iter()
            .map(|(state, points)| Series::new(state, Mark::Spans, points))
            .collect(),
    }
}

/// Two objectives against each other, with the trials no other beats in both.
pub fn pareto_front(
    trials: Trials<'_>,
    directions: &[StudyDirection],
    objectives: (usize, usize),
) -> Chart {
    let front = best::pareto_front(trials, directions);
    let on_front = |trial: &FrozenTrial| front.iter().any(|best| best.id == trial.id);
    let point = |trial: &FrozenTrial| {
        Some((
            *trial.values.get(objectives.0)?,
            *trial.values.get(objectives.1)?,
        ))
        .filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let of = |wanted: bool| {
        let complete = trials
            .iter()
            .filter(|trial| trial.state == TrialState::Complete);
        complete
            .filter(|trial| on_front(trial) == wanted)
            .filter_map(|t| point(t))
            .collect()
    };
    Chart {
        title: "Pareto front".to_owned(),
        x: axis(format!("Objective {}", objectives.0)),
        y: axis(format!("Objective {}", objectives.1)),
        series: vec![
            Series::new("trials", Mark::Dots, of(false)),
            Series::new("best", Mark::Dots, of(true)),
        ],
    }
}

/// Importances as bars, as [`Study::param_importances`](crate::Study::param_importances) returns them.
pub fn importances(importances: &[(String, f64)]) -> Chart {
    // The most important on top.
    let ordered: Vec<&(String, f64)> = importances.iter().rev().collect();
    Chart {
        title: "Parameter importances".to_owned(),
        x: axis("Importance"),
        y: Axis {
            title: String::new(),
            scale: Scale::Categories(ordered.iter().map(|(name, _)| name.clone()).collect()),
        },
        series: vec![Series::new(
            "",
            Mark::Bars,
            ordered
                .iter()
                .enumerate()
                .map(|(i, (_, value))| (*value, i as f64))
                .collect(),
        )],
    }
}
