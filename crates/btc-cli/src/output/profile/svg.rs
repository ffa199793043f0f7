//! Small charts as SVG, in the colours of the page.

use std::fmt::Write as _;

use btc_ingest::Gap;
use chrono::{Datelike, NaiveDate};

type DayValue = (NaiveDate, f64);

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 8.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

/// A value as people write it: `1.23 M`, `0.0042`.
pub(super) fn human(value: f64) -> String {
    let size = value.abs();
    let (scaled, unit) = match size {
        0.0 => return "0".to_owned(),
        _ if !(1e-4..1e15).contains(&size) => return format!("{value:.2e}"),
        _ if size >= 1e12 => (value / 1e12, " T"),
        _ if size >= 1e9 => (value / 1e9, " G"),
        _ if size >= 1e6 => (value / 1e6, " M"),
        _ if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = (2.0 - scaled.abs().log10().floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{scaled:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

/// Places values on an axis, linear or logarithmic.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
}

impl Axis {
    fn of(values: &[DayValue]) -> Self {
        let fold = |f: fn(f64, f64) -> f64, start| values.iter().map(|(_, v)| *v).fold(start, f);
        let (low, high) = (
            fold(f64::min, f64::INFINITY),
            fold(f64::max, f64::NEG_INFINITY),
        );
        // What grows thirtyfold is a flat line and a wall on a linear axis.
        let log = low > 0.0 && high / low > 30.0;
        let pad = if high > low {
            0.04 * (high - low)
        } else {
            high.abs().max(1.0) * 0.5
        };
        if log {
            Self { low, high, log }
        } else {
            Self {
                low: low - pad,
                high: high + pad,
                log,
            }
        }
    }

    fn place(&self, value: f64) -> f64 {
        let part = if self.log {
            (value / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        HEIGHT - BOTTOM - part.clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            let every = (decades.clone().count() / 5).max(1);
            let ticks: Vec<f64> = decades
                .step_by(every)
                .map(|power| 10f64.powi(power))
                .collect();
            return ticks
                .into_iter()
                .filter(|tick| (self.low..=self.high).contains(tick))
                .collect();
        }
        let raw = (self.high - self.low) / 5.0;
        let power = 10f64.powf(raw.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|m| m * power)
            .find(|step| *step >= raw);
        let step = step.unwrap_or(raw);
        let first = (self.low / step).ceil() as i64;
        (first..first + 7)
            .map(|n| n as f64 * step)
            .filter(|tick| *tick <= self.high)
            .collect()
    }
}

struct Days {
    first: NaiveDate,
    last: NaiveDate,
}

impl Days {
    fn place(&self, day: NaiveDate) -> f64 {
        let length = (self.last - self.first).num_days().max(1) as f64;
        LEFT + (day - self.first).num_days() as f64 / length * (WIDTH - LEFT - RIGHT)
    }

    /// Days with a label: years, or months where there are few of them.
    fn ticks(&self) -> Vec<(NaiveDate, String)> {
        let months = (self.last - self.first).num_days() / 30;
        // At most six fit beside each other.
        let every = match months {
            0..=5 => 1,
            6..=15 => 3,
            16..=30 => 6,
            31..=96 => 12,
            _ => 24,
        };
        let mut ticks = Vec::new();
        for year in self.first.year()..=self.last.year() {
            for month in (1..=12).step_by(every.min(12)) {
                let fits = every < 24 || year % 2 == 0;
                let Some(day) = NaiveDate::from_ymd_opt(year, month, 1).filter(|_| fits) else {
                    continue;
                };
                if (self.first..=self.last).contains(&day) {
                    let text = if every < 12 {
                        day.format("%Y-%m")
                    } else {
                        day.format("%Y")
                    };
                    ticks.push((day, text.to_string()));
                }
            }
        }
        ticks
    }
}

fn open(svg: &mut String, height: f64, label: &str) {
    let _ = write!(
        svg,
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">",
        super::page::escape(label)
    );
}

/// The course of a series; days without a value break the line.
pub(super) fn line(values: &[DayValue], label: &str) -> String {
    let (Some((first, _)), Some((last, _))) = (values.first(), values.last()) else {
        return String::new();
    };
    let days = Days {
        first: *first,
        last: *last,
    };
    let axis = Axis::of(values);
    let mut svg = String::new();
    open(&mut svg, HEIGHT, label);
    // Writing to a string cannot fail.
    for tick in axis.ticks() {
        let y = axis.place(tick);
        let _ = write!(
            svg,
            "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{:.0}\"/><text class=\"y\" x=\"{:.0}\" \
             y=\"{:.1}\">{}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            y + 4.0,
            human(tick)
        );
    }
    for (day, text) in days.ticks() {
        let _ = write!(
            svg,
            "<text class=\"x\" x=\"{:.1}\" y=\"{:.0}\">{text}</text>",
            days.place(day).clamp(LEFT + 12.0, WIDTH - 24.0),
            HEIGHT - 6.0
        );
    }
    let _ = write!(
        svg,
        "<path class=\"line\" d=\"{}\"/></svg>",
        path(values, &days, &axis)
    );
    svg
}

/// One lowest and one highest point for each column of pixels: no peak is lost.
fn path(values: &[DayValue], days: &Days, axis: &Axis) -> String {
    let mut path = String::new();
    let mut before: Option<NaiveDate> = None;
    let pixel = |day: NaiveDate| days.place(day).floor() as i64;
    for column in values.chunk_by(|a, b| pixel(a.0) == pixel(b.0)) {
        let lowest = column.iter().min_by(|a, b| a.1.total_cmp(&b.1));
        let highest = column.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        let mut points: Vec<&DayValue> = lowest.into_iter().chain(highest).collect();
        points.sort_by_key(|(day, _)| *day);
        points.dedup();
        let joined = before.is_some_and(|before| (column[0].0 - before).num_days() == 1);
        for (index, (day, value)) in points.into_iter().enumerate() {
            let command = if joined || index > 0 { 'L' } else { 'M' };
            let _ = write!(
                path,
                "{command}{:.1} {:.1}",
                days.place(*day),
                axis.place(*value)
            );
            if command == 'M' {
                // A point without neighbours is a dot, by the round ends of the line.
                path.push_str("h0");
            }
        }
        before = column.last().map(|(day, _)| *day);
    }
    path
}

/// How often changes of each size occur; the outermost half percent on each side is left out.
pub(super) fn histogram(values: &[f64], label: &str) -> String {
    const BINS: usize = 48;
    const TALL: f64 = 96.0;
    if values.len() < 3 {
        return String::new();
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let reach = quantile(&sorted, 0.005)
        .abs()
        .max(quantile(&sorted, 0.995).abs());
    if reach <= 0.0 {
        return String::new();
    }
    let mut bins = [0usize; BINS];
    for value in sorted.iter().filter(|value| value.abs() <= reach) {
        let bin = ((value + reach) / (2.0 * reach) * BINS as f64) as usize;
        bins[bin.min(BINS - 1)] += 1;
    }
    let most = bins.iter().copied().max().unwrap_or(1).max(1) as f64;
    let width = (WIDTH - LEFT - RIGHT) / BINS as f64;
    let base = TALL - BOTTOM;
    let mut svg = String::new();
    open(&mut svg, TALL, label);
    for (bin, count) in bins.iter().enumerate() {
        let height = *count as f64 / most * (base - TOP);
        let _ = write!(
            svg,
            "<rect class=\"bar\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
            LEFT + bin as f64 * width,
            base - height,
            width - 1.0
        );
    }
    let middle = LEFT + (WIDTH - LEFT - RIGHT) / 2.0;
    let _ = write!(
        svg,
        "<path class=\"grid\" d=\"M{middle:.1} {TOP}V{base}\"/>"
    );
    let reach = human(100.0 * reach);
    for (class, x, text) in [
        ("start", LEFT, format!("−{reach} %")),
        ("x", middle, "0".to_owned()),
        ("y", WIDTH - RIGHT, format!("+{reach} %")),
    ] {
        let y = TALL - 6.0;
        let _ = write!(
            svg,
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.0}\">{text}</text>"
        );
    }
    svg.push_str("</svg>");
    svg
}

/// A bar from the first to the last day of a series, with its gaps, within the days of all.
pub(super) fn coverage(
    all: (NaiveDate, NaiveDate),
    own: (NaiveDate, NaiveDate),
    gaps: &[Gap],
    label: &str,
) -> String {
    const TALL: f64 = 14.0;
    let length = (all.1 - all.0).num_days().max(1) as f64;
    let place = |day: NaiveDate| (day - all.0).num_days() as f64 / length * WIDTH;
    let mut svg = String::new();
    open(&mut svg, TALL, label);
    let bar = |svg: &mut String, class: &str, from: f64, to: f64| {
        let _ = write!(
            svg,
            "<rect class=\"{class}\" x=\"{from:.1}\" y=\"2\" width=\"{:.1}\" height=\"10\"/>",
            // A missing day is to be seen, however long the series is.
            (to - from).max(1.5)
        );
    };
    bar(&mut svg, "bar", place(own.0), place(own.1));
    for gap in gaps {
        bar(
            &mut svg,
            "gap",
            place(gap.first),
            place(gap.last) + WIDTH / length,
        );
    }
    svg.push_str("</svg>");
    svg
}

/// The value below which a part of the sorted values lies, linear between neighbours.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let place = part * (sorted.len() - 1) as f64;
    let below = sorted[place.floor() as usize];
    below + (sorted[place.ceil() as usize] - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (17_440.66, "17.4 k"),
            (1234.5, "1234"),
            (12.345, "12.3"),
            (3.1e13, "31 T"),
            (-0.25, "-0.25"),
            (4.2e-7, "4.20e-7"),
            (0.001, "0.001"),
            (999_999.0, "1000 k"),
            (100.0, "100"),
        ];
        for (value, expected) in cases {
            assert_eq!(human(value), expected);
        }
    }

    #[test]
    fn a_line_breaks_where_days_are_missing_and_keeps_peaks() {
        let first = NaiveDate::from_ymd_opt(2010, 1, 1).unwrap();
        let day = |days| first + chrono::Days::new(days);
        let mut values: Vec<DayValue> = (0..6000).map(|n| (day(n), 10.0)).collect();
        values[3001].1 = 99.0;
        values.drain(4000..4010);
        let svg = line(&values, "x");
        let path = svg.split("class=\"line\" d=\"").nth(1).unwrap();
        assert_eq!(path.matches('M').count(), 2);
        let axis = Axis::of(&values);
        assert!(path.contains(&format!(" {:.1}", axis.place(99.0))));
        assert!(svg.len() < 30_000, "{} bytes", svg.len());
    }

    #[test]
    fn odd_series_are_drawn_all_the_same() {
        let day = NaiveDate::from_ymd_opt(2021, 1, 1).unwrap();
        assert_eq!(line(&[], "x"), "");
        for values in [
            vec![(day, 0.0)],
            vec![(day, 5.0), (day.succ_opt().unwrap(), 5.0)],
            vec![(day, -1e300)],
        ] {
            let svg = line(&values, "<x>");
            assert!(
                svg.contains("&lt;x&gt;") && !svg.contains("NaN") && !svg.contains("inf"),
                "{svg}"
            );
        }
        assert_eq!(histogram(&[0.0; 10], "x"), "");
        assert!(histogram(&[-0.1, 0.2, 0.3], "x").contains("+29.9 %"));
    }
}
