//! `btc serve`: the web page.

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::Context;
use btc_server::{Guard, State};

use crate::errors::UsageError;
use crate::interrupt::interrupted;
use crate::output::printer::Printer;
use crate::settings::requests::tracking::ServeRequest;
use crate::settings::resolve::Settings;
use crate::stores::{file_client, study_storage};

pub(crate) async fn run(
    request: ServeRequest,
    settings: &Settings,
    printer: &mut Printer,
) -> anyhow::Result<ExitCode> {
    let address = address(&settings.serve_host.value)?;
    let port = settings.serve_port.value;
    let guard = guard(address, &request, settings)?;
    let state = State::new(
        file_client(settings, request.durability)?,
        study_storage(settings)?,
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

fn address(host: &str) -> Result<IpAddr, UsageError> {
    match host {
        "localhost" => Ok(IpAddr::from([127, 0, 0, 1])),
        text => text.parse().map_err(|_| {
            UsageError(format!(
                "--host {text:?} is not an IP address such as 127.0.0.1"
            ))
        }),
    }
}

/// Who is let in.
fn guard(
    address: IpAddr,
    request: &ServeRequest,
    settings: &Settings,
) -> Result<Guard, UsageError> {
    let token = settings.serve_token.value.as_deref();
    if !address.is_loopback() && token.is_none() && !request.insecure {
        return Err(UsageError(format!(
            "listening on {address} lets others in; set BTC_TOKEN (or serve.token in btc.toml), \
             or say --insecure"
        )));
    }
    let mut guard = Guard::new();
    for name in &request.allowed_hosts {
        guard = guard.with_allowed_host(name);
    }
    if !address.is_loopback() && !address.is_unspecified() {
        guard = guard.with_allowed_host(address.to_string());
    }
    if let Some(token) = token {
        guard = guard.with_token(token);
    }
    Ok(guard)
}
