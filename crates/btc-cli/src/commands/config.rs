//! `btc config` and `btc completions`.

use std::process::ExitCode;

use clap::{Args, CommandFactory, Subcommand};

use crate::printer::Printer;
use crate::settings::Settings;

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Show every setting with its value and origin
    #[command(after_help = "Examples:\n  btc config show\n  btc config show --json")]
    Show,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc completions bash > /etc/bash_completion.d/btc\n  btc completions fish > ~/.config/fish/completions/btc.fish"
)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(
    command: ConfigCommand,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    match command {
        ConfigCommand::Show => {
            let rows = settings.rows();
            if printer.is_json() {
                let map: serde_json::Map<String, serde_json::Value> = rows
                    .into_iter()
                    .map(|(name, value, origin)| {
                        (
                            name.to_owned(),
                            serde_json::json!({ "value": value, "origin": origin }),
                        )
                    })
                    .collect();
                printer.json(&map)?;
            } else {
                let rows: Vec<Vec<String>> = rows
                    .into_iter()
                    .map(|(name, value, origin)| vec![name.to_owned(), value, origin])
                    .collect();
                printer.table(&["setting", "value", "origin"], &rows)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn completions(
    args: &CompletionsArgs,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(
        args.shell,
        &mut crate::args::Cli::command(),
        "btc",
        &mut script,
    );
    printer.line(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
