//! QEMU's command line: from a spec and a few paths to arguments. Pure.

use crate::probe::Accel;
use crate::spec::{Boot, VmSpec};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The files of one VM, all in its own folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmFiles {
    pub dir: PathBuf,
}

impl VmFiles {
    /// QEMU's monitor.
    pub fn qmp(&self) -> PathBuf {
        self.dir.join("qmp.sock")
    }

    /// The guest's first serial line.
    pub fn console(&self) -> PathBuf {
        self.dir.join("console.sock")
    }

    /// Everything the guest wrote on that line.
    pub fn console_log(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// What QEMU itself had to say.
    pub fn qemu_log(&self) -> PathBuf {
        self.dir.join("qemu.log")
    }

    /// Where the VM's disk is served.
    pub fn disk(&self) -> PathBuf {
        self.dir.join("disk.sock")
    }

    /// Where a guest that moves here comes in.
    pub fn incoming(&self) -> PathBuf {
        self.dir.join("incoming.sock")
    }

    /// Where a guest that moves away goes out.
    pub fn outgoing(&self) -> PathBuf {
        self.dir.join("outgoing.sock")
    }

    /// The record a restarted daemon reads.
    pub fn record(&self) -> PathBuf {
        self.dir.join("vm.json")
    }
}

/// How a VM's QEMU begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// With a guest that boots.
    Boot,
    /// Without one: it waits, its processors stopped, for one that comes in.
    Receive,
}

/// The arguments of QEMU for one VM: memory shared with the disk's server, one disk, one serial line, a
/// monitor; no network, no display, no default device.
pub fn arguments(spec: &VmSpec, files: &VmFiles, disk: &Path, accel: Accel, begin: Begin) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |flag: &str, value: &[&[u8]]| {
        args.push(flag.into());
        args.push(OsString::from_vec(value.concat()));
    };
    add("-name", &[b"guest=", spec.name.as_bytes(), b",debug-threads=on"]);
    add("-machine", &[b"q35,memory-backend=mem,usb=off"]);
    match accel {
        Accel::Kvm => {
            add("-accel", &[b"kvm"]);
            add("-cpu", &[b"host"]);
        }
        Accel::Tcg => {
            add("-accel", &[b"tcg,thread=multi"]);
            // Five-level paging costs emulation a level at every miss, and no small guest needs it.
            add("-cpu", &[b"max,la57=off"]);
        }
    }
    add("-smp", &[spec.cpus.to_string().as_bytes()]);
    let mebibytes = format!("{}M", spec.memory_bytes >> 20);
    add("-m", &[mebibytes.as_bytes()]);
    add("-object", &[b"memory-backend-memfd,id=mem,share=on,size=", mebibytes.as_bytes()]);
    add("-chardev", &[b"socket,id=disk0,reconnect=1,path=", &escaped(disk)]);
    let queues = spec.disk_queues().to_string();
    add(
        "-device",
        &[
            b"vhost-user-blk-pci,id=vda,chardev=disk0,config-wce=off,bootindex=1,num-queues=",
            queues.as_bytes(),
        ],
    );
    add(
        "-chardev",
        &[
            b"socket,id=serial0,server=on,wait=off,path=",
            &escaped(&files.console()),
            b",logappend=on,logfile=",
            &escaped(&files.console_log()),
        ],
    );
    add("-serial", &[b"chardev:serial0"]);
    add("-chardev", &[b"socket,id=qmp0,server=on,wait=off,path=", &escaped(&files.qmp())]);
    add("-mon", &[b"chardev=qmp0,mode=control"]);
    add("-display", &[b"none"]);
    add("-sandbox", &[b"on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"]);
    if let Boot::Kernel { kernel, initrd, append } = &spec.boot {
        add("-kernel", &[kernel.as_os_str().as_bytes()]);
        if let Some(initrd) = initrd {
            add("-initrd", &[initrd.as_os_str().as_bytes()]);
        }
        if !append.is_empty() {
            add("-append", &[append.as_bytes()]);
        }
    }
    if begin == Begin::Receive {
        add("-incoming", &[b"unix:", files.incoming().as_os_str().as_bytes()]);
        args.push("-S".into());
    }
    args.push("-nodefaults".into());
    args.push("-no-user-config".into());
    args
}

/// A path as the value of a QEMU option: a comma would end it, so it is doubled.
fn escaped(path: &Path) -> Vec<u8> {
    let mut out = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        out.push(*byte);
        if *byte == b',' {
            out.push(b',');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(spec: &VmSpec, accel: Accel) -> String {
        line_of(spec, accel, Begin::Boot)
    }

    fn line_of(spec: &VmSpec, accel: Accel, begin: Begin) -> String {
        let files = VmFiles { dir: "/d/vms/a,b".into() };
        let args = arguments(spec, &files, &files.disk(), accel, begin);
        args.iter().map(|arg| arg.to_str().expect("text")).collect::<Vec<_>>().join(" ")
    }

    fn spec() -> VmSpec {
        VmSpec {
            name: "web".into(),
            volume: "root".into(),
            boot: Boot::Kernel {
                kernel: "/boot/vmlinuz".into(),
                initrd: Some("/boot/initrd".into()),
                append: "console=ttyS0 quiet".into(),
            },
            cpus: 2,
            memory_bytes: 512 << 20,
        }
    }

    #[test]
    fn shares_memory_and_puts_the_disk_on_vhost_user() {
        let line = line(&spec(), Accel::Tcg);
        for part in [
            "-machine q35,memory-backend=mem",
            "memory-backend-memfd,id=mem,share=on,size=512M",
            "-m 512M",
            "vhost-user-blk-pci,id=vda,chardev=disk0,config-wce=off,bootindex=1,num-queues=2",
            "-kernel /boot/vmlinuz -initrd /boot/initrd -append console=ttyS0 quiet",
            "-accel tcg,thread=multi",
            "-nodefaults",
        ] {
            assert!(line.contains(part), "{part} in {line}");
        }
        assert!(!line.contains("-netdev"), "no network unless asked for");
    }

    #[test]
    fn waits_for_a_guest_with_its_processors_stopped() {
        let line = line_of(&spec(), Accel::Kvm, Begin::Receive);
        assert!(line.contains("-incoming unix:/d/vms/a,b/incoming.sock -S"), "{line}");
        assert!(line.contains("-kernel /boot/vmlinuz"), "the machine must be the same: {line}");
    }

    #[test]
    fn doubles_commas_in_paths() {
        assert!(line(&spec(), Accel::Kvm).contains("path=/d/vms/a,,b/disk.sock"));
    }

    #[test]
    fn boots_from_disk_without_a_kernel() {
        let spec = VmSpec { boot: Boot::Disk, ..spec() };
        let line = line(&spec, Accel::Kvm);
        assert!(!line.contains("-kernel") && line.contains("-accel kvm -cpu host"), "{line}");
    }
}
