//! `btc serve`: the web page.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Context;
use btc_server::{Guard, State};
use btc_track::Durability;
use clap::{Args, ValueEnum};

use crate::exit::UsageError;
use crate::printer::Printer;
use crate::settings::Settings;
use crate::tracking::file_client;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  btc serve\n  BTC_TOKEN=... btc serve --host 0.0.0.0 --port 8080"
)]
pub(crate) struct ServeArgs {
    /// The address to listen on [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// The port to listen on; 0 picks a free one [default: 5000]
    #[arg(long, value_name = "PORT")]
    port: Option<u16>,
    /// A further host name to answer under
    #[arg(long, value_name = "NAME")]
    allowed_host: Vec<String>,
    /// Listen beyond this machine without a token
    #[arg(long)]
    insecure: bool,
    /// What an answered request survives: the death of the process, or a loss of power too
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = DurabilityLevel::Process)]
    durability: DurabilityLevel,
}

/// What an answered request survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DurabilityLevel {
    /// The death of the process
    Process,
    /// The loss of power too: every commit waits for the disk
    Full,
}

impl From<DurabilityLevel> for Durability {
    fn from(level: DurabilityLevel) -> Self {
        match level {
            DurabilityLevel::Process => Self::Process,
            DurabilityLevel::Full => Self::Full,
        }
    }
}

pub(crate) async fn run(
    args: ServeArgs,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let host = args.host.as_deref().unwrap_or(&settings.serve_host.value);
    let port = args.port.unwrap_or(settings.serve_port.value);
    let address: IpAddr = match host {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        text => text.parse().map_err(|_| {
            UsageError(format!(
                "--host {text:?} is not an IP address such as 127.0.0.1"
            ))
        })?,
    };
    let token = settings.serve_token.value.as_deref();
    if !address.is_loopback() && token.is_none() && !args.insecure {
        return Err(UsageError(format!(
            "listening on {address} lets others in; set BTC_TOKEN (or serve.token in btc.toml), \
             or say --insecure"
        ))
        .into());
    }
    let mut guard = Guard::new();
    for name in &args.allowed_host {
        guard = guard.with_allowed_host(name);
    }
    if !address.is_loopback() && !address.is_unspecified() {
        guard = guard.with_allowed_host(address.to_string());
    }
    if let Some(token) = token {
        guard = guard.with_token(token);
    }
    let state = State::new(
        file_client(settings, args.durability.into())?,
        btc_tune::storage_from_url(&settings.storage_url.value)?,
        settings.project.features_dir(),
    )
    .with_failure_log(|failure| {
        // Nobody is left to tell that the terminal is gone.
        let _ = writeln!(std::io::stderr().lock(), "error: {failure}");
    });
    let listener = tokio::net::TcpListener::bind((address, port))
        .await
        .with_context(|| format!("cannot listen on {address}:{port}; choose another --port"))?;
    let bound = listener.local_addr()?;
    printer.note(format!("serving http://{bound} (Ctrl-C to stop)"));
    btc_server::serve(listener, state, guard, async {
        // Without a signal handler the server runs until it is killed.
        if interrupted().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
    .await?;
    Ok(ExitCode::SUCCESS)
}

/// Returns when the process is asked to end, by Ctrl-C or SIGTERM.
pub(crate) async fn interrupted() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
