//! The report as one HTML file that needs nothing else.

use std::fmt::Write;
use std::path::Path;

use super::report::{ModelScore, Report};
use crate::{Frequency, Result};

/// Width and height of a chart in its own units.
const SIZE: (f64, f64) = (860.0, 260.0);
/// Room for labels: left, top, right, bottom.
const MARGIN: (f64, f64, f64, f64) = (70.0, 12.0, 12.0, 28.0);

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1c1e21;--soft:#667;--paper:#fff;--line:#d5d8dd;--a:#2563b0;\
--b:#c2571a;--band:#2563b033}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--soft:#9aa1ab;--paper:#15171a;\
--line:#3a3f46;--a:#7db2ee;--b:#f0a070;--band:#7db2ee33}}\
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:960px;\
margin:2rem auto;padding:0 1rem}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
.wide{overflow-x:auto}\
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}\
svg{width:100%;height:auto}svg text{fill:var(--soft);font-size:12px}\
.axis{stroke:var(--line)}.a{stroke:var(--a);fill:none;stroke-width:1.5}\
.b{stroke:var(--b);fill:none;stroke-width:1.5}.band{fill:var(--band)}.dot{fill:var(--a)}\
.note{color:var(--soft)}.alarm{color:var(--b);font-weight:600}";

impl Report {
    /// The report as an HTML page with charts, in one file that loads nothing.
    pub fn to_html(&self) -> String {
        let mut page = String::new();
        self.write_html(&mut page)
            .expect("writing to a string does not fail");
        page
    }

    /// Writes [`to_html`](Self::to_html) to a file, which appears whole or not at all.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn save_html(&self, path: &Path) -> Result<()> {
        crate::files::write(path, self.to_html().as_bytes())
    }

    fn write_html(&self, page: &mut String) -> std::fmt::Result {
        let day = "%Y-%m-%d %H:%M UTC";
        let head = "<p class=\"note\">";
        let notes: String = self
            .notes
            .iter()
            .map(|note| format!("{head}{}</p>", escape(note)))
            .collect();
        write!(
            page,
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\">\
             <title>Backtest of {0}</title><style>{STYLE}</style></head><body>\
             <h1>Backtest of {0}</h1>{6}<p>{1} forecasts, {2} ahead, of the values known from {3} to \
             {4}. Models are refitted every {5} origins on all rows before; a forecast uses no \
             row after its origin.</p>",
            escape(&self.target),
            self.origins,
            ahead(self.horizon, self.frequency),
            self.first_target.format(day),
            self.last_target.format(day),
            self.refit_every,
            notes
        )?;
        if self.too_small {
            page.push_str("<p class=\"alarm\">Too few forecasts to say which model is better.</p>");
        }
        for alarm in &self.alarms {
            write!(page, "<p class=\"alarm\">{}</p>", escape(alarm))?;
        }
        self.write_models(page)?;
        self.write_intervals(page)?;
        self.write_price_chart(page)?;
        self.write_lead_chart(page)?;
        self.write_data(page)?;
        page.push_str("</body></html>\n");
        Ok(())
    }

    fn write_models(&self, page: &mut String) -> std::fmt::Result {
        page.push_str(
            "<h2>Points</h2><div class=\"wide\"><table><thead><tr><th>model</th><th>MAPE %</th>\
             <th>MAE</th><th>RMSE</th><th>MASE</th><th>relative MAE</th><th>R²</th>\
             <th>direction %</th><th>p</th><th>DM</th><th>p</th><th>p (Holm)</th></tr></thead>\
             <tbody>",
        );
        for model in &self.models {
            let with_sd = |value: f64, sd: Option<f64>| match sd {
                Some(sd) => format!("{value:.4} ± {sd:.4}"),
                None => format!("{value:.4}"),
            };
            write!(
                page,
                "<tr><td>{}</td><td>{}</td><td>{:.2}</td><td>{:.2}</td><td>{:.4}</td><td>{}</td>\
                 <td>{:.4}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                escape(&model.name),
                with_sd(model.mape, model.mape_sd),
                model.mae,
                model.rmse,
                model.mase,
                with_sd(model.relative_mae, model.relative_mae_sd),
                model.r2,
                optional(model.direction_accuracy.map(|share| 100.0 * share), 1),
                probability(model.direction_p),
                optional(model.dm_absolute, 2),
                probability(model.dm_absolute_p),
                probability(model.dm_absolute_p_holm)
            )?;
        }
        page.push_str(
            "</tbody></table></div><p class=\"note\">DM: the test of Diebold and Mariano against \
             naive on absolute errors, corrected for the sample's size; negative is better than \
             naive. Holm: adjusted for the number of models. ± is the standard deviation over \
             seeds.</p>",
        );
        Ok(())
    }

    fn write_intervals(&self, page: &mut String) -> std::fmt::Result {
        page.push_str(
            "<h2>Intervals</h2><div class=\"wide\"><table><thead><tr><th>model</th>\
             <th>level %</th><th>coverage %</th><th>width</th><th>Winkler</th></tr></thead><tbody>",
        );
        for model in &self.models {
            for score in &model.intervals {
                write!(
                    page,
                    "<tr><td>{}</td><td>{:.0}</td><td>{:.1}</td><td>{:.2}</td><td>{:.2}</td></tr>",
                    escape(&model.name),
                    100.0 * score.level,
                    100.0 * score.coverage,
                    score.width,
                    score.winkler
                )?;
            }
        }
        page.push_str("</tbody></table></div>");
        if !self.variance.is_empty() {
            page.push_str(
                "<h2>Variance</h2><table><thead><tr><th>model</th><th>QLIKE</th></tr></thead>\
                 <tbody>",
            );
            for score in &self.variance {
                let name = escape(&score.name);
                write!(page, "<tr><td>{name}</td><td>{:.4}</td></tr>", score.qlike)?;
            }
            page.push_str("</tbody></table>");
        }
        Ok(())
    }

    /// The model of the least error, naive among them.
    fn best(&self) -> usize {
        let mae = |at: &usize| self.models[*at].mae;
        (0..self.models.len())
            .min_by(|a, b| mae(a).total_cmp(&mae(b)))
            .unwrap_or(0)
    }

    fn write_price_chart(&self, page: &mut String) -> std::fmt::Result {
        let best = self.best();
        let band = &self.series.intervals[best];
        let name = escape(&self.models[best].name);
        write!(page, "<h2>Values and 90 % intervals of {name}</h2>")?;
        let ends = band.iter().flat_map(|(low, high)| [*low, *high]);
        let axes = Axes::new(ends.chain(self.series.actual.iter().copied()), band.len());
        axes.open(
            page,
            &format!("Values forecast, with the 90 % intervals of {name}"),
        )?;
        let there = band.iter().enumerate().map(|(at, (_, high))| (at, *high));
        let back = band
            .iter()
            .enumerate()
            .rev()
            .map(|(at, (low, _))| (at, *low));
        let outline = axes.points(there.chain(back).filter(|(_, y)| y.is_finite()));
        write!(page, "<polygon class=\"band\" points=\"{outline}\"/>")?;
        axes.line(page, "a", self.series.actual.iter().copied())?;
        axes.close(page, self)
    }

    /// How far each model's absolute errors are behind those of naive, added up.
    fn write_lead_chart(&self, page: &mut String) -> std::fmt::Result {
        let others: Vec<&ModelScore> = self.models.iter().skip(1).collect();
        if others.is_empty() {
            return Ok(());
        }
        page.push_str(
            "<h2>Lead over naive</h2><p class=\"note\">The sum of naive's absolute errors less \
             the model's, in percent of the value; a line that rises is better than naive.</p>",
        );
        let lead = |points: &[f64]| {
            let mut sum = 0.0;
            let each = self
                .series
                .actual
                .iter()
                .zip(&self.series.naive)
                .zip(points);
            each.map(|((actual, naive), point)| {
                sum += 100.0 * ((actual - naive).abs() - (actual - point).abs()) / actual.abs();
                sum
            })
            .collect::<Vec<f64>>()
        };
        let leads: Vec<Vec<f64>> = self.series.points[1..].iter().map(|p| lead(p)).collect();
        for (model, lead) in others.iter().zip(&leads) {
            let name = escape(&model.name);
            let axes = Axes::new(lead.iter().copied().chain([0.0]), lead.len());
            write!(page, "<h3>{name}</h3>")?;
            axes.open(page, &format!("Lead of {name} over naive"))?;
            axes.line(page, "b", lead.iter().copied())?;
            axes.close(page, self)?;
        }
        Ok(())
    }

    fn write_data(&self, page: &mut String) -> std::fmt::Result {
        if !self.unused_features.is_empty() {
            page.push_str("<h2>Features of no use</h2><ul>");
            for (name, reason) in &self.unused_features {
                write!(
                    page,
                    "<li>{}: {}</li>",
                    escape(name),
                    escape(&reason.to_string())
                )?;
            }
            page.push_str("</ul>");
        }
        let stale = self.staleness.iter().filter(|(_, rows)| **rows != Some(0));
        let mut stale = stale.peekable();
        if stale.peek().is_some() {
            page.push_str("<h2>Features without a value in the last row</h2><ul>");
            for (name, rows) in stale {
                let since = match rows {
                    Some(rows) => format!("{rows} rows since the last value"),
                    None => "no value at all".to_owned(),
                };
                write!(page, "<li>{}: {since}</li>", escape(name))?;
            }
            page.push_str("</ul>");
        }
        Ok(())
    }
}

/// How far ahead `steps` are, in words.
fn ahead(steps: usize, frequency: Frequency) -> String {
    match frequency {
        Frequency::Irregular if steps == 1 => "one row".to_owned(),
        Frequency::Irregular => format!("{steps} rows"),
        step if steps == 1 => step.to_string(),
        step => format!("{steps} times {step}"),
    }
}

fn optional(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}

fn probability(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.001 => "&lt; 0.001".to_owned(),
        p => optional(p, 3),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// The frame of a chart over consecutive rows.
struct Axes {
    low: f64,
    high: f64,
    rows: usize,
}

impl Axes {
    fn new(values: impl Iterator<Item = f64>, rows: usize) -> Self {
        let finite = values.filter(|value| value.is_finite());
        let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        match low < high {
            true => Self { low, high, rows },
            false if low.is_finite() => Self {
                low: low - 1.0,
                high: low + 1.0,
                rows,
            },
            false => Self {
                low: 0.0,
                high: 1.0,
                rows,
            },
        }
    }

    fn x(&self, at: usize) -> f64 {
        let room = SIZE.0 - MARGIN.0 - MARGIN.2;
        MARGIN.0 + room * at as f64 / self.rows.saturating_sub(1).max(1) as f64
    }

    fn y(&self, value: f64) -> f64 {
        let room = SIZE.1 - MARGIN.1 - MARGIN.3;
        MARGIN.1 + room * (self.high - value) / (self.high - self.low)
    }

    fn points(&self, points: impl Iterator<Item = (usize, f64)>) -> String {
        let text: Vec<String> = points
            .map(|(at, value)| format!("{:.1},{:.1}", self.x(at), self.y(value)))
            .collect();
        text.join(" ")
    }

    fn open(&self, page: &mut String, title: &str) -> std::fmt::Result {
        write!(
            page,
            "<svg viewBox=\"0 0 {} {}\" role=\"img\"><title>{title}</title>",
            SIZE.0, SIZE.1
        )?;
        for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
            let value = self.low + share * (self.high - self.low);
            let (y, right) = (self.y(value), SIZE.0 - MARGIN.2);
            let digits = if self.high - self.low < 20.0 { 2 } else { 0 };
            write!(
                page,
                "<line class=\"axis\" x1=\"{}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{value:.digits$}</text>",
                MARGIN.0,
                MARGIN.0 - 8.0,
                y + 4.0
            )?;
        }
        Ok(())
    }

    fn line(
        &self,
        page: &mut String,
        class: &str,
        values: impl Iterator<Item = f64>,
    ) -> std::fmt::Result {
        let points = self.points(values.enumerate().filter(|(_, value)| value.is_finite()));
        write!(page, "<polyline class=\"{class}\" points=\"{points}\"/>")
    }

    /// Writes the days below and ends the chart.
    fn close(&self, page: &mut String, report: &Report) -> std::fmt::Result {
        let times = &report.series.target_time;
        let mut marks = vec![0, self.rows / 2, self.rows.saturating_sub(1)];
        marks.dedup();
        for (at, anchor) in marks.into_iter().zip(["start", "middle", "end"]) {
            let day = times[at].format("%Y-%m-%d");
            let (x, y) = (self.x(at), SIZE.1 - 8.0);
            write!(
                page,
                "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{day}</text>"
            )?;
        }
        page.push_str("</svg>");
        Ok(())
    }
}
