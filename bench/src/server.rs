//! A server under test as a child process: started, watched, and ended whatever happens.

use crate::limits::{START_TIMEOUT_S, STOP_TIMEOUT_S};
use crate::machine::{now, pause};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server. Dropping it ends the process.
pub struct Server {
    child: Child,
    name: &'static str,
    log: PathBuf,
}

impl Server {
    /// Starts `command`; what it says goes to `log`, but for stdout when the caller piped it.
    pub fn start(name: &'static str, command: &mut Command, log: PathBuf) -> Result<Self> {
        let errors = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(errors)
            .spawn()
            .with_context(|| format!("starting {name} ({})", command.get_program().display()))?;
        Ok(Self { child, name, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn take_stdout(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Ends it at once, as a power cut would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.child.wait().with_context(|| format!("waiting for {}", self.name))?;
        Ok(())
    }

    /// Asks it to end, and ends it if it does not.
    pub fn stop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        // SIGTERM by the system's own kill: the standard library only knows SIGKILL.
        let pid = self.pid().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).stderr(Stdio::null()).status();
        let end = now() + Duration::from_secs(STOP_TIMEOUT_S);
        while now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            pause(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until `is_ready`, or fails with what the server said.
    pub fn wait_until(&mut self, what: &str, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let end = now() + Duration::from_secs(START_TIMEOUT_S);
        while !is_ready() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} before {what}: {}", self.name, self.last_words());
            }
            if now() > end {
                bail!("{}: no {what} after {START_TIMEOUT_S} s: {}", self.name, self.last_words());
            }
            pause(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until a socket is there.
    pub fn wait_for_socket(&mut self, socket: &Path) -> Result<()> {
        self.wait_until("socket", || socket.exists())
    }

    fn last_words(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines = log.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(5)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
