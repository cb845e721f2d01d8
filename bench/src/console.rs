//! A pool of ours from outside: its daemons are started and its CLI is used as its operator would.

use crate::metrics::Metrics;
use crate::packages;
use crate::server::Server;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;

pub struct Console {
    binary: PathBuf,
    data: PathBuf,
    /// What `env.sh` exports: endpoints and keys.
    environment: Vec<(String, String)>,
}

impl Console {
    /// Of the pool whose control plane runs and has its data in this folder.
    pub fn open(binary: &Path, data: &Path) -> Result<Self> {
        let environment = read_environment(&data.join("env.sh"))?;
        Ok(Self { binary: binary.to_owned(), data: data.to_owned(), environment })
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

    /// Makes a volume and attaches it where `server` runs; answers the socket that serves it, beside the pool's data.
    pub fn attach_new(&self, volume: &str, size: u64, server: &mut Server) -> Result<PathBuf> {
        self.ashlar(&["volume", "create", volume, "--size", &format!("{}M", size >> 20)])?;
        let socket = self.data.with_file_name(format!("{volume}.sock"));
        let path = socket.to_str().context("the folder's path is not text")?;
        self.ashlar(&["volume", "attach", volume, "--socket", path])?;
        server.wait_for_socket(&socket)?;
        Ok(socket)
    }

    /// What its metrics say now; those of disks are up to a second old.
    pub fn metrics(&self) -> Result<Metrics> {
        Metrics::fetch(self.variable("ASHLAR_ADMIN")?)
    }

    /// Of the admin API.
    pub fn address(&self) -> Option<SocketAddr> {
        self.variable("ASHLAR_ADMIN").ok()?.strip_prefix("http://")?.parse().ok()
    }

    /// A variable of `env.sh`.
    pub fn variable(&self, name: &str) -> Result<&str> {
        let found = self.environment.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &**value).with_context(|| format!("env.sh has no {name}"))
    }

    /// A daemon that joins the pool as a node of this name.
    pub fn daemon(&self, kind: &str, node: &str) -> Result<Command> {
        let mut command = Command::new(&self.binary);
        command.args([kind, "--node", node, "--meta", self.variable("ASHLAR_ADMIN")?, "--token-file"]);
        command.arg(self.data.join("secrets").join("daemon.token"));
        Ok(command)
    }

    pub fn version(&self) -> Option<String> {
        packages::version(&self.binary, "--version")
    }
}

/// The binary that was named, or the one beside this program.
pub fn binary(named: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    let path = std::env::current_exe()?.with_file_name("ashlar");
    if !path.exists() {
        bail!("{} is missing: cargo build --release -p ashlar, or name one with --ashlar", path.display());
    }
    Ok(path)
}

/// Starts a daemon and waits until it says so; the line in which it does.
pub fn start(name: &'static str, command: &mut Command, log: PathBuf) -> Result<(Server, String)> {
    let mut server = Server::start(name, command.stdout(Stdio::piped()), log)?;
    let stdout = server.take_stdout().context("the server's output is piped")?;
    let (tell, told) = sync_channel(1);
    // It keeps reading after that line, so that the pipe never fills.
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
    Ok((server, ready.context("it was just there")?))
}

/// The value of `name=value` in a ready line.
pub fn word<'a>(ready: &'a str, name: &str) -> Result<&'a str> {
    let value = ready.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
    value.with_context(|| format!("{ready:?} has no {name}="))
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

    #[test]
    fn words_of_a_ready_line_are_read() {
        let ready = "ready node=disk0 disks=1 failed=0 listen=127.0.0.1";
        assert_eq!((word(ready, "failed").unwrap(), word(ready, "disks").unwrap()), ("0", "1"));
        assert!(word(ready, "disk").is_err() && word(ready, "s3").is_err());
    }
}
