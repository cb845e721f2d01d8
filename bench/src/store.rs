//! Ours: `ashlar up`, as a user starts it.

use crate::console::{self, Console};
use crate::counters::{LOOPS, Member, Parts};
use crate::room::DiskSize;
use crate::server::Server;
use anyhow::Result;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A store with three replicas on three files of one folder.
pub struct Store {
    pub server: Server,
    pub console: Console,
    binary: PathBuf,
    folder: PathBuf,
    disks: DiskSize,
}

/// How a store ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As in a power cut, though what the kernel has it keeps.
    Kill,
    /// As an operator asks it to.
    Stop,
}

pub const NAME: &str = "ashlar";

impl Store {
    /// Starts it in `folder` with three disks, whose files are sparse.
    pub fn start(folder: &Path, disks: DiskSize, binary: Option<&Path>) -> Result<Self> {
        let binary = console::binary(binary)?;
        let (server, console) = spawn(&binary, folder, disks)?;
        Ok(Self { server, console, binary, folder: folder.to_owned(), disks })
    }

    /// Ends it, one way or the other, and starts it again.
    pub fn restart(&mut self, end: End) -> Result<()> {
        match end {
            End::Kill => self.server.kill()?,
            End::Stop => self.server.stop(),
        }
        (self.server, self.console) = spawn(&self.binary, &self.folder, self.disks)?;
        Ok(())
    }

    /// Makes a volume and attaches it; answers the socket that serves it.
    pub fn attach_new(&mut self, volume: &str, size: u64) -> Result<PathBuf> {
        self.console.attach_new(volume, size, &mut self.server)
    }

    /// Another S3 gateway, as a process of its own, so that what it costs is told apart from the rest; and its URL.
    pub fn start_gateway(&self) -> Result<(Server, String)> {
        let mut command = self.console.daemon("objectd", "bench")?;
        command.args(["--listen", "127.0.0.1:0", "--gateway", "bench"]);
        let log = self.folder.join("gateway.log");
        let (server, ready) = console::start("ashlar objectd", &mut command, log)?;
        Ok((server, console::word(&ready, "s3")?.to_owned()))
    }

    /// The one process, whose parts are told apart by their threads' names, and by what it tells of its event loops.
    pub fn members(&self) -> Vec<Member> {
        vec![Member { admin: self.console.address(), ..member(self.server.pid()) }]
    }
}

/// An `ashlar` process: CPU time by part.
pub fn member(pid: u32) -> Member {
    Member { pid, parts: Parts::ByThread(part), admin: None }
}

/// Whose a thread is. The gateway, the admin API and the control plane's answers share one runtime in `up`; what the
/// control plane does on threads of its own (log, store, audit) is told apart.
fn part(thread: &str) -> &'static str {
    match thread {
        name if name.starts_with("loop-") => LOOPS,
        name if name.starts_with("vhost-") => "device",
        name if name.starts_with("meta-") || name.starts_with("sled-") || name == "audit" => {
            "control plane's log and store"
        }
        _ => "gateway and control plane",
    }
}

fn spawn(binary: &Path, folder: &Path, disks: DiskSize) -> Result<(Server, Console)> {
    let data = folder.join("ashlar");
    let mut command = Command::new(binary);
    command.arg("up").arg("--data").arg(&data);
    command.args([
        "--s3",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--disk-size",
        &format!("{}M", disks.mib),
    ]);
    let (server, _) = console::start("ashlar up", &mut command, folder.join("ashlar.log"))?;
    Ok((server, Console::open(binary, &data)?))
}
