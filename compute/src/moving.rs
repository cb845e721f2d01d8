//! Guests that move between machines while they run: QEMU's side of it, here and there.
//!
//! A guest goes out through one unix socket and comes in through another; what joins the two is somebody else's
//! business, and so is which of the two sides may go on. Between [`Compute::send`] and [`Compute::accept`] neither
//! does: the guest is paused on both.

use crate::command::Begin;
use crate::compute::{Compute, Entry, Vm};
use crate::error::{ComputeError, ErrorKind};
use crate::keeper::{Answer, Command, Request};
use crate::limits::{LEFT_DEADLINE, MOVE_BYTES_PER_SECOND, MOVE_DEADLINE, MOVE_DOWNTIME, MOVE_POLL};
use crate::probe::{Accel, Acceleration};
use crate::record::{VmInfo, VmState};
use crate::spec::VmSpec;
use rt::clock::{Clock, SystemClock};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;
use tokio::time::sleep;

impl Compute {
    /// What a VM is, for another machine to receive it as the same.
    pub fn describe(&self, name: &str) -> Result<(VmSpec, Acceleration), ComputeError> {
        let record = self.find(name)?.record;
        Ok((record.spec, record.acceleration))
    }

    /// Where the guest of a VM leaves it.
    pub fn outgoing_socket(&self, name: &str) -> PathBuf {
        self.files(name).outgoing()
    }

    /// Starts a QEMU that waits for a running guest, and returns the socket at which it takes it. Listed only once
    /// it is [accepted](Self::accept).
    pub async fn receive(
        &self,
        spec: VmSpec,
        from: &Acceleration,
        disk_socket: &Path,
    ) -> Result<PathBuf, ComputeError> {
        let here = self.acceleration().await?;
        if here.accel != from.accel {
            let why = here.reason.map_or(String::new(), |reason| format!(" ({reason})"));
            return Err(ComputeError::new(
                ErrorKind::Conflict,
                format!(
                    "the guest runs by {} and this machine would run it by {}{why}, which no running guest survives",
                    from.accel.name(),
                    here.accel.name()
                ),
            ));
        }
        let incoming = self.files(&spec.name).incoming();
        self.begin(spec, disk_socket, Begin::Receive).await?;
        Ok(incoming)
    }

    /// The VMs that are on their way here.
    pub fn receiving(&self) -> Vec<String> {
        let entries = self.lock();
        let is_receiving = |entry: &Entry| matches!(entry, Entry::Receiving(_));
        entries.iter().filter(|(_, entry)| is_receiving(entry)).map(|(name, _)| name.clone()).collect()
    }

    /// The volume of a VM that is on its way here.
    pub fn received_volume(&self, name: &str) -> Option<String> {
        Some(self.received(name).ok()?.record.spec.volume)
    }

    /// Returns when a guest that was sent has come in wholly.
    pub async fn arrived(&self, name: &str) -> Result<(), ComputeError> {
        let vm = self.received(name)?;
        // Having begun with its processors stopped, QEMU leaves the guest paused.
        while ask(&vm, "query-status", json!({})).await?["status"] != "paused" {
            sleep(MOVE_POLL).await;
        }
        Ok(())
    }

    /// Has a guest that has come in wholly go on here: it is a VM of this machine from now on.
    pub async fn accept(&self, name: &str) -> Result<VmInfo, ComputeError> {
        let mut vm = self.received(name)?;
        // First, so that a restarted daemon does not discard it.
        vm.record.is_receiving = false;
        vm.record.save(&self.files(name).record())?;
        self.lock().insert(name.to_owned(), Entry::Known(vm.clone()));
        self.go_on(&vm).await?;
        Ok(self.info(&vm))
    }

    /// Ends the QEMU that waits for a guest, and forgets it.
    pub async fn discard(&self, name: &str) {
        let Ok(vm) = self.received(name) else { return };
        end(vm, "the guest did not come").await;
        if let Err(error) = std::fs::remove_file(self.files(name).record()) {
            tracing::warn!(vm = name, %error, "the record of a VM that did not come stays");
        }
        self.lock().remove(name);
    }

    /// Sends a running guest out through `socket`, and returns when all of it has gone: it is paused then, until
    /// it is [resumed](Self::resume) or [ended](Self::end). After an error it may run or be paused:
    /// [`is_sent`](Self::is_sent) tells, and [`go_on_if_left`](Self::go_on_if_left) mends that.
    pub async fn send(&self, name: &str, socket: &Path) -> Result<(), ComputeError> {
        let vm = self.find(name)?;
        if !vm.state.borrow().is_running() {
            return Err(ComputeError::new(ErrorKind::Conflict, format!("VM '{name}' does not run")));
        }
        ask_all(&vm, sending(vm.record.acceleration.accel, socket)).await?;
        let begun = SystemClock.now();
        let mut is_cancelled = false;
        loop {
            sleep(MOVE_POLL).await;
            let answer = ask(&vm, "query-migrate", json!({})).await?;
            match answer["status"].as_str().unwrap_or_default() {
                "completed" => return Ok(()),
                "failed" | "cancelled" if is_cancelled => return Err(too_long()),
                "failed" | "cancelled" | "none" => {
                    let why = answer["error-desc"].as_str().unwrap_or("the other side hung up");
                    return Err(ComputeError::new(
                        ErrorKind::Failed,
                        format!("QEMU could not send it: {why}"),
                    ));
                }
                _ if !is_cancelled && SystemClock.now().since(begun) > MOVE_DEADLINE => {
                    is_cancelled = true;
                    ask(&vm, "migrate_cancel", json!({})).await?;
                }
                _ => {}
            }
        }
    }

    /// Whether a VM's guest is paused because all of it was sent.
    pub async fn is_sent(&self, name: &str) -> Result<bool, ComputeError> {
        let vm = self.find(name)?;
        if !vm.state.borrow().is_running() {
            return Ok(false);
        }
        // Failing, QEMU leaves a guest that was paused before in the same state.
        let is_complete = ask(&vm, "query-migrate", json!({})).await?["status"] == "completed";
        let status = ask(&vm, "query-status", json!({})).await?["status"].take();
        Ok(is_complete && (status == "postmigrate" || status == "finish-migrate"))
    }

    /// Has a guest that was sent go on here.
    pub async fn resume(&self, name: &str) -> Result<(), ComputeError> {
        let vm = self.find(name)?;
        self.go_on(&vm).await
    }

    /// Has a guest go on that a daemon paused, took in or began to send, and then ended or failed; one that was sent
    /// wholly stays. Nobody may begin to send it meanwhile.
    pub async fn go_on_if_left(&self, name: &str) -> Result<(), ComputeError> {
        let vm = self.find(name)?;
        let begun = SystemClock.now();
        // What QEMU still sends went through the daemon that ended, and fails at once. Cancelled, it could have come in
        // wholly all the same.
        while !is_over(&ask(&vm, "query-migrate", json!({})).await?) {
            if SystemClock.now().since(begun) > LEFT_DEADLINE {
                return Err(ComputeError::new(
                    ErrorKind::Timeout,
                    format!("VM '{name}' is still being sent elsewhere, and nobody waits for that"),
                ));
            }
            sleep(MOVE_POLL).await;
        }
        if self.is_sent(name).await? {
            return Ok(());
        }
        match ask(&vm, "query-status", json!({})).await?["status"].as_str() {
            Some("paused" | "postmigrate" | "finish-migrate") => self.go_on(&vm).await,
            _ => Ok(()),
        }
    }

    /// Has QEMU start a VM's disk again, by pausing the guest for a moment; one that is paused goes on. False if the
    /// guest is on the move or in no state to go on: nothing happens then.
    pub async fn wake(&self, name: &str) -> Result<bool, ComputeError> {
        request(&self.find(name)?, |answer| Request::Wake { answer }).await
    }

    /// Ends the QEMU of a guest that was sent.
    pub async fn end(&self, name: &str, reason: &str) -> Result<(), ComputeError> {
        end(self.find(name)?, reason).await;
        Ok(())
    }

    async fn go_on(&self, vm: &Vm) -> Result<(), ComputeError> {
        ask(vm, "cont", json!({})).await.map(drop)
    }

    fn received(&self, name: &str) -> Result<Vm, ComputeError> {
        match self.lock().get(name) {
            Some(Entry::Receiving(vm)) => Ok(vm.clone()),
            _ => Err(ComputeError::new(
                ErrorKind::NotFound,
                format!("no VM named '{name}' is on its way to this machine"),
            )),
        }
    }
}

async fn end(mut vm: Vm, reason: &str) {
    // A closed channel means that it has just ended, which is what was asked for.
    let _ = vm.requests.send(Request::End { reason: reason.to_owned() }).await;
    let _ = vm.state.wait_for(|state| !VmState::is_running(state)).await;
}

/// What QEMU is told for it to send a guest out through `socket`.
fn sending(accel: Accel, socket: &Path) -> Vec<Command> {
    // A guest that writes its memory faster than it can be sent is slowed down until it can.
    let converge = json!({ "capabilities": [{ "capability": "auto-converge", "state": true }] });
    let downtime = u64::try_from(MOVE_DOWNTIME.as_millis()).unwrap_or(u64::MAX);
    let pace = json!({ "max-bandwidth": MOVE_BYTES_PER_SECOND, "downtime-limit": downtime });
    let mut commands = vec![
        ("migrate-set-capabilities", converge),
        ("migrate-set-parameters", pace),
        ("migrate", json!({ "uri": format!("unix:{}", socket.display()) })),
    ];
    if accel == Accel::Tcg {
        // QEMU does not notice all that an emulated guest writes while it is sent, and would leave that behind ("physmem:
        // Fix migration dirty bitmap coherency with TCG memory access", 9.0, mends one way of several). Such a guest
        // stands still for all of its move.
        commands.insert(0, ("stop", json!({})));
    }
    commands
}

/// Whether nothing is being sent, or has been to its end, by an answer to `query-migrate`.
pub(crate) fn is_over(answer: &Value) -> bool {
    matches!(answer["status"].as_str(), None | Some("none" | "failed" | "cancelled" | "completed"))
}

async fn ask(vm: &Vm, command: &'static str, arguments: Value) -> Result<Value, ComputeError> {
    ask_all(vm, vec![(command, arguments)]).await
}

async fn ask_all(vm: &Vm, commands: Vec<Command>) -> Result<Value, ComputeError> {
    request(vm, |answer| Request::Ask { commands, answer }).await
}

async fn request<T>(vm: &Vm, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, ComputeError> {
    let (answer, answered) = oneshot::channel();
    let gone =
        || ComputeError::new(ErrorKind::Failed, format!("VM '{}' ended meanwhile", vm.record.spec.name));
    vm.requests.send(request(answer)).await.map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

fn too_long() -> ComputeError {
    let hours = MOVE_DEADLINE.as_secs() / 3600;
    ComputeError::new(
        ErrorKind::Timeout,
        format!(
            "not all of the guest's memory was sent in {hours} h; it writes faster than the network carries"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emulated_guest_stands_still_while_it_is_sent() {
        let names = |accel| -> Vec<&str> {
            sending(accel, Path::new("/s")).into_iter().map(|(command, _)| command).collect()
        };
        assert_eq!(names(Accel::Tcg)[0], "stop");
        assert!(!names(Accel::Kvm).contains(&"stop"));
        assert_eq!(names(Accel::Tcg).last(), Some(&"migrate"));
    }
}
