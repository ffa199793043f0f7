//! The `btc` command: parses, calls one library function, prints, and picks
//! an exit code.

mod cli;
mod commands;
mod errors;
mod exit;
mod interrupt;
mod output;
mod settings;
mod stores;

use clap::Parser;

use crate::cli::{Cli, TypedCommand};
use crate::output::printer::Printer;
use crate::settings::resolve::Settings;

fn main() -> std::process::ExitCode {
    let Cli { global, command } = Cli::parse();
    let command = match command {
        TypedCommand::Command(command) => command,
        TypedCommand::Alias(alias) => alias.translate(),
    };
    let settings = Settings::resolve(&global, &command);
    let mut printer = Printer::new(settings.json, settings.quiet, settings.color);
    match commands::dispatch(command, &settings, &mut printer) {
        Ok(code) => code,
        Err(error) => exit::report(&error, &mut printer),
    }
}
