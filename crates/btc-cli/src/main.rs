//! The `btc` command: parses, calls one library function, prints, and picks
//! an exit code.

mod aliases;
mod args;
mod commands;
mod exit;
mod printer;
mod progress;
mod settings;
mod tracking;

use clap::Parser;

fn main() -> std::process::ExitCode {
    let cli = args::Cli::parse();
    let mut printer = printer::Printer::new(&cli.global);
    let outcome = settings::Settings::resolve(&cli.global)
        .and_then(|settings| commands::dispatch(cli.command, &settings, &mut printer));
    match outcome {
        Ok(code) => code,
        Err(error) => exit::report(&error, &mut printer),
    }
}
