//! What can be typed after `btc serve`.

use clap::Args;

use crate::cli::values::DurabilityLevel;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc serve\n  BTC_TOKEN=... btc serve --host 0.0.0.0 --port 8080"
)]
pub(crate) struct ServeArgs {
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) host: Option<String>,
    /// The port to listen on; 0 picks a free one [default: 5000]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// A further host name to answer under
    #[arg(long, value_name = "NAME")]
    pub(crate) allowed_host: Vec<String>,
    /// Listen beyond this machine without a token
    #[arg(long)]
    pub(crate) insecure: bool,
    /// What an answered request survives: the death of the process, or a loss of power too
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = DurabilityLevel::Process)]
    pub(crate) durability: DurabilityLevel,
}
