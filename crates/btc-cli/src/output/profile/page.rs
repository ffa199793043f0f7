//! The page around the charts.

use std::fmt::Write as _;

use btc_ingest::{ColumnProfile, Gap, Profile};
use chrono::NaiveDate;

use super::svg::{coverage, histogram, human, line};

const STYLE: &str = include_str!("style.css");

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// A column's name for people.
fn title(name: &str) -> String {
    escape(&name.replace('_', " "))
}

/// Draws a data folder.
pub(crate) fn render(profile: &Profile) -> String {
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>Bitcoin data profile</title><style>{STYLE}</style></head><body><main>\n"
    );
    head(&mut page, profile);
    overview(&mut page, profile);
    page.push_str("<h2 id=\"series\">Series</h2>\n<div class=\"cards\">\n");
    // Open, high and low look like the close.
    let is_shown =
        |column: &&ColumnProfile| !["open", "high", "low"].contains(&column.name.as_str());
    for column in profile.columns.iter().filter(is_shown) {
        card(&mut page, column);
    }
    page.push_str("</div>\n");
    correlations(&mut page, profile);
    set_aside(&mut page, profile);
    page.push_str("</main></body></html>\n");
    page
}

// Writing to a string cannot fail, so that the results of `write!` are not looked at.
fn head(page: &mut String, profile: &Profile) {
    let status = &profile.status;
    let last = status
        .last_complete_day
        .map_or("–".to_owned(), |day| day.to_string());
    let kind = if status.synthetic {
        "<p class=\"note\">This data is synthetic: no market ever had these prices.</p>"
    } else {
        ""
    };
    let intact = if profile.is_intact {
        "as the manifest says"
    } else {
        "not as the manifest says"
    };
    let _ = write!(
        page,
        "<h1>Bitcoin data profile</h1>{kind}\n<dl class=\"facts\">\
         <div><dt>Last complete day</dt><dd>{last}</dd></div>\
         <div><dt>Prices in</dt><dd>{}</dd></div>\
         <div><dt>Brought up to date</dt><dd>{}</dd></div>\
         <div><dt>This page</dt><dd>{}</dd></div>\
         <div><dt>Files</dt><dd>{intact}</dd></div>\
         <div><dt>Data hash</dt><dd><code title=\"{}\">{}</code></dd></div></dl>\n",
        escape(&status.market),
        status.updated.format("%Y-%m-%d %H:%M UTC"),
        profile.now.format("%Y-%m-%d %H:%M UTC"),
        escape(&status.data_hash),
        escape(status.data_hash.get(..16).unwrap_or(&status.data_hash)),
    );
}

fn days_of(column: &ColumnProfile) -> Option<(NaiveDate, NaiveDate)> {
    Some((column.values.first()?.0, column.values.last()?.0))
}

fn overview(page: &mut String, profile: &Profile) {
    let ranges = || profile.columns.iter().filter_map(days_of);
    let (Some(first), Some(last)) = (ranges().map(|r| r.0).min(), ranges().map(|r| r.1).max())
    else {
        page.push_str("<p>There are no values.</p>\n");
        return;
    };
    let _ = write!(
        page,
        "<h2 id=\"coverage\">Coverage</h2>\n<p>From {first} to {last}. Gaps are marked.</p>\
         <div class=\"scroll\"><table><thead><tr><th>Series<th class=\"wide\">Days with a value\
         <th>First<th>Last<th>Days<th>Missing<th>Longest gap<th>Days behind<th>Revisions\
         </tr></thead><tbody>\n"
    );
    for column in &profile.columns {
        let name = title(&column.name);
        let Some(own) = days_of(column) else {
            let _ = writeln!(
                page,
                "<tr><th>{name}<td class=\"wide\">no values<td><td><td>0<td><td><td><td>"
            );
            continue;
        };
        let gaps = &column.gaps;
        let missing: usize = gaps.iter().map(Gap::days).sum();
        let longest = gaps.iter().map(Gap::days).max().unwrap_or(0);
        let status = column.status.as_ref();
        let behind = status.map_or(0, |status| status.days_behind);
        let class = if behind > 2 { " class=\"bad\"" } else { "" };
        let label = format!(
            "{}: {} to {}, {missing} days missing",
            column.name, own.0, own.1
        );
        let bar = coverage((first, last), own, gaps, &label);
        let _ = writeln!(
            page,
            "<tr><th>{name}<td class=\"wide\">{bar}<td>{}<td>{}<td>{}<td>{missing}<td>{longest}\
             <td{class}>{behind}<td>{}",
            own.0,
            own.1,
            column.values.len(),
            status.map_or(0, |status| status.revisions)
        );
    }
    page.push_str("</tbody></table></div>\n");
}

fn card(page: &mut String, column: &ColumnProfile) {
    let Some(summary) = column.summary else {
        return;
    };
    let status = column.status.as_ref();
    let unit = status
        .and_then(|status| status.unit.as_deref())
        .unwrap_or_default();
    let source = status.map_or("", |status| status.source.as_str());
    let moments = column.change_moments;
    let course = format!(
        "{} from {} to {}, last {}",
        column.name,
        human(summary.min),
        human(summary.max),
        human(summary.last)
    );
    let _ = write!(
        page,
        "<section class=\"card\"><h3 id=\"{0}\">{1}</h3><p class=\"sub\">{2}</p>{3}",
        escape(&column.name),
        title(&column.name),
        escape(
            [source, unit]
                .map(str::trim)
                .join(" · ")
                .trim_matches([' ', '·'])
        ),
        line(&column.values, &course),
    );
    if let Some(moments) = moments {
        let label = format!(
            "daily changes of {}: standard deviation {} percent",
            column.name,
            human(100.0 * moments.deviation)
        );
        let _ = write!(
            page,
            "<h4>Daily change (log)</h4>{}",
            histogram(&column.changes, &label)
        );
    }
    let mut figures = vec![
        ("last", human(summary.last)),
        ("min", human(summary.min)),
        ("median", human(summary.median)),
        ("mean", human(summary.mean)),
        ("max", human(summary.max)),
        ("days", column.values.len().to_string()),
    ];
    if let Some(moments) = moments {
        // Adding zero turns a negative zero, as rounding leaves it, into a plain one.
        let fixed = |value: f64, scale: f64| ((value * scale).round() / scale + 0.0).to_string();
        figures.extend([
            (
                "change sd",
                format!("{} %", human(100.0 * moments.deviation)),
            ),
            ("change mean", format!("{} %", human(100.0 * moments.mean))),
            ("lag-1 corr.", fixed(moments.autocorrelation, 100.0)),
            ("skewness", fixed(moments.skewness, 100.0)),
            ("ex. kurtosis", fixed(moments.excess_kurtosis, 10.0)),
        ]);
    }
    let gaps = &column.gaps;
    figures.push((
        "missing",
        gaps.iter().map(Gap::days).sum::<usize>().to_string(),
    ));
    page.push_str("<dl class=\"figures\">");
    for (name, value) in figures {
        let _ = write!(page, "<div><dt>{name}</dt><dd>{value}</dd></div>");
    }
    page.push_str("</dl>");
    if !gaps.is_empty() {
        const SHOWN: usize = 40;
        let _ = write!(
            page,
            "<details><summary>Missing days ({} gaps)</summary><p>",
            gaps.len()
        );
        let texts = gaps.iter().rev().take(SHOWN).map(|gap| match gap.days() {
            1 => gap.first.to_string(),
            days => format!("{} to {} ({days})", gap.first, gap.last),
        });
        page.push_str(&texts.collect::<Vec<_>>().join(", "));
        if gaps.len() > SHOWN {
            let _ = write!(page, ", and {} earlier ones", gaps.len() - SHOWN);
        }
        page.push_str("</p></details>");
    }
    page.push_str("</section>\n");
}

fn correlations(page: &mut String, profile: &Profile) {
    page.push_str(
        "<h2 id=\"correlations\">Correlations of daily changes</h2>\n<p>Of the logarithmic changes \
         from one day to the next, over the days that both series have. Levels are not compared: \
         whatever grows correlates with whatever grows.</p>\
         <div class=\"scroll\"><table class=\"heat\"><thead><tr><th>",
    );
    let correlations = &profile.correlations;
    for name in &correlations.series {
        let _ = write!(page, "<th class=\"turned\"><span>{}</span>", title(name));
    }
    page.push_str("</tr></thead><tbody>\n");
    for (name, values) in correlations.series.iter().zip(&correlations.values) {
        let _ = write!(page, "<tr><th>{}", title(name));
        for value in values {
            match *value {
                Some(value) => {
                    // Ten shades on each side; the sign of zero is not shown.
                    let shade = (value.abs() * 9.0).round() as u32;
                    let sign = if value < 0.0 { 'n' } else { 'p' };
                    let text = format!("{value:.2}")
                        .replace("-0.00", "0.00")
                        .replace('-', "−");
                    let _ = write!(page, "<td class=\"{sign}{shade}\">{text}");
                }
                None => page.push_str("<td>–"),
            }
        }
        page.push('\n');
    }
    page.push_str("</tbody></table></div>\n");
}

fn set_aside(page: &mut String, profile: &Profile) {
    page.push_str("<h2 id=\"quarantine\">Set aside</h2>\n");
    if profile.quarantine.is_empty() {
        page.push_str("<p>No value was set aside.</p>\n");
        return;
    }
    page.push_str(
        "<p>Values that were not fit for use; they are in <code>quarantine.parquet</code> beside \
         the raw data.</p><table><thead><tr><th>Series<th>Reason<th>Values</tr></thead><tbody>\n",
    );
    for set_aside in &profile.quarantine {
        let _ = writeln!(
            page,
            "<tr><th>{}<td>{}<td>{}",
            escape(&set_aside.series),
            escape(&set_aside.reason),
            set_aside.values
        );
    }
    page.push_str("</tbody></table>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_series_and_needs_nothing_from_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let now = "2024-01-02T06:00:00Z".parse().expect("a time");
        let last = "2024-01-01".parse().expect("a day");
        btc_ingest::pull_sample(folder.path(), 7, last, 400, now).expect("a sample");
        let profile = btc_ingest::profile(folder.path(), now).expect("a profile");
        let page = render(&profile);
        for outside in [
            "http:", "https:", "src=", "href=", "<script", "url(", "NaN", "inf",
        ] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<h1").count(), 1);
        // Close, volume and the fifteen charts; open, high and low look like the close.
        assert_eq!(page.matches("<section").count(), 17);
        assert!(page.contains("no market ever had these prices"));
        assert!(page.contains(&profile.status.data_hash));
        assert!(page.contains("No value was set aside"));
        assert!(page.contains("as the manifest says"));
        assert!(page.contains("id=\"hash_rate\""));
    }
}
