//! Ctrl-C and SIGTERM.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;

use crate::errors::InterruptedError;
use crate::exit::INTERRUPTED;

/// Hears Ctrl-C and SIGTERM from the moment it is made on: the first one is noted, so that the
/// running epoch ends and the stores stay consistent; the second ends the process at once.
#[derive(Debug)]
pub(crate) struct Interrupt {
    stop: Arc<AtomicBool>,
    asked: watch::Receiver<bool>,
}

impl Interrupt {
    /// Begins to listen.
    pub(crate) fn listen() -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (sender, asked) = watch::channel(false);
        let flag = stop.clone();
        let mut signals = Signals::listen()?;
        tokio::spawn(async move {
            signals.next().await;
            flag.store(true, Ordering::Relaxed);
            // Nobody may be waiting for it.
            let _ = sender.send(true);
            // Whoever asks twice does not want to wait for the epoch.
            signals.next().await;
            std::process::exit(INTERRUPTED.into());
        });
        Ok(Self { stop, asked })
    }

    /// The flag that ends the work after the running epoch; others may set it, too.
    pub(crate) fn stop(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }

    /// Whether a signal came.
    pub(crate) fn asked(&self) -> bool {
        *self.asked.borrow()
    }

    /// Waits for `work`, or gives it up when a signal comes.
    pub(crate) async fn give_up<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, InterruptedError> {
        let mut asked = self.asked.clone();
        tokio::select! {
            done = work => Ok(done),
            _ = asked.wait_for(|asked| *asked) => Err(InterruptedError),
        }
    }
}

/// Returns when the process is asked to end.
pub(crate) async fn interrupted() -> std::io::Result<()> {
    Signals::listen()?.next().await;
    Ok(())
}

/// The signals that ask a process to end.
#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without a handler the process ends by the signal itself.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
