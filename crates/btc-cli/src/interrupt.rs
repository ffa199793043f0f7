//! Ctrl-C and SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::INTERRUPTED;

/// A flag that Ctrl-C and SIGTERM set: the running epochs end, the study stays consistent.
pub(crate) fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = stop.clone();
    tokio::spawn(async move {
        if interrupted().await.is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
        // Whoever asks twice does not want to wait for the epoch.
        if interrupted().await.is_ok() {
            std::process::exit(INTERRUPTED.into());
        }
    });
    stop
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
