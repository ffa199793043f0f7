//! The flags of every command.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use clap::Args;

use crate::cli::values::{ColorChoice, parse_instant};

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// The project's folder [default: the current folder, or BTC_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print data and problems only
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// When to colour messages
    #[arg(long, global = true, value_enum, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub(crate) color: ColorChoice,
    /// The instant to take for now, as 2023-01-11 or 2023-01-11T08:00:00Z [default: the clock]
    #[arg(long, global = true, value_name = "TIME", value_parser = parse_instant)]
    pub(crate) now: Option<DateTime<Utc>>,
}
