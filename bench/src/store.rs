//! Ours: `ashlar up` with three disks in a folder, started as a user would.

use crate::server::Server;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;

/// A running store. Dropping it ends it.
pub struct Store {
    pub server: Server,
    binary: PathBuf,
    environment: Vec<(String, String)>,
}

impl Store {
    /// Starts a store with three disks of `disk_mib` each (the files are sparse) in `folder`.
    pub fn start(folder: &Path, disk_mib: u64, binary: Option<&Path>) -> Result<Self> {
        let binary = binary.map_or_else(beside_us, |path| Ok(path.to_owned()))?;
        let data = folder.join("ashlar");
        let mut command = Command::new(&binary);
        command.arg("up").arg("--data").arg(&data);
        command.args([
            "--s3",
            "127.0.0.1:0",
            "--admin",
            "127.0.0.1:0",
            "--disk-size",
            &format!("{disk_mib}M"),
        ]);
        let mut server =
            Server::start("ashlar up", command.stdout(Stdio::piped()), folder.join("ashlar.log"))?;
        wait_until_ready(&mut server)?;
        let environment = read_environment(&data.join("env.sh"))?;
        Ok(Self { server, binary, environment })
    }

    /// Runs a command of the CLI on the store.
    pub fn ashlar(&self, arguments: &[&str]) -> Result<()> {
        let output = Command::new(&self.binary)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .output()
            .with_context(|| format!("running {}", self.binary.display()))?;
        if output.status.success() {
            return Ok(());
        }
        bail!("ashlar {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
    }
}

fn beside_us() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("ashlar");
    if !path.exists() {
        bail!("{} is missing: cargo build --release -p ashlar, or name one with --ashlar", path.display());
    }
    Ok(path)
}

/// Waits for the line that says so, and keeps reading after it so that the pipe never fills.
fn wait_until_ready(server: &mut Server) -> Result<()> {
    let stdout = server.take_stdout().context("the server's output is piped")?;
    let (tell, told) = sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.starts_with("ready") {
                let _ = tell.try_send(());
            }
        }
    });
    server.wait_until("line that starts with \"ready\"", || told.try_recv().is_ok())
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
