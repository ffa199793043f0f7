//! A pull on a terminal: one line per series.

use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use btc_ingest::{Progress, ProgressEvent};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::progress::Console;

/// Lines that turn while a series is on its way; off a terminal, plain lines.
pub(crate) struct PullProgress {
    bars: Option<Bars>,
    console: Console,
}

#[derive(Default)]
struct Bars {
    all: MultiProgress,
    of_series: Mutex<HashMap<String, ProgressBar>>,
}

impl PullProgress {
    pub(crate) fn new(quiet: bool) -> Self {
        let on_terminal = std::io::stderr().is_terminal() && !quiet;
        Self {
            bars: on_terminal.then(Bars::default),
            console: Console::new(quiet),
        }
    }
}

impl Progress for PullProgress {
    fn event(&self, event: &ProgressEvent) {
        match &self.bars {
            Some(bars) => bars.event(event),
            None => self.console.event(event),
        }
    }
}

impl Bars {
    fn event(&self, event: &ProgressEvent) {
        let mut of_series = self
            .of_series
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match event {
            ProgressEvent::Started { series } => {
                let bar = self
                    .all
                    .add(ProgressBar::new_spinner().with_style(style("{spinner} ")));
                bar.set_prefix(series.clone());
                bar.enable_steady_tick(Duration::from_millis(120));
                of_series.insert(series.clone(), bar);
            }
            ProgressEvent::Finished { series, rows } => {
                if let Some(bar) = of_series.remove(series) {
                    bar.set_style(style("✓ "));
                    bar.finish_with_message(format!("{rows} days"));
                }
            }
            ProgressEvent::Retrying { series, why, wait } => {
                if let Some(bar) = of_series.get(series) {
                    let wait = wait.as_secs_f64();
                    bar.set_message(format!("{why}; trying again in {wait:.1} s"));
                }
            }
            ProgressEvent::Skipped { series, why } => match of_series.remove(series) {
                Some(bar) => {
                    bar.set_style(style("– "));
                    bar.finish_with_message(format!("left out: {why}"));
                }
                None => self.say(&format!("{series} is left out: {why}")),
            },
            ProgressEvent::Warning { message } => self.say(&format!("warning: {message}")),
            _ => {}
        }
    }

    fn say(&self, text: &str) {
        // Losing a progress line is no reason to stop the work.
        let _ = self.all.println(text);
    }
}

fn style(mark: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("  {mark}{{prefix:48}} {{wide_msg}}"))
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}
