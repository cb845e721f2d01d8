//! What a VM is to be: checked once, before anything is started.

use crate::error::{ComputeError, ErrorKind};
use crate::limits::{
    MAX_APPEND_BYTES, MAX_CPUS, MAX_DISK_QUEUES, MAX_MEMORY_BYTES, MAX_NAME_BYTES, MIN_MEMORY_BYTES,
};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How the guest starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "from", deny_unknown_fields)]
pub enum Boot {
    /// By the firmware, from the volume's own boot sector.
    Disk,
    /// A Linux kernel given by the host.
    Kernel { kernel: PathBuf, initrd: Option<PathBuf>, append: String },
}

/// One VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    pub name: String,
    /// The volume's name; only shown, the disk is reached by its socket.
    pub volume: String,
    pub boot: Boot,
    pub cpus: u32,
    pub memory_bytes: u64,
}

impl VmSpec {
    /// Refuses what QEMU could not run, with the reason.
    pub fn check(&self) -> Result<(), ComputeError> {
        let invalid = |why: String| Err(ComputeError::new(ErrorKind::Invalid, why));
        check_name(&self.name)?;
        if self.cpus == 0 || self.cpus > MAX_CPUS {
            return invalid(format!("{} CPUs are not possible; give 1 to {MAX_CPUS}", self.cpus));
        }
        if !(MIN_MEMORY_BYTES..=MAX_MEMORY_BYTES).contains(&self.memory_bytes) {
            return invalid(format!(
                "{} of memory are not possible; give {} to {}",
                proto::size::show(self.memory_bytes),
                proto::size::show(MIN_MEMORY_BYTES),
                proto::size::show(MAX_MEMORY_BYTES)
            ));
        }
        if !self.memory_bytes.is_multiple_of(1 << 20) {
            return invalid("memory must be a whole number of MiB".into());
        }
        let Boot::Kernel { kernel, initrd, append } = &self.boot else { return Ok(()) };
        if append.len() > MAX_APPEND_BYTES || append.contains(['\n', '\0']) {
            return invalid(format!(
                "the kernel's command line must be one line of {MAX_APPEND_BYTES} bytes"
            ));
        }
        for file in std::iter::once(kernel).chain(initrd) {
            if !file.is_absolute() {
                return invalid(format!("{} must be an absolute path", file.display()));
            }
            if let Err(error) = std::fs::File::open(file) {
                return invalid(format!("can't read {}: {error}", file.display()));
            }
        }
        Ok(())
    }

    /// Queues of the guest's disk: one a CPU, bounded.
    pub fn disk_queues(&self) -> u32 {
        self.cpus.min(MAX_DISK_QUEUES)
    }
}

/// A VM's name is also a folder's name and part of QEMU's options.
pub fn check_name(name: &str) -> Result<(), ComputeError> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ok = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.chars().all(good)
        && name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if ok {
        return Ok(());
    }
    Err(ComputeError::new(
        ErrorKind::Invalid,
        format!(
            "'{}' is not a VM's name; use up to {MAX_NAME_BYTES} letters, digits, '-', '_' and '.'",
            name.escape_debug()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> VmSpec {
        VmSpec {
            name: "web-1".into(),
            volume: "root".into(),
            boot: Boot::Disk,
            cpus: 2,
            memory_bytes: 512 << 20,
        }
    }

    #[test]
    fn refuses_what_cannot_run() {
        assert!(spec().check().is_ok());
        let bad: [fn(&mut VmSpec); 8] = [
            |spec| spec.name = "../up".into(),
            |spec| spec.name = String::new(),
            |spec| spec.name = "a".repeat(41),
            |spec| spec.cpus = 0,
            |spec| spec.cpus = 65,
            |spec| spec.memory_bytes = 1 << 20,
            |spec| spec.memory_bytes += 1,
            |spec| {
                spec.boot =
                    Boot::Kernel { kernel: "/nonexistent".into(), initrd: None, append: String::new() };
            },
        ];
        for (case, change) in bad.into_iter().enumerate() {
            let mut spec = spec();
            change(&mut spec);
            assert_eq!(spec.check().expect_err("refused").kind, ErrorKind::Invalid, "case {case}");
        }
    }

    #[test]
    fn queues_follow_cpus_up_to_the_limit() {
        let mut spec = spec();
        assert_eq!(spec.disk_queues(), 2);
        spec.cpus = 64;
        assert_eq!(spec.disk_queues(), MAX_DISK_QUEUES);
    }
}
