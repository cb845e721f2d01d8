//! Does KVM work here? Opening `/dev/kvm` does not tell: in some nested machines it opens and every guest
//! hangs or QEMU aborts. So a tiny guest is booted through the firmware's 32-bit code to a boot sector of
//! nine bytes that tells QEMU to exit with a status of its choice, against a deadline.
//!
//! Nor does that guest tell enough where the kernel offers KVM without the processor's virtualization (PVM, in
//! machines that are guests themselves): it runs there, and ordinary kernels break sooner or later, at an instruction
//! that has to be emulated and can't be. So such a processor is not asked at all.

use crate::error::ComputeError;
use crate::limits::{LOG_TAIL_BYTES, PROBE_DEADLINE};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// How guests run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Accel {
    /// The processor's virtualization.
    Kvm,
    /// QEMU's emulation: right, and several times slower.
    Tcg,
}

impl Accel {
    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "KVM",
            Self::Tcg => "emulation",
        }
    }
}

/// What the operator wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccelChoice {
    /// KVM where a probe shows that it works, else emulation.
    #[default]
    Auto,
    Kvm,
    Tcg,
}

/// The probe's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceleration {
    pub accel: Accel,
    /// Why it is emulation, if it is.
    pub reason: Option<String>,
}

impl Acceleration {
    fn emulation(reason: impl Into<String>) -> Self {
        Self { accel: Accel::Tcg, reason: Some(reason.into()) }
    }
}

/// The exit status of QEMU when the probe's guest ran: `(value << 1) | 1` of what it wrote to the exit port.
const RAN: i32 = 0x10 << 1 | 1;

/// Boots the probe's guest under KVM. `dir` holds its disk image for as long as it takes.
pub(crate) async fn probe(qemu: &Path, dir: &Path) -> Result<Acceleration, ComputeError> {
    if let Err(error) = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        return Ok(Acceleration::emulation(format!("/dev/kvm can't be opened ({error})")));
    }
    let processor = tokio::fs::read_to_string("/proc/cpuinfo").await.unwrap_or_default();
    if cfg!(target_arch = "x86_64") && !has_virtualization(&processor) {
        return Ok(Acceleration::emulation(
            "/dev/kvm opens, but the processor has neither VT-x nor AMD-V, without which ordinary guests break",
        ));
    }
    let image = dir.join("kvm-probe.img");
    tokio::fs::write(&image, boot_sector())
        .await
        .map_err(|error| ComputeError::io(format!("can't write {}", image.display()), error))?;
    let drive = format!("file={},format=raw,if=ide", image.display().to_string().replace(',', ",,"));
    let child = Command::new(qemu)
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-machine", "q35", "-accel", "kvm"])
        .args(["-cpu", "host", "-m", "16", "-boot", "c", "-drive", &drive])
        .args(["-device", "isa-debug-exit,iobase=0x501,iosize=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| ComputeError::io(format!("can't start {}", qemu.display()), error))?;
    // A timeout drops the wait, and with it the child, which is killed.
    let answer = match tokio::time::timeout(PROBE_DEADLINE, child.wait_with_output()).await {
        Err(_) => Acceleration::emulation(format!(
            "a probe guest hung under KVM for {} ms",
            PROBE_DEADLINE.as_millis()
        )),
        Ok(Err(error)) => Acceleration::emulation(format!("the KVM probe failed: {error}")),
        Ok(Ok(output)) if output.status.code() == Some(RAN) => {
            Acceleration { accel: Accel::Kvm, reason: None }
        }
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let first = said.lines().find(|line| line.contains("error")).or(said.lines().next());
            let first = first.unwrap_or("it said nothing");
            let first: String = first.chars().take(LOG_TAIL_BYTES).collect();
            Acceleration::emulation(format!("QEMU can't run a guest under KVM ({}): {first}", output.status))
        }
    };
    let _ = tokio::fs::remove_file(&image).await;
    Ok(answer)
}

/// Whether `/proc/cpuinfo` shows Intel's or AMD's virtualization among the processor's flags.
fn has_virtualization(cpuinfo: &str) -> bool {
    let flags = cpuinfo.lines().find_map(|line| line.strip_prefix("flags")).unwrap_or_default();
    flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm")
}

/// `mov al, 0x10; mov dx, 0x501; out dx, al; hlt; jmp hlt`, and the mark of a bootable sector.
fn boot_sector() -> Vec<u8> {
    // QEMU's disks are whole cylinders in the firmware's eyes; a floppy's size always works.
    let mut image = vec![0u8; 1_474_560];
    image[..9].copy_from_slice(&[0xb0, 0x10, 0xba, 0x01, 0x05, 0xee, 0xf4, 0xeb, 0xfd]);
    image[510..512].copy_from_slice(&[0x55, 0xaa]);
    image
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_s_flags_tell_whether_it_virtualizes() {
        let cpuinfo =
            |flags: &str| format!("processor\t: 0\nflags\t\t: fpu {flags} cx16\nvmx flags\t: ept\n");
        assert!(has_virtualization(&cpuinfo("vmx")) && has_virtualization(&cpuinfo("svm")));
        // Hyper-V's guests have `vmmcall`, and flags of no virtualization may begin like it.
        assert!(!has_virtualization(&cpuinfo("vmmcall svm_lock")) && !has_virtualization(""));
    }

    #[test]
    fn the_boot_sector_is_bootable() {
        let image = boot_sector();
        assert_eq!(image.len() % 512, 0);
        assert_eq!(&image[510..512], &[0x55, 0xaa]);
        assert_eq!(RAN, 33);
    }
}
