//! Models compared over past rows, the champion among them.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use btc_models::{Model, SeriesFrame, backtest};
use chrono::{DateTime, Utc};

use crate::Result;
use crate::champion::ChampionModel;
use crate::source::PastTables;

/// What models see of the rows before an origin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PastData {
    /// The newest revisions.
    #[default]
    Newest,
    /// What was known at the origin, without what was revised later.
    AsKnown,
}

/// How models are compared over past rows.
#[derive(Debug, Clone, Default)]
pub struct BacktestConfig {
    /// The comparison itself.
    pub comparison: backtest::Config,
    /// What models see.
    pub data: PastData,
}

/// Hears how far a comparison is, and says whether it goes on.
pub type OnProgress<'a> = &'a (dyn Fn(backtest::Progress<'_>) -> ControlFlow<()> + Sync);

/// The tables of the past as frames of a column.
pub(crate) struct PastFrames<'a> {
    pub(crate) tables: PastTables,
    pub(crate) frame: &'a (dyn Fn(&RecordBatch) -> Result<SeriesFrame> + Sync),
}

/// Numbers that are kept of the frames of the past, at most: 256 MiB of them.
const KEPT_NUMBERS: usize = 1 << 25;

/// Frames of the past: every model asks for those of the same origins. When there is no room for
/// more, those that came first stay, as all are asked for in the same order again.
#[derive(Debug, Default)]
struct KeptFrames(Mutex<(BTreeMap<DateTime<Utc>, SeriesFrame>, usize)>);

impl KeptFrames {
    fn frame(
        &self,
        at: DateTime<Utc>,
        make: impl FnOnce() -> Result<SeriesFrame>,
    ) -> Result<SeriesFrame> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(frame) = lock().0.get(&at) {
            return Ok(frame.clone());
        }
        let frame = make()?;
        let numbers = frame.rows() * frame.names().len();
        let mut kept = lock();
        if kept.1 + numbers <= KEPT_NUMBERS && kept.0.insert(at, frame.clone()).is_none() {
            kept.1 += numbers;
        }
        Ok(frame)
    }
}

/// Compares the models, and the champion beside them.
///
/// Origins on whose targets the champion was chosen are left out of every test. What is not known
/// of them is said first in the report.
pub(crate) fn compare(
    mut models: Vec<Box<dyn Model>>,
    champion: Option<ChampionModel>,
    frame: &SeriesFrame,
    past: Option<&PastFrames<'_>>,
    mut config: backtest::Config,
    on_progress: OnProgress<'_>,
) -> Result<backtest::Report> {
    let mut unknown = Vec::new();
    if let Some(champion) = champion {
        for (first, last) in champion.chosen_on {
            config = config.with_chosen_on(first, last);
        }
        models.push(Box::new(champion.model));
        unknown = champion.unknown;
    }
    let mut report = match past {
        None => backtest::run(&models, frame, &config, on_progress)?,
        Some(past) => {
            let kept = KeptFrames::default();
            let vintage = |at: DateTime<Utc>| {
                let make = || (past.frame)(&(past.tables)(at)?);
                Ok(kept.frame(at, make)?)
            };
            backtest::run_vintage(&models, frame, &vintage, &config, on_progress)?
        }
    };
    report.notes.splice(0..0, unknown);
    Ok(report)
}
