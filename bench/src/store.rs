//! Ours: `ashlar up`, as a user starts it.

use crate::counters::{LOOPS, Member, Parts};
use crate::metrics::Metrics;
use crate::packages;
use crate::room::DiskSize;
use crate::server::Server;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;

/// A store with three replicas on three files of one folder.
pub struct Store {
    pub server: Server,
    binary: PathBuf,
    folder: PathBuf,
    disks: DiskSize,
    /// What `env.sh` exports: endpoints and keys.
    environment: Vec<(String, String)>,
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
        let binary = binary.map_or_else(beside_us, |path| Ok(path.to_owned()))?;
        let server = spawn(&binary, folder, disks)?;
        let environment = read_environment(&folder.join("ashlar").join("env.sh"))?;
        Ok(Self { server, binary, folder: folder.to_owned(), disks, environment })
    }

    /// Ends it, one way or the other, and starts it again.
    pub fn restart(&mut self, end: End) -> Result<()> {
        match end {
            End::Kill => self.server.kill()?,
            End::Stop => self.server.stop(),
        }
        self.server = spawn(&self.binary, &self.folder, self.disks)?;
        self.environment = read_environment(&self.folder.join("ashlar").join("env.sh"))?;
        Ok(())
    }

    /// Runs a command of the CLI.
    pub fn ashlar(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.binary)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("running {}", self.binary.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        bail!("ashlar {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
    }

    /// Makes a volume and attaches it; answers the socket that serves it.
    pub fn attach_new(&mut self, volume: &str, size: u64) -> Result<PathBuf> {
        self.ashlar(&["volume", "create", volume, "--size", &format!("{}M", size >> 20)])?;
        self.attach(volume)
    }

    pub fn attach(&mut self, volume: &str) -> Result<PathBuf> {
        let socket = self.folder.join(format!("{volume}.sock"));
        let path = socket.to_str().context("the folder's path is not text")?;
        self.ashlar(&["volume", "attach", volume, "--socket", path])?;
        self.server.wait_for_socket(&socket)?;
        Ok(socket)
    }

    /// What its metrics say now; those of disks are up to a second old.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::fetch(self.variable("ASHLAR_ADMIN")?)
    }

    /// A variable of `env.sh`.
    pub fn variable(&self, name: &str) -> Result<&str> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value).with_context(|| format!("env.sh has no {name}"))
    }

    /// Another S3 gateway, as a process of its own, so that what it costs is told apart from the rest; and its URL.
    pub fn start_gateway(&self) -> Result<(Server, String)> {
        let mut command = Command::new(&self.binary);
        command.args(["objectd", "--listen", "127.0.0.1:0", "--node", "bench", "--gateway", "bench"]);
        command.args(["--meta", self.variable("ASHLAR_ADMIN")?, "--token-file"]);
        command.arg(self.folder.join("ashlar").join("secrets").join("daemon.token"));
        let log = self.folder.join("gateway.log");
        let mut server = Server::start("ashlar objectd", command.stdout(Stdio::piped()), log)?;
        let ready = wait_until_ready(&mut server)?;
        let url = ready.split(' ').find_map(|word| word.strip_prefix("s3="));
        let url = url.with_context(|| format!("{ready:?} has no s3=URL"))?.to_owned();
        Ok((server, url))
    }

    /// The one process, whose parts are told apart by their threads' names, and by what it tells of its event loops.
    pub fn members(&self) -> Vec<Member> {
        let admin =
            self.variable("ASHLAR_ADMIN").ok().and_then(|url| url.strip_prefix("http://")?.parse().ok());
        vec![Member { admin, ..member(self.server.pid()) }]
    }

    pub fn version(&self) -> Option<String> {
        packages::version(&self.binary, "--version")
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

fn spawn(binary: &Path, folder: &Path, disks: DiskSize) -> Result<Server> {
    let mut command = Command::new(binary);
    command.arg("up").arg("--data").arg(folder.join("ashlar"));
    command.args([
        "--s3",
        "127.0.0.1:0",
        "--admin",
        "127.0.0.1:0",
        "--disk-size",
        &format!("{}M", disks.mib),
    ]);
    let mut server = Server::start("ashlar up", command.stdout(Stdio::piped()), folder.join("ashlar.log"))?;
    wait_until_ready(&mut server)?;
    Ok(server)
}

fn beside_us() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("ashlar");
    if !path.exists() {
        bail!("{} is missing: cargo build --release -p ashlar, or name one with --ashlar", path.display());
    }
    Ok(path)
}

/// Waits for the line that says so and answers it, and keeps reading after it so that the pipe never fills.
fn wait_until_ready(server: &mut Server) -> Result<String> {
    let stdout = server.take_stdout().context("the server's output is piped")?;
    let (tell, told) = sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.starts_with("ready") {
                let _ = tell.try_send(line);
            }
        }
    });
    let mut ready = None;
    server.wait_until("line that starts with \"ready\"", || {
        ready = told.try_recv().ok();
        ready.is_some()
    })?;
    ready.context("it was just there")
}

/// The variables that `env.sh` exports: lines of `export NAME=VALUE`, the value perhaps in quotes.
fn read_environment(path: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let variable = |line: &str| {
        let line = line.trim();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let value = value.trim_matches(['\'', '"']);
        is_name.then(|| (name.to_owned(), value.to_owned()))
    };
    Ok(text.lines().filter_map(variable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env.sh");
        std::fs::write(&path, "# a comment = no\nexport A=1\nexport B='x=y'\nC=\"z\"\n\n").unwrap();
        let want = [("A", "1"), ("B", "x=y"), ("C", "z")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(read_environment(&path).unwrap(), want);
    }
}
