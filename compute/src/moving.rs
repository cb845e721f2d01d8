//! Guests that move between machines while they run: QEMU's side of it, here and there.
//!
//! A guest goes out through one unix socket and comes in through another; what joins the two is somebody else's
//! business, and so is which of the two sides may go on. Between [`Compute::send`] and [`Compute::accept`] neither
//! does: the guest is paused on both.

use crate::command::Begin;
use crate::compute::{Compute, Entry, Vm};
use crate::error::{ComputeError, ErrorKind};
use crate::keeper::Request;
use crate::limits::{MOVE_BYTES_PER_SECOND, MOVE_DEADLINE, MOVE_DOWNTIME, MOVE_POLL};
use crate::probe::Acceleration;
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
    /// [`is_sent`](Self::is_sent) tells.
    pub async fn send(&self, name: &str, socket: &Path) -> Result<(), ComputeError> {
        let vm = self.find(name)?;
        if !vm.state.borrow().is_running() {
            return Err(ComputeError::new(ErrorKind::Conflict, format!("VM '{name}' does not run")));
        }
        // A guest that writes its memory faster than it can be sent is slowed down until it can.
        let converge = json!({ "capabilities": [{ "capability": "auto-converge", "state": true }] });
        ask(&vm, "migrate-set-capabilities", converge).await?;
        let downtime = u64::try_from(MOVE_DOWNTIME.as_millis()).unwrap_or(u64::MAX);
        let pace = json!({ "max-bandwidth": MOVE_BYTES_PER_SECOND, "downtime-limit": downtime });
        ask(&vm, "migrate-set-parameters", pace).await?;
        ask(&vm, "migrate", json!({ "uri": format!("unix:{}", socket.display()) })).await?;
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
        let answer = ask(&vm, "query-status", json!({})).await?;
        Ok(answer["status"] == "postmigrate")
    }

    /// Has a guest that was sent go on here.
    pub async fn resume(&self, name: &str) -> Result<(), ComputeError> {
        let vm = self.find(name)?;
        self.go_on(&vm).await
    }

    /// Has a guest go on that a daemon paused, or took in, and then ended.
    pub async fn go_on_if_paused(&self, name: &str) -> Result<(), ComputeError> {
        let vm = self.find(name)?;
        if ask(&vm, "query-status", json!({})).await?["status"] == "paused" {
            self.go_on(&vm).await?;
        }
        Ok(())
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

async fn ask(vm: &Vm, command: &'static str, arguments: Value) -> Result<Value, ComputeError> {
    let (answer, answered) = oneshot::channel();
    let gone =
        || ComputeError::new(ErrorKind::Failed, format!("VM '{}' ended meanwhile", vm.record.spec.name));
    vm.requests.send(Request::Ask { command, arguments, answer }).await.map_err(|_| gone())?;
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
