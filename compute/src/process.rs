//! Processes by identity, not by number: a pid is reused, a pid with its start time and boot is not.

use crate::error::ComputeError;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};
use std::os::fd::OwnedFd;
use tokio::io::unix::AsyncFd;

/// One life of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    pub pid: u32,
    /// Clock ticks after the machine's boot, from `/proc/PID/stat`.
    pub start_ticks: u64,
    /// The machine's boot, from `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
}

impl ProcessId {
    /// The identity of a process that runs now.
    pub fn of(pid: u32) -> Result<Self, ComputeError> {
        let path = format!("/proc/{pid}/stat");
        let stat = std::fs::read_to_string(&path)
            .map_err(|error| ComputeError::io(format!("can't read {path}"), error))?;
        let start_ticks = start_ticks(&stat)
            .ok_or_else(|| ComputeError::io(format!("can't understand {path}"), "no start time in it"))?;
        Ok(Self { pid, start_ticks, boot: boot_id() })
    }
}

/// A handle on one process, which no other can take over.
#[derive(Debug)]
pub(crate) struct Process {
    fd: AsyncFd<OwnedFd>,
}

impl Process {
    /// Takes hold of a process, if it still runs.
    pub fn find(id: &ProcessId) -> Option<Self> {
        let pid = Pid::from_raw(i32::try_from(id.pid).ok()?)?;
        let fd = pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?;
        // Checked after the handle is taken: the pid could have been reused just before.
        if ProcessId::of(id.pid).ok()? != *id {
            return None;
        }
        // Its successor `register` is unsafe since a type could lie about its descriptor; `OwnedFd` can't.
        #[expect(deprecated, reason = "an OwnedFd stays open and the same for as long as AsyncFd holds it")]
        let fd = AsyncFd::new(fd).ok()?;
        Some(Self { fd })
    }

    /// Returns once the process has ended. Safe to drop and call again.
    pub async fn ended(&self) {
        // A pidfd turns readable when its process ends; an error here means that it is gone already.
        let _ = self.fd.readable().await;
    }

    pub fn kill(&self) {
        let _ = pidfd_send_signal(self.fd.get_ref(), Signal::KILL);
    }
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Field 22. The command's name, field 2, may hold spaces and brackets, so fields count from its last bracket.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_ascii_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_start_time_past_an_odd_name() {
        let stat =
            "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4711 1000 10 18446744073709551615";
        assert_eq!(start_ticks(stat), Some(4711));
        assert_eq!(start_ticks("7 (a"), None);
    }

    #[tokio::test]
    async fn finds_and_kills_its_own_child() {
        let mut child = tokio::process::Command::new("sleep").arg("600").spawn().unwrap();
        let id = ProcessId::of(child.id().unwrap()).unwrap();
        let process = Process::find(&id).unwrap();
        assert!(Process::find(&ProcessId { start_ticks: id.start_ticks + 1, ..id.clone() }).is_none());
        process.kill();
        process.ended().await;
        child.wait().await.unwrap();
        assert!(Process::find(&id).is_none());
    }
}
