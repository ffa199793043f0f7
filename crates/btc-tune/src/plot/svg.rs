//! Charts as SVG: no styles, no scripts, colours that suit light and dark pages.

use std::fmt::Write as _;

use super::{Axis, Chart, Contour, Mark, ParallelCoordinates, Scale};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 88.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 56.0;
/// Colours of Okabe and Ito (2008), which people with any colour vision can tell apart.
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f",
];
/// Series beyond this are not named in the legend.
const NAMED: usize = 8;

/// A position on the line an axis is drawn along.
pub(super) fn project(scale: &Scale, value: f64) -> f64 {
    if *scale == Scale::Log {
        value.log10()
    } else {
        value
    }
}

pub(super) fn unproject(scale: &Scale, position: f64) -> f64 {
    if *scale == Scale::Log {
        10_f64.powf(position)
    } else {
        position
    }
}

/// Where an axis begins and ends, on its line.
#[derive(Clone, Copy)]
struct Span {
    low: f64,
    high: f64,
}

impl Span {
    fn of(scale: &Scale, values: impl Iterator<Item = f64>) -> Self {
        if let Scale::Categories(names) = scale {
            return Self {
                low: -0.5,
                high: names.len().max(1) as f64 - 0.5,
            };
        }
        let mut span = Self {
            low: f64::INFINITY,
            high: f64::NEG_INFINITY,
        };
        for value in values
            .map(|value| project(scale, value))
            .filter(|value| value.is_finite())
        {
            span.low = span.low.min(value);
            span.high = span.high.max(value);
        }
        if span.low > span.high {
            return Self {
                low: 0.0,
                high: 1.0,
            };
        }
        let room = if span.high > span.low {
            0.04 * (span.high - span.low)
        } else {
            0.5 * span.high.abs().max(1.0)
        };
        Self {
            low: span.low - room,
            high: span.high + room,
        }
    }

    fn share(self, position: f64) -> f64 {
        (position - self.low) / (self.high - self.low)
    }
}

/// Positions on the line with their labels.
fn ticks(scale: &Scale, span: Span) -> Vec<(f64, String)> {
    match scale {
        Scale::Categories(names) => names
            .iter()
            .enumerate()
            .map(|(i, name)| (i as f64, shorten(name)))
            .collect(),
        Scale::Log => {
            let step = ((span.high - span.low) / 6.0).ceil().max(1.0);
            let first = (span.low / step).ceil() * step;
            let powers = (0..20).map(|i| first + f64::from(i) * step);
            let inside: Vec<_> = powers
                .take_while(|power| *power <= span.high)
                .map(|power| (power, format!("1e{power}")))
                .collect();
            if inside.is_empty() {
                let middle = (span.low + span.high) / 2.0;
                return vec![(middle, number(10_f64.powf(middle)))];
            }
            inside
        }
        Scale::Linear | Scale::Time => {
            let raw = (span.high - span.low) / 6.0;
            let power = 10_f64.powf(raw.log10().floor());
            let step = [1.0, 2.0, 5.0, 10.0]
                .map(|m| m * power)
                .into_iter()
                .find(|s| *s >= raw);
            let step = step.unwrap_or(raw);
            let first = (span.low / step).ceil() * step;
            (0..20)
                .map(|i| first + f64::from(i) * step)
                .take_while(|x| *x <= span.high)
                .map(|x| {
                    // A sum of steps misses zero by a hair.
                    let x = if x.abs() < step * 1e-9 { 0.0 } else { x };
                    let label = if *scale == Scale::Time {
                        clock(x)
                    } else {
                        number(x)
                    };
                    (x, label)
                })
                .collect()
        }
    }
}

fn number(x: f64) -> String {
    let size = x.abs();
    if x == 0.0 {
        "0".to_owned()
    } else if !(1e-3..1e6).contains(&size) {
        format!("{x:.2e}")
    } else {
        let decimals = (4.0 - size.log10().floor()).clamp(0.0, 7.0) as usize;
        let text = format!("{x:.decimals$}");
        let trimmed = if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.')
        } else {
            &text
        };
        trimmed.to_owned()
    }
}

fn clock(seconds: f64) -> String {
    match chrono::DateTime::from_timestamp(seconds as i64, 0) {
        Some(time) => time.format("%m-%d %H:%M:%S").to_string(),
        None => number(seconds),
    }
}

fn shorten(text: &str) -> String {
    const LONGEST: usize = 14;
    if text.chars().count() <= LONGEST {
        return text.to_owned();
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            '&' => "&amp;".to_owned(),
            '"' => "&quot;".to_owned(),
            // XML has no place for other control characters, not even escaped.
            c if c.is_control() => String::new(),
            c => c.to_string(),
        })
        .collect()
}

/// From pale to full.
fn shade(value: f64) -> String {
    let value = if value.is_finite() {
        value.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let mix = |from: f64, to: f64| (from + (to - from) * value).round() as u8;
    format!(
        "#{:02x}{:02x}{:02x}",
        mix(198.0, 8.0),
        mix(219.0, 48.0),
        mix(239.0, 107.0)
    )
}

/// The page with its frame, title and two axes; the caller adds what is inside.
fn page(title: &str, x: &Axis, y: &Axis, spans: (Span, Span)) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"12\" fill=\"currentColor\">\
         <title>{0}</title><text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{0}</text>",
        escape(title)
    );
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (position, label) in ticks(&x.scale, spans.0) {
        let at = LEFT + spans.0.share(position) * (right - LEFT);
        let _ = write!(
            out,
            "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"currentColor\" \
             stroke-opacity=\"0.12\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
            bottom + 17.0,
            escape(&label)
        );
    }
    for (position, label) in ticks(&y.scale, spans.1) {
        let at = bottom - spans.1.share(position) * (bottom - TOP);
        let _ = write!(
            out,
            "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"currentColor\" \
             stroke-opacity=\"0.12\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            at + 4.0,
            escape(&label)
        );
    }
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\
         <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
        (LEFT + right) / 2.0,
        HEIGHT - 14.0,
        escape(&x.title),
        (TOP + bottom) / 2.0,
        escape(&y.title)
    );
    out
}

impl Chart {
    /// Draws the chart; texts take the colour of the page around it.
    pub fn to_svg(&self) -> String {
        let points = || {
            self.series
                .iter()
                .flat_map(|series| series.points.iter().copied())
        };
        let zero = self
            .series
            .iter()
            .any(|series| series.mark == Mark::Bars)
            .then_some(0.0);
        let spans = (
            Span::of(&self.x.scale, points().map(|p| p.0).chain(zero)),
            Span::of(&self.y.scale, points().map(|p| p.1)),
        );
        let mut out = page(&self.title, &self.x, &self.y, spans);
        let place = |(x, y): (f64, f64)| {
            let x = spans.0.share(project(&self.x.scale, x));
            let y = spans.1.share(project(&self.y.scale, y));
            let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
            (LEFT + x * (right - LEFT), bottom - y * (bottom - TOP))
        };
        for (i, series) in self.series.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let placed: Vec<(f64, f64)> = series.points.iter().map(|p| place(*p)).collect();
            draw(&mut out, series, &placed, colour, place((0.0, 0.0)).0);
        }
        legend(&mut out, self);
        out.push_str("</svg>");
        out
    }
}

fn draw(out: &mut String, series: &super::Series, placed: &[(f64, f64)], colour: &str, zero: f64) {
    // A value without a place on a logarithmic axis is left out.
    let drawable = |p: &(f64, f64)| p.0.is_finite() && p.1.is_finite();
    match series.mark {
        Mark::Dots => {
            for (i, (x, y)) in placed.iter().enumerate().filter(|(_, p)| drawable(p)) {
                let fill = series
                    .shades
                    .get(i)
                    .map_or_else(|| colour.to_owned(), |s| shade(*s));
                let _ = write!(
                    out,
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{fill}\"/>"
                );
            }
        }
        Mark::Line | Mark::Steps => {
            let mut path = String::new();
            let mut before: Option<f64> = None;
            for (x, y) in placed.iter().filter(|p| drawable(p)) {
                if let (Mark::Steps, Some(height)) = (series.mark, before) {
                    let _ = write!(path, "{x:.1},{height:.1} ");
                }
                let _ = write!(path, "{x:.1},{y:.1} ");
                before = Some(*y);
            }
            let _ = write!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>",
                path.trim_end()
            );
        }
        Mark::Bars => {
            for (x, y) in placed.iter().filter(|p| drawable(p)) {
                bar(out, zero, *x, *y, colour);
            }
        }
        Mark::Spans => {
            for pair in placed
                .chunks_exact(2)
                .filter(|pair| pair.iter().all(drawable))
            {
                bar(out, pair[0].0, pair[1].0, pair[0].1, colour);
            }
        }
    }
}

fn bar(out: &mut String, from: f64, to: f64, y: f64, colour: &str) {
    let (left, width) = (from.min(to), (to - from).abs().max(1.0));
    let _ = write!(
        out,
        "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"8\" fill=\"{colour}\"/>",
        y - 4.0
    );
}

fn legend(out: &mut String, chart: &Chart) {
    let named: Vec<(usize, &str)> = chart
        .series
        .iter()
        .enumerate()
        .filter(|(_, series)| !series.name.is_empty())
        .map(|(i, series)| (i, series.name.as_str()))
        .collect();
    if named.is_empty() || named.len() > NAMED {
        return;
    }
    let mut x = WIDTH - RIGHT;
    for (i, name) in named.into_iter().rev() {
        let name = shorten(name);
        x -= 7.5 * name.chars().count() as f64 + 22.0;
        let _ = write!(
            out,
            "<rect x=\"{x:.1}\" y=\"14\" width=\"10\" height=\"10\" fill=\"{}\"/>\
             <text x=\"{:.1}\" y=\"24\">{}</text>",
            COLOURS[i % COLOURS.len()],
            x + 14.0,
            escape(&name)
        );
    }
}

impl Contour {
    /// Draws the grid in shades, dark where values are large, with the trials as dots.
    pub fn to_svg(&self) -> String {
        let spans = (
            Span::of(&self.x.scale, self.columns.iter().copied()),
            Span::of(&self.y.scale, self.rows.iter().copied()),
        );
        let title = format!("Contour over {} and {}", self.x.title, self.y.title);
        let mut out = page(&title, &self.x, &self.y, spans);
        let all = || {
            self.values
                .iter()
                .flatten()
                .copied()
                .filter(|value| value.is_finite())
        };
        let low = all().min_by(f64::total_cmp).unwrap_or(0.0);
        let high = all().max_by(f64::total_cmp).unwrap_or(1.0);
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let place_x = |x: f64| LEFT + spans.0.share(project(&self.x.scale, x)) * (right - LEFT);
        let place_y = |y: f64| bottom - spans.1.share(project(&self.y.scale, y)) * (bottom - TOP);
        let (width, height) = (
            (right - LEFT) / self.columns.len() as f64,
            (bottom - TOP) / self.rows.len() as f64,
        );
        for (row, values) in self.rows.iter().zip(&self.values) {
            for (column, value) in self.columns.iter().zip(values) {
                let fill = shade((value - low) / (high - low));
                let (x, y) = (place_x(*column) - width / 2.0, place_y(*row) - height / 2.0);
                let _ = write!(
                    out,
                    "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{fill}\"/>"
                );
            }
        }
        for ((x, y), _) in &self.points {
            let _ = write!(
                out,
                "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.5\" fill=\"#d55e00\"/>",
                place_x(*x),
                place_y(*y)
            );
        }
        out.push_str("</svg>");
        out
    }
}

impl ParallelCoordinates {
    /// Draws each trial as a line across the axes; the colour shows the first axis.
    pub fn to_svg(&self) -> String {
        let names = self.axes.iter().map(|axis| axis.title.clone()).collect();
        let x = Axis {
            title: String::new(),
            scale: Scale::Categories(names),
        };
        let spans: Vec<Span> = self
            .axes
            .iter()
            .enumerate()
            .map(|(i, axis)| Span::of(&axis.scale, self.lines.iter().map(|(_, p)| p[i])))
            .collect();
        let whole = Span {
            low: -0.5,
            high: self.axes.len() as f64 - 0.5,
        };
        let first = self.axes.first().cloned().unwrap_or_default();
        let mut out = page(
            "Parallel coordinates",
            &x,
            &first,
            (
                whole,
                spans.first().copied().unwrap_or(Span {
                    low: 0.0,
                    high: 1.0,
                }),
            ),
        );
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let across = |i: usize| LEFT + whole.share(i as f64) * (right - LEFT);
        for (i, (axis, span)) in self.axes.iter().zip(&spans).enumerate().skip(1) {
            for (position, label) in ticks(&axis.scale, *span) {
                let _ = write!(
                    out,
                    "<text x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\">{}</text>",
                    across(i) + 3.0,
                    bottom - span.share(position) * (bottom - TOP),
                    escape(&label)
                );
            }
        }
        for (_, positions) in &self.lines {
            let mut path = String::new();
            let mut colour = 0.0;
            for (i, (position, axis)) in positions.iter().zip(&self.axes).enumerate() {
                let share = spans[i].share(project(&axis.scale, *position));
                colour = if i == 0 { 1.0 - share } else { colour };
                let _ = write!(
                    path,
                    "{:.1},{:.1} ",
                    across(i),
                    bottom - share * (bottom - TOP)
                );
            }
            let _ = write!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-opacity=\"0.7\"/>",
                path.trim_end(),
                shade(colour)
            );
        }
        out.push_str("</svg>");
        out
    }
}
