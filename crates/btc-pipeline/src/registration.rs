//! What a registration came to, for a program and for a person.

use serde::Serialize;

use crate::exclusion::LeftOut;
use crate::scores::Scores;
use crate::verdict::Verdict;
use crate::window::Window;

/// Forecasts below which two models cannot be told apart.
const FEWEST_TO_COMPARE: usize = 60;

/// What was registered, and how good it is.
#[derive(Debug, Clone, Serialize)]
pub struct Registration {
    /// The registered model's name.
    pub model: String,
    /// The version of the run.
    pub version: u64,
    /// Whether the run was registered before, as this version.
    pub already_registered: bool,
    /// The run it comes from.
    pub run_id: String,
    /// The run's name: the trial's number.
    pub run_name: String,
    /// The network.
    pub model_type: String,
    /// The metric the run was chosen by.
    pub metric: String,
    /// Its value on `window`.
    pub value: f64,
    /// The days that the runs were compared on.
    pub window: Window,
    /// The run's scores on the window; none if it was chosen by a metric that only runs carry.
    pub selection: Option<Scores>,
    /// Runs that could not be compared on the window.
    pub left_out: usize,
    /// Which those are, and why.
    pub left_out_runs: Vec<LeftOut>,
    /// How good the model is over the hold-out; none if nothing was held out.
    pub holdout: Option<Scores>,
    /// What the hold-out says of it beside the naive forecast.
    pub verdict: Verdict,
    /// The p-value of that, adjusted for every look at these days.
    pub p: f64,
    /// The p-value of this look alone.
    pub p_single: f64,
    /// Looks that were ever taken at these days, this one included.
    pub looks: usize,
    /// Whether the naive forecast does as well or better over the hold-out.
    pub worse_than_naive: bool,
    /// Whether the version is the champion now.
    pub champion: bool,
    /// The version that was champion before, if there was one.
    pub previous_champion: Option<u64>,
    /// The scores of that version over the same hold-out days; none if it was trained on them.
    pub previous_champion_holdout: Option<Scores>,
    /// Its MAE relative to the naive forecast's over the same days.
    pub champion_relative_mae: Option<f64>,
}

impl Registration {
    /// The registration for a person, line by line.
    pub fn lines(&self) -> Vec<String> {
        let verb = match self.already_registered {
            true => "registered before:",
            false => "registered",
        };
        let mut lines = vec![format!(
            "{verb} {} version {}: {} of run {} with {} {:.4}",
            self.model, self.version, self.model_type, self.run_name, self.metric, self.value
        )];
        if let Some(holdout) = &self.holdout {
            let few = if holdout.n < FEWEST_TO_COMPARE {
                ", too few to compare models"
            } else {
                ""
            };
            lines.push(format!(
                "hold-out of {} days{few}: MAPE {:.4} % (naive {:.4} %), MAE relative to naive {:.4}",
                holdout.n, holdout.mape, holdout.naive_mape, holdout.relative_mae
            ));
        }
        lines.push(format!(
            "against naive: {}, p {:.4} ({:.4} alone, {} at these days)",
            self.verdict,
            self.p,
            self.p_single,
            match self.looks {
                1 => "the first look".to_owned(),
                looks => format!("one of {looks} looks"),
            }
        ));
        if let Some(version) = self.previous_champion {
            let scores = match &self.previous_champion_holdout {
                Some(scores) => format!(
                    "MAPE {:.4} %, MAE relative to naive {:.4} over the same days",
                    scores.mape, scores.relative_mae
                ),
                None => "it was trained on these days or cannot forecast them".to_owned(),
            };
            lines.push(format!("champion before: version {version}, {scores}"));
        }
        if 0 < self.left_out {
            lines.push(format!(
                "{} runs could not be compared on these days",
                self.left_out
            ));
        }
        lines
    }
}
