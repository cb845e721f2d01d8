//! What every daemon's process has: a log, a runtime, the wish to stop, and the line that says it serves.

use crate::error::Error;
use crate::limits::SHUTDOWN_DEADLINE;
use std::io::{IsTerminal, Write};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs a daemon on a runtime of its own, logging to stderr.
pub fn run<F: Future<Output = Result<(), Error>>>(serve: impl FnOnce() -> F) -> Result<(), Error> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,openraft=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed(format!("can't start a runtime: {error}")))?;
    let outcome = runtime.block_on(serve());
    // Tasks that wait for nothing any more must not keep the process.
    runtime.shutdown_background();
    outcome
}

/// The wish to stop, from a terminal or a supervisor.
pub struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    /// Made before anything is started: a signal during the start must not kill half-way.
    pub fn new() -> Result<Self, Error> {
        let failed = |error| Error::failed(format!("can't listen to signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    pub async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// The outcome of a start, or `None` if it was to stop meanwhile.
    pub async fn or_started<T>(
        &mut self,
        starting: impl Future<Output = Result<T, Error>>,
    ) -> Result<Option<T>, Error> {
        tokio::select! {
            started = starting => started.map(Some),
            () = self.asked() => {
                tracing::info!("stopped while starting");
                Ok(None)
            }
        }
    }

    /// Waits for a clean stop, but not for ever, and not when told twice.
    pub async fn while_stopping(
        &mut self,
        stopping: impl Future<Output = Result<(), Error>>,
    ) -> Result<(), Error> {
        tracing::info!("stopping");
        tokio::select! {
            outcome = tokio::time::timeout(SHUTDOWN_DEADLINE, stopping) => outcome.unwrap_or_else(|_| {
                Err(Error::failed("some parts did not stop in time; the next start recovers"))
            }),
            () = self.asked() => {
                Err(Error::failed("told twice to stop, so it ended at once; the next start recovers"))
            }
        }
    }
}

/// Prints what a script waits for. Nobody may be reading any more; the daemon serves all the same.
pub fn announce(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}
