//! Data to stdout, everything else to stderr.

use std::io::Write;

use crate::output::table::{table_lines, terminal_width};

/// Prints for people or, with `--json`, for programs.
#[derive(Debug)]
pub(crate) struct Printer {
    json: bool,
    quiet: bool,
    color: bool,
}

impl Printer {
    pub(crate) fn new(json: bool, quiet: bool, color: bool) -> Self {
        Self { json, quiet, color }
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
        for line in table_lines(header, rows, terminal_width()) {
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
