//! Data to stdout, everything else to stderr.

use std::io::{IsTerminal, Write};

use crate::args::{ColorChoice, GlobalArgs};

/// Prints for people or, with `--json`, for programs.
#[derive(Debug)]
pub(crate) struct Printer {
    json: bool,
    quiet: bool,
    color: bool,
}

impl Printer {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let color = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                std::io::stderr().is_terminal() && !crate::settings::no_color_requested()
            }
        };
        Self {
            json: global.json,
            quiet: global.quiet,
            color,
        }
    }

    /// Whether `--json` was given.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether notes are suppressed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Prints one line of data.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> anyhow::Result<()> {
        writeln!(std::io::stdout().lock(), "{}", text.as_ref())?;
        Ok(())
    }

    /// Prints a value as one JSON document.
    pub(crate) fn json<T: serde::Serialize>(&mut self, value: &T) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(text)
    }

    /// Prints a table with a header; columns of numbers are right-aligned.
    pub(crate) fn table(&mut self, header: &[&str], rows: &[Vec<String>]) -> anyhow::Result<()> {
        for line in table_lines(header, rows) {
            self.line(line)?;
        }
        Ok(())
    }

    /// Tells something that is not data.
    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        if !self.quiet {
            // Losing a note to a closed stderr is no reason to stop the work.
            let _ = writeln!(std::io::stderr().lock(), "{}", text.as_ref());
        }
    }

    /// Tells something the user should look at.
    pub(crate) fn warn(&mut self, text: impl AsRef<str>) {
        self.labelled("warning", "33", text.as_ref());
    }

    /// Tells why the command failed.
    pub(crate) fn error(&mut self, text: &str) {
        self.labelled("error", "31", text);
    }

    fn labelled(&mut self, label: &str, code: &str, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _ = if self.color {
            writeln!(stderr, "\u{1b}[1;{code}m{label}\u{1b}[0m: {text}")
        } else {
            writeln!(stderr, "{label}: {text}")
        };
    }
}

fn table_lines(header: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let width = |text: &str| text.chars().count();
    let mut widths: Vec<usize> = header.iter().map(|name| width(name)).collect();
    let mut numeric = vec![true; header.len()];
    for row in rows {
        for (column, cell) in row.iter().enumerate().take(widths.len()) {
            widths[column] = widths[column].max(width(cell));
            let bare = cell.trim_end_matches('%').trim();
            numeric[column] &= bare.is_empty() || bare == "-" || bare.parse::<f64>().is_ok();
        }
    }
    let render = |cells: &mut dyn Iterator<Item = &str>| {
        let mut line = String::new();
        for (column, cell) in cells.enumerate().take(widths.len()) {
            let pad = " ".repeat(widths[column].saturating_sub(width(cell)));
            if numeric[column] && !rows.is_empty() {
                line.push_str(&pad);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&pad);
            }
            line.push_str("  ");
        }
        line.trim_end().to_owned()
    };
    let mut lines = vec![render(&mut header.iter().copied())];
    lines.extend(
        rows.iter()
            .map(|row| render(&mut row.iter().map(String::as_str))),
    );
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_align_right_and_words_left() {
        let rows = vec![
            vec!["a".into(), "1.5".into()],
            vec!["bcd".into(), "20".into()],
        ];
        assert_eq!(
            table_lines(&["name", "n"], &rows),
            ["name    n", "a     1.5", "bcd    20"]
        );
    }

    #[test]
    fn a_table_without_rows_is_its_header() {
        assert_eq!(table_lines(&["name", "n"], &[]), ["name  n"]);
    }
}
