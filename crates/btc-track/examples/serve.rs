//! Serves a folder to MLflow clients until it is interrupted or terminated.
//!
//! ```text
//! cargo run -p btc-track --features server --example serve -- FOLDER [PORT]
//! ```

use std::path::PathBuf;

use btc_track::TrackingClient;
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("usage: serve FOLDER [PORT]")?);
    let port: u16 = arguments.next().map_or(Ok(0), |port| port.parse())?;
    let client = TrackingClient::open(&folder.join("track.db"), &folder.join("artifacts"))?;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    announce(&format!("http://{}", listener.local_addr()?))?;

    let mut terminated = signal(SignalKind::terminate())?;
    let stop = async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
    };
    btc_track::server::serve(listener, btc_track::server::router(client), 1024, stop).await?;
    Ok(())
}

fn announce(uri: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout();
    writeln!(out, "{uri}")?;
    out.flush()
}
