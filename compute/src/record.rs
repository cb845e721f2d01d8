//! What is known of a VM, on disk and to who asks.

use crate::error::ComputeError;
use crate::probe::Acceleration;
use crate::process::ProcessId;
use crate::spec::VmSpec;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where a VM's life stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum VmState {
    Running,
    /// Stopped because somebody asked for it here.
    Stopped {
        reason: String,
    },
    /// Ended by itself: the guest powered off, or QEMU failed.
    Exited {
        reason: String,
    },
}

impl VmState {
    pub fn is_running(&self) -> bool {
        *self == VmState::Running
    }
}

/// A VM's record: `vm.json` in its folder, replaced whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmRecord {
    /// Of this record: 1.
    pub format: u32,
    pub spec: VmSpec,
    pub acceleration: Acceleration,
    /// The socket its disk is served on.
    pub disk_socket: PathBuf,
    pub process: Option<ProcessId>,
    pub state: VmState,
    /// Its guest runs elsewhere still and is on its way here.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_receiving: bool,
}

/// A VM as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VmInfo {
    pub name: String,
    pub volume: String,
    #[serde(flatten)]
    pub state: VmState,
    pub cpus: u32,
    pub memory_bytes: u64,
    pub acceleration: Acceleration,
    pub pid: Option<u32>,
    pub console: PathBuf,
    pub console_log: PathBuf,
}

impl VmRecord {
    pub(crate) fn load(path: &Path) -> Result<Self, ComputeError> {
        let text = std::fs::read(path)
            .map_err(|error| ComputeError::io(format!("can't read {}", path.display()), error))?;
        serde_json::from_slice(&text)
            .map_err(|error| ComputeError::io(format!("can't understand {}", path.display()), error))
    }

    /// Written beside and renamed over, so that a crash leaves the old one or the new one.
    pub(crate) fn save(&self, path: &Path) -> Result<(), ComputeError> {
        let failed = |error| ComputeError::io(format!("can't write {}", path.display()), error);
        let text = serde_json::to_vec_pretty(self).expect("a record has only text keys");
        let next = path.with_extension("json.new");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&next)
            .map_err(failed)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(failed)?;
        std::fs::rename(&next, path).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Accel;
    use crate::spec::Boot;

    #[test]
    fn comes_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vm.json");
        let record = VmRecord {
            format: 1,
            spec: VmSpec {
                name: "a".into(),
                volume: "v".into(),
                boot: Boot::Kernel { kernel: "/k".into(), initrd: None, append: "x=1".into() },
                cpus: 1,
                memory_bytes: 1 << 28,
            },
            acceleration: Acceleration { accel: Accel::Tcg, reason: Some("none".into()) },
            disk_socket: "/s".into(),
            process: Some(ProcessId { pid: 7, start_ticks: 8, boot: "b".into() }),
            state: VmState::Exited { reason: "the guest powered off".into() },
            is_receiving: true,
        };
        record.save(&path).unwrap();
        assert_eq!(VmRecord::load(&path).unwrap(), record);
        std::fs::write(&path, "{").unwrap();
        assert!(VmRecord::load(&path).is_err());
    }
}
