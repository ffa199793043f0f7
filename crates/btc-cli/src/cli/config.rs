//! What can be typed after `btc config` and `btc completions`.

use clap::{Args, Subcommand};

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
    pub(crate) shell: clap_complete::Shell,
}
