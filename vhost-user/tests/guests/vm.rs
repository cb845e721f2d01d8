//! QEMU with one vhost-user disk, and the few monitor commands that the tests need.

use crate::guest::Guest;
use crate::harness::eventually;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Emulated guests are slow on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(240);

pub struct Vm {
    process: Child,
    console: PathBuf,
    monitor: PathBuf,
}

impl Vm {
    /// Boots `script` on the disk at `socket`, or waits for a guest that moves in over `incoming`.
    pub fn start(
        guest: &Guest,
        folder: &Path,
        name: &str,
        script: &str,
        socket: &Path,
        incoming: Option<&Path>,
    ) -> Self {
        let dir = folder.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        let initrd = guest.initrd(&dir, script);
        let (console, monitor) = (dir.join("console"), dir.join("monitor"));
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-machine", "q35,memory-backend=mem,usb=off", "-accel", "tcg,thread=multi"])
            .args(["-cpu", "max,la57=off", "-smp", "2", "-m", "256M", "-nodefaults", "-no-user-config"])
            .args(["-object", "memory-backend-memfd,id=mem,share=on,size=256M", "-display", "none"])
            .arg("-chardev")
            .arg(format!("socket,id=disk0,reconnect=1,path={}", socket.display()))
            .args(["-device", "vhost-user-blk-pci,id=vda,chardev=disk0,config-wce=off,num-queues=2"])
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .arg("-qmp")
            .arg(format!("unix:{},server=on,wait=off", monitor.display()))
            .arg("-kernel")
            .arg(&guest.kernel)
            .arg("-initrd")
            .arg(&initrd)
            .args(["-append", "console=ttyS0 quiet panic=-1"]);
        if let Some(incoming) = incoming {
            command.arg("-incoming").arg(format!("unix:{}", incoming.display()));
        }
        let errors = File::create(dir.join("errors")).unwrap();
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors).spawn().unwrap();
        Self { process, console, monitor }
    }

    pub fn console(&self) -> String {
        let bytes = std::fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn is_running(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    pub fn await_console(&mut self, what: &str, text: &str) {
        eventually(what, LIMIT, || {
            assert!(self.is_running(), "QEMU ended: {}", self.console());
            self.console().contains(text).then_some(())
        });
    }

    pub fn await_end(&mut self) {
        eventually("the guest's end", LIMIT, || (!self.is_running()).then_some(()));
    }

    /// Stops the guest's processors, with which QEMU stops the disk's queues.
    pub fn pause(&self) {
        Monitor::connect(&self.monitor).ask(r#"{"execute":"stop"}"#);
    }

    /// Has the guest go on.
    pub fn resume(&self) {
        Monitor::connect(&self.monitor).ask(r#"{"execute":"cont"}"#);
    }

    /// Moves the guest to the QEMU that listens at `incoming`, waits until it runs there, and ends this one.
    pub fn migrate_to(&mut self, incoming: &Path) {
        let mut monitor = Monitor::connect(&self.monitor);
        let uri = format!("unix:{}", incoming.display());
        monitor.ask(&format!(r#"{{"execute":"migrate","arguments":{{"uri":"{uri}"}}}}"#));
        eventually("the guest's move", LIMIT, || {
            let answer = monitor.ask(r#"{"execute":"query-migrate"}"#);
            assert!(!answer.contains("failed"), "{answer}");
            answer.contains(r#""status": "completed""#).then_some(())
        });
        assert!(self.is_running(), "QEMU ended: {}", self.console());
        // QEMU may be gone before it answers this, or before it has read the whole of it.
        let _ = monitor.tell(r#"{"execute":"quit"}"#);
        self.await_end();
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Monitor(BufReader<UnixStream>);

impl Monitor {
    fn connect(path: &Path) -> Self {
        let stream = eventually("the monitor", LIMIT, || UnixStream::connect(path).ok());
        let mut monitor = Self(BufReader::new(stream));
        monitor.0.read_line(&mut String::new()).unwrap();
        monitor.ask(r#"{"execute":"qmp_capabilities"}"#);
        monitor
    }

    fn tell(&mut self, command: &str) -> std::io::Result<()> {
        self.0.get_mut().write_all(format!("{command}\n").as_bytes())
    }

    fn ask(&mut self, command: &str) -> String {
        self.tell(command).unwrap();
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the monitor went");
            if !line.contains(r#""event":"#) {
                assert!(!line.contains(r#""error":"#), "{command}: {line}");
                return line;
            }
        }
    }
}
