//! The keeper of one running VM: follows its process and its monitor, stops it when asked, and says why it ended.

use crate::command::VmFiles;
use crate::compute::Exit;
use crate::error::{ComputeError, ErrorKind};
use crate::limits::{LOG_TAIL_BYTES, QUIT_DEADLINE};
use crate::moving::is_over;
use crate::process::Process;
use crate::qmp::{Message, Qmp};
use crate::record::{VmRecord, VmState};
use serde_json::Value;
use std::pin::Pin;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Sleep, sleep};

/// What a keeper can be asked.
#[derive(Debug)]
pub(crate) enum Request {
    /// Ask the guest to power off; after the deadline QEMU is told to quit, and then killed.
    Stop { deadline: Duration },
    /// End QEMU without asking the guest, because of this.
    End { reason: String },
    /// Run commands of the monitor, with nothing in between, up to the first that QEMU refuses. Answers with what the
    /// last one returned.
    Ask { commands: Vec<Command>, answer: Answer<Value> },
    /// Have QEMU start the guest's disk again; whether it was in a state for that.
    Wake { answer: Answer<bool> },
}

/// A command of QEMU's monitor, and its arguments.
pub(crate) type Command = (&'static str, Value);

pub(crate) type Answer<T> = oneshot::Sender<Result<T, ComputeError>>;

/// What has been tried to stop the VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stopping {
    No,
    PowerDown(Duration),
    Quit,
    Kill,
}

pub(crate) struct Keeper {
    pub files: VmFiles,
    pub record: VmRecord,
    pub process: Process,
    /// The child to reap; none if an earlier daemon started it.
    pub child: Option<Child>,
    pub qmp: Option<Qmp>,
    pub requests: mpsc::Receiver<Request>,
    pub state: watch::Sender<VmState>,
    pub exits: mpsc::Sender<Exit>,
    /// Why QEMU was to end, if not for its guest's sake.
    pub ended_because: Option<String>,
}

impl Keeper {
    pub async fn watch(mut self) {
        let mut stopping = Stopping::No;
        let mut timer: Pin<Box<Sleep>> = Box::pin(sleep(Duration::ZERO));
        let mut cause: Option<String> = None;
        loop {
            tokio::select! {
                () = self.process.ended() => break,
                message = next(&mut self.qmp) => match message {
                    Some(Message::Event(name, data)) if name == "SHUTDOWN" => {
                        cause = data["reason"].as_str().map(str::to_owned);
                    }
                    Some(Message::Event(name, _)) if name == "GUEST_PANICKED" => {
                        cause = Some("guest-panic".to_owned());
                    }
                    Some(_) => {}
                    // Without a monitor only the process is left to follow.
                    None => self.qmp = None,
                },
                Some(request) = self.requests.recv() => {
                    if let Some((next, wait)) = self.take(request, stopping).await {
                        stopping = next;
                        timer.set(sleep(wait));
                    }
                }
                () = &mut timer, if !matches!(stopping, Stopping::No | Stopping::Kill) => {
                    if matches!(stopping, Stopping::PowerDown(_)) && self.tell("quit").await {
                        stopping = Stopping::Quit;
                        timer.set(sleep(QUIT_DEADLINE));
                    } else {
                        stopping = Stopping::Kill;
                        self.process.kill();
                    }
                }
            }
        }
        let status = match &mut self.child {
            Some(child) => child.wait().await.ok(),
            None => None,
        };
        self.finish(stopping, cause.as_deref(), status).await;
    }

    /// Does what it is asked; how far stopping is then and for how long, if that changes.
    async fn take(&mut self, request: Request, stopping: Stopping) -> Option<(Stopping, Duration)> {
        match request {
            Request::Stop { deadline } if stopping == Stopping::No => {
                let asked = self.tell("system_powerdown").await;
                Some((Stopping::PowerDown(deadline), if asked { deadline } else { Duration::ZERO }))
            }
            Request::Stop { .. } => None,
            Request::End { reason } => {
                self.ended_because = Some(reason);
                // At once: the timer's end tells QEMU to quit.
                let is_new = matches!(stopping, Stopping::No | Stopping::PowerDown(_));
                is_new.then_some((Stopping::PowerDown(Duration::ZERO), Duration::ZERO))
            }
            Request::Ask { commands, answer } => {
                let outcome = match self.monitor(stopping) {
                    Ok(qmp) => execute_all(qmp, commands).await,
                    Err(error) => Err(error),
                };
                // Nobody may be waiting any more.
                let _ = answer.send(outcome);
                None
            }
            Request::Wake { answer } => {
                let outcome = match self.monitor(stopping) {
                    Ok(qmp) => wake(qmp).await,
                    Err(error) => Err(error),
                };
                let _ = answer.send(outcome);
                None
            }
        }
    }

    fn monitor(&mut self, stopping: Stopping) -> Result<&mut Qmp, ComputeError> {
        // Answers have no number: one to what stopping sent would be taken for another's.
        if stopping != Stopping::No {
            return Err(ComputeError::new(ErrorKind::Conflict, "it is being stopped"));
        }
        self.qmp.as_mut().ok_or_else(|| ComputeError::new(ErrorKind::Unavailable, "its monitor is gone"))
    }

    async fn tell(&mut self, command: &str) -> bool {
        match &mut self.qmp {
            Some(qmp) => qmp.send(command).await.is_ok(),
            None => false,
        }
    }

    async fn finish(mut self, stopping: Stopping, cause: Option<&str>, status: Option<ExitStatus>) {
        // Nobody may wait for an answer while who follows exits waits for them.
        self.requests.close();
        while self.requests.try_recv().is_ok() {}
        let name = self.record.spec.name.clone();
        let state = match self.ended_because.take() {
            Some(reason) => VmState::Stopped { reason },
            None => ending(stopping, cause, status, &log_tail(&self.files)),
        };
        tracing::info!(vm = %name, ?state, "the VM ended");
        self.record.state = state.clone();
        self.record.process = None;
        self.record.is_receiving = false;
        if let Err(error) = self.record.save(&self.files.record()) {
            tracing::warn!(vm = %name, %error, "the VM's end was not recorded");
        }
        // Who follows exits acts before anybody sees the new state, so that a VM seen stopped has let go.
        let (done, let_go) = oneshot::channel();
        let exit = Exit { name, disk_socket: self.record.disk_socket.clone(), done };
        if self.exits.send(exit).await.is_ok() {
            let _ = let_go.await;
        }
        self.state.send_replace(state);
    }
}

async fn execute_all(qmp: &mut Qmp, commands: Vec<Command>) -> Result<Value, ComputeError> {
    let mut returned = Value::Null;
    for (command, arguments) in commands {
        returned = qmp.execute_with(command, arguments).await?;
    }
    Ok(returned)
}

/// Stops the guest's processors for a moment, with which QEMU stops and starts its devices. One at a time with every
/// other command, so that no move of the guest can begin in between: a guest that has been sent must not go on here.
async fn wake(qmp: &mut Qmp) -> Result<bool, ComputeError> {
    let moving = qmp.execute("query-migrate").await?;
    if !is_over(&moving) {
        return Ok(false);
    }
    match qmp.status().await?.as_str() {
        "running" => {
            qmp.execute("stop").await?;
        }
        // By an earlier wake that did not come to its end, or a daemon that ended between taking a guest in and letting
        // it go on: nothing else pauses a guest. One that was sent away is in another state.
        "paused" => {}
        _ => return Ok(false),
    }
    qmp.execute("cont").await?;
    Ok(true)
}

async fn next(qmp: &mut Option<Qmp>) -> Option<Message> {
    match qmp {
        Some(open) => open.next().await.ok(),
        None => std::future::pending().await,
    }
}

fn ending(stopping: Stopping, cause: Option<&str>, status: Option<ExitStatus>, log: &str) -> VmState {
    let guest_did = cause.is_some_and(|cause| cause.starts_with("guest-"));
    match stopping {
        Stopping::PowerDown(_) => VmState::Stopped { reason: "the guest powered off as asked".into() },
        Stopping::Quit if guest_did => VmState::Stopped { reason: "the guest powered off as asked".into() },
        Stopping::Quit => VmState::Stopped {
            reason: "the guest did not power off in time, so its QEMU was told to quit".into(),
        },
        Stopping::Kill => VmState::Stopped { reason: "QEMU did not quit in time, so it was killed".into() },
        Stopping::No => VmState::Exited {
            reason: match (cause, status) {
                (Some("guest-shutdown"), _) => "the guest powered off".into(),
                (Some("guest-panic"), _) => "the guest's kernel panicked".into(),
                (Some(cause), _) => format!("QEMU ended: {cause}"),
                (None, Some(status)) if !status.success() => format!("QEMU failed ({status}): {log}"),
                (None, Some(_)) => "QEMU ended".into(),
                (None, None) => "QEMU ended while no daemon followed it".into(),
            },
        },
    }
}

/// The end of QEMU's own log, on one line.
pub(crate) fn log_tail(files: &VmFiles) -> String {
    let text = std::fs::read(files.qemu_log()).unwrap_or_default();
    let start = text.len().saturating_sub(LOG_TAIL_BYTES);
    let tail = String::from_utf8_lossy(&text[start..]);
    let line = tail.split('\n').map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    if line.is_empty() { "its log is empty".to_owned() } else { line }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn says_why_a_vm_ended() {
        let failed = Some(ExitStatus::from_raw(1 << 8));
        let well = Some(ExitStatus::from_raw(0));
        let exited = |reason: &str| VmState::Exited { reason: reason.into() };
        assert_eq!(ending(Stopping::No, Some("guest-shutdown"), well, ""), exited("the guest powered off"));
        assert_eq!(
            ending(Stopping::No, None, failed, "no disk"),
            exited("QEMU failed (exit status: 1): no disk")
        );
        assert_eq!(ending(Stopping::No, None, None, ""), exited("QEMU ended while no daemon followed it"));
        for stopping in [Stopping::PowerDown(Duration::ZERO), Stopping::Quit, Stopping::Kill] {
            assert!(matches!(ending(stopping, None, well, ""), VmState::Stopped { .. }), "{stopping:?}");
        }
    }
}
