//! The workflow's events, for a person who waits.
//!
//! On a terminal a line is redrawn in place; elsewhere a line is written for
//! what matters, and every few seconds for what repeats.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use btc_ingest::ProgressEvent;
use btc_pipeline::{Event, Observer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::output::views::text::{duration, plain};

/// How long to be silent about repeating events off a terminal.
const QUIET_INTERVAL: Duration = Duration::from_secs(5);

/// Shows events on stderr.
pub(crate) struct Console {
    bars: Option<MultiProgress>,
    quiet: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trials: Vec<(usize, ProgressBar)>,
    last_line: Option<Instant>,
    total_trials: Option<usize>,
    finished_trials: usize,
    /// When the first trial began.
    begun: Option<Instant>,
    /// The line below the trials: how far the whole search is.
    search: Option<ProgressBar>,
}

impl State {
    /// How many trials are done, and how long the rest may take if it is like them.
    fn search_line(&self) -> Option<String> {
        let (total, begun) = (self.total_trials?, self.begun?);
        let done = self.finished_trials;
        let left = u32::try_from(total.saturating_sub(done)).ok()?;
        let each = begun.elapsed().checked_div(u32::try_from(done).ok()?);
        Some(match each.and_then(|each| each.checked_mul(left)) {
            Some(time) => format!("{done} of {total} trials, about {} left", duration(time)),
            None => format!("{done} of {total} trials"),
        })
    }
}

impl Console {
    pub(crate) fn new(quiet: bool) -> Self {
        let bars = (std::io::stderr().is_terminal() && !quiet).then(MultiProgress::new);
        Self {
            bars,
            quiet,
            state: Mutex::default(),
        }
    }

    /// Tells how many trials there will be.
    pub(crate) fn with_trials(self, total: usize) -> Self {
        if let Ok(mut state) = self.state.lock() {
            state.total_trials = Some(total);
        }
        self
    }

    fn say(&self, text: &str) {
        if self.quiet {
            return;
        }
        match &self.bars {
            // Losing a progress line is no reason to stop the work.
            Some(bars) => drop(bars.println(text)),
            None => eprint_line(text),
        }
    }

    fn ingest(&self, event: &ProgressEvent) {
        match event {
            ProgressEvent::Finished { series, rows } => {
                self.say(&format!("  {series}: {rows} rows"))
            }
            ProgressEvent::Retrying { series, why, wait } => self.say(&format!(
                "  {series}: {why}; trying again in {:.1} s",
                wait.as_secs_f64()
            )),
            ProgressEvent::Skipped { series, why } => {
                self.warn(&format!("{series} is left out: {why}"))
            }
            ProgressEvent::Warning { message } => self.warn(message),
            _ => {}
        }
    }

    fn warn(&self, text: &str) {
        let line = format!("warning: {text}");
        match &self.bars {
            Some(bars) => drop(bars.println(line)),
            None => eprint_line(&line),
        }
    }
}

fn eprint_line(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

impl Observer for Console {
    fn event(&self, event: &Event<'_>) {
        if let Event::Retrieval(event) = event {
            return self.ingest(event);
        }
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        match event {
            Event::Stage { index, total, name } => self.say(&format!("[{index}/{total}] {name}")),
            Event::TrialStarted { number, model_type } => {
                let text = format!("trial {number} {model_type}");
                state.begun.get_or_insert_with(Instant::now);
                if let Some(bars) = &self.bars {
                    let bar = bars.add(ProgressBar::new(1).with_style(bar_style()));
                    bar.set_prefix(text);
                    state.trials.push((*number, bar));
                    let line = state.search_line().unwrap_or_default();
                    let search = state
                        .search
                        .take()
                        .unwrap_or_else(|| ProgressBar::new_spinner().with_style(search_style()));
                    bars.remove(&search);
                    let search = bars.add(search);
                    search.set_message(line);
                    state.search = Some(search);
                }
            }
            Event::Epoch {
                number,
                epoch,
                epochs,
                loss,
                val_loss,
            } => {
                let text = format!("loss {}  val {}", plain(*loss), plain(*val_loss));
                if let Some((_, bar)) = state.trials.iter().find(|(trial, _)| trial == number) {
                    bar.set_length(*epochs as u64);
                    bar.set_position(*epoch as u64 + 1);
                    bar.set_message(text);
                } else if self.bars.is_none()
                    && state.last_line.get_or_insert_with(Instant::now).elapsed() > QUIET_INTERVAL
                {
                    state.last_line = Some(Instant::now());
                    self.say(&format!(
                        "  trial {number}  epoch {}/{epochs}  {text}",
                        epoch + 1
                    ));
                }
            }
            Event::TrialFinished {
                number,
                state: trial_state,
                scores,
            } => {
                state.finished_trials += 1;
                if let Some(at) = state.trials.iter().position(|(trial, _)| trial == number) {
                    let (_, bar) = state.trials.swap_remove(at);
                    bar.finish_and_clear();
                }
                let value = scores
                    .map(|scores| {
                        format!(
                            "  relative MAE {:.4}, MAPE {:.3} % (naive {:.3} %)",
                            scores.relative_mae, scores.mape, scores.naive_mape
                        )
                    })
                    .unwrap_or_default();
                let of = state
                    .total_trials
                    .map(|total| format!(" ({}/{total})", state.finished_trials))
                    .unwrap_or_default();
                let word = trial_state.to_ascii_lowercase();
                if let (Some(search), Some(line)) = (&state.search, state.search_line()) {
                    search.set_message(line);
                    if state.total_trials == Some(state.finished_trials) {
                        search.finish_and_clear();
                    }
                }
                self.say(&format!("  trial {number}{of}  {word}{value}"));
            }
            Event::Note(text) => self.say(&format!("  {text}")),
            Event::Warning(text) => self.warn(text),
            _ => {}
        }
    }
}

fn bar_style() -> ProgressStyle {
    // 53 columns and two losses: a line of a terminal with 80 columns.
    ProgressStyle::with_template("  {prefix:28!} [{bar:10}] {pos:>3}/{len:3} {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

fn search_style() -> ProgressStyle {
    ProgressStyle::with_template("  {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A pull by itself is heard like one inside the workflow.
impl btc_ingest::Progress for Console {
    fn event(&self, event: &ProgressEvent) {
        self.ingest(event);
    }
}
