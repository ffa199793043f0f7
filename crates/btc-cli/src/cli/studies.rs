//! What can be typed after `btc tune` to look at studies and to work on them
//! from scripts.

use std::path::PathBuf;

use btc_tune::{SamplerKind, StudyDirection};
use clap::{Args, Subcommand};

use crate::cli::values::{EvaluatorKind, Format, PlotKind, TellState, one_of};

/// The ways in which a value can be better.
const DIRECTIONS: [StudyDirection; 2] = [StudyDirection::Minimize, StudyDirection::Maximize];

#[derive(Debug, Subcommand)]
pub(crate) enum StudyCommand {
    /// List the studies
    #[command(
        after_help = "Examples:\n  btc tune studies\n  btc tune studies --storage sqlite:///studies.db --format json"
    )]
    Studies(ListArgs),
    /// List the trials of a study
    #[command(
        after_help = "Examples:\n  btc tune trials --study crypto-reg-experiment\n  btc tune trials --study crypto-reg-experiment --format json"
    )]
    Trials(ShowArgs),
    /// Show the best trial of a study
    #[command(
        after_help = "Examples:\n  btc tune best-trial --study crypto-reg-experiment\n  btc tune best-trial --study crypto-reg-experiment --format json"
    )]
    BestTrial(ShowArgs),
    /// Show the trials of a study that no other beats in every objective
    #[command(
        after_help = "Examples:\n  btc tune best-trials --study two-objectives\n  btc tune best-trials --study two-objectives --format value"
    )]
    BestTrials(ShowArgs),
    /// Create an empty study
    #[command(
        after_help = "Examples:\n  btc tune create-study --study s --direction maximize\n  btc tune create-study --study s --direction minimize --direction maximize --skip-if-exists"
    )]
    CreateStudy(CreateArgs),
    /// Delete a study with all its trials
    #[command(
        after_help = "Examples:\n  btc tune delete-study --study s\n  btc tune delete-study --study s --storage journal:///studies.log"
    )]
    DeleteStudy(NamedStudyArgs),
    /// Begin a trial and print its number and parameters
    #[command(
        after_help = "Examples:\n  btc tune ask --study s --search-space '{\"x\":{\"type\":\"float\",\"low\":0,\"high\":1}}'\n  btc tune ask --study s --sampler random --search-space '{\"n\":{\"type\":\"int\",\"low\":1,\"high\":9}}'"
    )]
    Ask(AskArgs),
    /// End a trial that `ask` began
    #[command(
        after_help = "Examples:\n  btc tune tell --study s --trial 0 --values 0.25\n  btc tune tell --study s --trial 1 --state fail"
    )]
    Tell(TellArgs),
    /// Show which parameters matter
    #[command(
        after_help = "Examples:\n  btc tune importance --study crypto-reg-experiment\n  btc tune importance --study crypto-reg-experiment --evaluator fanova --format json"
    )]
    Importance(ImportanceArgs),
    /// Draw a plot of a study as SVG
    #[command(
        after_help = "Examples:\n  btc tune plot history --study crypto-reg-experiment --output history.svg\n  btc tune plot contour --study crypto-reg-experiment --param lr --param units --output contour.svg"
    )]
    Plot(PlotArgs),
    /// Write the trials of a study to a CSV or Parquet file
    #[command(
        after_help = "Examples:\n  btc tune export --study crypto-reg-experiment --output trials.csv\n  btc tune export --study crypto-reg-experiment --output trials.parquet"
    )]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// How to print [default: table, or json with --json]
    #[arg(short, long, value_enum)]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct StorageArgs {
    /// The storage, such as sqlite:///studies.db or journal:///studies.log [default: studies.db under the root]
    #[arg(long, value_name = "URL")]
    pub(crate) storage: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct StudyArgs {
    /// The study; the only one there is needs no name
    #[arg(long = "study", visible_alias = "study-name", value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

/// A study that is made or deleted: it is named.
#[derive(Debug, Args)]
pub(crate) struct NamedStudyArgs {
    /// The study
    #[arg(long = "study", visible_alias = "study-name", value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// How to print [default: table, or json with --json]
    #[arg(short, long, value_enum)]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    #[command(flatten)]
    pub(crate) study: NamedStudyArgs,
    /// Which way is better; once per objective
    #[arg(long = "direction", value_name = "DIRECTION", default_value = "minimize", value_parser = one_of::<StudyDirection>(DIRECTIONS))]
    pub(crate) directions: Vec<StudyDirection>,
    /// Succeed if the study exists
    #[arg(long)]
    pub(crate) skip_if_exists: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AskArgs {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// The parameters as JSON: a name and a distribution each
    #[arg(long, value_name = "JSON")]
    pub(crate) search_space: String,
    /// How values are chosen
    #[arg(long, value_name = "NAME", default_value_t = SamplerKind::Tpe,
          value_parser = one_of::<SamplerKind>(SamplerKind::ALL))]
    pub(crate) sampler: SamplerKind,
    /// Seed of the sampler
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// The direction of the study if it is new
    #[arg(long, value_name = "DIRECTION", default_value = "minimize", value_parser = one_of::<StudyDirection>(DIRECTIONS))]
    pub(crate) direction: StudyDirection,
    /// How to print [default: json]
    #[arg(short, long, value_enum)]
    pub(crate) format: Option<Format>,
}

#[derive(Debug, Args)]
pub(crate) struct TellArgs {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// The number of the trial
    #[arg(long = "trial", visible_alias = "trial-number", value_name = "N")]
    pub(crate) number: usize,
    /// Its values, one per objective
    #[arg(long, value_name = "VALUE", num_args = 1.., allow_negative_numbers = true)]
    pub(crate) values: Vec<f64>,
    /// How it ended
    #[arg(long, value_enum, default_value = "complete")]
    pub(crate) state: TellState,
}

#[derive(Debug, Args)]
pub(crate) struct ImportanceArgs {
    #[command(flatten)]
    pub(crate) show: ShowArgs,
    /// How importance is measured
    #[arg(long, value_enum, default_value = "ped-anova")]
    pub(crate) evaluator: EvaluatorKind,
    /// The objective, counted from 0
    #[arg(long, value_name = "N")]
    pub(crate) objective: Option<usize>,
}

#[derive(Debug, Args)]
pub(crate) struct PlotArgs {
    /// What to draw
    #[arg(value_enum)]
    pub(crate) kind: PlotKind,
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// Parameters to draw; one for slice, two for contour and rank
    #[arg(long = "param", value_name = "NAME")]
    pub(crate) params: Vec<String>,
    /// The objective, counted from 0
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) objective: usize,
    /// The file [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    pub(crate) study: StudyArgs,
    /// The file, ending in .csv or .parquet [default: CSV to standard output]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
